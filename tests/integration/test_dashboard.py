"""What the dashboard is told by a Shield that runs: by one process, and by several workers as by one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web

Client = Callable[..., aiohttp.ClientSession]
Start = Callable[..., Awaitable[Any]]


async def states(shield: Any) -> AsyncIterator[dict[str, Any]]:
    """The events of the stream; `state.events` are in each of them."""
    events: list[dict[str, Any]] = []
    async with (
        aiohttp.ClientSession(read_bufsize=1 << 22) as session,
        session.get(f"http://{shield.admin}/api/stream") as stream,
    ):
        async for line in stream.content:
            if line.startswith(b"data: ") and "state" in (said := json.loads(line[6:])):
                events = said["state"].setdefault("events", events)
                yield said


async def until(shield: Any, what: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """The state, when `what` is true of it."""
    async with asyncio.timeout(30):
        async for said in states(shield):
            if what(said["state"]):
                return said["state"]  # type: ignore[no-any-return]
    raise AssertionError("the stream has ended")


@pytest.mark.parametrize("workers", [1, 2])
async def test_the_figures_are_those_of_all(
    workers: int, start: Start, client: Client, serve: Any, site: web.Application
) -> None:
    shield = await start(
        listen={"workers": workers},
        upstream={"servers": [await serve(site)]},
        identity={"deny": ["127.9.0.0/16"]},
        limits={"honeypots": ["/trap"]},
    )

    async def ask() -> None:
        for network in range(12):
            async with client(f"127.4.{network}.1").get(shield.url("/page/a")) as response:
                assert response.status == 200
            async with client(f"127.9.{network}.1").get(shield.url("/page/a")) as response:
                assert response.status == 403

    stream = states(shield)
    await anext(stream)
    await ask()
    async with asyncio.timeout(30):
        async for said in stream:
            state = said["state"]
            denied = [each for each in state["verdicts"] if each["reason"] == "denylisted"]
            served = sum(each["served"] for each in state["tiers"])
            if denied and round(served, 1) == round(denied[0]["rate"], 1) and len(state["refused"]) >= 5:
                break
    assert denied[0]["why"] == "denied by the config"
    assert [each["worker"] for each in state["workers"]] == list(range(workers) if workers > 1 else ())
    assert all(each["answers"] for each in state["workers"])
    assert state["servers"][0]["healthy"] is True
    assert any(event["text"] == "Shield has started" for event in state["events"])
    async with client("127.5.0.1", {"User-Agent": "scanner"}).get(shield.url("/trap")) as response:
        assert response.status == 403
    state = await until(shield, lambda state: [e for e in state["events"] if e["event"] == "ban"])
    (ban,) = (event for event in state["events"] if event["event"] == "ban")  # though all workers have heard of it
    assert ban["text"].startswith("Banned ")
    status, text = await shield.asked("/api/history")
    history = json.loads(text)
    verdicts = history["columns"].index("ban")
    assert status == 200
    assert sum(row[verdicts] for row in history["rows"]) > 0
    assert [row[0] for row in history["rows"]] == sorted(row[0] for row in history["rows"])


async def test_what_was_recorded_outlives_a_reload(start: Start, serve: Any, site: web.Application) -> None:
    shield = await start(upstream={"servers": [await serve(site)]})
    await until(shield, lambda state: True)
    _, before = await shield.asked("/api/history")
    shield.reload(limits={"client": {"rate": 11, "burst": 200}})
    await shield.logged("reloaded")
    state = await until(shield, lambda state: [e for e in state["events"] if e["event"] == "reloaded"])
    assert state["ready"] is True
    _, after = await shield.asked("/api/history")
    assert json.loads(after)["rows"][0] == json.loads(before)["rows"][0]


@pytest.mark.parametrize("workers", [1, 2])
async def test_top_shows_the_same_in_a_terminal(
    workers: int, start: Start, client: Client, serve: Any, site: web.Application
) -> None:
    pytest.importorskip("textual")
    from shield.console.client import Admin, Stream
    from shield.console.top import PATH, SILENCE, Rows, Top

    shield = await start(
        listen={"workers": workers},
        upstream={"servers": [await serve(site)]},
        identity={"deny": ["127.9.0.0/16"]},
    )
    admin = Admin(shield.admin)
    app = Top(admin, lambda: Stream(admin, PATH, SILENCE))
    async with app.run_test(size=(120, 40)) as pilot, asyncio.timeout(40):
        while "Calm" not in str(app.query_one("#head").render()):
            await pilot.pause(0.1)
        async with client("127.9.0.1").get(shield.url("/page/a")) as response:
            assert response.status == 403
        refused = app.query_one("#refused", Rows)
        while not refused.picked():
            await pilot.pause(0.1)
        assert refused.picked()[:2] == ("127.9.0.1", "denied by the config")
        await pilot.press("w")
        while not app.screen.query("#answer Static"):
            await pilot.pause(0.1)
        text = "".join(str(each.render()) for each in app.screen.query("#answer Static"))
        assert "identity.deny" in text
