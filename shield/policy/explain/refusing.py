"""What refuses somebody whom Shield has pardoned: rules about more than that one, and the config with its files."""

from __future__ import annotations

from typing import Final, NamedTuple

from shield.model import Reason
from shield.policy.identity import Identity
from shield.policy.rules.effects import Effects
from shield.policy.rules.rule import Network, Rule, network_of
from shield.policy.whereabouts import asn_of, country_of, region_of

DENYING: Final = ("ban", "deny")
LEAST: Final = {4: 32, 6: 64}
"""Bits of an address, by the version of IP."""


class Pardoned(NamedTuple):
    """What came of a pardon: how many bans it lifted, and what refuses the subject all the same, in words."""

    lifted: int = 0
    refusing: tuple[str, ...] = ()


def refusing(subject: str, effects: Effects, identity: Identity) -> list[str]:
    """What refuses a subject as rules name it, in words. Of a network with several addresses: what names some of it."""
    network = network_of(subject)
    if network is not None and network.prefixlen < LEAST[network.version]:
        return _of_network(network, effects, identity)
    if network is not None:
        return _of_address(str(network.network_address), effects, identity)
    if region_of(subject):
        named = identity.standing.of_asn(asn_of(subject)) or identity.standing.of_country(country_of(subject))
        return [] if named is None or named.kind == "allow" else [named.source]
    client = None if subject.startswith("pass:") else identity.clients.get(bytes.fromhex(subject))
    return [] if client is None else _of_address(client.source.name, effects, identity)


def _of_address(address: str, effects: Effects, identity: Identity) -> list[str]:
    matching = effects.matching
    rule = None if matching is None else matching.of_address(address).access
    if rule is not None:
        return [] if rule.kind == "allow" else [_words(rule)]
    return ["identity.deny"] if identity.named(address) is Reason.DENYLISTED else []


def _of_network(network: Network, effects: Effects, identity: Identity) -> list[str]:
    span = int(network[0]), int(network[-1])
    rules = [
        _words(rule)
        for rule in effects.rules
        if rule.kind in DENYING and not rule.dry_run and _meets(rule.network, network)
    ]
    return [*rules, *identity.standing.denying(network.version, span)]


def _meets(one: Network | None, other: Network) -> bool:
    return one is not None and one.version == other.version and one[0] <= other[-1] and other[0] <= one[-1]  # type: ignore[operator]


def _words(rule: Rule) -> str:
    """A rule as the operator finds it. One of the config's has no number, and its author is where it stands."""
    if rule.number:
        return f"rule {rule.number} ({rule.kind} {rule.subject})"
    return f"{rule.author} ({rule.subject})" if rule.subject else rule.author
