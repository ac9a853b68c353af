"""Connections that are slow on purpose: to send a head, to send a body, to read an answer.

Each kind has a third of the connections and gives, or takes, a little each second, which holds a thread, a slot or a
buffer of whoever waits for it. A connection that is closed is opened again a second later. Bounded in number and time.
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

KINDS: Final = ("head", "body", "reader")
STEP: Final = 1.0  # seconds between two bits
BIT: Final = 600  # bytes of a body in a step; more than the 500 bytes/s that Shield and Apache ask for
WINDOW: Final = 4096  # bytes of a reader's buffer: it takes so much in a step, or twice that
BODY: Final = 1_000_000


class Drip:
    """What the slow connections share."""

    def __init__(self, site: Target, addresses: Sequence[str], connections: int) -> None:
        self.site = site
        self.addresses = addresses
        self.connections = connections
        self.counts: collections.Counter[str] = collections.Counter()
        self.first_byte: float | None = None
        self.statuses: collections.Counter[str] = collections.Counter()

    async def run(self, starts: float, seconds: float) -> dict[str, Any]:
        """From the monotonic time `starts` on."""
        await asyncio.sleep(starts - time.monotonic())
        places = zip(range(self.connections), itertools.cycle(KINDS), itertools.cycle(self.addresses), strict=False)
        tasks = [asyncio.create_task(self.again(kind, address)) for _, kind, address in places]
        await asyncio.sleep(seconds)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return {"first_byte": self.first_byte, **self.counts, "statuses": dict(sorted(self.statuses.items()))}

    async def again(self, kind: str, address: str) -> None:
        while True:
            with contextlib.suppress(OSError):
                await self.one(kind, address)
            await asyncio.sleep(STEP)

    async def one(self, kind: str, address: str) -> None:
        """One connection until it ends."""
        loop = asyncio.get_running_loop()
        line = socket.socket()
        line.setblocking(False)
        if kind == "reader":
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW)
        transport = None
        try:
            line.bind((address, 0))
            await loop.sock_connect(line, (self.site.host, self.site.port))
            transport, end = await loop.create_connection(lambda: End(self, kind), sock=line)
            self.counts["sent"] += 1
            self.counts[f"{kind}s"] += 1
            self.first_byte = self.first_byte or time.monotonic()
            transport.write(self.begin(kind))
            began = time.monotonic()
            while not end.ended:
                if kind == "reader":
                    transport.resume_reading()
                await asyncio.sleep(STEP)
                if kind != "reader":
                    transport.write(b"x: y\r\n" if kind == "head" else b"." * BIT)
            self.counts[f"{kind}s_ended"] += 1
            self.counts[f"{kind}s_seconds"] += round(time.monotonic() - began)
        finally:
            if transport is not None:
                transport.abort()
            line.close()

    def begin(self, kind: str) -> bytes:
        start = {
            "head": "GET / HTTP/1.1\r\n",
            "body": f"POST /page/1 HTTP/1.1\r\nContent-Type: text/plain\r\nContent-Length: {BODY}\r\n",
            "reader": "GET /large HTTP/1.1\r\n",
        }[kind]
        end = "" if kind == "head" else "\r\n"
        return f"{start}Host: {self.site.host}:{self.site.port}\r\nUser-Agent: Mozilla/5.0\r\n{end}".encode()


class End(asyncio.Protocol):
    """Our end of a slow connection. A reader stops reading after each read, and goes on in its next step."""

    def __init__(self, drip: Drip, kind: str) -> None:
        self.drip = drip
        self.kind = kind
        self.ended = False  # by the other side, or because it has answered what was not to be answered yet
        self.status = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        if not self.status:
            self.status = data[9:12].decode("latin-1")
            self.drip.statuses[self.status] += 1
        if self.kind == "reader" and self.status == "200":
            self.transport.pause_reading()
        else:
            self.ended = True

    def connection_lost(self, error: Exception | None) -> None:
        self.ended = True
