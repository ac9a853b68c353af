"""Clients that mean harm, for the soak: slow, silent, greedy or wrong, each over one connection.

They open more connections than there are places for, at a fixed rate and from 200 addresses in 127.16.0.0/16; half of
them leave with a reset. Each has 5 s at most.
"""

from __future__ import annotations

import asyncio
import collections
import random
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from typing import Final

from bench.common.guard import Target

RATE: Final = 120.0  # new connections a second
AT_ONCE: Final = 600  # connections; more than the soak's Shield has places for
ADDRESSES: Final = 200
LONGEST: Final = 5.0  # s

HEAD: Final = b"GET /page HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: flood\r\n"
LARGE: Final = HEAD.replace(b"/page", b"/large")
POST: Final = b"POST /page HTTP/1.1\r\nHost: a\r\n"
KILLER: Final = b"Range: bytes=0-" + b"".join(b",5-%d" % at for at in range(1000)) + b"\r\n"
MANY_FIELDS: Final = b"".join(b"X-%d: %d\r\n" % (number, number) for number in range(4000))
UPGRADE: Final = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
MALFORMED: Final = (
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET / HTTP/1.1\nHost: a\n\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
)

Way = Callable[[socket.socket, random.Random], Awaitable[None]]
"""A way to be a nuisance: is given a connected socket and dice, and may go on until it is cancelled."""


async def say(sock: socket.socket, data: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(sock, data)


async def hear(sock: socket.socket, most: int = 65_536) -> bytes:
    return await asyncio.get_running_loop().sock_recv(sock, most)


async def hear_all(sock: socket.socket) -> None:
    while await hear(sock):
        pass


async def drip(sock: socket.socket, first: bytes, piece: bytes, pause: float) -> None:
    """Say the first, then the piece again and again, with so many seconds between."""
    await say(sock, first)
    while True:
        await asyncio.sleep(pause)
        await say(sock, piece)


async def silent(sock: socket.socket, _: random.Random) -> None:
    await hear(sock, 1)


async def slow_head(sock: socket.socket, _: random.Random) -> None:
    await drip(sock, HEAD, b"X-a: b\r\n", 0.5)


async def slow_body(sock: socket.socket, _: random.Random) -> None:
    await drip(sock, POST + b"Content-Length: 100000\r\n\r\n", b"abcdefgh", 0.3)


async def slow_reader(sock: socket.socket, _: random.Random) -> None:
    await say(sock, LARGE + b"\r\n")
    while await hear(sock, 512):  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0.5)


async def pipeline(sock: socket.socket, _: random.Random) -> None:
    await say(sock, (HEAD + b"\r\n") * 500)
    await hear_all(sock)


async def once(sock: socket.socket, dice: random.Random) -> None:
    version = dice.choice([b"HTTP/1.0\r\n", b"HTTP/1.1\r\nConnection: close\r\n"])
    await say(sock, HEAD.replace(b"HTTP/1.1\r\n", version) + b"\r\n")
    await hear_all(sock)


async def ranges(sock: socket.socket, _: random.Random) -> None:
    await say(sock, LARGE + KILLER + b"\r\n")
    await hear_all(sock)


async def fields(sock: socket.socket, _: random.Random) -> None:
    await say(sock, HEAD + MANY_FIELDS)
    await hear(sock)


async def malformed(sock: socket.socket, dice: random.Random) -> None:
    await say(sock, dice.choice(MALFORMED))
    await hear(sock)


async def half_closed(sock: socket.socket, _: random.Random) -> None:
    await say(sock, HEAD.replace(b"/page", b"/slow") + b"\r\n")
    sock.shutdown(socket.SHUT_WR)
    await hear(sock)


async def upload(sock: socket.socket, _: random.Random) -> None:
    await say(sock, POST + b"Content-Length: 300000\r\n\r\n" + bytes(200_000))
    await hear(sock)


async def tunnel(sock: socket.socket, _: random.Random) -> None:
    await drip(sock, HEAD + UPGRADE + b"\r\n", b"x" * 100, 0.2)


WAYS: Final[tuple[Way, ...]] = (
    silent, slow_head, slow_body, slow_reader, pipeline, once, ranges, fields, malformed, half_closed, upload, tunnel,
)  # fmt: skip


class Hostile:
    """All of them. `attacks` counts connections by way."""

    def __init__(self, site: Target, dice: random.Random) -> None:
        self.site = site
        self.dice = dice
        self.attacks: collections.Counter[str] = collections.Counter()

    async def harass(self, until: float) -> None:
        """Open connections until the time has come, a monotonic one; then drop those that are left."""
        open_now: set[asyncio.Task[None]] = set()
        while time.monotonic() < until:
            await asyncio.sleep(self.dice.expovariate(RATE))
            if len(open_now) < AT_ONCE:
                task = asyncio.create_task(self.one(self.dice.choice(WAYS)))
                open_now.add(task)
                task.add_done_callback(open_now.discard)
        for task in open_now:
            task.cancel()
        await asyncio.gather(*open_now, return_exceptions=True)

    async def one(self, way: Way) -> None:
        """One connection, to its end."""
        number = self.dice.randrange(ADDRESSES)
        sock = socket.socket()
        sock.setblocking(False)
        self.attacks[getattr(way, "__name__", "")] += 1
        try:
            sock.bind((f"127.16.{number // 8}.{1 + number % 8}", 0))
            async with asyncio.timeout(self.dice.uniform(0.05, LONGEST)):
                await asyncio.get_running_loop().sock_connect(sock, (self.site.host, self.site.port))
                await way(sock, self.dice)
        except (OSError, TimeoutError):
            pass
        finally:
            if self.dice.random() < 0.5:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
