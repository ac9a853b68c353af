"""Calm weather, with the limits as shipped: nobody is refused, nobody is challenged, there is no pressure."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from shield.model import Action, Outcome
from shield.policy.engine import Engine
from shield.policy.keys import Keys
from shield.policy.request import Request
from shield.policy.settings import EngineSettings

PARTS = 80
CONNECTIONS = 6
"""Per host, in every browser of today."""
USERS = 20


def page_with_parts() -> web.Application:
    async def part(request: web.Request) -> web.Response:
        await asyncio.sleep(0.004 + int(request.match_info["n"]) % 5 * 0.002)
        return web.Response(body=b"x" * 2000, content_type="image/png")

    app = web.Application()
    app.router.add_get("/part/{n}", part)
    return app


async def load_page(session: aiohttp.ClientSession, url: str) -> list[int]:
    """Everything that a browser asks for at a first visit, over CONNECTIONS kept connections."""

    async def get(n: int) -> int:
        async with session.get(f"{url}/part/{n}") as response:
            await response.read()
            return response.status

    return [await get(0), *await asyncio.gather(*map(get, range(1, PARTS)))]


@pytest.mark.parametrize("users", [1, USERS])
async def test_a_cold_page_of_80_parts_loads_without_one_refusal(
    users: int,
    start: Callable[..., Any],
    serve: Callable[..., Awaitable[str]],
    client: Callable[..., aiohttp.ClientSession],
) -> None:
    shield = await start(upstream={"servers": [await serve(page_with_parts())]})
    sessions = [client(f"127.3.0.{n}", limit=CONNECTIONS) for n in range(1, users + 1)]
    loaded = await asyncio.gather(*(load_page(session, shield.url("")) for session in sessions))
    assert {status for statuses in loaded for status in statuses} == {200}
    status = await shield.status()
    assert set(status["requests"]) <= {"forward", "queue"}
    assert status["requests"]["forward"] == {"ok": users * PARTS}
    assert (status["attack"], status["challenges"]["minted"]) == (False, 0)
    assert status["pressure"] < 0.05
    assert status["connections"]["total"] == users * CONNECTIONS


class Site:
    """A service before a real policy in simulated time: it takes noisy times to answer, now and then a long one."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.engine = Engine(EngineSettings(), Keys(b"k" * 32), self.random.randbytes, 1_700_000_000.0, 100)
        self.clients = [
            self.engine.identify(f"198.51.{n % 4}.{n}", f"Browser/{n % 7}", "en", "", 0.0) for n in range(1, 200)
        ]

    def seconds(self) -> float:
        """Log-normal around 30 ms; one in two hundred hits something that takes seconds."""
        return self.random.uniform(1.0, 3.0) if self.random.random() < 0.005 else self.random.lognormvariate(-3.5, 1.0)


@pytest.mark.parametrize(("rate", "minutes"), [(0.5, 240), (5, 60), (50, 10)])
def test_a_site_with_noisy_times_never_shows_pressure(rate: float, minutes: int) -> None:
    site = Site(seed=int(rate * 10))
    engine, now, arrives = site.engine, 0.0, 0.0
    running: list[tuple[float, Request, float]] = []
    while now < minutes * 60:
        now += 0.5
        engine.tick(now)
        assert not engine.attack
        assert engine.pressure < 0.01
        while arrives < now:
            path = f"/{site.random.choice('abcdefgh')}/{site.random.randrange(1000)}"
            request = Request(site.random.choice(site.clients), "GET", path, {}, None, False, None)
            assert engine.decide(request, arrives).action is Action.FORWARD
            seconds = site.seconds()
            running.append((arrives + seconds, request, seconds))
            arrives += site.random.expovariate(rate)
            for ended in [item for item in running if item[0] <= arrives]:
                running.remove(ended)
                engine.learn(ended[1], Outcome(500 if site.random.random() < 0.001 else 200, ended[2]), ended[0])
    assert engine.status(now).requests_per_second == pytest.approx(rate, rel=3.0)
