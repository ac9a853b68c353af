"""The PROXY protocol, versions 1 and 2: a header by which a load balancer says whose bytes follow.

It follows HAProxy's proxy-protocol.txt, whose sections are named where a rule comes from. Bytes in, a `Header` out, and
the other way round.

    read()     the header at the beginning of some bytes, or how many bytes it takes to know more
    write()    the header for a connection to an upstream
    LOCAL      how a connection of Shield's own begins, such as a health check

A sender may use either version. A receiver must not guess whether there is a header (section 2), so read() is called
only where there must be one.
"""

from __future__ import annotations

import re
import socket
import struct
from typing import Final, Literal, NamedTuple

MOST_V1: Final = 107
"""bytes. The longest line with its CRLF (section 2.1)."""
MOST_V2: Final = 4096
"""bytes. Header, addresses and TLVs. The largest TLVs in use carry the names in a client's certificate."""

SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
_V1: Final = b"PROXY "
_FIXED: Final = 16  # bytes of version 2 before the addresses (section 2.2)

# Version 1: "exactly one space", no leading zeros (section 2.1).
_PORT: Final = rb"(0|[1-9][0-9]{0,4})"
_LINE: Final = re.compile(rb"PROXY (TCP4|TCP6) ([0-9A-Fa-f.:]{2,39}) ([0-9A-Fa-f.:]{2,39}) " + _PORT + b" " + _PORT)
_UNKNOWN: Final = re.compile(rb"PROXY UNKNOWN(?: [^\r\n]*)?")
_FAMILY: Final = {b"TCP4": socket.AF_INET, b"TCP6": socket.AF_INET6}
_OCTETS: Final = re.compile(rb"(?:(?:0|[1-9][0-9]{0,2})\.){3}(?:0|[1-9][0-9]{0,2})")

# Version 2: bytes 13 and 14 (section 2.2).
_COMMAND_LOCAL, _COMMAND_PROXY = 0x20, 0x21
_TCP4, _TCP6 = 0x11, 0x21
_ADDRESS_BYTES: Final = {
    0x00: 0,  # unspecified; an unspecified half of a pair likewise
    _TCP4: 12,
    0x12: 12,  # UDP
    _TCP6: 36,
    0x22: 36,
    0x31: 216,  # unix
    0x32: 216,
}

LOCAL: Final = {"v1": b"PROXY UNKNOWN\r\n", "v2": SIGNATURE + bytes((_COMMAND_LOCAL, 0, 0, 0))}


class BadHeader(Exception):
    """The bytes do not begin with a PROXY protocol header; str() says why."""


class Ends(NamedTuple):
    """The addresses of both ends of a client's connection, as text. A port that is not known is 0."""

    source: str
    source_port: int
    destination: str
    destination_port: int


class Header(NamedTuple):
    """A whole header. `ends` is None when the connection is the sender's own or has no TCP addresses (LOCAL, UNKNOWN,
    UNSPEC, UDP, unix; sections 2.1, 2.2). Then the ends of the socket count."""

    length: int  # bytes
    ends: Ends | None


def read(data: bytes) -> Header | int:
    """The header at the beginning of `data`, or, when it is not whole, how many bytes it takes to read on.

    Raises BadHeader as soon as the bytes cannot become a header.
    """
    if not data:
        return 1
    if data[:12] == SIGNATURE[: len(data)]:
        return _read_v2(data) if len(data) >= _FIXED else _FIXED
    if data[:6] == _V1[: len(data)]:
        return _read_v1(data)
    raise BadHeader("no PROXY protocol header")


def _read_v1(data: bytes) -> Header | int:
    """One line of text (section 2.1)."""
    end = data.find(b"\r", 0, MOST_V1 - 1)
    if end < 0:
        if len(data) >= MOST_V1 - 1:
            raise BadHeader("a line of more than 107 bytes")
        return len(data) + 1
    if data[end + 1 : end + 2] != b"\n":
        if len(data) == end + 1:
            return end + 2
        raise BadHeader("a CR without its LF")
    line = data[:end]
    match = _LINE.fullmatch(line)
    if match is None:
        if _UNKNOWN.fullmatch(line) is None:
            raise BadHeader("not a line of version 1")
        return Header(end + 2, None)
    family, source, destination, source_port, destination_port = match.groups()
    return Header(
        end + 2,
        Ends(
            _from_text(_FAMILY[family], source),
            _port(source_port),
            _from_text(_FAMILY[family], destination),
            _port(destination_port),
        ),
    )


def _from_text(family: int, text: bytes) -> str:
    """In the usual notation; inet_pton() alone takes leading zeros on some systems."""
    if family == socket.AF_INET and _OCTETS.fullmatch(text) is None:
        raise BadHeader("not an IPv4 address")
    try:
        return socket.inet_ntop(family, socket.inet_pton(family, text.decode("ascii")))
    except OSError:
        raise BadHeader("not an address of this family") from None


def _port(text: bytes) -> int:
    port = int(text)
    if port > 65535:
        raise BadHeader("not a port")
    return port


def _read_v2(data: bytes) -> Header | int:
    """Sixteen bytes, addresses, TLVs (section 2.2). TLVs are skipped."""
    command, kind, size = struct.unpack_from(">BBH", data, len(SIGNATURE))
    if command not in (_COMMAND_LOCAL, _COMMAND_PROXY):
        raise BadHeader("a version or command that does not exist")
    length: int = _FIXED + size
    if length > MOST_V2:
        raise BadHeader("too long")
    if command == _COMMAND_PROXY:
        if kind >> 4 > 3 or kind & 15 > 2:
            raise BadHeader("a family or transport that does not exist")
        if size < _ADDRESS_BYTES.get(kind, 0):
            raise BadHeader("shorter than its addresses")
    if len(data) < length:
        return length
    if command == _COMMAND_PROXY and kind in (_TCP4, _TCP6):
        return Header(length, _from_bytes(data, socket.AF_INET if kind == _TCP4 else socket.AF_INET6))
    return Header(length, None)


def _from_bytes(data: bytes, family: int) -> Ends:
    size = 4 if family == socket.AF_INET else 16
    at = _FIXED + size
    source_port, destination_port = struct.unpack_from(">HH", data, at + size)
    return Ends(
        socket.inet_ntop(family, data[_FIXED:at]),
        source_port,
        socket.inet_ntop(family, data[at : at + size]),
        destination_port,
    )


def write(version: Literal["v1", "v2"], ends: Ends) -> bytes:
    """The header that says `ends`. A header has one family, so an IPv4 address beside an IPv6 address is written as
    ::ffff:a.b.c.d. Raises ValueError when one of them is no address."""
    source, destination = ends.source, ends.destination
    family, kind = socket.AF_INET, _TCP4
    if ":" in source or ":" in destination:
        family, kind = socket.AF_INET6, _TCP6
        source, destination = _mapped(source), _mapped(destination)
    try:
        packed = socket.inet_pton(family, source) + socket.inet_pton(family, destination)
    except OSError:
        raise ValueError(f"not addresses: {source}, {destination}") from None
    if version == "v1":
        name = "TCP4" if family == socket.AF_INET else "TCP6"
        return f"PROXY {name} {source} {destination} {ends.source_port} {ends.destination_port}\r\n".encode("ascii")
    packed += struct.pack(">HH", ends.source_port, ends.destination_port)
    return SIGNATURE + struct.pack(">BBH", _COMMAND_PROXY, kind, len(packed)) + packed


def _mapped(address: str) -> str:
    return address if ":" in address else f"::ffff:{address}"
