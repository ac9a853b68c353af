"""The tables [[route]] in running Shields: each preset of docs/routes.md as it stands there, and a reload."""

from __future__ import annotations

import asyncio
import io
import json
import re
import tomllib
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

Client = Callable[..., aiohttp.ClientSession]
Start = Callable[..., Awaitable[Any]]

PAGE = Path(__file__).parents[2] / "docs" / "routes.md"
PRESETS = {
    title: tomllib.loads(text)["route"]
    for title, text in re.findall(
        r"^### ([^\n]+)\n\n```toml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
}
ATTEMPTS = 500
"""Fewer than `drops.refusals`, or the address would be dropped."""


@pytest.fixture
async def origin(serve: Callable[..., Awaitable[str]]) -> str:
    async def answer(request: web.Request) -> web.Response:
        if request.query.get("slow"):
            await asyncio.sleep(30)
        body = await request.read()
        return web.json_response({"path": request.path, "size": len(body)})

    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{rest:.*}", answer)
    return await serve(app)


async def status(session: aiohttp.ClientSession, method: str, url: str, **more: Any) -> int:
    async with session.request(method, url, **more) as response:
        await response.read()
        return response.status


async def statuses(session: aiohttp.ClientSession, method: str, url: str, times: int, **more: Any) -> Counter[int]:
    """Of so many requests, asked eight at a time."""
    left = iter(range(times))
    found: Counter[int] = Counter()

    async def ask() -> None:
        for _ in left:
            found[await status(session, method, url, **more)] += 1

    await asyncio.gather(*(ask() for _ in range(8)))
    return found


async def explained(shield: Any, asked: str) -> dict[str, Any]:
    async with aiohttp.ClientSession() as session, session.get(f"http://{shield.admin}/api/explain?{asked}") as answer:
        found: dict[str, Any] = json.loads(await answer.text())
        return found


def test_each_preset_is_tried() -> None:
    assert set(PRESETS) == {"Login brake", "Feed", "Health check", "Webhook", "Search page", "Upload"}


async def test_a_login_brake(start: Start, origin: str, client: Client) -> None:
    shield = await start(upstream={"servers": [origin]}, route=PRESETS["Login brake"])
    attacker = client("127.41.0.1", jar=False)
    found = await statuses(attacker, "POST", shield.url("/login"), ATTEMPTS, data={"password": "1"})
    assert (found[200], found[429]) == (10, ATTEMPTS - 10)
    for spelling in ("/LOGIN", "//login", "/%6Cogin", "/x/..;/login"):
        url = aiohttp.client.URL(shield.url(spelling), encoded=True)
        assert await status(attacker, "POST", url) == 429, spelling  # type: ignore[arg-type]
    assert await status(attacker, "GET", shield.url("/login")) == 200
    assert await status(client("127.41.1.1"), "POST", shield.url("/login"), data={"password": "2"}) == 200
    async with attacker.post(shield.url("/login")) as refused:
        assert refused.headers["RateLimit-Policy"] == '"route_rate";q=10;w=120'
        assert 1 <= int(refused.headers["Retry-After"]) <= 15
        request_id = refused.headers.get("X-Request-Id", "")
    line = await shield.logged("refused", reason="route_rate")
    assert (line["route"], line["path"]) == ("logins", "/login")
    answer = await explained(shield, "address=127.41.0.1")
    refusals = answer["refused"]
    assert refusals, request_id
    counted = (await shield.status())["requests"]
    assert counted["limit"]["route_rate"] >= ATTEMPTS - 10
    assert await status(client("127.41.2.1"), "POST", shield.url("/login"), data=b"x" * 10_001) == 413


async def test_an_office_logs_in_at_the_same_time(start: Start, origin: str, client: Client) -> None:
    shield = await start(upstream={"servers": [origin]}, route=PRESETS["Login brake"])
    for number in range(20):
        session = client("127.42.0.1", headers={"User-Agent": f"Browser/{number}"})
        found = [await status(session, "POST", shield.url("/login"), data={"password": "1"}) for _ in range(2)]
        assert found == [200, 200]


@pytest.mark.parametrize(("preset", "method", "path", "more"), [
    ("Feed", "GET", "/feed/atom.xml", {}),
    ("Health check", "GET", "/healthz", {}),
    ("Webhook", "POST", "/hooks/paid", {"json": {"paid": True}}),
])  # fmt: skip
async def test_programs_are_not_challenged_where_they_ask(
    preset: str, method: str, path: str, more: dict[str, Any], start: Start, origin: str, client: Client
) -> None:
    """Everybody else is: as under pressure, only that this needs no attack."""
    challenge = {"mode": "always"}
    shield = await start(upstream={"servers": [origin]}, challenge=challenge, route=PRESETS[preset])
    program = client("127.43.0.1", headers={"User-Agent": "Program/1.0"})
    assert await status(program, method, shield.url(path), **more) == 200
    assert await status(program, method, shield.url("/"), **more) == 503
    assert await status(program, method, shield.url(path.upper()), **more) == 503  # it may be another page
    if preset == "Webhook":
        assert await status(program, "POST", shield.url(path), data=b"x", headers={"Content-Type": "text/plain"}) == 503
        assert await status(program, "POST", shield.url(path), json={"x": "y" * 300_000}) == 413
        assert (await statuses(program, "POST", shield.url(path), 320, **more))[429] >= 1
    if preset == "Feed":
        assert (await statuses(program, method, shield.url(path), 40))[429] >= 10
    if preset == "Health check":
        assert await status(program, method, shield.url(f"{path}?slow=1")) == 504


async def test_one_dear_route_does_not_drain_an_api_key(start: Start, origin: str, client: Client) -> None:
    identity = {
        "api_key_header": "X-Key",
        "api_keys": ["2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683"],  # of "key"
    }
    shield = await start(upstream={"servers": [origin]}, identity=identity, route=PRESETS["Search page"])
    program = client("127.44.0.1", headers={"X-Key": "key"})
    found = await statuses(program, "GET", shield.url("/search?q=all"), 200)
    assert set(found) == {200, 429}
    assert found[200] <= 9
    assert (await statuses(program, "GET", shield.url("/small"), 20)) == {200: 20}
    counted = (await shield.status())["requests"]
    assert counted["forward"]["api_key"] == found[200] + 20


async def test_an_upload_may_be_larger_than_others(start: Start, origin: str, client: Client) -> None:
    shield = await start(upstream={"servers": [origin]}, http={"max_body_bytes": 1000}, route=PRESETS["Upload"])
    session = client("127.45.0.1")
    assert await status(session, "POST", shield.url("/upload"), data=io.BytesIO(b"x" * 2_000_000)) == 200
    assert await status(session, "POST", shield.url("/other"), data=b"x" * 1001) == 413


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_reload_changes_routes_and_a_dry_run_refuses_nobody(
    workers: int, start: Start, origin: str, client: Client
) -> None:
    tried = [{**PRESETS["Login brake"][0], "dry_run": True}]
    shield = await start(listen={"workers": workers}, upstream={"servers": [origin]}, route=tried)
    assert await statuses(client("127.46.0.1"), "POST", shield.url("/login"), 50) == {200: 50}
    await shield.until(lambda status: status["requests"].get("limit_dry_run") == {"route_rate": 40})
    shield.settings["route"] = PRESETS["Login brake"]
    shield.reload()
    await shield.logged("reloaded", count=1 if workers == 1 else 3)
    found = await statuses(client("127.46.0.1"), "POST", shield.url("/login"), 50)  # over connections of its own
    assert (found[200], found[429]) == (10, 40)
    shield.settings["route"] = []
    shield.reload()
    await shield.logged("reloaded", count=2 if workers == 1 else 6)
    assert await statuses(client("127.46.0.1"), "POST", shield.url("/login"), 50) == {200: 50}
