"""Who the client is by the word of a trusted proxy, and what Shield tells the upstream (RFC 7239, X-Forwarded-*).

A chain of proxies is believed only when the peer itself is trusted, and only in the one field that the operator chose.
It is read from the right, past trusted hops: everything left of the first untrusted hop is the client's own words.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final

from shield.http.grammar import FORWARDED_HOST, FORWARDED_MARK, FORWARDED_PAIR, QUOTED_PAIR
from shield.http.head import Head

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_HOPS: Final = 32
"""Hops of a chain that are looked at, from the right; a longer one ends there."""
MAX_CHARS: Final = 4096
"""Characters of a Forwarded field that are read, from the right: 32 hops of 128. Each takes 2 µs at worst."""
MAX_PAIRS: Final = 16
"""Pairs of one element; four are registered (by, for, host, proto), and no extensions."""


def parse_node(node: str) -> str | None:
    """The IP address in one hop ("192.0.2.1", "192.0.2.1:80", "[2001:db8::1]:80", "2001:db8::1"); None for anything
    else."""
    address = _node(node)
    return None if address is None else str(address)


def _node(node: str) -> Address | None:
    """The same as an address."""
    node = node.strip()
    if node.startswith("["):
        node = node[1:].partition("]")[0]
    elif node.count(":") == 1:
        node = node.partition(":")[0]
    try:
        address = ipaddress.ip_address(node)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            return None
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
    return address


def parse_forwarded(value: str) -> list[dict[str, str]]:
    """The elements of a Forwarded field, left to right; a malformed element becomes an empty one."""
    elements = []
    for element in _split(value[-MAX_CHARS:], ",", MAX_HOPS):
        pairs: dict[str, str] = {}
        for part in _split(element, ";", MAX_PAIRS):
            match = FORWARDED_PAIR.fullmatch(part)
            if match is None or match[1].lower() in pairs:
                pairs = {}
                break
            quoted = match[2]
            pairs[match[1].lower()] = QUOTED_PAIR.sub(r"\1", quoted) if quoted is not None else match[3]
        elements.append(pairs)
    return elements


def _split(text: str, separator: str, most: int) -> list[str]:
    """The last `most` parts of `text` between separators that are not in a quoted string, without empty ones.

    It is read from the right, where the trusted proxy wrote, so that a quote which the client left open further left
    hides nothing. The time is proportional to the text's length, whatever is in it.
    """
    parts: list[str] = []
    end = len(text)
    quoted = False
    for match in reversed(list(FORWARDED_MARK.finditer(text))):
        at = match.start()
        mark = text[at]
        if mark == '"':
            quoted = not quoted or _escaped(text, at)
        elif mark == separator and not quoted:
            if text[at + 1 : end].strip():
                parts.append(text[at + 1 : end])
                if len(parts) == most:
                    break
            end = at
    else:
        if text[:end].strip():
            parts.append(text[:end])
    return parts[::-1]


def _escaped(text: str, at: int) -> bool:
    """Whether an odd number of backslashes stands before text[at]."""
    start = at
    while start and text[start - 1] == "\\":
        start -= 1
    return (at - start) % 2 == 1


class Forwarding:
    """Which proxies are trusted, and in which field they name the client."""

    __slots__ = ("_source", "_trusted")

    def __init__(self, trusted_proxies: Sequence[str], source: str) -> None:
        """`trusted_proxies`: addresses and networks; `source`: "x-forwarded-for", "forwarded" or "none"."""
        self._trusted: list[Network] = [ipaddress.ip_network(text, strict=False) for text in trusted_proxies]
        self._source = source

    def trusts(self, address: str) -> bool:
        """Whether `address` is one of the trusted proxies. What is no address is not."""
        if not self._trusted:
            return False
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return self._among(parsed)

    def _among(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)

    def resolve(self, peer: str, scheme: str, head: Head) -> tuple[str, str, str]:
        """The client's address, its scheme, and the host that it asked for or "", of a request that came from the
        trusted proxy `peer`.

        A chain in a field that the operator did not choose is removed from `head`: the proxy may have passed it on as
        the client wrote it, and the upstream would take it for ours.
        """
        if self._source != "forwarded":
            head.forwarded = b""
        if self._source != "x-forwarded-for":
            head.chain = b""
        if self._source == "forwarded" and head.forwarded:
            elements = parse_forwarded(head.forwarded.decode("latin-1"))
            address, at = self._walk(peer, [element.get("for", "") for element in elements])
            told = elements[at] if at >= 0 else {}
            proto, host = told.get("proto", ""), told.get("host", "")
        elif self._source == "x-forwarded-for":
            hops = head.chain.decode("latin-1").split(",")[-MAX_HOPS:] if head.chain else []
            address, _ = self._walk(peer, hops)
            proto = _last(head, "X-Forwarded-Proto")
            host = _last(head, "X-Forwarded-Host")
        else:
            return peer, scheme, ""
        proto = proto.lower()
        return (
            address,
            proto if proto in ("http", "https") else scheme,
            host if FORWARDED_HOST.fullmatch(host) is not None else "",
        )

    def _walk(self, peer: str, hops: Sequence[str]) -> tuple[str, int]:
        """The first hop from the right that is not a trusted proxy, and its index; -1 is `peer` itself. Where a hop is
        not an address, the one right of it counts."""
        address: Address | None = None
        at = -1
        for index in range(len(hops) - 1, -1, -1):
            hop = _node(hops[index])
            if hop is None:
                break
            address, at = hop, index
            if not self._among(hop):
                break
        return peer if address is None else str(address), at


def _last(head: Head, name: str) -> str:
    """The last value of a list, which the proxy next to us has written; "" when there is none."""
    values = head.headers.getall(name, None)
    return values[-1].rpartition(",")[2].strip() if values else ""


def forwarding_fields(head: Head, peer: str, trusted: bool, scheme: str, host: str) -> bytes:
    """The X-Forwarded-* and Forwarded fields for the upstream, as lines. The chain of a `trusted` peer is continued."""
    peer_bytes = peer.encode("ascii")
    node = b'"[%s]"' % peer_bytes if b":" in peer_bytes else peer_bytes
    chain = head.chain + b", " + peer_bytes if trusted and head.chain else peer_bytes
    said = host.encode("ascii") if host else head.host
    element = b"for=%s;proto=%s" % (node, scheme.encode("ascii"))
    if head.host:
        element += b';host="%s"' % head.host.replace(b"\\", b"").replace(b'"', b"")
    forwarded = head.forwarded + b", " + element if trusted and head.forwarded else element
    lines = [
        b"X-Forwarded-For: ",
        chain,
        b"\r\nX-Forwarded-Proto: ",
        scheme.encode("ascii"),
        b"\r\nForwarded: ",
        forwarded,
        b"\r\n",
    ]
    if said:
        lines += (b"X-Forwarded-Host: ", said, b"\r\n")
    return b"".join(lines)
