"""Where a textual address belongs: its /32 or /64, its network, and whether it is in a list of networks.

address   IPv4 /32 or IPv6 /64 (one subscriber line has at least a /64 to itself, RFC 6177);
          ::ffff:a.b.c.d is IPv4 a.b.c.d, or all IPv4 clients of a dual-stack socket would share one /64
network   IPv4 /24 or IPv6 /48, and the /56 between (the usual delegations to a site and to a customer)
region    IPv4 /16 or IPv6 /32 (what a registry gives to one carrier, which hands its addresses out from all of it)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv6Address, ip_network
from typing import Final

Location = tuple[str, str, str, str]
"""An address (::ffff: removed), the /32 or /64 that is remembered of it, its network, and the /56 if it is IPv6."""

_OCTETS: Final = frozenset(map(str, range(256)))
_GROUP: Final = "(0|[1-9a-f][0-9a-f]{0,3})"
_EIGHT_GROUPS: Final = re.compile(":".join(["([1-9a-f][0-9a-f]{0,3})", *[_GROUP] * 7]))


def locate(text: str) -> Location:
    """Where a textual address belongs. ValueError when it is none."""
    if ":" not in text:
        a, b, c, d = text.split(".")
        if a in _OCTETS and b in _OCTETS and c in _OCTETS and d in _OCTETS:
            return text, text, f"{a}.{b}.{c}.0/24", ""
        raise ValueError("an octet is a number from 0 to 255, without leading zeros")
    groups = _EIGHT_GROUPS.fullmatch(text)
    if groups is not None:  # as most are; the others take ipaddress 4 µs
        a, b, c, d, *_ = groups.groups()
        return text, f"{a}:{b}:{c}:{d}::/64", f"{a}:{b}:{c}::/48", f"{a}:{b}:{c}:{int(d, 16) & 0xFF00:x}::/56"
    address = IPv6Address(text)
    mapped = address.ipv4_mapped
    if mapped is not None:
        return locate(str(mapped))
    bits = int(address)
    # Not in the canonical form of RFC 5952, which takes ipaddress 4 µs each; nobody parses these again.
    site = f"{bits >> 112:x}:{bits >> 96 & 0xFFFF:x}:{bits >> 80 & 0xFFFF:x}"
    subnet = bits >> 64 & 0xFFFF
    return text, f"{site}:{subnet:x}::/64", f"{site}::/48", f"{site}:{subnet & 0xFF00:x}::/56"


def number_of(text: str) -> tuple[int, int, str]:
    """IP version and number of a textual address, which may be "…::/64", and its text as a plain address; of
    ::ffff:a.b.c.d those of a.b.c.d. ValueError when it is none. Takes 0.7 µs for IPv4, and ipaddress 2."""
    if ":" not in text:
        a, b, c, d = text.split(".")
        if a in _OCTETS and b in _OCTETS and c in _OCTETS and d in _OCTETS:
            return 4, int(a) << 24 | int(b) << 16 | int(c) << 8 | int(d), text
        raise ValueError("an octet is a number from 0 to 255, without leading zeros")
    address = IPv6Address(text.removesuffix("/64"))
    mapped = address.ipv4_mapped
    return (6, int(address), text.removesuffix("/64")) if mapped is None else (4, int(mapped), str(mapped))


@lru_cache(maxsize=4096)
def wider(network: str) -> tuple[str, str]:
    """The /20, "" for IPv6, and the region around a network, which may be a /24, a /20 or a /48. ValueError when it is
    none."""
    name = network.partition("/")[0]
    if ":" in name:
        groups = name.split(":")
        return "", f"{groups[0]}:{groups[1]}::/32"
    a, b, c, _ = name.split(".")
    return f"{a}.{b}.{int(c) & 240}.0/20", f"{a}.{b}.0.0/16"


class Cidrs:
    """A list of networks that answers in as many look-ups as it has different prefix lengths."""

    __slots__ = ("_networks",)

    def __init__(self, texts: Sequence[str]) -> None:
        self._networks: dict[tuple[int, int], set[int]] = {}
        for text in texts:
            network = ip_network(text, strict=False)
            shift = network.max_prefixlen - network.prefixlen
            self._networks.setdefault((network.version, shift), set()).add(int(network.network_address) >> shift)

    def __contains__(self, text: str) -> bool:
        if not self._networks:
            return False
        version, bits, _ = number_of(text)
        return self.has(version, bits)

    def has(self, version: int, bits: int) -> bool:
        """Whether an address of IP version 4 or 6, as a number, is in one of them."""
        if not self._networks:
            return False
        return any(each == version and bits >> shift in members for (each, shift), members in self._networks.items())

    def overlaps(self, version: int, span: tuple[int, int]) -> bool:
        """Whether one of them has an address of IP version 4 or 6 from one number to another. Looks at each network."""
        return any(
            each == version and any(span[0] >> shift <= member <= span[1] >> shift for member in members)
            for (each, shift), members in self._networks.items()
        )

    def __bool__(self) -> bool:
        return bool(self._networks)
