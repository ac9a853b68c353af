"""A short flood of a slow service, from loopback addresses: regulars are served, newcomers are asked to pay.

The flood is what forces the pressure up; no test sets it. It ends as soon as the test has seen what it came for.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from shield.demo import solver

WORKERS = 4
SECONDS = 0.03
"""The service: about 130 requests/s, 3 units each."""
ATTACKERS = 60
"""With the limits as shipped each may spend 200 units at once: thirty times what the service does in a second."""

SMOOTHING = 0.3
WINDOW = 1.5
"""Seconds, in place of 3 and 60: to notice the flood takes less than to make a history."""
PAUSE = 0.2
"""Seconds of an attacker after a refusal: the service lives in this process, too, and must not be what is slow."""

ANSWER = "/.well-known/shield/answer"

Client = Callable[..., aiohttp.ClientSession]


@pytest.fixture
async def slow(serve: Callable[..., Awaitable[str]]) -> str:
    workers = asyncio.Semaphore(WORKERS)

    async def page(_: web.Request) -> web.Response:
        async with workers:
            await asyncio.sleep(SECONDS)
        return web.Response(text="<p>Hello", content_type="text/html", headers={"Cache-Control": "private"})

    app = web.Application()
    app.router.add_get("/{page:.*}", page)
    return await serve(app)


@contextlib.asynccontextmanager
async def flood(shield: Any, client: Client, attackers: int = ATTACKERS) -> AsyncIterator[Counter[str]]:
    """Attackers that ask again and again, until the block ends; yields what they have got so far."""
    got: Counter[str] = Counter()

    async def attack(n: int) -> None:
        session = client(f"127.1.{n // 8}.{n}", {"User-Agent": f"bot/{n % 3}"}, limit=2)
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(shield.url("/search")) as response:
                    body = await response.text()
                    got[f"{response.status}"] += 1
                    if "Set-Cookie" in response.headers:
                        got["cookie"] += 1
                    if '"challenge"' in body:
                        got["challenged"] += 1
            if response.status != 200:
                await asyncio.sleep(PAUSE)

    tasks = [asyncio.create_task(attack(n)) for n in range(attackers) for _ in range(2)]
    try:
        yield got
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def settings(slow: str, **more: Any) -> dict[str, Any]:
    return {
        "upstream": {"servers": [slow], "max_concurrency": WORKERS},
        "history": {"window": WINDOW},
        "pressure": {"smoothing": SMOOTHING},
        "log": {"refused_per_second": 100_000},
        "challenge": {"least_hashes": 256, "most_hashes": 1024},
        **more,
    }


async def known(session: aiohttp.ClientSession, shield: Any) -> None:
    """Become a regular, through the front door: until a pass comes, whether it is kept or not."""
    async with asyncio.timeout(30):
        while True:
            async with session.get(shield.url("/visit")) as response:
                assert response.status == 200
                if "shield_pass" in response.cookies:
                    return


async def test_regulars_are_served_and_newcomers_are_challenged(
    start: Callable[..., Any], slow: str, client: Client
) -> None:
    shield = await start(**settings(slow))
    with_pass, moved, without = client("127.2.0.1"), client("127.2.0.2"), client("127.2.0.3", jar=False)
    await asyncio.gather(known(with_pass, shield), known(without, shield))
    moved.cookie_jar.update_cookies(with_pass.cookie_jar.filter_cookies(aiohttp.client.URL(shield.url())))

    async with flood(shield, client) as got, asyncio.timeout(20):
        await shield.logged("attack_onset")
        await shield.until(lambda status: status["pressure"] > 0.2)
        for session in (with_pass, moved, without):
            for _ in range(5):
                async with session.get(shield.url("/home")) as response:
                    assert response.status == 200
        newcomer = client("127.7.0.1", {"User-Agent": "program"})
        async with newcomer.get(shield.url("/home")) as response:
            assert response.status == 503
            problem = await response.json(content_type=None)
        assert problem["reason"] == "newcomer"
        browser = client("127.7.0.2")
        async with browser.get(shield.url("/home")) as response:
            assert (response.status, response.content_type) == (503, "text/html")
        challenge = problem["challenge"]
        nonces = solver.solve(challenge["token"], challenge["k"], int(challenge["target"], 16))
        async with newcomer.post(shield.url(ANSWER), json={"token": challenge["token"], "nonces": nonces}) as response:
            assert response.status == 200
        async with newcomer.get(shield.url("/home")) as response:
            assert response.status == 200, "who pays is served"
        assert got["challenged"] > 0
    status = await shield.status()
    assert status["attack"] is True
    assert set(status["requests"]["challenge"]) <= {"newcomer", "bad_reputation"}
    assert (await shield.asked("/metrics"))[1].count('shield_requests_total{action="challenge",reason="newcomer"}')
    onset = shield.seen("attack_onset")
    assert len(onset) == 1
    assert onset[0]["demand"] > 0
    assert status["tables"]["history"]["entries"] <= 4, "an attacker makes no history"
    regulars = {"127.2.0.1", "127.2.0.2", "127.2.0.3"}
    assert {line["tier"] for line in shield.seen("request", path="/home")} <= {0, 1, 2}
    assert not [line for line in shield.seen("refused") if line["address"] in regulars]


async def test_a_dry_run_changes_no_outcome_and_tells_what_would_have_been(
    start: Callable[..., Any], slow: str, client: Client
) -> None:
    shield = await start(dry_run=True, limits={"honeypots": ["/trap"], "costs": {"/heavy": 50.0}}, **settings(slow))
    regular = client("127.2.0.1")
    async with asyncio.timeout(30):  # no pass is given, but the history is kept
        while not (await shield.status())["tables"]["history"]["entries"]:
            async with regular.get(shield.url("/visit")) as response:
                assert response.status == 200
    scanner = client("127.2.0.2", {"User-Agent": "scanner/1"})
    for who, path in (*[(regular, "/heavy")] * 6, (scanner, "/trap")):
        async with who.get(shield.url(path)) as response:
            assert response.status == 200
    async with flood(shield, client) as got, asyncio.timeout(20):
        wanted = {"challenge_dry_run", "limit_dry_run", "ban_dry_run"}
        await shield.until(lambda status: wanted <= set(status["requests"]))
        await shield.logged("request", action="challenge_dry_run", status=200)
    assert set(got) == {"200"}
    status = await shield.status()
    assert set(status["requests"]) == {"forward", *wanted}, "nothing is queued either"
    assert status["challenges"]["minted"] == 0
    assert sum(status["passes"].values()) == 0
    assert status["dry_run"] is True
    assert shield.seen("request", action="ban_dry_run", reason="honeypot", status=200)
    assert not shield.seen("refused")
    assert not list(regular.cookie_jar)
