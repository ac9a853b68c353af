"""Live radio, which nobody can ask for in parts: it is in nobody's way, and who is known may rest from it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import aiohttp
import pytest
from aiohttp import web

from tests.integration import test_attack

pytestmark = pytest.mark.clients

RATE: Final = 24_000
"""bytes/s: 192 kbit/s."""
SLOTS: Final = 2
"""Of the service under a flood."""
FIRST: Final = 2 * RATE
PROGRESS, PAUSE, REST = 1.0, 3.0, 12.0
FOREVER: Final = aiohttp.ClientTimeout(total=None)


def station() -> web.Application:
    async def begin(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "audio/mpeg", "Cache-Control": "no-store"})
        await response.prepare(request)
        return response

    async def live(request: web.Request) -> web.StreamResponse:
        response = await begin(request)
        size = FIRST
        while True:
            await response.write(bytes(size))
            size = RATE // 4
            await asyncio.sleep(0.25)

    async def record(request: web.Request) -> web.StreamResponse:
        """As fast as it goes."""
        response = await begin(request)
        while True:
            await response.write(bytes(1 << 16))

    slots = asyncio.Semaphore(SLOTS)

    async def page(_: web.Request) -> web.Response:
        async with slots:
            await asyncio.sleep(test_attack.SECONDS)
        return web.Response(text="<p>Hello", content_type="text/html", headers={"Cache-Control": "private"})

    app = web.Application()
    app.add_routes([web.get("/live", live), web.get("/record", record), web.get("/{page:.*}", page)])
    return app


async def test_eighty_listen_at_once_and_pages_are_served_beside_them(
    start: Callable[..., Any], serve: Callable[..., Awaitable[str]], client: Any
) -> None:
    """Thirty had every slot, and each page was answered 503 for as long as they listened."""
    shield = await start(upstream={"servers": [await serve(station())]})
    heard = [0] * 80

    async def listen(number: int) -> None:
        async with client(f"127.3.{number}.1").get(shield.url("/live"), timeout=FOREVER) as response:
            assert response.status == 200
            async for piece in response.content.iter_any():
                heard[number] += len(piece)

    listeners = [asyncio.create_task(listen(number)) for number in range(len(heard))]
    await shield.until(lambda status: status["connections"]["streams"] == len(heard))
    visitor = client("127.9.0.1")
    for number in range(20):
        async with visitor.get(shield.url(f"/page{number}")) as response:
            assert response.status == 200
    async with asyncio.timeout(30):
        while min(heard) < FIRST + 3 * RATE:
            await asyncio.sleep(0.1)
    assert not any(listener.done() for listener in listeners)
    for listener in listeners:
        listener.cancel()
    await asyncio.gather(*listeners, return_exceptions=True)
    assert not shield.seen("refused")


async def test_who_is_known_rests_from_a_record_through_a_flood(
    start: Callable[..., Any], serve: Callable[..., Awaitable[str]], client: Any
) -> None:
    settings = test_attack.settings(await serve(station()), timeouts={"progress": PROGRESS, "pause": PAUSE})
    shield = await start(**settings | {"upstream": settings["upstream"] | {"max_concurrency": SLOTS}})
    player, stranger = client("127.2.0.1"), client("127.8.0.1")
    await test_attack.known(player, shield)
    async with (
        player.get(shield.url("/record"), timeout=FOREVER) as known,
        stranger.get(shield.url("/record"), timeout=FOREVER),
        test_attack.flood(shield, client),
    ):
        await shield.logged("attack_onset")
        await shield.until(lambda status: status["pressure"] > 0.2)
        await shield.logged("request", path="/record", address="127.8.0.1", fault="read_timeout")
        await asyncio.sleep(REST)
        heard = 0
        while heard < 30 << 20:  # more than all kernels on the way hold
            heard += len(await known.content.readany())
    assert not [line for line in shield.seen("request", path="/record", address="127.2.0.1") if line.get("fault")]
