"""Clients that rest: media players whose buffer is full, an upload in a tunnel, a download at a trickle.

None of them is cut, refused or charged: the fixture holds Shield to that in the end.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import struct
from collections import Counter
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import web

from tests.browser import conftest as browsers
from tests.clients import site
from tests.clients.conftest import Front, Make

pytestmark = pytest.mark.clients

SECONDS: Final = float(os.environ.get("SHIELD_MEDIA_SECONDS", "75"))
"""How long is listened. Chromium reads ahead some 20 to 40 s of such a sound, and reads nothing meanwhile."""
PLAYERS: Final = 3
RATE: Final = 96_000
"""bytes/s of the sound: 768 kbit/s, mono in 16 bits."""
LONG: Final = 1200 * RATE
STALL: Final = 30.0

_SOUND: Final = struct.pack(
    "<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + LONG, b"WAVE", b"fmt ", 16, 1, 1, RATE // 2, RATE, 2, 16, b"data", LONG
)
_PAGE: Final = "<!doctype html><title>Radio</title><link rel=icon href='data:,'>" + "".join(
    f"<audio src='/sound.wav?{number}' autoplay></audio>" for number in range(PLAYERS)
)
HEARD: Final = """[...document.querySelectorAll('audio')].map(
    player => [player.currentTime, player.buffered.end(0), String(player.error?.message)])"""


def radio(asked: Counter[str]) -> web.Application:
    async def page(_: web.Request) -> web.Response:
        return web.Response(text=_PAGE, content_type="text/html")

    async def sound(request: web.Request) -> web.StreamResponse:
        """Twenty minutes, which cannot be asked for in parts."""
        asked["sound"] += 1
        response = web.StreamResponse(headers={"Content-Type": "audio/wav", "Cache-Control": "no-store"})
        response.content_length = len(_SOUND) + LONG
        await response.prepare(request)
        await response.write(_SOUND)
        piece = bytes(RATE)
        for _ in range(LONG // RATE):
            await response.write(piece)
        return response

    app = site.app()
    app.router.add_get("/radio", page)
    app.router.add_get("/sound.wav", sound)
    return app


@pytest.mark.browser
async def test_three_players_behind_one_address_pause_and_go_on(make_front: Make, tmp_path: Path) -> None:
    """Each was cut every two minutes, and after seven all three were banned."""
    asked: Counter[str] = Counter()
    front = await make_front(radio(asked))
    flags = ("--ignore-certificate-errors", "--autoplay-policy=no-user-gesture-required", "--mute-audio")
    with browsers.launch(tmp_path / "profile", *flags) as address:
        async with browsers.connect(address) as browser:
            tab = await browser.tab()
            await tab.go(front.url("/radio"))
            await asyncio.sleep(SECONDS)
            players = await tab.evaluate(HEARD)
            assert len(players) == PLAYERS
            for heard, ahead, error in players:
                assert error == "undefined"
                assert ahead > heard > SECONDS / 2, "it has played, although the browser may have had little time"
            assert asked["sound"] == PLAYERS, "nobody was cut and had to ask again"


async def test_an_upload_that_stalls_in_a_tunnel_is_waited_for(front: Front) -> None:
    """Every other proxy waited, and Shield said 408 after 20 s."""
    secure: dict[str, Any] = {}
    if front.scheme == "https":
        secure = {"ssl": ssl.create_default_context(cafile=str(front.authority)), "server_hostname": "127.0.0.1"}
    reader, writer = await asyncio.open_connection("127.0.0.1", front.shield.port, **secure)
    head = f"POST /upload HTTP/1.1\r\nHost: a.example\r\nContent-Length: {len(site.UPLOAD)}\r\n\r\n".encode()
    half = len(site.UPLOAD) // 2
    writer.write(head + site.UPLOAD[:half])
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


@pytest.mark.parametrize("make_front", ["http"], indirect=True)
async def test_curl_at_a_limited_rate_gets_and_sends_all(front: Front, tmp_path: Path) -> None:
    curl = ("curl", "--silent", "--show-error", "--fail", "--limit-rate", "100k")
    (tmp_path / "up").write_bytes(site.UPLOAD[: 2 << 20])
    got, sent = await asyncio.gather(
        front.run(*curl, front.url("/large")),
        front.run(*curl, "-H", "Expect:", "--data-binary", f"@{tmp_path / 'up'}", front.url("/upload")),
    )
    assert got == site.LARGE
    assert sent.decode() == f"POST {2 << 20} {site.digest(site.UPLOAD[: 2 << 20])} length"
