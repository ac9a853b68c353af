"""Clients that rest: media players whose buffer is full, an upload in a tunnel, a download at a trickle.

None of them is cut, refused or charged: the fixture holds Shield to that in the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import web

from tests.browser import conftest as browsers
from tests.clients import firefox, site
from tests.clients.conftest import Front, Make, every_weather
from tests.integration import test_attack

pytestmark = pytest.mark.clients

SECONDS: Final = float(os.environ.get("SHIELD_MEDIA_SECONDS", "75"))
"""How long is listened; ten minutes with `make clients`. A browser reads 20 to 60 s of such a sound ahead, and then
nothing for as long; the kernel holds as much again."""
PLAYERS: Final = 3
SLOTS: Final = 2
"""Of the service under a flood."""
RATE: Final = 96_000
"""bytes/s of the sound: 768 kbit/s, mono in 16 bits."""
LONG: Final = 1200 * RATE
STALL: Final = 30.0
AGAIN: Final = 20.0

_SOUND: Final = struct.pack(
    "<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + LONG, b"WAVE", b"fmt ", 16, 1, 1, RATE // 2, RATE, 2, 16, b"data", LONG
)
_PAGE: Final = (
    "<!doctype html><title>Radio</title><link rel=icon href='data:,'>"
    + "".join(f"<audio src='/sound.wav?{number}' autoplay></audio>" for number in range(PLAYERS))
    + "<script>for (const each of document.querySelectorAll('audio')) each.mozCaptureStream?.()</script>"
)
"""Where there is no loudspeaker, Firefox plays only into a stream."""
HEARD: Final = """() => [...document.querySelectorAll('audio')].map(
    player => [player.currentTime, player.buffered.length && player.buffered.end(player.buffered.length - 1),
               String(player.error?.message), player.networkState, player.readyState])"""


def radio(asked: Counter[str], parts: bool = False) -> web.Application:
    """The site with twenty minutes of sound. `parts`: its end can be asked for."""

    async def page(_: web.Request) -> web.Response:
        return web.Response(text=_PAGE, content_type="text/html", headers={"Cache-Control": "private"})

    async def sound(request: web.Request) -> web.StreamResponse:
        whole, begin = len(_SOUND) + LONG, 0
        fields = {"Content-Type": "audio/wav", "Cache-Control": "no-store"}
        if parts:
            begin = request.http_range.start or 0
            fields |= {"Accept-Ranges": "bytes", "Content-Range": f"bytes {begin}-{whole - 1}/{whole}"}
        asked["rest" if begin else "sound"] += 1
        response = web.StreamResponse(status=206 if parts else 200, headers=fields)
        response.content_length = whole - begin
        await response.prepare(request)
        await response.write(_SOUND[begin:])
        left = whole - max(begin, len(_SOUND))
        while left:
            left -= (size := min(left, RATE))
            await response.write(bytes(size))
        return response

    slots = asyncio.Semaphore(SLOTS)

    async def search(_: web.Request) -> web.Response:
        """What the flood asks for."""
        async with slots:
            await asyncio.sleep(0.03)
        return web.Response(text="found")

    app = site.app()
    app.router.add_get("/radio", page)
    app.router.add_get("/sound.wav", sound)
    app.router.add_get("/search", search)
    return app


@contextlib.asynccontextmanager
async def chromium(profile: Path) -> AsyncIterator[Any]:
    flags = ("--ignore-certificate-errors", "--autoplay-policy=no-user-gesture-required", "--mute-audio")
    with browsers.launch(profile, *flags) as address:
        async with browsers.connect(address) as browser:
            yield await browser.tab()


def mozilla(profile: Path) -> contextlib.AbstractAsyncContextManager[Any]:
    return firefox.launched(profile, {"media.autoplay.default": 0, "media.volume_scale": "0.0"})


Browser = Callable[[Path], contextlib.AbstractAsyncContextManager[Any]]
each_browser = pytest.mark.parametrize(
    "browser", [pytest.param(chromium, marks=pytest.mark.browser), mozilla], ids=["chromium", "firefox"]
)


async def heard_all(tab: Any, shield: Any) -> None:
    """Hold the players of a tab to it that they have played all the time and wanted for nothing. One whose buffer is
    empty for a moment, because it asks for the rest just now, has AGAIN to get it."""
    end = asyncio.get_running_loop().time() + AGAIN
    players = await tab.call_with(None, HEARD)
    while any(ahead <= heard for heard, ahead, *_ in players) and asyncio.get_running_loop().time() < end:
        await asyncio.sleep(1.0)
        players = await tab.call_with(None, HEARD)
    assert len(players) == PLAYERS
    lines = shield.seen("request", path="/sound.wav")
    for heard, ahead, error, *_ in players:
        assert error == "undefined", (players, lines)
        assert ahead > heard > SECONDS / 4, (players, lines)  # although the browser may have had little time


@each_browser
async def test_three_players_behind_one_address_pause_and_go_on(
    make_front: Make, browser: Browser, tmp_path: Path
) -> None:
    """Each was cut every two minutes, and after seven all three were banned."""
    asked: Counter[str] = Counter()
    front = await make_front(radio(asked))
    async with browser(tmp_path / "profile") as tab:
        await tab.go(front.url("/radio"))
        await asyncio.sleep(SECONDS)
        await heard_all(tab, front.shield)
        assert asked["sound"] == PLAYERS, "nobody was cut and had to ask again"


@each_browser
async def test_players_go_on_through_a_flood(
    browser: Browser, start: Callable[..., Any], serve: Any, client: Any, tmp_path: Path
) -> None:
    """Under pressure a connection on which nothing moves may be cut. Then the player asks for the rest, and its pass
    holds."""
    settings = test_attack.settings(await serve(radio(Counter(), parts=True)))
    shield = await start(**settings | {"upstream": settings["upstream"] | {"max_concurrency": SLOTS}})
    async with browser(tmp_path / "profile") as tab:
        for _ in range(3):
            await tab.go(shield.url("/radio"))
            await asyncio.sleep(2 * test_attack.WINDOW)
        async with test_attack.flood(shield, client) as got:
            await shield.logged("attack_onset")
            await shield.until(lambda status: status["pressure"] > 0.2)
            await asyncio.sleep(SECONDS)
            await heard_all(tab, shield)
            assert got["challenged"]
    assert not shield.seen("refused", address="127.0.0.1")
    assert not shield.seen("ban", address="127.0.0.1")


@every_weather
async def test_an_upload_that_stalls_in_a_tunnel_is_waited_for(front: Front) -> None:
    """Every other proxy waited, and Shield said 408 after 20 s."""
    secure: dict[str, Any] = {}
    if front.scheme == "https":
        secure = {"ssl": ssl.create_default_context(cafile=str(front.authority)), "server_hostname": "127.0.0.1"}
    reader, writer = await asyncio.open_connection("127.0.0.1", front.shield.port, **secure)
    head = f"POST /upload HTTP/1.1\r\nHost: a.example\r\nContent-Length: {len(site.UPLOAD)}\r\n"
    head += f"Shield-Pass: {front.token}\r\n\r\n"
    half = len(site.UPLOAD) // 2
    writer.write(head.encode() + site.UPLOAD[:half])
    await writer.drain()
    await asyncio.sleep(STALL)
    writer.write(site.UPLOAD[half:])
    await writer.drain()
    async with front.patience():
        answer = await reader.readuntil(b"\r\n\r\n")
        told = await reader.readexactly(len(site.EXPECTED["upload"]))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert told.decode() == site.EXPECTED["upload"]
    writer.close()


@pytest.mark.parametrize("make_front", ["http", "pressure", "always"], indirect=True)
async def test_curl_at_a_limited_rate_gets_and_sends_all(front: Front, tmp_path: Path) -> None:
    curl = ("curl", "--silent", "--show-error", "--fail", "--limit-rate", "100k", *front.fields("--header"))
    (tmp_path / "up").write_bytes(site.UPLOAD[: 2 << 20])
    got, sent = await asyncio.gather(
        front.run(*curl, front.url("/large")),
        front.run(*curl, "-H", "Expect:", "--data-binary", f"@{tmp_path / 'up'}", front.url("/upload")),
    )
    assert got == site.LARGE
    assert sent.decode() == f"POST {2 << 20} {site.digest(site.UPLOAD[: 2 << 20])} length"
