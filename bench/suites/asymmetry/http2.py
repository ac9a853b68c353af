"""What is sent over HTTP/2: frames, and heads that HPACK makes small (RFC 7541).

Every read is answered before the next one comes, so one connection brings many requests. The preface and SETTINGS came
before, unless they are what is measured.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bench.load.plan import BROWSER_FIELDS

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 8, 9
END_STREAM, ACK, END_HEADERS = 1, 1, 4
GET, POST, HTTP, ROOT = b"\x82", b"\x83", b"\x86", b"\x84"
"""Fields of HPACK's static table."""
FIRST: Final = 62
"""The number of the youngest entry of HPACK's dynamic table."""


@dataclass(frozen=True, slots=True)
class Frames:
    """`reads` of one connection, which bring so many `requests`; `before` comes first and is not measured."""

    reads: tuple[bytes, ...]
    before: tuple[bytes, ...] = ()
    requests: int = 0

    @property
    def size(self) -> int:
        """bytes of what is measured."""
        return sum(map(len, self.reads))

    @property
    def units(self) -> int:
        """Requests or reads, whichever are more."""
        return max(self.requests, len(self.reads))


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def number(value: int, prefix: int, bits: int) -> bytes:
    """An integer (RFC 7541 section 5.1) behind `prefix`, which leaves so many `bits`."""
    most = (1 << bits) - 1
    if value < most:
        return bytes((prefix | value,))
    value, coded = value - most, bytes((prefix | most,))
    while value >= 128:
        value, coded = value >> 7, coded + bytes((value & 127 | 128,))
    return coded + bytes((value,))


def text(data: bytes) -> bytes:
    return number(len(data), 0, 7) + data


def literal(name: bytes, value: bytes) -> bytes:
    """A field that is not remembered."""
    return b"\x00" + text(name) + text(value)


def kept(name: bytes, value: bytes) -> bytes:
    """A field that goes to the dynamic table."""
    return b"\x40" + text(name) + text(value)


def by_number(entry: int) -> bytes:
    """The field in this place of the dynamic table, the youngest being 0."""
    return number(FIRST + entry, 0x80, 7)


def head(stream: int, *coded: bytes, flags: int = END_STREAM | END_HEADERS, method: bytes = GET) -> bytes:
    return frame(HEADERS, flags, stream, method + HTTP + ROOT + b"".join(coded))


def settings(*pairs: tuple[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *pair) for pair in pairs))


PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
BEGIN: Final = PREFACE + settings() + frame(SETTINGS, ACK, 0)
HOST: Final = (b":authority", b"localhost:8080")
BROWSER: Final = [
    (name.lower(), value)
    for name, _, value in (line.partition(b": ") for line in BROWSER_FIELDS.encode().split(b"\r\n")[:-1])
]
MANY: Final = 98


def again(fields: Sequence[tuple[bytes, bytes]], times: int, each: Callable[[int], bytes]) -> Frames:
    """A request puts `fields` into the table; `times` others say no more than `each` has, by their number."""
    first = head(1, kept(*HOST), *(kept(*pair) for pair in fields))
    return Frames(tuple(head(3 + 2 * turn, each(turn)) for turn in range(times)), (BEGIN, first), times)


def whole(count: int) -> bytes:
    """Host, and the fields in so many places."""
    return b"".join(by_number(place) for place in range(count - 1, -1, -1))


SHORT: Final = [(b"%x" % (at + 160), b"") for at in range(MANY)]
CRUMBS: Final = [(b"cookie", b"%x" % at) for at in range(80)]


def varied(fields: Sequence[tuple[bytes, bytes]], times: int = 40) -> Frames:
    """All of `fields` by number, in requests of which none has what the one before had."""
    return again(fields, times, lambda turn: whole(len(fields) + 1) + literal(b"x", b"%d" % turn))


FRAMES: Final[Mapping[str, Frames]] = {
    "HTTP/2: a connection": Frames((BEGIN,)),
    "HTTP/2: an ordinary GET, the first": Frames(
        (head(1, literal(*HOST), *(literal(*pair) for pair in BROWSER)),), (BEGIN,), 1
    ),
    "HTTP/2: ordinary GETs": again(BROWSER, 40, lambda _: whole(len(BROWSER) + 1)),
    "HTTP/2: ordinary GETs that differ": varied(BROWSER),
    "HTTP/2: a GET, a byte at a time": Frames(
        tuple(bytes((byte,)) for byte in head(1, literal(*HOST), *(literal(*pair) for pair in BROWSER))), (BEGIN,), 1
    ),
    "HTTP/2: the least GETs": again((), 40, lambda _: by_number(0)),
    "HTTP/2: short fields by number": varied(SHORT),
    "HTTP/2: one short field, again and again": again(
        [(b"a", b"")], 40, lambda turn: by_number(1) + by_number(0) * 97 + literal(b"x", b"%d" % turn)
    ),
    "HTTP/2: cookies by number": varied(CRUMBS),
    "HTTP/2: a long field by number": again(
        [(b"a", b"y" * 3900)], 40, lambda turn: by_number(1) + by_number(0) * 8 + literal(b"x", b"%d" % turn)
    ),
    "HTTP/2: a long cookie by number": again(
        [(b"cookie", b"a;" * 1950)], 40, lambda turn: by_number(1) + by_number(0) * 8 + literal(b"x", b"%d" % turn)
    ),
    "HTTP/2: heads too large by number": again(
        [(b"a", b"y" * 3900)], 40, lambda turn: by_number(1) + by_number(0) * 16 + literal(b"x", b"%d" % turn)
    ),
    "HTTP/2: fields of Connection": again([(b"connection", b"a")], 20, lambda turn: by_number(1) + by_number(0) * 97),
    "HTTP/2: requests that are cancelled": Frames(
        tuple(
            head(1 + 2 * turn, literal(*HOST)) + frame(RST_STREAM, 0, 1 + 2 * turn, struct.pack(">I", 8))
            for turn in range(40)
        ),
        (BEGIN,),
        40,
    ),
    "HTTP/2: streams that break the protocol": Frames(
        tuple(frame(HEADERS, 5, 1 + 2 * turn, GET + HTTP) for turn in range(40)), (BEGIN,)
    ),
    "HTTP/2: SETTINGS": Frames((settings() * 900,), (BEGIN,)),
    "HTTP/2: SETTINGS, each in a read": Frames((settings(),) * 200, (BEGIN,)),
    "HTTP/2: SETTINGS of the window": Frames((settings((4, 1), (4, 2), (4, 3)) * 300,), (BEGIN,)),
    "HTTP/2: SETTINGS of the table": Frames((settings((1, 0), (1, 4096)) * 300,), (BEGIN,)),
    "HTTP/2: PING": Frames((frame(PING, 0, 0, bytes(8)) * 900,), (BEGIN,)),
    "HTTP/2: PING, each in a read": Frames((frame(PING, 0, 0, bytes(8)),) * 200, (BEGIN,)),
    "HTTP/2: windows": Frames((frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1") * 900,), (BEGIN,)),
    "HTTP/2: PRIORITY": Frames((frame(PRIORITY, 0, 3, bytes(5)) * 4000,), (BEGIN,)),
    "HTTP/2: unknown frames": Frames((frame(0xFA, 0, 0) * 6000,), (BEGIN,)),
    "HTTP/2: DATA of a byte": Frames(
        (frame(DATA, 0, 1, b"x") * 2000,),
        (BEGIN, head(1, literal(*HOST), flags=END_HEADERS, method=POST)),
        1,
    ),
    "HTTP/2: DATA of a byte, each in a read": Frames(
        (frame(DATA, 0, 1, b"x"),) * 200,
        (BEGIN, head(1, literal(*HOST), flags=END_HEADERS, method=POST)),
        1,
    ),
    "HTTP/2: empty DATA": Frames(
        (frame(DATA, 0, 1) * 900,),
        (BEGIN, head(1, literal(*HOST), flags=END_HEADERS, method=POST)),
    ),
}
