"""An origin with WebSockets, uploads, event streams and long polls: nothing is altered, cut or held back on the way."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import os
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import WSCloseCode, WSMsgType, web

LARGE = 20 << 20
PIECE = os.urandom(1 << 16)


class Origin:
    """What the test holds back until it has seen what must be there by then."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.asked = asyncio.Event()
        self.closed: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

    def app(self) -> web.Application:
        app = web.Application(client_max_size=2 * LARGE)
        app.router.add_get("/echo", self.echo)
        app.router.add_get("/bye", self.bye)
        app.router.add_route("*", "/upload", self.upload)
        app.router.add_get("/download", self.download)
        app.router.add_get("/events", self.events)
        app.router.add_get("/poll", self.poll)
        app.router.add_get("/zipped", self.zipped)
        return app

    async def echo(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=0, protocols=("chat",))
        await socket.prepare(request)
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await socket.send_str(message.data)
            elif message.type is WSMsgType.BINARY:
                await socket.send_bytes(message.data)
        self.closed.set_result(socket.close_code)
        return socket

    async def bye(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.close(code=4321, message=b"see you")
        return socket

    async def upload(self, request: web.Request) -> web.Response:
        digest, size = hashlib.sha256(), 0
        async for chunk in request.content.iter_any():
            digest.update(chunk)
            size += len(chunk)
        return web.json_response({"size": size, "sha256": digest.hexdigest(), "length": request.content_length})

    async def download(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        if "length" in request.query:
            response.content_length = LARGE
        await response.prepare(request)
        for _ in range(LARGE // len(PIECE)):
            await response.write(PIECE)
        return response

    async def events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for n in range(3):
            await response.write(b"data: %d\n\n" % n)
            await self.go_on.wait()
            self.go_on.clear()
        return response

    async def poll(self, _: web.Request) -> web.Response:
        self.asked.set()
        await self.go_on.wait()
        return web.Response(text="news")

    async def zipped(self, _: web.Request) -> web.Response:
        body = gzip.compress(b"many words " * 1000, mtime=0)
        return web.Response(body=body, content_type="text/plain", headers={"Content-Encoding": "gzip"})


@pytest.fixture
async def origin() -> Origin:
    return Origin()


@pytest.fixture(params=["http", "https"])
async def front(
    request: pytest.FixtureRequest,
    start: Callable[..., Any],
    serve: Callable[..., Awaitable[str]],
    origin: Origin,
    tls: Any,
) -> Any:
    """Shield before that origin, for clients with and without TLS: (Shield, scheme)."""
    certificates = [{"chain": tls.certificate, "key": tls.key}] if request.param == "https" else []
    return await start(
        tls={"certificates": certificates}, upstream={"servers": [await serve(origin.app())]}
    ), request.param


@pytest.fixture
async def session(tls: Any) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=tls.authority))
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=30)) as session:
        yield session


async def test_websocket_echoes_text_binary_and_large_messages_and_tells_close_codes(
    front: Any, session: aiohttp.ClientSession, origin: Origin
) -> None:
    shield, scheme = front
    async with session.ws_connect(shield.url("/echo", scheme), protocols=("chat",), max_msg_size=0) as socket:
        assert socket.protocol == "chat"
        await socket.send_str("grüß dich")
        assert await socket.receive_str() == "grüß dich"
        for size in (0, 125, 126, 65535, 65536, 4 << 20):
            data = os.urandom(size)
            await socket.send_bytes(data)
            assert await socket.receive_bytes() == data
        await socket.ping()
        status = await shield.until(lambda status: status["connections"]["tunnels"] == 1)
        assert status["in_flight"] == 0, "a WebSocket takes no slot once it is open"
        await socket.close(code=WSCloseCode.GOING_AWAY)
    async with asyncio.timeout(5):
        assert await origin.closed == WSCloseCode.GOING_AWAY
    async with session.ws_connect(shield.url("/bye", scheme)) as socket:
        message = await socket.receive()
        assert (message.type, message.data, message.extra) == (WSMsgType.CLOSE, 4321, "see you")
    await shield.until(lambda status: status["connections"]["tunnels"] == 0)
    await shield.logged("request", path="/bye", status=101)


async def test_uploads_and_downloads_of_20_mb_arrive_unaltered(front: Any, session: aiohttp.ClientSession) -> None:
    shield, scheme = front
    whole = PIECE * (LARGE // len(PIECE))
    wanted = hashlib.sha256(whole).hexdigest()

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(LARGE // len(PIECE)):
            yield PIECE

    async def up(method: str, data: Any, length: int | None) -> None:
        async with session.request(method, shield.url("/upload", scheme), data=data) as response:
            assert await response.json() == {"size": LARGE, "sha256": wanted, "length": length}

    async def down(query: str) -> None:
        digest = hashlib.sha256()
        async with session.get(shield.url("/download" + query, scheme)) as response:
            assert response.content_length == (LARGE if query else None)
            async for chunk in response.content.iter_any():
                digest.update(chunk)
        assert digest.hexdigest() == wanted

    before = shield.memory()
    await asyncio.gather(up("POST", io.BytesIO(whole), LARGE), up("PUT", pieces(), None), down(""), down("?length"))
    status = await shield.until(lambda status: status["in_flight"] == 0)
    assert status["requests"] == {"forward": {"ok": 4}}
    assert shield.memory("VmHWM") - before < 64 << 20, "what passes through is not kept"


async def test_events_arrive_one_by_one_before_the_response_ends(
    front: Any, session: aiohttp.ClientSession, origin: Origin
) -> None:
    shield, scheme = front
    async with session.get(shield.url("/events", scheme)) as response, asyncio.timeout(30):
        assert response.headers["Content-Type"] == "text/event-stream"
        for n in range(3):
            assert await response.content.readuntil(b"\n\n") == b"data: %d\n\n" % n
            status = await shield.status()
            assert status["in_flight"] == 0, "a stream takes no slot once its head is there"
            origin.go_on.set()
        assert await response.read() == b""


async def test_a_long_poll_is_answered_when_there_is_news(
    front: Any, session: aiohttp.ClientSession, origin: Origin
) -> None:
    shield, scheme = front
    poll = asyncio.ensure_future(session.get(shield.url("/poll", scheme)))
    async with asyncio.timeout(30):
        await origin.asked.wait()
        assert (await shield.status())["in_flight"] == 1
        assert not poll.done()
        origin.go_on.set()
        async with await poll as response:
            assert await response.text() == "news"


async def test_a_coded_body_stays_coded(front: Any, session: aiohttp.ClientSession) -> None:
    shield, scheme = front
    async with session.get(shield.url("/zipped", scheme), auto_decompress=False) as response:
        assert response.headers["Content-Encoding"] == "gzip"
        assert await response.read() == gzip.compress(b"many words " * 1000, mtime=0)


async def test_a_client_that_resets_frees_everything(front: Any, tls: Any, origin: Origin) -> None:
    shield, scheme = front
    context = ssl.create_default_context(cafile=tls.authority) if scheme == "https" else None
    async with asyncio.timeout(30):
        _, writer = await asyncio.open_connection("127.0.0.1", shield.port, ssl=context)
        writer.write(b"GET /poll HTTP/1.1\r\nHost: site\r\n\r\n")
        await origin.asked.wait()
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        status = await shield.until(lambda status: status["in_flight"] == 0)
        assert status["upstream"][0]["outstanding"] == 0
        await shield.logged("request", path="/poll", status=499)


async def test_a_half_closed_client_gets_its_answer(start: Any, serve: Any, origin: Origin) -> None:
    shield = await start(upstream={"servers": [await serve(origin.app())]})
    async with asyncio.timeout(30):
        reader, writer = await asyncio.open_connection("127.0.0.1", shield.port)
        writer.write(b"GET /poll HTTP/1.1\r\nHost: site\r\n\r\n")
        writer.write_eof()
        await origin.asked.wait()
        origin.go_on.set()
        assert (await reader.read()).endswith(b"\r\n\r\nnews")
        writer.close()
        await writer.wait_closed()
