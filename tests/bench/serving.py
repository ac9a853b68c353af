"""What several tests of the bench have in common: small servers on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

from bench.common import guard
from bench.origins import capacity_origin, small_origin
from bench.peers.plan import Certificate

SMALL = small_origin.render(b"hello")
CLOSE = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@contextlib.asynccontextmanager
async def listening(
    protocol: Callable[[], asyncio.Protocol] = lambda: small_origin.Origin(SMALL), context: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def say(port: int, *pieces: bytes) -> bytes:
    """Everything that comes back until the other side closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    await writer.wait_closed()
    return answer


def server_context(made: Certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.chain, made.key)
    return context


@contextlib.asynccontextmanager
async def capacity() -> AsyncIterator[tuple[guard.Target, capacity_origin.Service]]:
    later = asyncio.get_running_loop().call_later
    service = capacity_origin.Service(4, 0.001, 64, 0.02, later)
    async with listening(lambda: capacity_origin.Connection(service)) as port:
        yield guard.Target("127.0.0.1", port), service


class Answering(asyncio.Protocol):
    """Answers whatever comes first, and closes. `heard` has all of it, with the address that it came from."""

    def __init__(self, answer: bytes, heard: list[tuple[str, bytes]] | None = None) -> None:
        self.answer = answer
        self.heard = [] if heard is None else heard

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self.heard.append((self.transport.get_extra_info("peername")[0], data))
        self.transport.write(self.answer)
        self.transport.close()
