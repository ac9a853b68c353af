"""Rules that lock out the operator, a trusted proxy or everybody: refused, with what to do instead.

`--force` lifts one bound alone, that on the size of a network: a country may have to go. Nobody needs to refuse
themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, ip_address, ip_network
from typing import Final

from shield.policy.bucket import Rate
from shield.policy.rules.rule import RefusedError, network_of

LEAST_PREFIX: Final = {4: 8, 6: 19}
"""Bits: the largest allocations that registries make are an IPv4 /8 and an IPv6 /19."""
LEAST_RATE: Final = 1.0
"""units/s, of a limit that the operator, a trusted proxy or everybody is under. One page loads with ten."""
LEAST_BURST: Final = 10.0
"""Units, likewise."""


@dataclass(frozen=True, slots=True)
class Precious:
    """Who must not be locked out: addresses that the operator asks from, and networks of trusted proxies."""

    operators: Sequence[str] = ()
    trusted: Sequence[str] = ()


def check(kind: str, subject: str, rate: Rate | None, precious: Precious, force: bool) -> None:
    """Refuse what locks out too much. Takes what rule.checked() returned; `rate` is that of a limit. RefusedError."""
    strict = kind in ("ban", "deny") or (rate is not None and (rate.rate < LEAST_RATE or rate.burst < LEAST_BURST))
    if kind == "limit" and network_of(subject) is None and strict and subject in ("client", "address"):
        raise RefusedError(
            f"a limit of less than {LEAST_RATE:g}/{LEAST_BURST:g} for every {subject} would lock everybody out: "
            "no page would load"
        )
    network = network_of(subject)
    if network is None or not (strict or kind in ("allow", "limit")):
        return
    if network.prefixlen == 0:
        if kind == "allow":
            raise RefusedError(f"{subject} is everybody: to let everybody in, use dry_run on")
        raise RefusedError(f"{subject} is everybody: to make it harder for strangers alone, use pressure hold 1")
    least = LEAST_PREFIX[network.version]
    if network.prefixlen < least and not force:
        raise RefusedError(
            f"{subject} is larger than a /{least}, the most that one provider is given: name smaller networks, "
            "or insist (--force)"
        )
    if not strict:
        return
    for text in precious.operators:
        address = ip_address(text)
        address = getattr(address, "ipv4_mapped", None) or address
        if not address.is_loopback and address in network:
            raise RefusedError(
                f"{text}, from where you ask, is in {subject}: you would lock yourself out. Name smaller networks, or "
                "allow your own address first"
            )
    for text in precious.trusted:
        proxy = ip_network(text, strict=False)
        if isinstance(proxy, IPv4Network) == isinstance(network, IPv4Network) and proxy.overlaps(network):
            raise RefusedError(
                f"{text} in listen.trusted_proxies overlaps {subject}: all clients behind that proxy might be "
                "refused. Name the clients that it speaks for, as the log has them"
            )
