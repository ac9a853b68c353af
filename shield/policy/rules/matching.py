"""Which of the operator's rules hold for a request: those of run time, and those of the config (standing.py).

What names somebody more precisely goes before the rest, whichever came first:

    a pass, a client
    a network       by a rule, of which the smallest counts; by identity.allow, identity.deny; by a file, first those
                    that allow
    an AS           by a rule; by the config
    a country       likewise

So a partner in a banned country is let in by a rule of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Final, NamedTuple

from shield.policy.entries import Pass, PassKind
from shield.policy.locations import Cidrs, number_of
from shield.policy.request import Request
from shield.policy.rules.rule import ACCESS, EVERY, SPARE, Rule, network_of
from shield.policy.standing import NOTHING_STANDING, Named, Standing
from shield.policy.whereabouts import asn_of, country_of

MOST_KEPT: Final = 4096
"""Addresses whose rules are remembered until a rule or a list changes: that takes 0.1 µs, and a look-up 4."""
ID_BYTES: Final = 8


class Held(NamedTuple):
    """The rules that hold for somebody: whether they may come, how they are limited, whether they are challenged."""

    access: Rule | None = None
    limit: Rule | None = None
    challenge: Rule | None = None


_NONE: Final = Held()
_ABOUT: Final = {"limit": 1, "challenge": 2}
"""Places in Held; the others are about access."""


class Matching:
    """The rules about clients, looked up by request. `any` is false where there are none."""

    __slots__ = (
        "_addresses", "_asns", "_budgets", "_by_address", "_by_region", "_challenges", "_clients", "_countries",
        "_limits", "_networks", "_passes", "_spared", "_standing", "any",
    )  # fmt: skip

    def __init__(
        self, rules: Sequence[Rule], former: Matching | None = None, standing: Standing = NOTHING_STANDING
    ) -> None:
        """`former` has the buckets of limits that stay, as full as they are."""
        self._standing = standing
        self._spared = Cidrs([rule.subject for rule in rules if rule.kind == SPARE])
        self._asns: dict[int, list[Rule | None]] = {}
        self._countries: dict[str, list[Rule | None]] = {}
        self._networks: dict[tuple[int, int], dict[int, list[Rule | None]]] = {}  # by version and host bits
        self._clients: dict[bytes, list[Rule | None]] = {}
        self._passes: dict[bytes, list[Rule | None]] = {}
        self._addresses: dict[str, Held] = {}
        self._budgets: dict[int, Pass] = {}
        self._limits: dict[bytes, Rule] = {}  # by the key of their bucket
        before = {} if former is None else former._budgets
        for rule in rules:
            held = self._of_subject(rule) if rule.kind in ACCESS or rule.kind in _ABOUT else None
            if held is None:
                continue
            held[_ABOUT.get(rule.kind, 0)] = rule
            if rule.kind == "limit":
                key, rate = rule.number.to_bytes(ID_BYTES, "big"), rule.rate
                made = before.get(rule.number) or Pass(key, PassKind.RULE, rate, 0.0, inf, None)
                self._budgets[rule.number] = made
                self._limits[key] = rule
        shortest_last = sorted(self._networks.items(), key=lambda each: each[0][1])
        self._networks = dict(shortest_last)
        self._challenges = any(rule.kind == "challenge" for rule in rules)
        self._by_region = bool(self._asns or self._countries) or standing.regions
        self._by_address = self._by_region or bool(self._networks) or standing.lists
        self.any = self._by_address or bool(self._clients or self._passes)

    def access(self, request: Request) -> Rule | None:
        """The rule that says whether a request may come."""
        if self._clients or self._passes:
            return self._of(request, 0)
        address = request.client.address  # as most rules and all lists are about addresses
        return (self._addresses.get(address) or self.of_address(address))[0]

    def challenge(self, request: Request) -> Rule | None:
        """The rule that says whether whoever sends a request is never or always challenged."""
        return self._of(request, 2) if self._challenges else None

    def budget(self, request: Request) -> Pass | None:
        """The bucket of the rule that limits a request. Who shows a pass is limited by a rule for that pass only, as
        it is charged to the pass wherever it comes from."""
        if not self._budgets:
            return None
        shown = request.shown_pass
        if shown is not None:
            pair = self._passes.get(shown.key)
            rule = None if pair is None else pair[1]
        else:
            rule = self._of(request, 1)
        return None if rule is None else self._budgets[rule.number]

    def limiting(self, request: Request) -> Rule | None:
        """The rule whose bucket a request is charged to."""
        budget = self.budget(request)
        return None if budget is None else self._limits[budget.key]

    def of_address(self, address: str) -> Held:
        """The rules of networks, AS and country that hold for a textual address (ValueError when it is none)."""
        if not self._by_address:
            return _NONE
        found = self._addresses.get(address)
        if found is None:
            found = self._find(address)
            if len(self._addresses) >= MOST_KEPT:
                self._addresses.clear()
            self._addresses[address] = found
        return found

    def of_client(self, key: bytes) -> Held:
        """The rules for a client by its key."""
        return Held(*self._clients.get(key, _NONE))

    def of_pass(self, key: bytes) -> Held:
        """The rules for a pass by its id."""
        return Held(*self._passes.get(key, _NONE))

    def spares_somebody(self) -> bool:
        """Whether a client is allowed wherever it is, so that requests must be read. (For a pass, they are anyway.)"""
        return any(access is not None and access.kind == "allow" for access, *_ in self._clients.values())

    def _of(self, request: Request, which: int) -> Rule | None:
        shown, client = request.shown_pass, request.client
        if shown is not None and self._passes:
            pair = self._passes.get(shown.key)
            if pair is not None and pair[which] is not None:
                return pair[which]
        if self._clients:
            pair = self._clients.get(client.key)
            if pair is not None and pair[which] is not None:
                return pair[which]
        return self.of_address(client.address)[which]

    def _of_subject(self, rule: Rule) -> list[Rule | None] | None:
        """Where a rule belongs: the rules of its subject, as in Held. None for a limit of everybody, and for a path."""
        subject = rule.subject
        network = network_of(subject)
        if network is not None:
            shift = network.max_prefixlen - network.prefixlen
            members = self._networks.setdefault((network.version, shift), {})
            return members.setdefault(int(network.network_address) >> shift, [None, None, None])
        if asn := asn_of(subject):
            return self._asns.setdefault(asn, [None, None, None])
        if country := country_of(subject):
            return self._countries.setdefault(country, [None, None, None])
        if subject.startswith("pass:"):
            return self._passes.setdefault(bytes.fromhex(subject.removeprefix("pass:")), [None, None, None])
        if subject in EVERY or subject.startswith("/"):
            return None
        return self._clients.setdefault(bytes.fromhex(subject), [None, None, None])

    def _find(self, text: str) -> Held:
        version, bits, address = number_of(text)
        access = limit = challenge = None
        for (each, shift), members in self._networks.items():  # the smallest networks first
            if each == version:
                pair = members.get(bits >> shift)
                if pair is not None:
                    access, limit, challenge = access or pair[0], limit or pair[1], challenge or pair[2]
        standing = self._standing
        judged = access is None and standing.named_at(version, bits) is not None  # the judge goes by that
        if standing.spares(version, bits) or self._spared.has(version, bits):
            return Held(access, limit, challenge)
        if access is None and not judged:
            access = _of_config(standing.listed(version, bits))
        if self._by_region:
            there = standing.where(address)
            for pair, usual in (
                (self._asns.get(there.asn), standing.of_asn(there.asn)),
                (self._countries.get(there.country), standing.of_country(there.country)),
            ):
                ruled, limited, challenged = _NONE if pair is None else pair
                limit, challenge = limit or limited, challenge or challenged
                if access is None and not judged:
                    access = ruled or _of_config(usual)
        return Held(access, limit, challenge)


def _of_config(named: Named | None) -> Rule | None:
    """What the config says, as a rule: one without a number, whose author is where it stands."""
    return None if named is None else Rule(0, named.kind, named.subject, "", named.source, "", 0.0, 0.0)
