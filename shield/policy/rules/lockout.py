"""Rules that lock out the operator, a trusted proxy, this machine or everybody: refused, with what to do instead.

`--force` lifts two bounds, that on the size of a network, since a country may have to go, and that on this machine's
own address: a program here may have gone wild. Nobody needs to refuse themselves.

`check` looks at one rule, `locked_out` at all that hold after a change: to lift the rule that lets the operator in, or
to undo a change, may lock out as a ban does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address, ip_network
from math import inf
from typing import Final

from shield.policy.bucket import Rate
from shield.policy.rules.rule import ACCESS, KEY, RefusedError, Rule, network_of
from shield.policy.whereabouts import NOWHERE, Whereabouts, asn_of, country_of

LEAST_PREFIX: Final = {4: 8, 6: 19}
"""Bits: the largest allocations that registries make are an IPv4 /8 and an IPv6 /19."""
LEAST_RATE: Final = 1.0
"""units/s, of a limit that the operator, a trusted proxy or everybody is under. One page loads with ten."""
LEAST_BURST: Final = 10.0
"""Units, likewise."""
OWN: Final = ("127.0.0.1", "::1")
"""From where programs on this machine ask: health checks above all."""

Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Precious:
    """Who must not be locked out: addresses that the operator asks from, and networks of trusted proxies. `there` has
    the whereabouts of these addresses, as far as they are known."""

    operators: Sequence[str] = ()
    trusted: Sequence[str] = ()
    there: Mapping[str, Whereabouts] = field(default_factory=dict)


def check(rule: Rule, precious: Precious, force: bool) -> None:
    """Refuse what locks out too much. RefusedError."""
    kind, subject = rule.kind, rule.subject
    always = kind == "challenge" and rule.value == "always"  # locks out programs, as that on this machine
    strict = kind in ("ban", "deny") or always or (kind == "limit" and _is_strict(rule.rate))
    if kind == "limit" and network_of(subject) is None and strict and subject in ("client", "address"):
        raise RefusedError(
            f"a limit of less than {LEAST_RATE:g}/{LEAST_BURST:g} for every {subject} would lock everybody out: "
            "no page would load"
        )
    if kind == "allow" and country_of(subject) and not force:
        raise RefusedError(
            f"whoever is in {subject} would have no limit and no challenge, and floods come from every country: name "
            "networks, or an AS, or insist (--force)"
        )
    network = network_of(subject)
    if network is None or not (strict or kind in ("allow", "limit", "challenge")):
        return
    if network.prefixlen == 0:
        if kind == "allow":
            raise RefusedError(f"{subject} is everybody: to let everybody in, use dry_run on")
        if kind == "challenge":
            held = "1" if always else "0"
            raise RefusedError(f"{subject} is everybody: use pressure hold {held}, or challenge.mode in the config")
        raise RefusedError(f"{subject} is everybody: to make it harder for strangers alone, use pressure hold 1")
    least = LEAST_PREFIX[network.version]
    if network.prefixlen < least and not force:
        raise RefusedError(
            f"{subject} is larger than a /{least}, the most that one provider is given: name smaller networks, "
            "or insist (--force)"
        )
    if not strict:
        return
    for text in OWN:
        if _address(text) in network and not force:
            raise RefusedError(
                f"{text} is in {subject}: that is this machine, and health checks and programs here would be refused. "
                "Name smaller networks, or insist (--force)"
            )
    for text in precious.trusted:
        proxy = ip_network(text, strict=False)
        if isinstance(proxy, IPv4Network) == isinstance(network, IPv4Network) and proxy.overlaps(network):
            raise RefusedError(
                f"{text} in listen.trusted_proxies overlaps {subject}: all clients behind that proxy might be "
                "refused. Name the clients that it speaks for, as the log has them"
            )


def locked_out(rules: Sequence[Rule], precious: Precious) -> dict[str, Rule]:
    """The addresses that the operator asks from, and the rules of these by which they are refused, or will be. This
    machine is spoken of by `check`."""
    found = {}
    for text in precious.operators:
        address = _address(text)
        rule = None if address.is_loopback else _refusing(rules, address, precious.there.get(text, NOWHERE))
        if rule is not None:
            found[text] = rule
    return found


def _refusing(rules: Sequence[Rule], address: Address, there: Whereabouts) -> Rule | None:
    """The rule that refuses an address, or will when the one that lets it in has ended. Of networks the smallest
    counts, then its AS, then its country; and who is allowed has no limit (matching.py)."""
    about = [
        (rule, bits)
        for rule in rules
        if rule.kind not in ("challenge", KEY)  # a key may be called AS64500
        and not rule.dry_run
        and (bits := _precision(rule, address, there)) is not None
    ]
    free = 0.0  # until then
    for rule, _ in sorted(about, key=lambda each: (each[0].kind not in ACCESS, -each[1])):
        end = rule.expires or inf
        if rule.kind == "allow" or (rule.kind == "limit" and not _is_strict(rule.rate)):
            free = max(free, end)
        elif end > free:
            return rule
    return None


def _precision(rule: Rule, address: Address, there: Whereabouts) -> int | None:
    """How precisely a rule is about an address: the bits of its network, less for an AS and a country. None: not at
    all."""
    network = rule.network
    if network is not None:
        return network.prefixlen if address in network else None
    if there.asn and asn_of(rule.subject) == there.asn:
        return -1
    return -2 if there.country and country_of(rule.subject) == there.country else None


def _is_strict(rate: Rate) -> bool:
    return rate.rate < LEAST_RATE or rate.burst < LEAST_BURST


def _address(text: str) -> Address:
    address = ip_address(text)
    return getattr(address, "ipv4_mapped", None) or address
