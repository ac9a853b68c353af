"""Programs that run no scripts get in by waiting where everybody is challenged: text browsers, curl with cookies."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import WAIT, page, run_shield, serve, warm
from tests.clients import firefox

pytestmark = [pytest.mark.clients]

__all__ = ["page", "run_shield", "serve", "warm"]

COMMANDS = {
    "w3m": ["w3m", "-cookie", "-dump"],
    "curl with a jar": ["curl", "-sSL", "-b", "jar", "-c", "jar"],
    "curl for pages": ["curl", "-sSL", "-b", "jar", "-c", "jar", "-H", "Accept: text/html"],
}
"""Of one look each: their cookies are kept in between."""


async def run(command: list[str], home: Path) -> str:
    if shutil.which(command[0]) is None:
        pytest.skip(f"no {command[0]} on PATH (Debian: apt-get install {command[0]})")
    environment = {**os.environ, "HOME": str(home), "TERM": "xterm", "LANG": "C.UTF-8"}
    process = await asyncio.create_subprocess_exec(
        *command, cwd=home, env=environment, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await asyncio.wait_for(process.communicate(), WAIT)
    return said.decode(errors="replace")


@pytest.fixture
async def shield(serve: Any, page: Any, run_shield: Callable[..., Awaitable[str]]) -> str:
    async def site(method: str, target: str, fields: dict[str, str], body: bytes) -> bytes:
        inside: bytes = page("Inside")
        return inside

    return await run_shield(await serve(site), "[market]\nwaited_least = 2\nwaited_most = 2\n")


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
async def test_the_second_look_is_let_in(shield: str, tmp_path: Path, command: list[str]) -> None:
    first = await run([*command, shield], tmp_path)
    assert "Inside" not in first
    told = time.monotonic()
    while "Inside" not in await run([*command, shield], tmp_path):
        assert time.monotonic() < told + WAIT
        await asyncio.sleep(0.5)
    assert time.monotonic() > told + 0.5


async def test_curl_waits_by_itself(shield: str, tmp_path: Path) -> None:
    assert "Inside" in await run(["curl", "-sSL", "--retry", "5", "-b", "", shield], tmp_path)


async def test_elinks_is_shown_the_page(shield: str, tmp_path: Path) -> None:
    shown = await run(["elinks", "-dump", shield], tmp_path)
    assert "Without JavaScript you wait instead." in " ".join(shown.split())
    assert "Calculating" not in shown


async def test_firefox_without_javascript_gets_in_at_a_place_within_a_page(
    serve: Any, page: Any, run_shield: Callable[..., Awaitable[str]], tmp_path: Path
) -> None:
    """A page loaded again at an address with a fragment might only be scrolled."""
    seen: list[str] = []

    async def site(method: str, target: str, fields: dict[str, str], body: bytes) -> bytes:
        seen.append(target)
        inside: bytes = page("Inside")
        return inside

    shield = await run_shield(await serve(site), "[market]\nwaited_least = 2\nwaited_most = 2\n")
    async with firefox.launched(tmp_path / "profile", {"javascript.enabled": False}) as tab:
        await tab.go(f"{shield}/inbox?x=1#third")
        async with asyncio.timeout(WAIT):
            while not seen:
                await asyncio.sleep(0.2)
        tree = await tab.call("browsingContext.getTree")
    assert seen == ["/inbox?x=1"]
    assert tree["contexts"][0]["url"].startswith(f"{shield}/inbox?x=1")
