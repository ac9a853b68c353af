"""A Shield whose sockets somebody else has bound, as with deploy/shield.socket."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

Client = Callable[..., aiohttp.ClientSession]
Start = Callable[..., Awaitable[Any]]
ACTIVATOR = str(Path(__file__).with_name("activator.py"))


def free(number: int) -> list[str]:
    """Addresses that nobody listens on."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    names = [f"127.0.0.1:{sock.getsockname()[1]}" for sock in held]
    for sock in held:
        sock.close()
    return names


@pytest.fixture
async def origin(serve: Callable[..., Awaitable[str]], site: web.Application) -> str:
    return await serve(site)


@pytest.mark.parametrize("workers", [1, 2])
async def test_passed_sockets_are_served_and_the_rest_is_bound(
    workers: int, start: Start, origin: str, client: Client, tmp_path: Path
) -> None:
    passed, own = free(2)
    admin = str(tmp_path / "admin")
    shield = await start(
        prefix=(sys.executable, ACTIVATOR, *[passed] * workers, admin, "--"),
        listen={"workers": workers, "address": [passed, own]},
        admin={"address": f"unix:{admin}"},
        upstream={"servers": [origin]},
    )
    assert shield.seen("started")[0]["listen"] == [passed, own]
    if workers > 1:
        assert shield.seen("started")[0]["steered"]

    async def served() -> None:
        for address in (passed, own):
            for number in range(4):
                async with client(f"127.44.{number}.1").get(f"http://{address}/page") as response:
                    assert response.status == 200

    await served()
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(admin)) as operator,
        operator.get("http://localhost/readyz") as response,
    ):
        assert await response.text() == "ready\n"
    shield.process.send_signal(signal.SIGHUP)
    await shield.logged("reloaded", pid=shield.pid)
    await served()


@pytest.mark.parametrize(
    ("workers", "number", "why"),
    [(1, 0, "passed socket one listens on 127.0.0.1:"), (2, 1, "sockets passed for 127.0.0.1:")],
)
async def test_what_does_not_fit_is_one_line(workers: int, number: int, why: str, launch: Start, origin: str) -> None:
    address, another = free(2)
    shield = await launch(
        prefix=(sys.executable, ACTIVATOR, address, "--"),
        listen={"workers": workers, "address": address if number else another},
        upstream={"servers": [origin]},
    )
    assert await shield.ended() == 3
    (line,) = shield.text
    assert line.startswith(f"shield: {why}")


@contextlib.asynccontextmanager
async def held(number: int, folder: Path) -> AsyncIterator[tuple[str, str]]:
    """As systemd holds the sockets of shield.socket: the address, and where each start gets the same ones."""
    made = []
    port = 0
    for _ in range(number):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(("127.0.0.1", port))
        sock.listen(128)
        port = sock.getsockname()[1]
        made.append(sock)
    path = str(folder / "held")

    async def give(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        end = writer.get_extra_info("socket")
        with socket.socket(fileno=os.dup(end.fileno())) as plain:
            socket.send_fds(plain, [b"x"], [sock.fileno() for sock in made])
        writer.close()

    server = await asyncio.start_unix_server(give, path)
    try:
        yield f"127.0.0.1:{port}", f"from:{path}"
    finally:
        server.close()
        for sock in made:
            sock.close()


async def test_workers_go_on_without_their_main_process_until_the_next_ones_serve(
    start: Start, launch: Start, origin: str, client: Client, tmp_path: Path
) -> None:
    """Clients waited for two seconds, until the next main process had been started; and a request that was under way
    at a worker was cut, though nothing was wrong with the worker."""
    async with held(2, tmp_path) as (address, source):
        settings = {
            "prefix": (sys.executable, ACTIVATOR, source, "--"),
            "listen": {"workers": 2, "address": address},
            "upstream": {"servers": [origin]},
            "limits": {"honeypots": ["/trap"]},
            "state": {"directory": tmp_path / "state"},
        }
        killed = await launch(**settings)
        await killed.begin()
        async with client("127.44.0.1").get(f"http://{address}/page") as response:
            assert response.status == 200
        killed.process.kill()
        await killed.process.wait()
        for number in range(8):
            async with client(f"127.44.{number}.1").get(f"http://{address}/page") as response:
                assert response.status == 200
        scanner = client("127.45.0.1", {"User-Agent": "scanner/1.0"})
        async with scanner.get(f"http://{address}/trap") as response:
            assert response.status == 403
        again = await start(**settings)
        await killed.logged("draining", count=2)
        for number in range(8):
            async with client(f"127.44.{number}.1").get(f"http://{address}/page") as response:
                assert response.status == 200
        status = await again.until(lambda now: now["active_bans"]["clients"] == 1)
        assert sum(worker["requests"]["forward"].get("ok", 0) for worker in status["workers"]) == 8
        async with scanner.get(f"http://{address}/page") as response:
            assert response.status == 403
        await killed.ended()
        killed.lines.clear()  # it was not expected to end with 0
