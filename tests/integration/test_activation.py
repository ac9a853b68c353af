"""A Shield whose sockets somebody else has bound, as with deploy/shield.socket."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Awaitable, Callable
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
