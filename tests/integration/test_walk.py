"""An operator's night: the telephone rings, an attack from one network among three, and a user who calls. Each task
takes two commands at most, typed as they would be."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shlex
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from shield import cli

Client = Callable[..., aiohttp.ClientSession]
Start = Callable[..., Awaitable[Any]]

SLOTS = 4
"""The service: about 130 requests/s."""


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_night(
    workers: int,
    start: Start,
    serve: Callable[..., Awaitable[str]],
    client: Client,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    slots = asyncio.Semaphore(SLOTS)

    async def search(_: web.Request) -> web.Response:
        async with slots:
            await asyncio.sleep(0.03)
        return web.Response(text="found", headers={"Cache-Control": "private"})

    app = web.Application()
    app.router.add_get("/search", search)
    told: list[dict[str, Any]] = []

    async def ring(request: web.Request) -> web.Response:
        told.append(await request.json())
        return web.Response(status=204)

    telephone = web.Application()
    telephone.router.add_post("/ring", ring)
    shield = await start(
        listen={"workers": workers},
        upstream={"servers": [await serve(app)], "max_concurrency": SLOTS},
        pressure={"smoothing": 0.3},
        state={"directory": tmp_path / "state"},
        drops={"enabled": False},
        notify={"webhook": f"{await serve(telephone)}/ring"},
        log={"requests": False},
    )

    async def shell(command: str) -> str:
        """What a command prints; it must succeed."""
        words = [*shlex.split(command)[1:], "--admin", shield.admin]
        capfd.readouterr()
        assert await asyncio.to_thread(cli.main, words) == 0, capfd.readouterr().err
        return capfd.readouterr().out

    async def visit(address: str, path: str = "/search") -> tuple[int, str]:
        async with client(address, jar=False).get(shield.url(path)) as response:
            return response.status, await response.text()

    async def attack(number: int) -> None:
        session = client(f"127.31.7.{number}", {"User-Agent": f"bot/{number % 9}"}, limit=2)
        while True:
            status = 0
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(shield.url("/search")) as response:
                    status = response.status
            if status != 200:
                await asyncio.sleep(0.2)

    attackers = [asyncio.create_task(attack(number)) for number in range(1, 61) for _ in range(2)]
    try:
        # Who is it?
        async with asyncio.timeout(30):
            while "networks that stand out: 127.31.7.0/24" not in (said := await shell("shield status")):
                await asyncio.sleep(0.2)
        assert "ATTACK for" in said
        async with asyncio.timeout(30):
            while not told:  # looked for every two seconds
                await asyncio.sleep(0.1)
        assert "An attack begins" in told[0]["text"]

        # A user calls: the page says no. Why?
        status, page = await visit("127.31.8.1")
        assert status == 503
        (number,) = set(re.findall(r"\b[0-9a-f]{8}-[0-9a-f]+\b", page))
        said = await shell(f"shield explain {number}")
        assert " => Is it challenged? yes: there is pressure, and it is a newcomer" in said
        assert "an answer to the challenge" in said

        # Ban the network.
        said = await shell("shield ban 127.31.7.0/24 --for 1h --note 'floods the search' --author ann")
        assert "127.31.7.0/24 is banned until" in said
        assert (await visit("127.31.7.200"))[0] == 403

        # Let a partner in who is there, too.
        await shell("shield allow 127.31.7.99 --note 'our partner' --author ann")
        assert (await visit("127.31.7.99"))[0] == 200
        assert "=> Is there a rule of yours? yes: rule" in await shell("shield explain 127.31.7.99")

        # Give everybody more room.
        await shell("shield limit client 20/400 --for 30m --author ann")
        assert "client_limit 20/400" in await shell("shield explain 127.31.8.1")
    finally:
        for task in attackers:
            task.cancel()
        await asyncio.gather(*attackers, return_exceptions=True)

    # What was it, for the chief?
    said = await shell(f"shield report --since 10m --output {tmp_path}/night.html")
    assert "night.html: An attack, " in said
    page = (tmp_path / "night.html").read_text()
    assert "127.31.7.0/24 is banned until" in page
    assert "<polygon" in page
    assert "a newcomer, under pressure" in page

    said = await shell("shield rules")
    assert [line.split()[1] for line in said.splitlines()] == ["127.31.7.0/24", "127.31.7.99/32", "every"]
    assert "floods the search" in await shell("shield audit")
    await shell("shield undo")
    assert "every client" not in await shell("shield rules")
    assert [notice["event"] for notice in told] == ["attack_began"], "of several workers as well"
