"""Measures that are tried: what they would refuse is decided, counted and logged, and let through.

    challenge   challenges
    limits      the buckets of passes, clients, addresses, networks and programs
    bans        bans that Shield makes by itself, and honeypots
    queue       waiting for a slot, and being turned away

What the operator has named (identity.deny, rules made at run time) is no measure: it holds. Single routes have a dry
run of their own, and so have rules (rules/trial.py).

A visitor is a client; `known` are those with a history or an earned pass. Both are counted to within 1 %, from the
start on, and anew from the onset of an attack.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from shield.model import Action, Reason, Tier
from shield.policy.request import Request
from shield.policy.sketch import Distinct
from shield.policy.status import WouldsStatus, WouldStatus
from shield.policy.tiers import tier_of

QUEUE: Final = "queue"
MEASURES: Final[Mapping[str, frozenset[Reason]]] = {
    "challenge": frozenset(reason for reason in Reason if reason.action is Action.CHALLENGE),
    "limits": frozenset(
        (Reason.PASS_RATE, Reason.CLIENT_RATE, Reason.ADDRESS_RATE, Reason.NETWORK_RATE, Reason.FINGERPRINT_RATE)
    ),
    "bans": frozenset((Reason.CLIENT_BANNED, Reason.ADDRESS_BANNED, Reason.HONEYPOT)),
    QUEUE: frozenset(reason for reason in Reason if reason.action is Action.SHED),
}
"""The reasons that each measure refuses for."""


class Met:
    """Those of whom one thing would have been done: how many, and how many of them known. It takes 128 KiB from the
    first on."""

    __slots__ = ("_all", "_known", "_requests")

    def __init__(self) -> None:
        self._requests = 0
        self._all: Distinct | None = None
        self._known: Distinct | None = None

    def add(self, request: Request) -> None:
        """Count the sender of a request."""
        if self._all is None or self._known is None:
            self._all, self._known = Distinct(), Distinct()
        client = request.client
        self._requests += 1
        self._all.add(client.key)
        record, shown = client.entry.record, request.shown_pass
        if (record is not None and record.live) or (shown is not None and tier_of(shown) <= Tier.T1):
            self._known.add(client.key)

    def status(self) -> WouldStatus:
        """How many there were."""
        if self._all is None or self._known is None:
            return WouldStatus(0, 0, 0)
        met = round(self._all.count())
        return WouldStatus(self._requests, met, min(round(self._known.count()), met))


class Tried:
    """Which measures are tried now, and whom they would have met. `measures` are names of MEASURES."""

    __slots__ = ("_attack", "_visitors", "measures", "reasons", "since")

    def __init__(self, measures: Collection[str]) -> None:
        self._visitors: dict[str, Met] = {}  # by what would have been done
        self._attack = False
        self.since: float | None = None  # when it was begun to count
        self.go_by(measures)

    def go_by(self, measures: Collection[str]) -> None:
        """Try these from now on, and no others."""
        self.measures = frozenset(measures)
        self.reasons = frozenset(reason for name in self.measures for reason in MEASURES[name])

    def note(self, request: Request, action: Action) -> None:
        """Count a request that would have been refused."""
        self._count(request, _WORDS[action])

    def waits(self, request: Request) -> None:
        """Count a request that would have had to wait for a slot."""
        self._count(request, QUEUE)

    def _count(self, request: Request, what: str) -> None:
        visitors = self._visitors.get(what)
        if visitors is None:
            visitors = self._visitors[what] = Met()
        visitors.add(request)

    def close_window(self, attack: bool, now: float) -> None:
        """Count anew from the onset of an attack on."""
        if attack > self._attack or self.since is None:
            if attack:
                self._visitors.clear()
            self.since = now
        self._attack = attack

    def seconds(self, now: float) -> float:
        """For how long it has been counted."""
        return 0.0 if self.since is None else now - self.since

    def status(self) -> WouldsStatus:
        """Whom what would have been done to."""
        return WouldsStatus(*(self._met(what) for what in ("challenge", "limit", "ban", QUEUE)))

    def _met(self, what: str) -> WouldStatus:
        visitors = self._visitors.get(what)
        return WouldStatus(0, 0, 0) if visitors is None else visitors.status()


_WORDS: Final[Mapping[Action, str]] = {
    Action.CHALLENGE_DRY_RUN: "challenge",
    Action.LIMIT_DRY_RUN: "limit",
    Action.BAN_DRY_RUN: "ban",
}
