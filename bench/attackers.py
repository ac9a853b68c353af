"""The flood: many addresses, each asking for little, together far more than the service can do.

Open loop: requests leave at the given rate whatever comes back. Each attacker has an address of its own in
127.1.0.0/16; half of its requests go over kept connections and half over new ones; a request that is not answered
within 5 s is given up, with its connection. Challenges are ignored, cookies are not kept. Bounded in rate, time and
open connections (then requests are held back, and counted as such).
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import json
import random
import time
from pathlib import Path
from typing import Any, Final

import httptools
import uvloop

from bench.capacity_origin import raise_file_limit
from bench.guard import MOST_CONNECTIONS, MOST_RATE, MOST_SECONDS, Target, bounded, loopback, target
from bench.users import AGENTS

PATIENCE: Final = 5.0  # seconds until an unanswered request is given up
TURN: Final = 0.005  # seconds between two looks at what is due
KEPT: Final = 2  # connections that an attacker keeps for its next request


def addresses(number: int) -> list[str]:
    """`number` addresses, four to a /24, so that network limits alone do not catch them."""
    return [f"127.1.{index // 4 % 256}.{1 + index % 4 + 4 * (index // 1024)}" for index in range(number)]


class Attacker:
    """One address, with its idle connections."""

    __slots__ = ("address", "idle", "request_kept", "request_new")

    def __init__(self, address: str, site: Target, number: int) -> None:
        self.address = loopback(address)
        self.idle: list[Shot] = []
        path = ("/page/1", "/page/2", "/part/3.css", "/")[number % 4]
        head = (
            f"GET {path} HTTP/1.1\r\nHost: {site.host}:{site.port}\r\nUser-Agent: {AGENTS[number % len(AGENTS)]}\r\n"
            "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\nAccept-Language: en-US,en;q=0.5\r\n"
            "Accept-Encoding: gzip, deflate, br\r\n"
        )
        self.request_kept = f"{head}\r\n".encode()
        self.request_new = f"{head}Connection: close\r\n\r\n".encode()


class Flood:
    """What all attackers share."""

    def __init__(self, site: Target, attackers: list[Attacker], rate: float, most_open: int, seed: int) -> None:
        self.site = site
        self.attackers = attackers
        self.rate = rate
        self.most_open = most_open
        self.random = random.Random(seed)
        self.shots: collections.OrderedDict[Shot, float] = (
            collections.OrderedDict()
        )  # waiting for answers, oldest first
        self.open = 0
        self.counts: collections.Counter[str] = collections.Counter()
        self.statuses: collections.Counter[int] = collections.Counter()
        self.first_byte: float | None = None
        self.tasks: set[asyncio.Task[None]] = set()

    async def run(self, starts: float, seconds: float) -> dict[str, Any]:
        """From the monotonic time `starts` on."""
        await asyncio.sleep(starts - time.monotonic())
        due = 0
        while (elapsed := time.monotonic() - starts) < seconds:
            while due < elapsed * self.rate:
                self.fire(self.attackers[self.random.randrange(len(self.attackers))])
                due += 1
            self.give_up()
            await asyncio.sleep(TURN)
        waiting, self.shots = self.shots, collections.OrderedDict()
        self.counts["unanswered_at_the_end"] = len(waiting)
        for shot in [*waiting, *(shot for attacker in self.attackers for shot in attacker.idle)]:
            shot.transport.abort()
        await asyncio.sleep(0.1)
        return {
            "first_byte": self.first_byte,
            "meant": due,
            **self.counts,
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
        }

    def fire(self, attacker: Attacker) -> None:
        keep = self.random.random() < 0.5
        if keep and attacker.idle:
            attacker.idle.pop().send(attacker.request_kept)
        elif self.open < self.most_open:
            self.open += 1
            task = asyncio.get_running_loop().create_task(self.connect(attacker, keep))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        else:
            self.counts["held_back"] += 1

    async def connect(self, attacker: Attacker, keep: bool) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                _, shot = await asyncio.get_running_loop().create_connection(
                    lambda: Shot(self, attacker), self.site.host, self.site.port, local_addr=(attacker.address, 0)
                )
        except OSError:  # TimeoutError is one
            self.open -= 1
            self.counts["not_connected"] += 1
            return
        shot.send(attacker.request_kept if keep else attacker.request_new)

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
        flood.open -= 1
        if flood.shots.pop(self, None) is not None:
            flood.counts["cut"] += 1
        if self in self.attacker.idle:
            self.attacker.idle.remove(self)


async def run(arguments: argparse.Namespace) -> dict[str, Any]:
    most_open = min(arguments.connections, raise_file_limit() - 200)
    site = arguments.target
    attackers = [Attacker(address, site, number) for number, address in enumerate(addresses(arguments.attackers))]
    flood = Flood(site, attackers, arguments.rate, most_open, seed=7)
    return await flood.run(arguments.starts, arguments.seconds)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.attackers", description="A bounded flood, loopback only.")
    parser.add_argument("--target", type=target, required=True)
    parser.add_argument("--attackers", type=bounded(int, 1, 10_000), default=500)
    parser.add_argument("--rate", type=bounded(float, 1, MOST_RATE), default=2000.0, help="requests/s in all")
    parser.add_argument("--seconds", type=bounded(float, 0.1, MOST_SECONDS), default=30.0)
    parser.add_argument("--connections", type=bounded(int, 1, MOST_CONNECTIONS), default=12_000, help="open at once")
    parser.add_argument("--starts", type=float, default=0.0, help="monotonic seconds")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.starts == 0.0:
        arguments.starts = time.monotonic()
    arguments.out.write_text(json.dumps(uvloop.run(run(arguments))))


if __name__ == "__main__":
    main()
