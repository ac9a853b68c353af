"""The attackers: waves of requests from many addresses, as a plan says, whatever comes back.

    get       requests leave at the given rate (an open loop), each from one of the wave's addresses, some of them over
              kept connections; one that is not answered within 5 s is given up, with its connection
    answers   the same with answers to challenges, all of them wrong: no JSON, forged tokens, and real tokens, which
              were asked for, with nonces that do not fit. In between they ask for pages as programs do
    slow      connections that send a head, send a body, or read an answer, a little each second (bench/load/drips.py)
    broken    as get, but what a program alone can send, a request with two lengths; each is a program of its own
    pictures  ClientHellos to the plain port, as a page elsewhere has browsers send them (bench/load/hellos.py)
    upload, reader, unread, waiter   connections that hold what others need (bench/load/holders.py)
    h2-...    connections of HTTP/2 that cost their client next to nothing (bench/load/frames.py)

Attackers have addresses from 127.16.0.0 on, four to a /24, so that limits by network alone do not catch them. They
keep no cookies and solve nothing. Bounded in rate, time and open connections (then requests are held back, and counted
as such).
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import collections
import json
import random
import re
import time
from collections.abc import Coroutine, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import httptools
import uvloop

from bench.common.guard import MOST_CONNECTIONS, MOST_RATE, MOST_SECONDS, Target, bounded, loopback, target
from bench.common.processes import raise_file_limit
from bench.load import frames, holders
from bench.load.drips import Drip
from bench.load.hellos import Pictures
from bench.load.holders import Holders
from bench.load.users import AGENTS

PATIENCE: Final = 5.0  # seconds until an unanswered request is given up
TURN: Final = 0.005  # seconds between two looks at what is due
KEPT: Final = 2  # connections that an attacker keeps for its next request
MOST_ATTACKERS: Final = 100_000
MOST_PACE: Final = 100_000.0  # bytes/s of a connection
PATHS: Final = ("/page/1", "/page/2", "/part/3.css", "/")
ANSWER_TO: Final = "/.well-known/shield/answer"
KINDS: Final = ("get", "answers", "broken", "slow", "pictures", *holders.KINDS, *frames.KINDS)
MOST_PARTS: Final = 16_000  # of a cookie; 32 KB
TOKEN: Final = re.compile(rb'"token":\s*"([\w-]+)"')


@dataclass(frozen=True, slots=True)
class Wave:
    """So many `attackers` for so many `seconds`. `starts` counts from the onset, and is monotonic time in a plan."""

    kind: str  # of KINDS
    starts: float
    seconds: float
    attackers: int
    rate: float = 0.0  # requests/s in all
    first: int = 0  # number of the first address: waves of different attackers share none
    keep: float = 0.5  # share of the requests over kept connections
    paths: Sequence[str] = PATHS
    address: str = ""  # instead, one for all
    connections: int = 0  # of slow ones and of those that hold, in all
    addresses: Sequence[str] = ()  # instead, those of others
    cookie: int = 0  # parts of the cookie that each request brings
    pace: float = 0.0  # bytes/s of a connection that holds
    opens: float = 0.0  # of these, opened in a second at most; 0: all at once

    def checked(self) -> Wave:
        """Itself. Raises ArgumentTypeError outside the bounds of guard.py."""
        bounded(float, 0, MOST_RATE)(str(self.rate))
        bounded(float, 0.1, MOST_SECONDS)(str(self.seconds))
        bounded(int, 1, MOST_ATTACKERS - self.first)(str(self.attackers))
        bounded(int, 0, MOST_CONNECTIONS)(str(self.connections))
        bounded(int, 0, MOST_PARTS)(str(self.cookie))
        bounded(float, 0, MOST_PACE)(str(self.pace))
        bounded(float, 0, MOST_RATE)(str(self.opens))
        if self.kind not in KINDS:
            raise argparse.ArgumentTypeError(f"{self.kind} is no kind of wave")
        return self

    def at(self, onset: float) -> Wave:
        """The same with `starts` as monotonic time."""
        return replace(self, starts=onset + self.starts)

    def host(self, number: int) -> str:
        if self.addresses:
            return loopback(self.addresses[number])
        return loopback(self.address or address(self.first + number))

    def hosts(self) -> list[str]:
        return [self.host(number) for number in range(self.attackers)]


def address(number: int) -> str:
    """The attacker's address, four to a /24, below 127.16.0.0 + 100,000 / 1,024 of the second part."""
    return f"127.{16 + number // 1024}.{number // 4 % 256}.{1 + number % 4}"


class Attacker:
    """One address, with its idle connections."""

    __slots__ = ("address", "agent", "cookie", "idle", "path", "site", "token")

    def __init__(self, address: str, site: Target, number: int, paths: Sequence[str] = PATHS, cookie: int = 0) -> None:
        self.address = address
        self.site = site
        self.path = paths[number % len(paths)]
        self.agent = AGENTS[number % len(AGENTS)]
        self.cookie = f"Cookie: {'a;' * (cookie - 1)}a\r\n" if cookie else ""
        self.idle: list[Shot] = []
        self.token = b""  # of the challenge that it was given last

    def request(self, keep: bool, method: str = "GET", path: str = "", body: bytes | None = None) -> bytes:
        accept = "text/html,application/xhtml+xml,*/*;q=0.8" if body is None and not path else "application/json"
        close = "" if keep else "Connection: close\r\n"
        length = "" if body is None else f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        head = (
            f"{method} {path or self.path} HTTP/1.1\r\nHost: {self.site.host}:{self.site.port}\r\n"
            f"User-Agent: {self.agent}\r\nAccept: {accept}\r\nAccept-Language: en-US,en;q=0.5\r\n"
            f"Accept-Encoding: gzip, deflate, br\r\n{self.cookie}{length}{close}\r\n"
        )
        return head.encode() + (body or b"")


BROKEN: Final = (
    b"POST / HTTP/1.1\r\nHost: %s\r\nUser-Agent: program/%d\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
)


class Flood:
    """What all attackers of a wave share."""

    def __init__(self, site: Target, wave: Wave, most_open: int, seed: int) -> None:
        self.site = site
        self.wave = wave
        self.attackers: dict[int, Attacker] = {}
        self.most_open = most_open
        self.random = random.Random(seed)
        self.shots: collections.OrderedDict[Shot, float] = collections.OrderedDict()  # unanswered, oldest first
        self.lines: set[Shot] = set()  # connected
        self.counts: collections.Counter[str] = collections.Counter()
        self.statuses: collections.Counter[int] = collections.Counter()
        self.first_byte: float | None = None
        self.tasks: set[asyncio.Task[None]] = set()  # that connect

    @property
    def open(self) -> int:
        """Connections that take a descriptor."""
        return len(self.lines) + len(self.tasks)

    async def run(self) -> dict[str, Any]:
        await asyncio.sleep(self.wave.starts - time.monotonic())
        due = 0
        while (elapsed := time.monotonic() - self.wave.starts) < self.wave.seconds:
            while due < elapsed * self.wave.rate:
                self.fire(self.attacker(self.random.randrange(self.wave.attackers)))
                due += 1
            self.give_up()
            await asyncio.sleep(TURN)
        await self.end()
        return {
            "first_byte": self.first_byte,
            "meant": due,
            **self.counts,
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
        }

    async def end(self) -> None:
        """Leave no connection behind, neither open nor about to be."""
        self.counts["not_connected"] += len(self.tasks)  # as where the kernel drops what comes from an address
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        waiting, self.shots = self.shots, collections.OrderedDict()
        self.counts["unanswered_at_the_end"] = len(waiting)
        for shot in self.lines:
            shot.transport.abort()
        async with asyncio.timeout(PATIENCE):
            while self.lines:  # noqa: ASYNC110 - an event would have to be set for each connection
                await asyncio.sleep(TURN)

    def attacker(self, number: int) -> Attacker:
        found = self.attackers.get(number)
        if found is None:
            found = Attacker(self.wave.host(number), self.site, number, self.wave.paths, self.wave.cookie)
            self.attackers[number] = found
        return found

    def shape(self, attacker: Attacker, keep: bool) -> bytes:
        """The next request."""
        if self.wave.kind == "get":
            return attacker.request(keep)
        if self.wave.kind == "broken":
            self.counts["programs"] += 1
            return BROKEN % (b"%s:%d" % (self.site.host.encode(), self.site.port), self.counts["programs"])
        turn = self.random.randrange(4)
        if turn == 0:
            body = b"{"
        elif turn == 1:
            forged = base64.urlsafe_b64encode(self.random.randbytes(39))
            body = b'{"token":"%s","nonces":%s}' % (forged, json.dumps(list(range(16))).encode())
        elif attacker.token:
            body = b'{"token":"%s","nonces":%s}' % (attacker.token, json.dumps(list(range(16))).encode())
            attacker.token = b""
        else:
            return attacker.request(keep, path=attacker.path)
        return attacker.request(keep, "POST", ANSWER_TO, body)

    def fire(self, attacker: Attacker) -> None:
        keep = self.random.random() < self.wave.keep
        if keep and attacker.idle:
            attacker.idle.pop().send(self.shape(attacker, keep))
        elif self.open < self.most_open:
            task = asyncio.get_running_loop().create_task(self.connect(attacker, keep))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        else:
            self.counts["held_back"] += 1

    async def connect(self, attacker: Attacker, keep: bool) -> None:
        shot, connected = Shot(self, attacker), False
        try:
            async with asyncio.timeout(PATIENCE):
                await asyncio.get_running_loop().create_connection(
                    lambda: shot, self.site.host, self.site.port, local_addr=(attacker.address, 0)
                )
            connected = True
        except OSError:  # TimeoutError is one
            self.counts["not_connected"] += 1
        finally:
            if not connected:  # uvloop tells of no end when a connection is given up just as it is made
                self.lines.discard(shot)
        if connected:
            shot.send(self.shape(attacker, keep))

    def give_up(self) -> None:
        old = time.monotonic() - PATIENCE
        while self.shots:
            shot, sent = next(iter(self.shots.items()))
            if sent > old:
                break
            self.counts["given_up"] += 1
            shot.transport.abort()
            self.shots.pop(shot, None)


class Shot(asyncio.Protocol):
    """One connection of an attacker."""

    def __init__(self, flood: Flood, attacker: Attacker) -> None:
        self.flood = flood
        self.attacker = attacker

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.parser = httptools.HttpResponseParser(self)
        self.flood.lines.add(self)

    def send(self, request: bytes) -> None:
        flood = self.flood
        now = time.monotonic()
        if flood.first_byte is None:
            flood.first_byte = now
        flood.shots[self] = now
        flood.counts["sent"] += 1
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.transport.abort()

    def on_body(self, body: bytes) -> None:
        if self.flood.wave.kind == "answers" and (found := TOKEN.search(body)):
            self.attacker.token = found[1]

    def on_message_complete(self) -> None:
        flood = self.flood
        if flood.shots.pop(self, None) is None:
            return
        flood.statuses[self.parser.get_status_code()] += 1
        if self.parser.should_keep_alive() and len(self.attacker.idle) < KEPT:
            self.attacker.idle.append(self)
        else:
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        flood = self.flood
        flood.lines.discard(self)
        if flood.shots.pop(self, None) is not None:
            flood.counts["cut"] += 1
        if self in self.attacker.idle:
            self.attacker.idle.remove(self)


async def run(site: Target, waves: Sequence[Wave], connections: int) -> list[dict[str, Any]]:
    """All waves, each at its time; what came of each."""
    most_open = min(connections, raise_file_limit() - 200)

    def begin(wave: Wave, seed: int) -> Coroutine[Any, Any, dict[str, Any]]:
        if wave.kind == "slow":
            return Drip(site, wave.hosts(), wave.connections).run(wave.starts, wave.seconds)
        if wave.kind == "pictures":
            return Pictures(site, wave.hosts(), wave.rate).run(wave.starts, wave.seconds)
        if wave.kind in holders.KINDS:
            held = Holders(site, wave.kind, wave.hosts(), wave.connections, wave.pace, wave.opens)
            return held.run(wave.starts, wave.seconds)
        if wave.kind in frames.KINDS:
            made = frames.Frames(site, wave.kind, wave.hosts(), wave.connections, wave.pace, wave.opens)
            return made.run(wave.starts, wave.seconds)
        return Flood(site, wave, most_open, seed).run()

    return await asyncio.gather(*(begin(wave, seed) for seed, wave in enumerate(waves, 7)))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.load.attackers", description="Bounded attacks, loopback only."
    )
    parser.add_argument("--target", type=target, required=True)
    parser.add_argument("--plan", type=Path, required=True, help="JSON: a list of waves")
    parser.add_argument("--connections", type=bounded(int, 1, MOST_CONNECTIONS), default=12_000, help="open at once")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    waves = [Wave(**row).checked() for row in json.loads(arguments.plan.read_text())]
    arguments.out.write_text(json.dumps(uvloop.run(run(arguments.target, waves, arguments.connections))))


def write_plan(path: Path, waves: Sequence[Wave]) -> None:
    path.write_text(json.dumps([asdict(wave) for wave in waves]))


if __name__ == "__main__":
    main()
