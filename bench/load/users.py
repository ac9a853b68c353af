"""People who use the site: they click when they like, not when the site is ready.

Each user is a browser at an address of its own in 127.2.0.0/16 (a few share one): pages of HTML and then their parts,
over up to six keep-alive connections, cookies kept. All clicks are fixed before the run starts (think times are
log-normal), so a site that is slow does not get fewer of them, and latency counts from when a request was meant to be
sent: a page's from the click, a part's from the moment the page had come. Whoever gets no complete 200 within the
patience of 10 s has failed. Some download a file instead, at the pace of their line (paced.py). Challenges are
counted. Those who have visited before ought not to see any, and solve none; newcomers do (buying.py), and ask for their
page again with the pass.

Reads a plan as JSON from one file, writes what happened as JSON to another.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import random
import time
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import httptools
import uvloop

from bench.common.guard import Target, loopback, target
from bench.load.buying import Desk
from bench.load.paced import Download, download

PATIENCE: Final = 10.0  # seconds from when a request was meant to be sent
CONNECTIONS: Final = 6  # per host, as in browsers
AGENTS: Final = (
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Safari/605.1.15",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Mobile",
)
LANGUAGES: Final = ("en-GB,en;q=0.7", "de-DE,de;q=0.8,en;q=0.5", "fr-FR,fr;q=0.9")


@dataclass(frozen=True, slots=True)
class Person:
    """Who: an address and a program. `clicks` are monotonic seconds; `group` is what the results call people like them:
    returning, shared (returning too, all behind one address), newcomer."""

    address: str
    agent: str
    language: str
    clicks: Sequence[float]
    parts: int = 8
    group: str = "returning"
    file: str = ""  # what is downloaded with each click, instead of a page
    pace: float = 0.0  # bytes/s of the line for that


def crowd(number: int) -> list[tuple[str, str, str]]:
    """Addresses, programs, languages. A third of the users share 127.2.0.0/24; the last four share two addresses of it
    by pairs with different programs; the others have networks to themselves."""
    people = []
    for index in range(number):
        if index >= number - 4 and number >= 12:
            address = f"127.2.0.{200 + index // 2 % 2}"
        else:
            address = f"127.2.0.{10 + index}" if index < number // 3 else f"127.2.{index}.1"
        people.append((address, AGENTS[index % len(AGENTS)], LANGUAGES[index % len(LANGUAGES)]))
    return people


def think(rng: random.Random, mean: float) -> float:
    """Seconds between two clicks: log-normal with sigma 0.6, at least a fifth of the mean. People read, then click."""
    sigma = 0.6
    return max(mean / 5, rng.lognormvariate(math.log(mean) - sigma * sigma / 2, sigma))


def is_challenge(body: bytes) -> bool:
    """Whether Shield asks for proof of work, in JSON or on a page."""
    return b'"challenge":' in body or b'<main id="challenge"' in body


GZIP: Final = 16 + zlib.MAX_WBITS
"""To zlib: a gzip header and trailer are expected."""


class Link(asyncio.Protocol):
    """One connection of a browser; one request at a time."""

    def __init__(self) -> None:
        self.answered: asyncio.Future[bool] | None = None
        self.alive = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.alive = True

    def ask(self, request: bytes) -> asyncio.Future[bool]:
        """Send it. The future holds True when the whole answer has come, False when the connection ended before."""
        self.parser = httptools.HttpResponseParser(self)
        self.status, self.body, self.cookies, self.began, self.zipped = 0, b"", list[bytes](), False, False
        self.answered = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self.answered

    def data_received(self, data: bytes) -> None:
        if self.answered is None:
            self.close()  # nobody asked
            return
        self.began = True
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name == b"set-cookie":
            self.cookies.append(value)
        elif name == b"content-encoding":
            self.zipped = value == b"gzip"

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.status = self.parser.get_status_code()
        if self.zipped:
            self.body = zlib.decompress(self.body, GZIP)
        if not self.parser.should_keep_alive():
            self.close()
        self.settle(True)

    def connection_lost(self, error: Exception | None) -> None:
        self.alive = False
        self.settle(False)

    def settle(self, complete: bool) -> None:
        answered, self.answered = self.answered, None
        if answered is not None and not answered.done():
            answered.set_result(complete)

    def close(self) -> None:
        self.alive = False
        self.transport.close()


class Browser:
    """One user's browser."""

    def __init__(
        self, person: Person, site: Target, samples: list[dict[str, Any]], number: int, desk: Desk | None = None
    ) -> None:
        """`desk` solves the challenges, if any are solved."""
        self.person = person
        self.desk = desk
        self.buying: asyncio.Task[bool] | None = None
        self.site = site
        self.samples = samples
        self.number = number
        self.cookies: dict[str, str] = {}
        self.free = asyncio.Semaphore(CONNECTIONS)
        self.idle: list[Link] = []

    async def browse(self) -> None:
        async with asyncio.TaskGroup() as tabs:
            for count, click in enumerate(self.person.clicks):
                await asyncio.sleep(click - time.monotonic())
                tabs.create_task(self.load(count, click))
        for link in self.idle:
            link.close()

    async def load(self, count: int, click: float) -> None:
        """A page and its parts. Without the page nobody asks for the parts."""
        if self.person.file:
            await self.take(click)
            return
        if not await self.fetch(f"/page/{count % 7}", click, click, document=True):
            return
        now = time.monotonic()
        await asyncio.gather(*(self.fetch(f"/part/{part}.css", click, now) for part in range(self.person.parts)))

    async def fetch(self, path: str, click: float, meant: float, document: bool = False) -> bool:
        link, ended, challenged = None, None, False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(meant + PATIENCE - time.monotonic()), self.free:
                link = await self.exchange(self.render(path, document))
                while self.desk and document and link is not None and is_challenge(link.body):
                    challenged = True
                    if not await self.buy(self.desk, link.body):
                        break
                    link = await self.exchange(self.render(path, document))
                ended = time.monotonic()
        good = link is not None and link.status == 200 and len(link.body) > 0
        challenged = challenged or (link is not None and not good and is_challenge(link.body))
        self.note(click, meant, ended, document, good, link.status if link else 0, challenged)
        return good

    async def take(self, click: float) -> None:
        """A file, at the pace of the line."""
        found, ended, challenged = Download(), None, False
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(click + PATIENCE - time.monotonic()):
                while True:
                    request = self.render(self.person.file, True)
                    found = await download(self.site, self.person.address, request, self.person.pace)
                    if found.status == 200 or not is_challenge(found.body):
                        break
                    challenged = True
                    if self.desk is None or not await self.buy(self.desk, found.body):
                        break
                ended = time.monotonic()
        self.note(click, click, ended, True, found.status == 200 and found.complete, found.status, challenged)

    def note(
        self, click: float, meant: float, ended: float | None, page: bool, good: bool, status: int, challenge: bool
    ) -> None:
        """A sample of one request. `ended` is None when it never did."""
        self.samples.append(
            {
                "user": self.number,
                "group": self.person.group,
                "click": click,
                "page": page,
                "meant": meant,
                "latency": (ended or time.monotonic()) - meant,
                "good": good,
                "status": status,
                "challenge": challenge,
            }
        )

    async def buy(self, desk: Desk, page: bytes) -> bool:
        """A pass, for all tabs that ask for one meanwhile; who closes a tab still gets it."""
        if self.buying is None or self.buying.done():
            self.buying = asyncio.create_task(desk.buy(page, self.post))
        return await asyncio.shield(self.buying)

    async def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Status and body; 503 when nothing came."""
        link = await self.exchange(self.render(path, False, body))
        return (link.status, link.body) if link else (503, b"")

    async def exchange(self, request: bytes) -> Link | None:
        """The connection with the whole answer, or None when it failed. A kept connection that the server closed at the
        same moment is tried again on a new one, as browsers do."""
        while True:
            self.idle = [link for link in self.idle if link.alive]
            link = self.idle.pop() if self.idle else None
            kept = link is not None
            try:
                link = link or await self.connect()
                complete = await link.ask(request)
            except OSError:
                return None
            except asyncio.CancelledError:
                if link is not None:
                    link.close()
                raise
            if complete:
                break
            if not kept or link.began:
                return None
        for cookie in link.cookies:
            name, _, value = cookie.decode("latin-1").partition(";")[0].partition("=")
            self.cookies[name.strip()] = value.strip()
        if link.alive:
            self.idle.append(link)
        return link

    async def connect(self) -> Link:
        _, link = await asyncio.get_running_loop().create_connection(
            Link, self.site.host, self.site.port, local_addr=(self.person.address, 0)
        )
        return link

    def render(self, path: str, document: bool, body: bytes | None = None) -> bytes:
        accept, dest, mode = (
            ("text/html,application/xhtml+xml,*/*;q=0.8", "document", "navigate")
            if document
            else ("text/css,*/*;q=0.1", "style", "no-cors")
        )
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        length = "" if body is None else f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        head = (
            f"{'GET' if body is None else 'POST'} {path} HTTP/1.1\r\nHost: {self.site.host}:{self.site.port}\r\n"
            f"User-Agent: {self.person.agent}\r\n"
            f"Accept: {accept}\r\nAccept-Language: {self.person.language}\r\nAccept-Encoding: gzip, deflate, br\r\n"
            f"{length}{f'Cookie: {cookies}' + chr(13) + chr(10) if cookies else ''}"
            f"Sec-Fetch-Dest: {dest}\r\nSec-Fetch-Mode: {mode}\r\nSec-Fetch-Site: same-origin\r\n\r\n"
        )
        return head.encode() + (body or b"")


async def run(site: Target, people: Sequence[Person]) -> dict[str, Any]:
    samples: list[dict[str, Any]] = []
    with Desk() as desk:
        browsers = [
            Browser(person, site, samples, number, desk if person.group == "newcomer" else None)
            for number, person in enumerate(people)
        ]
        async with asyncio.TaskGroup() as group:
            for browser in browsers:
                group.create_task(browser.browse())
    return {"samples": samples, "cookies": [sorted(browser.cookies) for browser in browsers]}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.load.users", description="People on a site, loopback only.")
    parser.add_argument("--target", type=target, required=True)
    parser.add_argument("--plan", type=Path, required=True, help="JSON: a list of people")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    people = [Person(**row) for row in json.loads(arguments.plan.read_text())]
    for person in people:
        loopback(person.address)
    arguments.out.write_text(json.dumps(uvloop.run(run(arguments.target, people))))


def write_plan(path: Path, people: Sequence[Person]) -> None:
    path.write_text(json.dumps([asdict(person) for person in people]))


if __name__ == "__main__":
    main()
