"""Connections that hold what others need, for a few bytes: an upload or a reader at a pace, answers unread or long in
coming.

    upload   announces a body of 1 GB and sends it at the given pace
    reader   asks for a large file and takes it at the given pace
    unread   asks for a page, and reads nothing of the answer
    waiter   asks for what the service itself answers after 25 s

A connection that ends is opened again after a second, but for `opens` in a second at most, of all. Bounded in number
and time.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import itertools
import socket
import time
from collections.abc import Sequence
from typing import Any, Final

from bench.common.guard import Target

KINDS: Final = ("upload", "reader", "unread", "waiter")
BODY: Final = 1_000_000_000  # bytes that an upload announces
STEP: Final = {
    "upload": 0.25,
    "reader": 1.0,
    "unread": 1.0,
    "waiter": 0.25,
}  # seconds between two moves of a connection
AGAIN: Final = 1.0  # seconds until one that has ended is opened again
WINDOW: Final = 4096  # bytes of the buffer of one that reads little or nothing
PATHS: Final = {"upload": "/page/1", "reader": "/large", "unread": "/article", "waiter": "/wait"}
SEGMENT: Final = 1448  # bytes, as over Ethernet: with those of loopback the system takes 2.8 MB of an unread answer
ESTABLISHED: Final = 1  # linux/tcp_states.h


class Holders:
    """What the connections of one kind share. `pace` in bytes/s each; `opens` per second, of all."""

    def __init__(
        self, site: Target, kind: str, addresses: Sequence[str], connections: int, pace: float, opens: float
    ) -> None:
        self.site = site
        self.kind = kind
        self.addresses = addresses
        self.connections = connections
        self.pace = pace
        self.gap = 1.0 / opens if opens else 0.0
        self.next = 0.0  # monotonic time before which none is opened
        self.open = 0
        self.counts: collections.Counter[str] = collections.Counter()
        self.statuses: collections.Counter[str] = collections.Counter()
        self.first_byte: float | None = None

    async def run(self, starts: float, seconds: float) -> dict[str, Any]:
        """From the monotonic time `starts` on."""
        await asyncio.sleep(starts - time.monotonic())
        places = zip(range(self.connections), itertools.cycle(self.addresses), strict=False)
        tasks = [asyncio.create_task(self.again(address)) for _, address in places]
        await asyncio.sleep(seconds)
        self.counts["open_at_the_end"] = self.open
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return {"first_byte": self.first_byte, **self.counts, "statuses": dict(sorted(self.statuses.items()))}

    async def again(self, address: str) -> None:
        while True:
            self.next = max(self.next + self.gap, time.monotonic())
            await asyncio.sleep(self.next - time.monotonic())
            with contextlib.suppress(OSError):
                await self.one(address)
            await asyncio.sleep(AGAIN)

    async def one(self, address: str) -> None:
        """One connection until it ends. Raises OSError when it ends with a reset."""
        loop = asyncio.get_running_loop()
        with socket.socket() as line:
            line.setblocking(False)
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT)
            if self.kind != "upload":
                line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW)
            line.bind((address, 0))
            await loop.sock_connect(line, (self.site.host, self.site.port))
            self.first_byte = self.first_byte or time.monotonic()
            await loop.sock_sendall(line, self.head())
            self.counts["sent"] += 1
            self.open += 1
            try:
                await self.hold(line)
            finally:
                self.open -= 1
                self.counts["ended"] += 1

    def head(self) -> bytes:
        body = f"Content-Type: application/octet-stream\r\nContent-Length: {BODY}\r\n" if self.kind == "upload" else ""
        return (
            f"{'POST' if body else 'GET'} {PATHS[self.kind]} HTTP/1.1\r\nHost: {self.site.host}:{self.site.port}\r\n"
            f"User-Agent: Mozilla/5.0\r\nAccept: */*\r\nAccept-Language: en\r\n{body}\r\n"
        ).encode()

    async def hold(self, line: socket.socket) -> None:
        """Until the other side ends it or refuses, or answers an upload that has not finished, or a waiter."""
        status = ""
        step = STEP[self.kind]
        due = time.monotonic()
        while True:
            if self.kind != "unread" or not status:
                data = received(line, 12 if not status else round(self.pace * step))
                if data == b"":
                    return
                if data and not status:
                    status = data[9:12].decode("latin-1")
                    self.statuses[status] += 1
                    if self.kind in ("upload", "waiter") or status != "200":
                        return
            if not established(line):
                return
            if self.kind == "upload":
                with contextlib.suppress(BlockingIOError):  # it is not read
                    self.counts["bytes"] += line.send(bytes(round(self.pace * step)))
            due += step
            await asyncio.sleep(due - time.monotonic())


def established(line: socket.socket) -> bool:
    """Whether neither side has ended the connection, as far as the kernel knows: tcp_info begins with the state."""
    return line.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == ESTABLISHED


def received(line: socket.socket, most: int) -> bytes | None:
    """What is there, up to `most` bytes; nothing at the end, None when nothing is there yet."""
    try:
        return line.recv(most)
    except BlockingIOError:
        return None
