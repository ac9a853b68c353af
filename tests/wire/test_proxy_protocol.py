"""PROXY protocol headers, valid and not, whole and byte by byte. Sections are those of HAProxy's proxy-protocol.txt."""

from __future__ import annotations

import ipaddress
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.wire.proxy_protocol import LOCAL, MOST_V2, SIGNATURE, BadHeader, Ends, Header, read, write

V4 = Ends("192.0.2.1", 56324, "198.51.100.7", 443)
V6 = Ends("2001:db8::1", 65535, "2001:db8:ffff::2", 0)
V4_BYTES = socket.inet_aton(V4.source) + socket.inet_aton(V4.destination) + struct.pack(">HH", 56324, 443)
V6_BYTES = (
    socket.inet_pton(socket.AF_INET6, V6.source)
    + socket.inet_pton(socket.AF_INET6, V6.destination)
    + struct.pack(">HH", 65535, 0)
)


def v2(command: int, kind: int, rest: bytes = b"", size: int | None = None) -> bytes:
    return SIGNATURE + struct.pack(">BBH", command, kind, len(rest) if size is None else size) + rest


VALID: dict[str, tuple[bytes, Ends | None]] = {
    "2.1: TCP4": (b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n", V4),
    "2.1: TCP6": (b"PROXY TCP6 2001:db8::1 2001:DB8:ffff::2 65535 0\r\n", V6),
    "2.1: the longest TCP4 line": (
        b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
        Ends("255.255.255.255", 65535, "255.255.255.255", 65535),
    ),
    "2.1: the longest TCP6 line": (
        b"PROXY TCP6 " + b" ".join([b":".join([b"ffff"] * 8)] * 2) + b" 65535 65535\r\n",
        Ends(":".join(["ffff"] * 8), 65535, ":".join(["ffff"] * 8), 65535),
    ),
    "2.1: UNKNOWN, short": (b"PROXY UNKNOWN\r\n", None),
    "2.1: UNKNOWN, what follows is ignored": (b"PROXY UNKNOWN any thing\tat all\r\n", None),
    "2.1: UNKNOWN, the longest line of all": (
        b"PROXY UNKNOWN " + b" ".join([b":".join([b"ffff"] * 8)] * 2) + b" 65535 65535\r\n",
        None,
    ),
    "2.2: TCP over IPv4": (v2(0x21, 0x11, V4_BYTES), V4),
    "2.2: TCP over IPv6": (v2(0x21, 0x21, V6_BYTES), V6),
    "2.2: TLVs are skipped": (v2(0x21, 0x11, V4_BYTES + b"\x02\x00\x09a.example\x04\x00\x00"), V4),
    "2.2: so are TLVs of no form": (v2(0x21, 0x11, V4_BYTES + b"\xff\xff\xff"), V4),
    "2.2: as long as we take it": (v2(0x21, 0x11, V4_BYTES + bytes(MOST_V2 - 28)), V4),
    "2.2: LOCAL": (v2(0x20, 0x00), None),
    "2.2: LOCAL, its family and addresses are ignored": (v2(0x20, 0x11, V4_BYTES), None),
    "2.2: LOCAL, even a family that does not exist": (v2(0x20, 0xFF, b"x"), None),
    "2.2: UNSPEC": (v2(0x21, 0x00), None),
    "2.2: UNSPEC, what follows is ignored": (v2(0x21, 0x00, b"whatever"), None),
    "2.2: an address without a transport": (v2(0x21, 0x10, V4_BYTES), None),
    "2.2: UDP": (v2(0x21, 0x12, V4_BYTES), None),
    "2.2: UDP over IPv6": (v2(0x21, 0x22, V6_BYTES), None),
    "2.2: a unix socket": (v2(0x21, 0x31, bytes(216)), None),
    "our own, version 1": (LOCAL["v1"], None),
    "our own, version 2": (LOCAL["v2"], None),
}

INVALID: dict[str, bytes] = {
    "none at all": b"GET / HTTP/1.1\r\n",
    "a ClientHello": b"\x16\x03\x01\x02\x00\x01",
    "2.1: in small letters": b"proxy TCP4 192.0.2.1 198.51.100.7 1 2\r\n",
    "2.1: no space": b"PROXYTCP4 192.0.2.1 198.51.100.7 1 2\r\n",
    "2.1: two spaces": b"PROXY TCP4  192.0.2.1 198.51.100.7 1 2\r\n",
    "2.1: a space at the end": b"PROXY TCP4 192.0.2.1 198.51.100.7 1 2 \r\n",
    "2.1: a tab": b"PROXY TCP4\t192.0.2.1 198.51.100.7 1 2\r\n",
    "2.1: another protocol": b"PROXY UDP4 192.0.2.1 198.51.100.7 1 2\r\n",
    "2.1: UNKNOWN and more without a space": b"PROXY UNKNOWNX\r\n",
    "2.1: nothing": b"PROXY \r\n",
    "2.1: no ports": b"PROXY TCP4 192.0.2.1 198.51.100.7\r\n",
    "2.1: one port": b"PROXY TCP4 192.0.2.1 198.51.100.7 1\r\n",
    "2.1: a port too large": b"PROXY TCP4 192.0.2.1 198.51.100.7 65536 1\r\n",
    "2.1: a port much too large": b"PROXY TCP4 192.0.2.1 198.51.100.7 1 100000\r\n",
    "2.1: a negative port": b"PROXY TCP4 192.0.2.1 198.51.100.7 -1 1\r\n",
    "2.1: a port with a leading zero": b"PROXY TCP4 192.0.2.1 198.51.100.7 01 1\r\n",
    "2.1: an octet with a leading zero": b"PROXY TCP4 192.0.2.01 198.51.100.7 1 1\r\n",
    "2.1: an octet too large": b"PROXY TCP4 192.0.2.256 198.51.100.7 1 1\r\n",
    "2.1: three octets": b"PROXY TCP4 192.0.2 198.51.100.7 1 1\r\n",
    "2.1: IPv6 as TCP4": b"PROXY TCP4 2001:db8::1 2001:db8::2 1 1\r\n",
    "2.1: IPv4 as TCP6": b"PROXY TCP6 192.0.2.1 198.51.100.7 1 1\r\n",
    "2.1: two families": b"PROXY TCP6 2001:db8::1 198.51.100.7 1 1\r\n",
    "2.1: two double colons": b"PROXY TCP6 2001::db8::1 ::1 1 1\r\n",
    "2.1: a zone": b"PROXY TCP6 fe80::1%1 ::1 1 1\r\n",
    "2.1: brackets": b"PROXY TCP6 [2001:db8::1] [::1] 1 1\r\n",
    "2.1: a name": b"PROXY TCP4 localhost 198.51.100.7 1 1\r\n",
    "2.1: a LF alone": b"PROXY TCP4 192.0.2.1 198.51.100.7 1 1\n" + bytes(107),
    "2.1: a CR alone": b"PROXY TCP4 192.0.2.1 198.51.100.7 1 1\rX",
    "2.1: a LF within UNKNOWN": b"PROXY UNKNOWN a\nb\r\n",
    "2.1: 108 bytes": b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n",
    "2.1: no end": b"PROXY UNKNOWN " + b"x" * 200,
    "2.2: a signature that is not quite right": b"\r\n\r\n\0\r\nQUIX\n" + b"\x21\x11\x00\x0c" + V4_BYTES,
    "2.2: version 1": v2(0x11, 0x11, V4_BYTES),
    "2.2: version 3": v2(0x31, 0x11, V4_BYTES),
    "2.2: a command that does not exist": v2(0x22, 0x11, V4_BYTES),
    "2.2: a family that does not exist": v2(0x21, 0x41, bytes(300)),
    "2.2: a transport that does not exist": v2(0x21, 0x13, V4_BYTES),
    "2.2: too short for IPv4": v2(0x21, 0x11, V4_BYTES[:-1]),
    "2.2: too short for IPv6": v2(0x21, 0x21, V6_BYTES[:-1]),
    "2.2: too short for a unix socket": v2(0x21, 0x31, bytes(215)),
    "2.2: longer than we take it": v2(0x21, 0x11, V4_BYTES + bytes(MOST_V2 - 27)),
    "2.2: as long as can be said": v2(0x21, 0x11, size=0xFFFF),
}


@pytest.mark.parametrize(("data", "ends"), VALID.values(), ids=VALID)
@pytest.mark.parametrize("behind", [b"", b"GET / HTTP/1.1\r\n\r\n"], ids=["alone", "before a request"])
def test_a_header_is_read(data: bytes, ends: Ends | None, behind: bytes) -> None:
    assert read(data + behind) == Header(len(data), ends)


@pytest.mark.parametrize(("data", "ends"), VALID.values(), ids=VALID)
def test_a_header_that_comes_byte_by_byte_is_read(data: bytes, ends: Ends | None) -> None:
    for size in range(len(data)):
        needed = read(data[:size])
        assert isinstance(needed, int)
        assert size < needed <= len(data), "never waits for what may not come"
    assert read(data) == Header(len(data), ends)


@pytest.mark.parametrize("data", INVALID.values(), ids=INVALID)
def test_what_is_no_header_is_refused(data: bytes) -> None:
    with pytest.raises(BadHeader):
        read(data)


@pytest.mark.parametrize("data", INVALID.values(), ids=INVALID)
def test_what_is_no_header_is_refused_when_it_comes_byte_by_byte(data: bytes) -> None:
    with pytest.raises(BadHeader):
        grow(data)


def grow(data: bytes) -> None:
    """Read as much of `data` as there is, byte by byte, until it is refused or at its end."""
    for size in range(1, len(data) + 1):
        needed = read(data[:size])
        assert isinstance(needed, int)
        assert size < needed <= MOST_V2


@given(
    st.binary(max_size=300)
    | st.binary(max_size=130).map(lambda tail: b"PROXY " + tail)
    | st.binary(max_size=300).map(lambda tail: SIGNATURE + tail)
)
def test_any_bytes_are_a_header_or_too_few_or_refused(data: bytes) -> None:
    try:
        found = read(data)
    except BadHeader:
        return
    if isinstance(found, int):
        assert len(data) < found <= MOST_V2
    else:
        assert found.length <= len(data)


ports = st.integers(0, 65535)


@given(st.sampled_from(["v1", "v2"]), st.ip_addresses(), ports, st.ip_addresses(), ports)
def test_what_is_written_is_read_again(
    version: str, source: ipaddress.IPv4Address, source_port: int, destination: ipaddress.IPv4Address, port: int
) -> None:
    ends = Ends(str(source), source_port, str(destination), port)
    data = write(version, ends)  # type: ignore[arg-type]
    found = read(data)
    assert isinstance(found, Header)
    assert found.length == len(data)
    assert found.ends is not None
    assert (found.ends.source_port, found.ends.destination_port) == (source_port, port)
    for text, address in ((found.ends.source, source), (found.ends.destination, destination)):
        read_back = ipaddress.ip_address(text)
        assert read_back in (address, ipaddress.ip_address(f"::ffff:{address}") if address.version == 4 else address)


def test_two_families_become_one() -> None:
    for version in ("v1", "v2"):
        found = read(write(version, Ends("192.0.2.1", 1, "2001:db8::1", 2)))  # type: ignore[arg-type]
        assert isinstance(found, Header)
        assert found.ends == Ends("::ffff:192.0.2.1", 1, "2001:db8::1", 2)


def test_only_addresses_are_written() -> None:
    with pytest.raises(ValueError, match="not addresses"):
        write("v1", Ends("unknown", 1, "192.0.2.1", 2))
