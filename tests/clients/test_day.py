"""A day in calm weather, in a minute and a half: everybody who comes to a site in a day comes, and nobody is refused.

People at home and an office behind one address click as people click, with six connections each; feed readers,
a monitor, a crawler, webhooks, a script with an API, downloads over slow lines and WebSockets that stay open, curl and
wget all come besides. The site takes its time, now and then much.

It is the one test that waits between requests, since rates are what it is about; it has no deadline but the day's end.
On a machine without time to spare the site really is overloaded, and the day is not calm.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.clients import site
from tests.clients.conftest import Front, Make, refused

pytestmark = pytest.mark.clients

DAY = float(os.environ.get("SHIELD_DAY_SECONDS", "90"))
PEOPLE, OFFICE, READERS = 24, 16, 20
CONNECTIONS = 6
AGENTS = tuple(
    f"Mozilla/5.0 ({system}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version}.0.0.0 Safari/537.36"
    for system in ("Windows NT 10.0; Win64; x64", "Macintosh; Intel Mac OS X 10_15_7", "X11; Linux x86_64")
    for version in range(138, 144)
)
LANGUAGES = ("de-DE,de;q=0.9,en;q=0.8", "en-US,en;q=0.9", "fr-FR,fr;q=0.9", "pl,en;q=0.7")


def unhurried(dice: random.Random) -> Any:
    """Parts take milliseconds, pages tens of them, and one answer in two hundred takes a second."""

    @web.middleware
    async def wait(request: web.Request, handler: Any) -> Any:
        usual = dice.uniform(0.001, 0.006) if request.path.startswith("/part") else dice.lognormvariate(-3.5, 0.6)
        await asyncio.sleep(1.0 if dice.random() < 0.005 else usual)
        return await handler(request)

    return wait


class Day:
    """What happens until `ends`, and the answers that came."""

    def __init__(self, front: Front, dice: random.Random) -> None:
        self.front = front
        self.dice = dice
        self.loop = asyncio.get_running_loop()
        self.ends = self.loop.time() + DAY
        self.statuses: Counter[str] = Counter()

    async def pause(self, least: float, most: float) -> bool:
        """Whether the day goes on, after some seconds."""
        await asyncio.sleep(self.dice.uniform(least, most))
        return self.loop.time() < self.ends

    async def ask(self, session: aiohttp.ClientSession, who: str, path: str, method: str = "GET", **more: Any) -> bytes:
        async with session.request(method, self.front.url(path), **more) as response:
            self.statuses[f"{who} {response.status}"] += 1
            return await response.read()

    def session(self, address: str, agent: str, cookies: bool = False, **more: Any) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(local_addr=(address, 0), limit=CONNECTIONS, **more),
            cookie_jar=aiohttp.CookieJar(unsafe=True) if cookies else aiohttp.DummyCookieJar(),
            headers={"User-Agent": agent},
            timeout=aiohttp.ClientTimeout(total=60),
        )

    async def person(self, address: str) -> None:
        """Comes in the morning: a page with all its parts, then clicks, forms, now and then a page of another kind."""
        dice = self.dice
        await self.pause(0, DAY / 2)
        async with self.session(address, dice.choice(AGENTS), cookies=True) as session:
            session.headers["Accept-Language"] = dice.choice(LANGUAGES)
            parts = site.PARTS
            while True:
                await self.ask(session, "people", "/page", headers={"Accept": "text/html,*/*;q=0.8"})
                await asyncio.gather(*(self.ask(session, "people", f"/part/{number}") for number in range(parts)))
                if dice.random() < 0.2:
                    await self.ask(session, "people", "/page", "POST", data={"name": "größe"})
                if not await self.pause(3, 12):
                    return
                parts = site.PARTS if dice.random() < 0.1 else 6

    async def listener(self, address: str) -> None:
        """A tab with a WebSocket that says something now and then."""
        async with self.session(address, self.dice.choice(AGENTS)) as session:
            async with session.ws_connect(self.front.url("/socket")) as socket:
                while await self.pause(1, 4):
                    await socket.send_str("still here")
                    assert await socket.receive_str() == "still here"
            self.statuses["sockets 101"] += 1

    async def reader(self, address: str) -> None:
        """Asks whether there is news; there is none."""
        known = {"If-None-Match": '"v1"'}
        async with self.session(address, f"FeedReader/{address[-1]}.0") as session:
            while await self.pause(2, 8):
                await self.ask(session, "feeds", "/unchanged", headers=known)
                await self.ask(session, "feeds", "/events")

    async def monitor(self) -> None:
        """A new connection a second."""
        async with self.session("127.6.0.1", "Monitor/1", force_close=True) as session:
            while await self.pause(1, 1):
                await self.ask(session, "monitor", "/large", "HEAD")

    async def crawler(self) -> None:
        async with self.session("127.6.0.2", "Crawler/2.1 (+http://crawler.example/)", force_close=True) as session:
            while await self.pause(0.4, 0.6):
                await self.ask(session, "crawler", f"/item/{self.dice.randrange(400)}")

    async def script(self) -> None:
        """Uses an API over one connection, four times a second, without any pause."""
        async with self.session("127.6.0.3", "python-script/3") as session:
            while await self.pause(0.25, 0.25):
                await self.ask(session, "script", "/echo", "PUT", data=b"12345")

    async def webhooks(self) -> None:
        """Twenty at once, each over a connection of its own."""
        async with self.session("127.6.0.4", "Hooks/1", force_close=True) as session:
            while await self.pause(10, 15):
                await asyncio.gather(
                    *(self.ask(session, "hooks", "/upload", "POST", data=b"x" * 5000) for _ in range(20))
                )

    async def tools(self) -> None:
        """What is installed, one after the other and then again."""
        front, n = self.front, 0
        curl = ("curl", "--silent", "--show-error", "--fail")
        while await self.pause(1, 3):
            n += 1
            address = f"127.7.0.{n % 200 + 1}"
            got = await front.run(*curl, "--interface", address, front.url("/item/[0-29]"))
            assert site.digest(got) == site.EXPECTED["items"]
            slow = ("--limit-rate", "1M", "--interface", address)
            assert await front.run(*curl, *slow, front.url("/stream")) == site.LARGE
            await front.run("wget", "-q", "--bind-address", address, "-r", "-P", f"tree{n}", front.url("/tree/a.html"))
            self.statuses["tools 200"] += 3


def visitors(day: Day) -> list[Any]:
    """Everybody."""
    several: list[tuple[Callable[[str], Any], str, int]] = [
        (day.person, "127.4.{}.9", PEOPLE),
        (day.person, "127.5.0.1", OFFICE),
        (day.listener, "127.4.{}.9", 10),
        (day.reader, "127.8.{}.3", READERS),
    ]
    alone = [day.monitor(), day.crawler(), day.script(), day.webhooks(), day.tools()]
    return [*alone, *(visit(address.format(n)) for visit, address, count in several for n in range(1, count + 1))]


@pytest.mark.parametrize("make_front", ["http"], indirect=True)
async def test_nobody_is_refused_all_day(make_front: Make) -> None:
    app = site.app()
    app.middlewares.append(unhurried(random.Random(1)))
    front = await make_front(app)
    day = Day(front, random.Random(2))
    try:
        async with asyncio.TaskGroup() as group:
            for each in visitors(day):
                group.create_task(each)
    finally:
        print(sorted(day.statuses.items()), await refused(front.shield))
    assert {status.split()[1] for status in day.statuses} <= {"101", "200", "304"}
    assert not await refused(front.shield)
    status = await front.shield.status()
    assert status["attack"] is False
    assert status["challenges"]["minted"] == 0


async def test_that_refusals_would_be_seen(make_front: Make) -> None:
    front = await make_front(site.app())
    _, writer = await asyncio.open_connection("127.0.0.1", front.shield.port)
    writer.write(b"no HTTP\r\n\r\n")
    await writer.drain()
    async with front.patience():
        while not await refused(front.shield):
            pass
    front.allowed |= set(await refused(front.shield))
    writer.close()
