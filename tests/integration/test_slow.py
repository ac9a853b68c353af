"""Connections that take Shield's time and space: what each pins, and that people are served meanwhile.

Bounded: a few hundred connections each, on loopback.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import aiohttp
import pytest
from aiohttp import web

from tests.integration.conftest import environment

Client = Callable[..., aiohttp.ClientSession]

MANY: Final = 500
KIB: Final = 1024
EVERYBODY: Final = {"allow": ["127.0.0.0/8"]}  # what is measured here is not the limits of requests
FIELDS: Final = "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\nAccept: */*\r\n"
KEY: Final = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"


class Site:
    """An origin that answers, or hangs, or sends much."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.ranges: list[str | None] = []

    def app(self) -> web.Application:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/now", self.now)
        app.router.add_route("*", "/hang", self.hang)
        app.router.add_get("/large", self.large)
        app.router.add_get("/socket", self.socket)
        return app

    async def now(self, request: web.Request) -> web.Response:
        self.ranges.append(request.headers.get("Range"))
        return web.Response(text="now")

    async def hang(self, _: web.Request) -> web.Response:
        await self.go_on.wait()
        return web.Response(text="at last")

    async def large(self, _: web.Request) -> web.Response:
        return web.Response(body=bytes(8 << 20))

    async def socket(self, request: web.Request) -> web.WebSocketResponse:
        response = web.WebSocketResponse()
        await response.prepare(request)
        async for _ in response:
            pass
        return response


@pytest.fixture
async def site(serve: Callable[..., Awaitable[str]]) -> AsyncIterator[tuple[Site, str]]:
    one = Site()
    yield one, await serve(one.app())
    one.go_on.set()


@contextlib.asynccontextmanager
async def connections(
    shield: Any, number: int, first: bytes = b"", addresses: str = "127.20.{}.1", buffer: int = 0
) -> AsyncIterator[list[socket.socket]]:
    """So many connections that have said `first`, each from a network of its own unless `addresses` says otherwise."""
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as stack:
        found = []
        for count in range(number):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            if buffer:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            sock.bind((addresses.format(count % 250), 0))
            await loop.sock_connect(sock, ("127.0.0.1", shield.port))
            with contextlib.suppress(ConnectionError):
                await loop.sock_sendall(sock, first)
            found.append(sock)
        yield found


def request(path: str = "/now", *lines: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: site", FIELDS.rstrip(), *lines, "", ""]).encode()


PHASES: Final = {
    # what is said, and the most bytes that a connection may then take
    "silent": (b"", 3 * KIB),
    "head": (request()[:-2], 4 * KIB),
    "whole-head": (request()[:-2] + b"X: " + b"x" * 32_000, 40 * KIB),
    "idle": (request(), 12 * KIB),
    "body": (request("/now", "Content-Length: 1000000", method="POST") + bytes(60_000), 80 * KIB),
    "chunks": (
        request("/now", "Transfer-Encoding: chunked", method="POST") + b"1\r\nx\r\n" * 8_000,
        600 * KIB,
    ),
    "exchange": (request("/hang"), 24 * KIB),
    "pipelined": (request("/hang") + request() * 200, 120 * KIB),
    "tunnel": (request("/socket", *KEY.split("\r\n")[:-1]), 24 * KIB),
}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("phase", PHASES)
async def test_what_a_connection_pins(phase: str, start: Callable[..., Any], site: tuple[Site, str]) -> None:
    said, most = PHASES[phase]
    one, origin = site
    shield = await start(
        upstream={"servers": [origin], "max_concurrency": 4 * MANY, "keep_alive_connections": 10},
        concurrency={"adaptive": False},
        timeouts={"header": 60, "progress": 60},
        identity=EVERYBODY,
    )
    async with connections(shield, 20, request()):
        await shield.until(lambda status: status["connections"]["open"] >= 20)
    await shield.until(lambda status: status["connections"]["open"] <= 1)
    before, files = shield.memory(), shield.files()
    async with connections(shield, MANY, said):
        await shield.until(
            lambda status: status["connections"]["open"] >= MANY and status["bytes"]["in"] >= MANY * len(said) * 0.95
        )
        took = (shield.memory() - before) / MANY
        print(f"{phase}: {took:.0f} bytes for each of {MANY}, {len(said)} of them said")
        assert took <= most
    one.go_on.set()  # who has closed its half may still wait for its answer
    await shield.until(lambda status: status["connections"]["open"] <= 1)
    await shield.until(lambda status: shield.files() - status["upstream"][0]["idle"] <= files)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_slow_readers_pin_no_more_than_their_budget(start: Callable[..., Any], site: tuple[Site, str]) -> None:
    _, origin = site
    shield = await start(
        upstream={"servers": [origin], "max_concurrency": 50},
        concurrency={"adaptive": False},
        http={"response_buffers_bytes": 32 << 20},
        identity=EVERYBODY,
    )
    before = shield.memory()
    async with connections(shield, 100, request("/large"), buffer=4096):
        await shield.until(lambda status: status["connections"]["streams"] >= 10)
        assert shield.memory("VmHWM") - before < 96 << 20, (
            "the budget, a read and a buffer of each, and what malloc keeps"
        )


async def get(session: aiohttp.ClientSession, shield: Any, path: str = "/now") -> int:
    async with session.get(shield.url(path)) as response:
        await response.read()
        return response.status


async def test_one_address_cannot_take_all_connections(
    start: Callable[..., Any], site: tuple[Site, str], client: Client
) -> None:
    shield = await start(upstream={"servers": [site[1]]}, listen={"max_connections": 200}, timeouts={"header": 60})
    async with connections(shield, 400, request()[:-2], addresses="127.20.0.1"):
        await shield.until(lambda status: status["connections"]["closed"].get("displaced_address", 0) >= 350)
        await shield.until(lambda status: status["connections"]["open"] <= 52)  # a quarter, when all have gone
        assert await get(client("127.2.0.1"), shield) == 200
        assert await get(client("127.20.0.2"), shield) == 200, "its neighbours are served, too"
        told = await shield.logged("connections_displaced", reason="displaced_address")
        assert told["at"] == "127.20.0.1"


async def test_silent_connections_from_everywhere_keep_nobody_out(
    start: Callable[..., Any], site: tuple[Site, str], client: Client
) -> None:
    shield = await start(
        upstream={"servers": [site[1]]},
        listen={"max_connections": 200},
        timeouts={"header": 60},
        history={"window": 0.1},
    )
    regular = client("127.2.0.1")
    for _ in range(3):
        assert await get(regular, shield) == 200
        await asyncio.sleep(0.12)
    async with connections(shield, 600, request()[:-2]):
        await shield.until(lambda status: status["connections"]["closed"].get("displaced", 0) >= 400)
        opened = (await shield.status())["connections"]["total"]
        assert await get(regular, shield) == 200
        assert (await shield.status())["connections"]["total"] <= opened + 2, "its idle connection was kept for it"
        assert await get(client("127.2.0.2"), shield) == 200
        assert not shield.seen("accepting_paused")


async def test_a_flood_of_fields_is_refused_before_it_is_kept(
    start: Callable[..., Any], site: tuple[Site, str], client: Client
) -> None:
    shield = await start(upstream={"servers": [site[1]]}, identity=EVERYBODY)
    many = request()[:-2] + b"".join(b"X-%d: %d\r\n" % (n, n) for n in range(6000)) + b"\r\n"
    few_long = request()[:-2] + b"Cookie: " + b"a" * 200_000 + b"\r\n\r\n"
    before = shield.memory()
    for flood in (many, few_long, many[:1900] + b"\r\n" + request()):
        async with connections(shield, 100, flood) as sockets:
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(30):
                answer = await loop.sock_recv(sockets[-1], 65_536)
            assert answer.startswith(b"HTTP/1.1 431 ")
    assert await get(client(), shield) == 200
    await shield.until(lambda status: status["connections"]["open"] <= 2)
    assert shield.memory() - before < 16 << 20


async def test_a_thousand_pipelined_requests_are_charged_and_answered_in_order(
    start: Callable[..., Any], site: tuple[Site, str], client: Client
) -> None:
    shield = await start(upstream={"servers": [site[1]]}, limits={"client": {"rate": 1, "burst": 10}})
    loop = asyncio.get_running_loop()
    async with connections(shield, 5, request() * 400) as sockets:
        for sock in sockets:
            got = b""
            async with asyncio.timeout(20):
                while got.count(b"HTTP/1.1 ") < 400:
                    got += await loop.sock_recv(sock, 65_536)
            assert got.count(b"HTTP/1.1 429 ") >= 300
            assert await get(client("127.2.0.1"), shield) == 200


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.1"])
async def test_a_flood_of_connections_that_ask_once_leaves_nothing(
    version: str, start: Callable[..., Any], site: tuple[Site, str], client: Client
) -> None:
    shield = await start(
        upstream={"servers": [site[1]], "keep_alive_connections": 5},
        limits={"client": {"rate": 1, "burst": 10}},
        drops={"enabled": False},  # else the kernel takes the end of the flood
    )
    once = request("/now", "Connection: close").replace(b"HTTP/1.1", version.encode())
    assert await get(client(), shield) == 200
    files = shield.files()
    for _ in range(3):
        async with connections(shield, MANY, once, addresses="127.21.0.1"):
            await shield.until(lambda status: status["connections"]["open"] <= 2)
    status = await shield.status()
    assert sum(status["responses"]["shield"].values()) > 1000, status["requests"]
    assert await get(client("127.2.0.1"), shield) == 200
    await shield.until(lambda _: shield.files() <= files + 6)


async def test_a_range_killer_reaches_the_service_without_its_ranges(
    start: Callable[..., Any], site: tuple[Site, str], client: Client
) -> None:
    one, origin = site
    shield = await start(upstream={"servers": [origin]})
    session = client()
    for ranges in ("bytes=0-" + "".join(f",5-{n}" for n in range(1300)), "bytes=0-,0-,0-,0-", "bytes=0-1"):
        async with session.get(shield.url("/now"), headers={"Range": ranges}) as response:
            assert response.status == 200
    assert one.ranges == [None, None, "bytes=0-1"]


async def test_connections_that_are_reset_at_every_moment_leave_nothing(
    start: Callable[..., Any], site: tuple[Site, str], client: Client
) -> None:
    one, origin = site
    shield = await start(
        upstream={"servers": [origin], "keep_alive_connections": 5},
        identity=EVERYBODY,
        timeouts={"linger": 0.3},
    )
    assert await get(client(), shield) == 200
    files = shield.files()
    for said, _ in PHASES.values():
        async with connections(shield, 40, said) as sockets:
            for sock in sockets:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    one.go_on.set()
    status = await shield.until(lambda status: status["connections"]["open"] <= 1 and not status["in_flight"])
    assert status["connections"]["streams"] == 0
    await shield.until(lambda _: shield.files() <= files + 6)  # connections to the service end after their requests


def test_keys_that_clients_choose_are_hashed_with_a_secret() -> None:
    """Colliding field names, paths, addresses: their hashes differ from process to process."""
    code = "print(hash('x-field'), hash(b'x-field'), hash(('127.0.0.1', b'GET')))"
    variables = {**environment(), "PYTHONHASHSEED": "random"}
    said = {
        subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, check=True).stdout
        for _ in range(3)
    }
    assert len(said) == 3


async def test_it_says_so_when_the_secret_is_a_known_one(launch: Callable[..., Any]) -> None:
    shield = await launch(prefix=("env", "PYTHONHASHSEED=0"))
    await shield.begin()
    assert (await shield.logged("hash_randomization_off"))["level"] == "warning"
