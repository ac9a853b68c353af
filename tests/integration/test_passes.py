"""Who was here before: silent passes, what a restart keeps, and keys that are changed under way."""

from __future__ import annotations

import asyncio
import stat
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

WINDOW = 0.3
"""Seconds, in place of a minute: history.window."""

Client = Callable[..., aiohttp.ClientSession]


@pytest.fixture
async def origin(serve: Callable[..., Awaitable[str]], site: web.Application) -> str:
    async def public(_: web.Request) -> web.Response:
        return web.Response(text="<p>All the same", content_type="text/html")

    async def data(_: web.Request) -> web.Response:
        return web.json_response({}, headers={"Cache-Control": "private"})

    site.router.add_get("/public", public)
    site.router.add_get("/data", data)
    return await serve(site)


async def visit(session: aiohttp.ClientSession, url: str) -> str:
    """One request; the pass that came with the answer, or ""."""
    async with session.get(url) as response:
        assert response.status == 200
        cookie = response.cookies.get("shield_pass")
        return cookie.value if cookie is not None else ""


async def earn(session: aiohttp.ClientSession, shield: Any) -> str:
    """Visit the private page until a pass is given."""
    async with asyncio.timeout(30):
        while not (token := await visit(session, shield.url("/page"))):
            await asyncio.sleep(0.01)  # 20 requests a second are allowed, and 200 at once
    return token


async def tier(session: aiohttp.ClientSession, shield: Any, path: str) -> int:
    """The tier in which a request was served, as logged. `path` must be new."""
    assert not shield.seen("request", path=path)
    await visit(session, shield.url(path))
    served: int = (await shield.logged("request", path=path))["tier"]
    return served


async def test_a_returning_client_is_given_a_pass_and_ranks_first_with_it(
    start: Callable[..., Any], origin: str, client: Client
) -> None:
    shield = await start(history={"window": WINDOW}, upstream={"servers": [origin]})
    began = time.monotonic()
    regular = client("127.5.0.1")
    assert await tier(regular, shield, "/page/first") == 3
    token = await earn(regular, shield)
    assert time.monotonic() - began >= WINDOW, "a history takes two windows"
    assert await visit(regular, shield.url("/page")) == "", "one pass is enough"
    async with asyncio.timeout(30):  # a pass makes a history of its own
        for n in range(10_000):
            if await tier(regular, shield, f"/page/{n}") == 0:
                break
            await asyncio.sleep(0.01)
    moved = client("127.99.0.1", {"User-Agent": "another", "Cookie": f"shield_pass={token}"})
    assert await tier(moved, shield, "/page/moved") == 0, "it survives a new address"
    status = await shield.status()
    assert status["passes"]["earned"] == 1
    assert status["tables"]["history"]["entries"] >= 2


async def test_only_private_documents_carry_a_pass(start: Callable[..., Any], origin: str, client: Client) -> None:
    shield = await start(history={"window": WINDOW}, upstream={"servers": [origin]})
    session = client("127.5.0.3")
    async with asyncio.timeout(30):
        for n in range(10_000):
            assert await visit(session, shield.url(f"/data?{n}")) == ""
            assert await visit(session, shield.url("/public")) == ""
            if (await shield.status())["tables"]["history"]["entries"]:
                break
            await asyncio.sleep(0.01)
    assert await visit(session, shield.url("/data")) == ""
    assert await visit(session, shield.url("/public")) == ""
    assert await visit(session, shield.url("/page")) != ""


async def test_passes_and_history_survive_a_restart_and_a_change_of_keys(
    start: Callable[..., Any], origin: str, client: Client, tmp_path: Path
) -> None:
    directory = tmp_path / "state"
    settings = {
        "state": {"directory": directory},
        "history": {"window": WINDOW},
        "upstream": {"servers": [origin]},
    }

    def regular() -> aiohttp.ClientSession:
        return client("127.5.1.1", jar=False)

    def stranger(token: str) -> aiohttp.ClientSession:
        return client("127.6.1.1", {"User-Agent": "elsewhere", "Cookie": f"shield_pass={token}"})

    first = await start(**settings)
    token = await earn(regular(), first)
    assert await tier(stranger("nothing"), first, "/page/stranger") == 3
    assert await tier(stranger(token), first, "/page/moved") == 1
    assert await first.end() == 0
    for path in directory.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    old = (directory / "keys").read_text()

    second = await start(**settings)
    assert first.seen("started", state=str(directory), known=0)
    assert second.seen("started", state=str(directory))[0]["known"] >= 1
    assert not second.seen("state_not_kept")
    assert await tier(regular(), second, "/page/again") == 1, "known from the first request on"
    assert await tier(stranger(token), second, "/page/moved") == 1, "its pass is as good as ever"
    assert await second.end() == 0

    (directory / "keys").write_text("cd" * 32 + "\n" + old)
    third = await start(**settings)
    assert await tier(stranger(token), third, "/page/moved") == 1, "signed with the previous key"
    newer = await earn(client("127.5.1.2", jar=False), third)
    assert await third.end() == 0

    (directory / "keys").write_text("cd" * 32 + "\n")
    fourth = await start(**settings)
    assert await tier(stranger(token), fourth, "/page/old") == 3, "signed with a key that is gone"
    assert await tier(stranger(newer), fourth, "/page/new") == 1, "signed with the current key"


async def test_a_changed_key_does_not_make_regulars_strangers(
    start: Callable[..., Any], origin: str, client: Client, tmp_path: Path
) -> None:
    """Keys are rotated in calm weather, attacks come after: the history is of the clients, whatever key names them."""
    directory = tmp_path / "state"
    settings = {"state": {"directory": directory}, "history": {"window": WINDOW}, "upstream": {"servers": [origin]}}
    session = client("127.5.2.1", jar=False)
    first = await start(**settings)
    await earn(session, first)
    assert await first.end() == 0
    (directory / "keys").write_text("cd" * 32 + "\n" + (directory / "keys").read_text())
    second = await start(**settings)
    assert await tier(session, second, "/page/again") == 1
