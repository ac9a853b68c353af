"""A download over a line of a given pace, as somebody with a slow line has it.

The system would take megabytes at once on loopback, so the buffer of the socket is small, and it is read no faster than
the line would be.
"""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Final

import httptools

from bench.common.guard import Target

BUFFER: Final = 65_536  # bytes that a line and its receiver hold
SEGMENT: Final = 1448  # bytes, as over Ethernet
READ: Final = 16_384
MOST_KEPT: Final = 262_144  # bytes of a body that somebody looks at


class Download:
    """One answer as far as it has come. `complete` when all of it has; `body` is its beginning."""

    def __init__(self) -> None:
        self.status = 0
        self.complete = False
        self.length = 0
        self.body = b""
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Raises OSError when it is no HTTP."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            raise OSError("no HTTP answer") from error

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        self.length += len(data)
        self.body += data[: MOST_KEPT - len(self.body)]

    def on_message_complete(self) -> None:
        self.complete = True


async def download(site: Target, address: str, request: bytes, pace: float) -> Download:
    """Ask from `address`, and read the answer at `pace` bytes/s. Raises OSError."""
    loop = asyncio.get_running_loop()
    found = Download()
    with socket.socket() as line:
        line.setblocking(False)
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT)
        line.bind((address, 0))
        await loop.sock_connect(line, (site.host, site.port))
        await loop.sock_sendall(line, request)
        began, read = 0.0, 0
        while not found.complete and (data := await loop.sock_recv(line, READ)):
            began = began or time.monotonic()
            read += len(data)
            found.feed(data)
            await asyncio.sleep(began + read / pace - time.monotonic())
    return found
