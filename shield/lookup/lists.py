"""Files of networks: lists of the operator's, and feeds.

A line is a network in CIDR notation or an address; what follows "#" or ";" is a comment. So Spamhaus DROP, FireHOL and
most feeds can be taken as they are. A line that begins with "{" is JSON with a "cidr", as Spamhaus has it; one that has
a "type" instead is about the file.

Bounded: MOST_BYTES, MOST_LINES. Larger than what one provider is given may be no network but such as are no client's
(multicast, reserved): a slip in a feed must not lock everybody out.
"""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from typing import Final

import orjson

from shield.files import UnusableError, open_file
from shield.policy.intervals import Intervals, Span
from shield.policy.rules.lockout import LEAST_PREFIX
from shield.policy.whereabouts import region_of

MOST_BYTES: Final = 64 << 20
MOST_LINES: Final = 1_000_000
SHOWN_CHARS: Final = 40
TURN_LINES: Final = 500
"""Lines that are read at a time, which takes 1 ms; then other threads get their turn."""

_PUBLIC: Final[dict[int, Span]] = {4: (0, (224 << 24) - 1), 6: (2 << 124, (4 << 124) - 1)}
"""The first and the last address that a client may have, by the version of IP: unicast of IPv4, and 2000::/3."""
_MAPPED: Final = b"\0" * 10 + b"\xff\xff"


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is no network: its `number` from 1, and `why`. `of`: how many such lines the file has."""

    number: int
    why: str
    of: int = 1

    def __str__(self) -> str:
        more = f", and {self.of - 1} more" if self.of > 1 else ""
        return f"line {self.number}: {self.why}{more}"


@dataclass(frozen=True, slots=True)
class NetworkList:
    """What is in a file. `empty`: it has no line at all, not even a comment."""

    networks: Intervals
    bad: BadLine | None
    empty: bool


def read(path: str) -> NetworkList:
    """Read a file of networks. OSError, UnusableError. 100,000 lines take 0.2 s, in which other threads go on."""
    with open_file(path, MOST_BYTES) as file:
        data = file.read(MOST_BYTES)
    lines = data.decode("utf-8", "replace").removeprefix("\ufeff").splitlines()
    if len(lines) > MOST_LINES:
        raise UnusableError(f"has more than {MOST_LINES} lines")
    v4: list[Span] = []
    v6: list[Span] = []
    first: tuple[int, str] | None = None
    wrong = 0
    for number, line in enumerate(lines, 1):
        if number % TURN_LINES == 0:
            time.sleep(0)
        try:
            found = _span(line)
        except ValueError as error:
            first = first or (number, str(error))
            wrong += 1
            continue
        if found is not None:
            (v4 if found[0] == 4 else v6).append(found[1])
    bad = None if first is None else BadLine(*first, wrong)
    return NetworkList(Intervals(v4, v6), bad, not data.strip())


def _span(line: str) -> tuple[int, Span] | None:
    """The version and the span of the network in a line; None where there is none. ValueError says what is wrong."""
    text = line.partition("#")[0].strip()
    text = _cidr(line) if text.startswith("{") else text.partition(";")[0].strip()
    if not text:
        return None
    address, slash, length = text.partition("/")
    try:
        packed = socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
    except (OSError, ValueError):  # ValueError: a NUL, or what is no ASCII
        if region := region_of(text):
            raise ValueError(f"{region} is no network: name it in identity.allow or identity.deny instead") from None
        raise ValueError(f'"{_shown(text)}" is no network') from None
    most = len(packed) * 8
    bits = most
    if slash:
        if not (length.isascii() and length.isdecimal() and len(length) <= 3 and int(length) <= most):
            raise ValueError(f'"{_shown(text)}" is no network')
        bits = int(length)
    if most == 128 and packed.startswith(_MAPPED) and bits >= 96:
        packed, most, bits = packed[12:], 32, bits - 96
    number, host = int.from_bytes(packed, "big"), (1 << (most - bits)) - 1
    if number & host:
        raise ValueError(f'"{_shown(text)}" has bits beyond its /{bits}')
    version = 4 if most == 32 else 6
    if bits < LEAST_PREFIX[version] and _is_public(version, number, number | host):
        raise ValueError(f'"{_shown(text)}" is larger than any provider\'s network')
    return version, (number, number | host)


def _is_public(version: int, first: int, last: int) -> bool:
    """Whether there may be clients between two addresses."""
    public = _PUBLIC[version]
    return first <= public[1] and last >= public[0]


def _cidr(line: str) -> str:
    """The network in a line of JSON; "" in one that tells of the file. ValueError."""
    try:
        said = orjson.loads(line)
    except orjson.JSONDecodeError:
        raise ValueError("is no JSON") from None
    found = said.get("cidr", "" if "type" in said else None)
    if not isinstance(found, str):
        raise ValueError('has no "cidr"')
    return found


def _shown(text: str) -> str:
    return text[:SHOWN_CHARS].encode("unicode_escape").decode("ascii")
