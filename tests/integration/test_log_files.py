"""Lines in files and at syslog, of whole processes: no line is lost when a file is rotated under load."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

Client = Callable[..., aiohttp.ClientSession]
Start = Callable[..., Awaitable[Any]]
REQUESTS = 400
ROTATIONS = 12


@pytest.fixture
async def service(serve: Any) -> str:
    """Says at once what it was asked."""

    async def echo(request: web.Request) -> web.Response:
        return web.Response(text=request.path)

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", echo)
    url: str = await serve(app)
    return url


async def load(client: Client, url: Any, until: asyncio.Event) -> list[str]:
    """Requests one after the other from four clients until `until` is set and there were enough; their paths."""
    asked: list[str] = []

    async def ask(number: int) -> None:
        session = client(f"127.36.0.{number + 1}")
        while not until.is_set() or len(asked) < REQUESTS:
            path = f"/page/{number}/{len(asked)}"
            asked.append(path)
            async with session.get(url(path)) as response:
                assert response.status == 200
                await response.read()

    await asyncio.gather(*map(ask, range(4)))
    return asked


def files(path: Path) -> list[str]:
    """The lines of a file and of those that it was renamed to."""
    return [line for each in sorted(path.parent.glob(f"{path.name}*")) for line in each.read_text().splitlines()]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("signalled", [True, False])
async def test_no_line_is_lost_when_files_are_rotated_under_load(
    workers: int, signalled: bool, start: Start, service: str, client: Client, tmp_path: Path
) -> None:
    """With a signal as logrotate sends it, and without."""
    path = tmp_path / "logs" / "access.log"
    path.parent.mkdir()
    shield = await start(
        listen={"workers": workers},
        upstream={"servers": [service]},
        log={"access_output": str(path), "access_format": "combined"},
        limits={key: {"rate": 1e6, "burst": 1e6} for key in ("client", "address", "network")},
    )
    over = asyncio.Event()
    loading = asyncio.create_task(load(client, shield.url, over))
    for number in range(ROTATIONS):
        while not path.exists() or not path.stat().st_size:
            assert not loading.done()
            await asyncio.sleep(0.01)
        path.rename(path.with_name(f"access.log.{number}"))
        if signalled:
            shield.process.send_signal(signal.SIGUSR1)
            await shield.logged("log_reopened", count=number + 1, files=[str(path)])
    over.set()
    asked = await loading
    assert await shield.end() == 0
    written = [
        re.fullmatch(r'127\.36\.0\.\d - - \[.*\] "GET (\S+) HTTP/1.1" 200 \d+ "-" ".*"', line) for line in files(path)
    ]
    assert sorted(line[1] for line in written if line) == sorted(asked)
    assert all(written)
    assert not shield.seen("request")
    assert len(list(path.parent.iterdir())) > ROTATIONS


async def test_everything_goes_to_syslog(start: Start, service: str, client: Client, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(str(tmp_path / "log"))
        daemon.settimeout(20)
        access = tmp_path / "access.json"
        shield = await start(
            upstream={"servers": [service]},
            log={"access_output": f"syslog:{tmp_path}/log", "syslog_facility": "local7"},
        )
        async with client().get(shield.url("/page")) as response:
            assert response.status == 200
        message = await asyncio.to_thread(daemon.recv, 65_536)
        head, _, line = message.partition(b": ")
        assert head.startswith(b"<190>")  # local7, info
        assert head.endswith(f"shield[{shield.pid}]".encode())
        assert json.loads(line)["path"] == "/page"

        shield.reload(log={"access_output": str(access), "access_format": "json"})
        await shield.logged("reloaded")
        async with client().get(shield.url("/other")) as response:
            assert response.status == 200
        while not access.exists() or not access.stat().st_size:
            await asyncio.sleep(0.01)
        assert json.loads(access.read_text())["path"] == "/other"


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_place_that_cannot_be_had_is_refused_and_the_old_one_stays(
    workers: int, start: Start, service: str, client: Client, tmp_path: Path
) -> None:
    path = tmp_path / "access.log"
    shield = await start(listen={"workers": workers}, upstream={"servers": [service]}, log={"access_output": str(path)})
    shield.reload(log={"access_output": f"syslog:{tmp_path}/nobody"})
    refused = await shield.logged("reload_refused")
    assert "cannot send the log to syslog" in refused["error"]
    shield.expected.add("reload_refused")
    async with client().get(shield.url("/page")) as response:
        assert response.status == 200
    while not path.stat().st_size:
        await asyncio.sleep(0.01)
