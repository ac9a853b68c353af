"""Writes databases in MaxMind's format, by its specification (version 2.0): small ones, for tests.

A binary search tree, 16 zero bytes, the data, and the metadata after its marker. IPv4 is in the
tree of IPv6, below ::/96.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final

MARKER: Final = b"\xab\xcd\xefMaxMind.com"
BUILT: Final = 1_700_000_000
STRING, UINT32, MAP, UINT64, ARRAY, UINT16 = 2, 6, 7, 9, 11, 5


def asn(number: int, name: str = "") -> dict[str, Any]:
    """A record of GeoLite2-ASN."""
    return {"autonomous_system_number": number, "autonomous_system_organization": name}


def country(code: str) -> dict[str, Any]:
    """A record of GeoLite2-Country, as far as it matters."""
    return {"country": {"iso_code": code, "names": {"en": f"Land {code}"}}}


def write(path: Path, kind: str, records: Mapping[str, Any], built: int = BUILT) -> Path:
    """Write a database that calls itself `kind`, with records by networks that do not overlap."""
    path.write_bytes(database(kind, records, built))
    return path


def database(kind: str, records: Mapping[str, Any], built: int = BUILT, size: int = 24) -> bytes:
    """The same as bytes, with tree records of `size` bits: 24, 28 or 32."""
    data, offsets = b"", []
    for record in records.values():
        offsets.append(len(data))
        data += _encode(record)
    nodes: list[list[Any]] = [[None, None]]
    for text, offset in zip(records, offsets, strict=True):
        network = ip_network(text)
        bits = int(network.network_address)
        length = network.prefixlen + (96 if network.version == 4 else 0)
        at = 0
        for depth in range(length):
            side = bits >> (127 - depth) & 1
            if depth == length - 1:
                nodes[at][side] = ("data", offset)
            elif nodes[at][side] is None:
                nodes.append([None, None])
                nodes[at][side] = len(nodes) - 1
                at = len(nodes) - 1
            else:
                at = nodes[at][side]
    count = len(nodes)
    tree = b""
    for node in nodes:
        left, right = (
            count if side is None else side if isinstance(side, int) else count + 16 + side[1] for side in node
        )
        if size == 28:
            middle = bytes([left >> 24 << 4 | right >> 24])
            tree += (left & 0xFFFFFF).to_bytes(3, "big") + middle + (right & 0xFFFFFF).to_bytes(3, "big")
        else:
            tree += left.to_bytes(size // 8, "big") + right.to_bytes(size // 8, "big")
    about = {
        "binary_format_major_version": (UINT16, 2),
        "binary_format_minor_version": (UINT16, 0),
        "build_epoch": (UINT64, built),
        "database_type": kind,
        "description": {"en": "a test's"},
        "ip_version": (UINT16, 6),
        "languages": ["en"],
        "node_count": count,
        "record_size": (UINT16, size),
    }
    return tree + b"\0" * 16 + data + MARKER + _encode(about)


def _encode(value: Any) -> bytes:
    match value:
        case str():
            text = value.encode()
            return _head(STRING, len(text)) + text
        case int():
            return _number(UINT32, value)
        case (int() as kind, int() as number):
            return _number(kind, number)
        case dict():
            parts = b"".join(_encode(key) + _encode(item) for key, item in value.items())
            return _head(MAP, len(value)) + parts
        case list():
            return _head(ARRAY, len(value)) + b"".join(map(_encode, value))
    raise TypeError(value)


def _number(kind: int, value: int) -> bytes:
    size = (value.bit_length() + 7) // 8
    return _head(kind, size) + value.to_bytes(size, "big")


def _head(kind: int, size: int) -> bytes:
    first, more = (size, b"") if size < 29 else (29, bytes([size - 29]))
    assert size < 29 + 256
    if kind > 7:
        return bytes([first, kind - 7]) + more
    return bytes([kind << 5 | first]) + more
