"""The service behind the proxies in the throughput runs: as cheap as a Python origin can be.

    GET /          a fixed small response (`--size` bytes of body)
    GET /bytes/N   N bytes of body, at most 128 MiB
    GET /echo      a WebSocket that sends each message back
    POST anything  the body is read and dropped; the fixed response

It must never be what is measured, so a small GET that arrives in one read is answered without parsing. Everything
else goes through httptools. Run pinned to its own core; several may share a port (SO_REUSEPORT).
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import functools
import gc
import hashlib
import re
from typing import Final

import httptools
import uvloop

from bench.common.guard import bounded, loopback

MOST_BYTES: Final = 128 << 20

KEY: Final = re.compile(rb"\r\nsec-websocket-key:[ \t]*([^\s]+)", re.IGNORECASE)
MAGIC: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
MESSAGES: Final = (0x81, 0x82)  # final frames of text and of bytes


def render(body: bytes, kind: bytes = b"text/plain; charset=utf-8") -> bytes:
    """A 200 with the fields that an application server usually sends."""
    return (
        b"HTTP/1.1 200 OK\r\nServer: origin\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Type: " + kind + b"\r\n"
        b"Cache-Control: max-age=60\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    )


@functools.lru_cache(maxsize=4)
def large(size: int) -> bytes:
    """Kept, so that a download costs no allocation. At most 4 sizes of at most 128 MiB."""
    return render(bytes(size), b"application/octet-stream")


def accepted(head: bytes) -> bytes:
    """The answer to a request for a WebSocket, or one that refuses it."""
    key = KEY.search(head)
    if key is None:
        return b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    return switching(key[1])


def switching(key: bytes) -> bytes:
    """The head that agrees to a WebSocket (RFC 6455, section 4.2.2)."""
    digest = base64.b64encode(hashlib.sha1(key + MAGIC, usedforsecurity=False).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + digest + b"\r\n\r\n"
    )


class Echo(asyncio.Protocol):
    """A WebSocket after its handshake. Messages of one frame of at most 125 bytes; anything else ends it."""

    __slots__ = ("buffer", "transport")

    def __init__(self, transport: asyncio.WriteTransport) -> None:
        self.transport = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        data = self.buffer + data
        answers = []
        while len(data) > 1 and len(data) >= (end := 6 + (data[1] & 0x7F)):
            if data[0] not in MESSAGES or not 0x80 <= data[1] <= 0xFD:  # masked, and its size in one byte
                self.transport.close()
                return
            size = end - 6
            mask = int.from_bytes((data[2:6] * (size // 4 + 1))[:size])
            answers.append(data[:1] + bytes((size,)) + (int.from_bytes(data[6:end]) ^ mask).to_bytes(size))
            data = data[end:]
        self.buffer = data
        if answers:
            self.transport.write(b"".join(answers))


class Origin(asyncio.Protocol):
    """One connection of a proxy."""

    __slots__ = ("parser", "small", "transport", "url")

    def __init__(self, small: bytes) -> None:
        self.small = small
        self.parser: httptools.HttpRequestParser | None = None
        self.url = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if (
            self.parser is None
            and data.startswith(b"GET / ")
            and data.endswith(b"\r\n\r\n")
            and data.count(b"\r\n\r\n") == 1
        ):
            self.transport.write(self.small)
            if b"\nConnection: close\r" in data:
                self.transport.close()
            return
        if self.parser is None and data.startswith(b"GET /echo ") and data.endswith(b"\r\n\r\n"):
            answer = accepted(data)
            self.transport.write(answer)
            if answer.startswith(b"HTTP/1.1 101 "):
                self.transport.set_protocol(Echo(self.transport))
            else:
                self.transport.close()
            return
        if self.parser is None:
            self.parser = httptools.HttpRequestParser(self)
        try:
            self.parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):  # an upgrade comes in one read
            self.transport.abort()

    # httptools' callbacks

    def on_message_begin(self) -> None:
        self.url = b""

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_message_complete(self) -> None:
        assert self.parser is not None
        answer = self.small
        if self.url.startswith(b"/bytes/"):
            digits = self.url[7:]
            size = int(digits) if digits.isdigit() and len(digits) < 10 else 0
            answer = large(min(size, MOST_BYTES))
        if self.parser.get_method() == b"HEAD":
            answer = answer[: answer.index(b"\r\n\r\n") + 4]
        self.transport.write(answer)
        if not self.parser.should_keep_alive():
            self.transport.close()


async def serve(host: str, port: int, size: int) -> None:
    loop = asyncio.get_running_loop()
    small = render(b"x" * size)
    server = await loop.create_server(lambda: Origin(small), host, port, backlog=4096, reuse_port=True)
    gc.collect()
    gc.freeze()
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.origins.small_origin", description="The origin of the throughput runs."
    )
    parser.add_argument("--host", type=loopback, default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--size", type=bounded(int, 0, 65_536), default=500, help="bytes of body")
    arguments = parser.parse_args()
    uvloop.run(serve(arguments.host, arguments.port, arguments.size))


if __name__ == "__main__":
    main()
