"""A server that falls over and gets up again, for the soak.

It counts how often each request came to it, by the id in X-Id. The answer to a request says the id, and holds what came
as its body, digested, or LARGE for /large. /slow takes up to 0.4 s. /events is an event stream without an end. After a
request for a WebSocket bytes come back.
"""

from __future__ import annotations

import asyncio
import collections
import hashlib
import random
from typing import Any, Final

import httptools

from bench.origins.small_origin import switching

LARGE: Final = bytes(range(256)) * 2048
EVENT_SECONDS: Final = 0.2
EVENTS: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)


class FallingOrigin:
    """A server that can fall over and get up again. `seen` counts ids, and is shared by all servers."""

    def __init__(self, port: int, seen: collections.Counter[str]) -> None:
        self.port = port
        self.seen = seen
        self.connections: set[Connection] = set()
        self.server: asyncio.Server | None = None

    async def rise(self) -> None:
        """Listen."""
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(lambda: Connection(self), "127.0.0.1", self.port, backlog=1024)

    async def fall(self) -> None:
        """Listen no more, and drop every connection."""
        if self.server is not None:
            self.server.close()
            self.server = None
        for connection in list(self.connections):
            connection.transport.abort()


class Connection(asyncio.Protocol):
    """One connection of a server."""

    def __init__(self, origin: FallingOrigin) -> None:
        self.origin = origin
        self.tunnel = False
        self.name = ""  # the id of the request
        self.url = b""
        self.fields: dict[bytes, bytes] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.parser = httptools.HttpRequestParser(self)
        self.origin.connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.origin.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        if self.tunnel:
            self.transport.write(data)
            return
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self.switch(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self.transport.abort()

    def on_message_begin(self) -> None:
        self.url, self.fields, self.digest = b"", {}, hashlib.sha256()

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields[name.lower()] = value

    def on_headers_complete(self) -> None:
        self.name = self.fields.get(b"x-id", b"").decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self.digest.update(body)

    def on_message_complete(self) -> None:
        if self.fields.get(b"upgrade") == b"websocket":
            return
        if self.name:
            self.origin.seen[self.name] += 1
        if self.url.startswith(b"/events"):
            self.transport.write(EVENTS)
            self.happen()
        elif self.url.startswith(b"/slow"):
            asyncio.get_running_loop().call_later(random.uniform(0.0, 0.4), self.answer)
        else:
            self.answer()

    def happen(self) -> None:
        """One event, and later the next."""
        if not self.transport.is_closing():
            self.transport.write(b"b\r\ndata: now\n\n\r\n")
            asyncio.get_running_loop().call_later(EVENT_SECONDS, self.happen)

    def answer(self) -> None:
        if self.transport.is_closing():
            return
        body = LARGE if self.url.startswith(b"/large") else self.digest.hexdigest().encode()
        head = (
            f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nCache-Control: private\r\nX-Id: {self.name}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        self.transport.write(head.encode() + body)

    def switch(self, rest: bytes) -> None:
        self.tunnel = True
        self.transport.write(switching(self.fields.get(b"sec-websocket-key", b"")) + rest)
