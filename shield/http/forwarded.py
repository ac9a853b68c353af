"""Who the client is by the word of a trusted proxy, and what Shield tells the upstream (RFC 7239, X-Forwarded-*).

A chain of proxies is believed only when the peer itself is trusted, and only in the one field that the operator chose.
It is read from the right, past trusted hops: everything left of the first untrusted hop is the client's own words.

What comes of it is one `Story`, and all fields that the upstream gets are written from that: whichever of them a
service reads, and from whichever end, it is told the same.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from shield.http.client_fields import Tells, same_scheme, same_security, tells
from shield.http.grammar import (
    FORWARDED_HOST,
    FORWARDED_MARK,
    FORWARDED_PAIR,
    FORWARDED_PORT,
    HOST_PORT,
    QUOTED_PAIR,
    TOKEN,
)
from shield.http.head import Head
from shield.http.line_memory import LineMemory

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


Told = tuple[bytes, bytes, bytes]
"""What is told of the address by which the service is reached: the scheme, the end of each element of Forwarded, and
lines of its own."""


class Story(NamedTuple):
    """Who asks, and by which address of the service. `hops` are addresses, the client's first and that of Shield's own
    peer last; `kept` the other lines of a trusted proxy that tell the same, or more, each with its CRLF."""

    hops: Sequence[str]
    scheme: str
    host: str = ""  # as the proxy has told it; "": Host is what the client has asked for
    port: str = ""  # as the proxy has told it
    kept: Sequence[bytes] = ()


class Forwarding:
    """Which proxies are trusted, and in which field they name the client."""

    __slots__ = ("_hosts", "_loop", "_source", "_source_of", "_trusted", "mark")

    def __init__(
        self,
        trusted_proxies: Sequence[str],
        source: str,
        mark: bytes = b"",
        source_of: Callable[[bytes], str | None] | None = None,
    ) -> None:
        """`trusted_proxies`: addresses and networks; `source`: "x-forwarded-for", "forwarded" or "none"; `mark`: what
        CDN-Loop says of this Shield (RFC 8586), b"" for nothing. `source_of` gives the source for a host, in place of
        `source`; None where that is the same for all hosts."""
        self._trusted: list[Network] = [ipaddress.ip_network(text, strict=False) for text in trusted_proxies]
        self._source = source
        self._source_of = source_of
        self.mark = mark
        self._loop = b"CDN-Loop: %s\r\n" % mark if mark else b""
        self._hosts: dict[str, LineMemory[Told]] = {"http": LineMemory(), "https": LineMemory()}

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

    def resolve(self, peer: str, scheme: str, head: Head) -> Story:
        """What the trusted proxy `peer`, over a connection of this `scheme`, tells with `head`."""
        hops: list[str] = []
        proto = host = port = ""
        ours, others = _told(head) if head.told else (_NOTHING, ())
        source = self._source if self._source_of is None else self._source_of(head.host) or self._source
        if source == "forwarded":
            elements = parse_forwarded(head.forwarded.decode("latin-1")) if head.forwarded else []
            hops = self._walk([element.get("for", "") for element in elements])
            nearer = elements[len(elements) - len(hops) :]  # the client's, and those of the proxies that it came by
            proto = next((element["proto"] for element in nearer if "proto" in element), "")
            host = next((element["host"] for element in nearer if "host" in element), "")
        elif source == "x-forwarded-for":
            hops = self._walk(head.chain.decode("latin-1").split(",")[-MAX_HOPS:] if head.chain else [])
            proto = _value(ours.get(b"x-forwarded-proto"), len(hops))
            host = _value(ours.get(b"x-forwarded-host"), len(hops))
            port = _value(ours.get(b"x-forwarded-port"), len(hops))
        proto = proto.lower()
        if proto in ("http", "https"):
            scheme = proto
        if FORWARDED_HOST.fullmatch(host) is None:
            host = ""
        if FORWARDED_PORT.fullmatch(port) is None:
            port = ""
        hops.append(peer)
        kept: Sequence[bytes] = ()
        if others:
            asked = host or head.host.decode("latin-1")
            kept = [line for line, what, value in others if _fits(what, value, hops[0], scheme, asked)]
        return Story(hops, scheme, host, port, kept)

    def _walk(self, hops: Sequence[str]) -> list[str]:
        """The hops from the first one from the right that is not a trusted proxy. Where a hop is not an address, the
        one right of it is the first."""
        found: list[str] = []
        for text in reversed(hops):
            hop = _node(text)
            if hop is None:
                break
            found.append(str(hop))
            if not self._among(hop):
                break
        return found[::-1]

    def fields(self, head: Head, story: Story) -> bytes:
        """The fields about the client for the upstream, as lines, each with its CRLF."""
        host = story.host.encode("ascii") or head.host
        told = self._told_of(host, story.scheme, story.port)
        hops = [hop.encode("ascii") for hop in story.hops]
        forwarded = b", ".join([_element(hop, told) for hop in hops])
        written = _WRITTEN_FIELDS % (b", ".join(hops), told[0], forwarded, hops[0], told[2])
        return written + b"".join(story.kept) + self._loop

    def fields_of_own(self, head: Head, address: str, scheme: str) -> bytes:
        """The same for a client at `address` whose own connection it is."""
        told = self._hosts[scheme].known.get(head.host) or self._told_of(head.host, scheme, "")
        client = address.encode("ascii")
        return _WRITTEN_FIELDS % (client, told[0], _element(client, told), client, told[2]) + self._loop

    def _told_of(self, host: bytes, scheme: str, port: str) -> Told:
        """What is told of the address by which the service is reached. It is remembered, as most clients of a service
        ask for one host."""
        proto = scheme.encode("ascii")
        element, lines = b";proto=" + proto, b""
        if host:
            # Quoted only where it must be (RFC 7239 section 4): not every reader takes the quotes off.
            element += b";host=%s" % (host if TOKEN.fullmatch(host) is not None else b'"%s"' % host)
            told_port = _port_of(host) or port.encode("ascii") or _DEFAULT_PORT[scheme]
            lines = b"X-Forwarded-Host: %s\r\nX-Forwarded-Port: %s\r\n" % (host, told_port)
        if not port:
            self._hosts[scheme].remember(host, b"host", (proto, element, lines))
        return proto, element, lines


_WRITTEN_FIELDS: Final = b"X-Forwarded-For: %s\r\nX-Forwarded-Proto: %s\r\nForwarded: %s\r\nX-Real-IP: %s\r\n%s"


def _element(hop: bytes, told: Told) -> bytes:
    """The element of Forwarded for one hop."""
    return (b'for="[%s]"%s' if b":" in hop else b"for=%s%s") % (hop, told[1])


_DEFAULT_PORT: Final = {"http": b"80", "https": b"443"}


def _port_of(host: bytes) -> bytes:
    """The port that a Host names, b"" if it names none."""
    match = HOST_PORT.search(host)
    return match[1] if match is not None else b""


_NOTHING: Final[dict[bytes, bytes]] = {}


def _told(head: Head) -> tuple[dict[bytes, bytes], list[tuple[bytes, Tells, str]]]:
    """What a trusted proxy has told in other fields than the chains: those that Shield writes itself, by their names,
    and the lines of the others with what they tell and say."""
    ours: dict[bytes, bytes] = {}
    others: list[tuple[bytes, Tells, str]] = []
    for line in head.told:
        name, _, value = line.partition(b": ")
        name = name.lower()
        what = tells(name)
        if what is _WRITTEN:
            ours[name] = ours[name] + b"," + value if name in ours else value
        else:
            others.append((line, what, value.decode("latin-1").strip()))
    return ours, others


def _value(values: bytes | None, hops: int) -> str:
    """The one of a list that is for the client, `hops` from here; "" where there is no list. Where proxies do not add
    to it but write it anew, there is one value, which is that of the nearest."""
    if values is None:
        return ""
    parts = values.decode("latin-1").split(",")
    return (parts[-hops] if 0 < hops <= len(parts) else parts[-1]).strip()


_WRITTEN: Final = Tells.WRITTEN


def _fits(what: Tells, value: str, client: str, scheme: str, host: str) -> bool:
    """Whether a field that tells `what` may be passed on beside the story."""
    if what is Tells.MORE:
        return True
    if what is Tells.ADDRESS:
        return parse_node(value.partition(",")[0]) == client
    if what is Tells.SCHEME:
        return same_scheme(value, scheme)
    if what is Tells.SECURE:
        return same_security(value, scheme)
    if what is Tells.HOST:
        return value.lower() == host.lower()
    return False
