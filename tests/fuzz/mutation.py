"""Inputs out of inputs: bytes changed, cut, doubled, joined with others. Seeded, so that a run can be repeated."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

WORDS: Final = (
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\0", b"\t", b" ", b":", b";", b",", b"=", b'"', b"\\", b"%", b"&", b"/",
    b"..", b"\xff", b"\x80", b"0", b"-1", b"+1", b"0x1", b"4294967296", b"18446744073709551616", b"1e400", b"NaN", b"[",
    b"{", b"null", b"true", b"_", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HEAD", b"POST", b"OPTIONS",
    b"Host: a\r\n",
    b"Content-Length: 0\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n",
    b"Upgrade: websocket\r\n", b"Expect: 100-continue\r\n", b"Trailer: x\r\n", b"0\r\n\r\n", b"5\r\nhello\r\n", b"::1",
    b"127.0.0.1", b"for=", b"proto=https", b"host=", b"shield_pass=", b"; ",
)  # fmt: skip


def mutated(seeds: Sequence[bytes], dice: random.Random, most: int = 4096) -> bytes:
    """A seed with one to eight changes, at most `most` bytes long."""
    data = bytearray(dice.choice(seeds))
    for _ in range(1 << dice.randrange(4)):
        at = dice.randrange(len(data) + 1)
        end = min(len(data), at + (1 << dice.randrange(6)))
        match dice.randrange(9):
            case 0 if data:
                data[dice.randrange(len(data))] = dice.randrange(256)
            case 1 if data:
                data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
            case 2:
                data[at:at] = dice.randbytes(dice.randrange(1, 5))
            case 3:
                del data[at:end]
            case 4:
                data[at:at] = data[at:end] * dice.choice((1, 1, 2, 40))
            case 5 | 6:
                data[at : dice.choice((at, end))] = dice.choice(WORDS)
            case 7:
                other = dice.choice(seeds)
                data[at:] = other[dice.randrange(len(other) + 1) :]
            case _:
                where = dice.randrange(len(data) + 1)
                data[where:where] = data[at:end]
    return bytes(data[:most])
