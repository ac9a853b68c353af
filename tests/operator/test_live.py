"""The dashboard's stream over real sockets: what it says, who may read it, and what bounds it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from shield.operator import live
from shield.operator.access import Access
from shield.operator.dashboard.files import POLICY, files
from shield.operator.live import MOST_STREAMS
from shield.operator.server import AdminServer, AdminSettings
from shield.operator.status import plain
from shield.report import from_shield, page
from tests.operator.test_api import Clerk
from tests.operator.test_server import View
from tests.operator.test_status import make_status


class Sight(View):
    def __init__(self) -> None:
        super().__init__()
        self.events: list[dict[str, Any]] = []

    def status(self) -> dict[str, Any]:
        return plain(make_status())  # type: ignore[no-any-return]

    async def recent(self) -> dict[str, Any]:
        return {"refused": [], "events": self.events}


@contextlib.asynccontextmanager
async def served(view: Sight | None = None, **settings: Any) -> AsyncIterator[AdminServer]:
    made = AdminSettings(**{"address": "127.0.0.1:0", **settings})
    server = AdminServer(made, view or Sight(), desk=Clerk(), access=Access(made.token_file))
    await server.start()
    try:
        yield server
    finally:
        await server.close()


class Stream:
    """One that is read event by event."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def next(self) -> tuple[str, dict[str, Any]]:
        async with asyncio.timeout(10):
            name = (await self.response.content.readline()).decode().removeprefix("event: ").strip()
            data = (await self.response.content.readline()).decode().removeprefix("data: ")
            assert await self.response.content.readline() == b"\n"
        return name, json.loads(data)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, read_bufsize=1 << 22) as session:
        yield session


async def opened(session: aiohttp.ClientSession, server: AdminServer, **headers: str) -> Stream:
    return Stream(await session.get(f"http://{server.address}/api/stream", headers=headers))


async def test_the_stream_says_what_was_and_then_what_is(session: aiohttp.ClientSession) -> None:
    view = Sight()
    async with served(view) as server:
        stream = await opened(session, server)
        assert stream.response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert stream.response.headers["Cache-Control"] == "no-store"
        assert "Access-Control-Allow-Origin" not in stream.response.headers
        name, history = await stream.next()
        assert (name, history["columns"][0]) == ("history", "time")
        name, first = await stream.next()
        assert (name, first["state"]["events"]) == ("now", [])
        assert len(first["row"]) == len(history["columns"])
        _, second = await stream.next()
        assert second["row"][0] > first["row"][0]
        assert "events" not in second["state"]  # nothing has happened
        view.events = [{"at": 1.0, "event": "upstream_up", "fields": {"server": "a\udc80"}}]
        _, third = await stream.next()
        assert third["state"]["events"][0]["text"] == "Server a\udc80 is well again"
        asked = await (await session.get(f"http://{server.address}/api/history")).json()
        assert [row[0] for row in asked["rows"]][-1] == third["row"][0]


async def test_one_stream_more_ends_the_oldest(session: aiohttp.ClientSession) -> None:
    async with served() as server:
        streams = [await opened(session, server) for _ in range(MOST_STREAMS + 1)]
        names = [(await streams[0].next())[0]]
        while names[-1] != "closed":
            name, said = await streams[0].next()
            names.append(name)
        assert "another window" in said["detail"].lower()
        assert await streams[0].response.content.read() == b""
        assert (await streams[-1].next())[0] == "history"
        assert server._live is not None
        async with asyncio.timeout(10):
            while server._live.readers != MOST_STREAMS:
                await asyncio.sleep(0.01)


async def test_who_does_not_read_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "WRITE_SECONDS", 0.1)
    async with served() as server:
        assert server._live is not None
        monkeypatch.setattr(server._live, "history", lambda: {"columns": [], "rows": ["x" * (1 << 23)]})
        host, _, port = server.address.rpartition(":")
        with socket.create_connection((host, int(port))) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.sendall(b"GET /api/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
            async with asyncio.timeout(10):
                while not server._live.readers:
                    await asyncio.sleep(0.01)
                while server._live.readers:
                    await asyncio.sleep(0.01)


async def test_the_end_of_shield_ends_the_streams(session: aiohttp.ClientSession) -> None:
    async with served() as server:
        stream = await opened(session, server)
        assert (await stream.next())[0] == "history"
        closing = asyncio.create_task(server.close())
        name = ""
        while name != "closed":
            name, said = await stream.next()
        assert said["detail"].startswith("Shield ends")
        await closing


async def test_a_second_that_fails_is_told_and_missed(session: aiohttp.ClientSession) -> None:
    class Broken(Sight):
        fails = True

        def status(self) -> dict[str, Any]:
            if self.fails:
                self.fails = False
                raise RuntimeError("broken")
            return super().status()

    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    async with served(Broken()) as server:
        stream = await opened(session, server)
        assert [(await stream.next())[0] for _ in range(2)] == ["history", "now"]
    assert [str(each["exception"]) for each in told] == ["broken"]


async def test_a_token_is_needed_from_elsewhere(session: aiohttp.ClientSession, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"read {'r' * 32}\n")
    tokens.chmod(0o600)
    async with served(token_file=str(tokens)) as server:
        elsewhere = {"X-Forwarded-For": "192.0.2.1"}
        for path in ("/api/stream", "/api/history", "/api/recent"):
            assert (await session.get(f"http://{server.address}{path}", headers=elsewhere)).status == 401
        assert (await session.get(f"http://{server.address}/", headers=elsewhere)).status == 200  # it asks for one
        stream = await opened(session, server, Authorization=f"Bearer {'r' * 32}", **elsewhere)
        assert (await stream.next())[0] == "history"


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_a_page_of_another_site_opens_no_stream(session: aiohttp.ClientSession, site: str) -> None:
    async with served() as server:
        assert (await opened(session, server, **{"Sec-Fetch-Site": site})).response.status == 403
        url = f"http://{server.address}/api/stream"
        assert (await session.get(url, headers={"Host": "attacker.example"})).status == 421
        assert (await session.post(url)).status == 405


async def test_the_files_have_a_strict_policy_and_load_nothing_from_elsewhere(session: aiohttp.ClientSession) -> None:
    async with served() as server:
        for path, file in files().items():
            response = await session.get(f"http://{server.address}{path}")
            assert (response.status, await response.read()) == (200, file.data)
            assert response.headers["Content-Security-Policy"] == POLICY
            assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert (await session.get(f"http://{server.address}/dashboard/__init__.py")).status == 404
    assert "unsafe" not in POLICY
    page = files()["/"].data.decode()
    assert "://" not in page
    assert "<style" not in page
    assert " style=" not in page
    assert page.count("<script") == page.count("<script src=")


@pytest.mark.wheel
def test_the_wheel_has_the_files() -> None:
    names = {path.rpartition("/")[2] for path in files()}
    assert {"index.html", "dashboard.js", "dashboard.css", "uPlot-1.6.32.min.js", "uPlot-LICENSE.txt"} <= names


async def test_a_report_has_the_figures_and_what_has_happened(session: aiohttp.ClientSession) -> None:
    view = Sight()
    view.events = [{"at": 1.0, "event": "upstream_up", "fields": {"server": "a"}}]
    async with served(view) as server:
        stream = await opened(session, server)
        for _ in range(3):
            await stream.next()
        for seconds, step in ((60, 1.0), (7200, 60.0)):
            said = await (await session.get(f"http://{server.address}/api/report?seconds={seconds}")).json()
            assert said["at"] - said["since"] == seconds
            assert (said["step"], said["events"]) == (step, view.events)
            assert len(said["rows"][-1]) == len(said["columns"])
            made = from_shield.account(said, "here")
            assert made.times
            assert "<h1>No attack." in page.html(made)
        for wrong in ("0", "86401", "-1", "x", "1e3", "9" * 30):
            response = await session.get(f"http://{server.address}/api/report?seconds={wrong}")
            assert (response.status, response.content_type) == (422, "application/problem+json")
