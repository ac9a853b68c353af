"""A soak: honest and hostile traffic for minutes, connections killed at random, a service that keeps falling over.

    python -m bench soak [--seconds 600]        (make soak, SOAK_SECONDS=600)

Everything plays twice: a fifth of the time to warm up, then, after a rest in which everybody has left, the rest. What
Shield holds in the two rests is compared: connections, descriptors, tasks, memory.

Honest people (load/honest.py) know what they must get. The service (origins/falling_origin.py) counts how often each
request came to it: whatever was answered with 200 must have come to it once. A GET may come again, up to
`upstream.retries` times and once more for a stale connection, when a server fell over before it answered (README.md of
the bench). Of a POST that is never true. What a falling server takes with it is an error in the answer, or a cut
answer, and is counted apart. The hostile (load/hostile.py) open connections faster than there are places for.

On loopback, bounded in number, rate and time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import uvloop

from bench.common.guard import Target, add_seed_and_files, bounded
from bench.common.processes import Process, free_ports, launch, own_cores, running, wait_until_answers
from bench.common.progress import Bar, bar
from bench.load.honest import Honest
from bench.load.hostile import Hostile
from bench.load.ledger import Ledger
from bench.origins.falling_origin import FallingOrigin
from bench.peers.insides import held, status
from bench.plots.soak_tables import markdown

WARM: Final = 0.2  # of the time
USERS: Final = 20
PLACES: Final = 200  # listen.max_connections
FALLS: Final = (9.0, 16.0)  # s between two falls of a server, and for how long it lies there:
LIES: Final = (0.3, 2.5)
REST_SECONDS: Final = 60.0  # at most, until all have left
MOST_GROWTH: Final = 24 << 20  # bytes between the rests; the log's and the allocator's breath
GONE: Final = ("open", "streams", "in_flight", "waiting")  # what must be 0 when all have left

CONFIG: Final = """\
[listen]
address = "127.0.0.1:{port}"
max_connections = {places}
[upstream]
servers = ["http://127.0.0.1:{one}", "http://127.0.0.1:{other}"]
[admin]
address = "127.0.0.1:{admin}"
[history]
window = 1
[timeouts]
header = 3
progress = 4
keep_alive = 10
connection = 30
linger = 1
[log]
requests = false
"""


class Soak:
    """What all share."""

    def __init__(self, site: Target, seed: int, servers: list[FallingOrigin], ledger: Ledger) -> None:
        self.site = site
        self.random = random.Random(seed)
        self.servers = servers
        self.ledger = ledger
        self.hostile = Hostile(site, self.random)

    async def topple(self, until: float) -> None:
        """Let one server after the other fall over and get up again."""
        turn = 0
        while True:
            await asyncio.sleep(min(self.random.uniform(*FALLS), max(0.0, until - time.monotonic())))
            if time.monotonic() >= until - 1.0:
                return
            self.ledger.fall()
            server = self.servers[turn % len(self.servers)]
            await server.fall()
            await asyncio.sleep(self.random.uniform(*LIES))
            await server.rise()
            turn += 1

    async def play(self, phase: str, seconds: float, say: Callable[[str], None]) -> None:
        """All at once."""
        until = time.monotonic() + seconds
        people = [Honest(self.site, self.ledger, number).live(phase, until) for number in range(USERS)]
        tasks = [asyncio.create_task(each) for each in (*people, self.hostile.harass(until), self.topple(until))]
        while not all(task.done() for task in tasks):
            await asyncio.wait(tasks, timeout=1.0)
            asked, attacks = sum(self.ledger.asked.values()), sum(self.hostile.attacks.values())
            falls, problems = self.ledger.falls, len(self.ledger.problems)
            say(f"{phase}: {asked:,} requests, {attacks:,} attacks, {falls} falls, {problems} problems")
            if any(task.done() and task.exception() for task in tasks):
                break
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result


async def rest(admin: int, pid: int, wanted: dict[str, int] | None) -> dict[str, int]:
    """What Shield holds when all have left."""
    end = time.monotonic() + REST_SECONDS
    while True:
        await asyncio.sleep(0.5)
        found = await asyncio.to_thread(held, admin, pid)
        found["files"] -= found.pop("kept")  # for the next requests
        quiet = not any(found[name] for name in GONE)
        same = wanted is None or (found["files"] <= wanted["files"] and found["tasks"] <= wanted["tasks"])
        if (quiet and same) or time.monotonic() > end:
            return found


def judge(before: dict[str, int], after: dict[str, int]) -> list[str]:
    """What Shield holds and ought not to."""
    found = [f"{after[name]} {name} are left" for name in GONE if after[name]]
    found += [
        f"{after[name]} {name}, {before[name]} before" for name in ("files", "tasks") if after[name] > before[name]
    ]
    grown = after["resident"] - before["resident"]
    return found + ([f"memory has grown by {grown / 2**20:.1f} MiB"] if grown > MOST_GROWTH else [])


async def start(folder: Path, ledger: Ledger, started: list[Process]) -> tuple[int, int, list[FallingOrigin]]:
    """Two servers and Shield; its port, its admin port, and the servers."""
    port, admin, one, other = free_ports(4)
    servers = [FallingOrigin(number, ledger.seen) for number in (one, other)]
    for server in servers:
        await server.rise()
    config = folder / "shield.toml"
    config.write_text(CONFIG.format(port=port, admin=admin, one=one, other=other, places=PLACES))
    argv = [sys.executable, "-m", "shield", "run", "--config", str(config)]
    started.append(launch("shield", argv, folder, frozenset(own_cores())))
    await asyncio.to_thread(wait_until_answers, started[0], port)
    return port, admin, servers


async def play(seconds: float, seed: int, folder: Path, started: list[Process], shown: Bar) -> dict[str, Any]:
    """The raw results."""
    ledger = Ledger()
    port, admin, servers = await start(folder, ledger, started)
    shield = started[0]
    soak = Soak(Target("127.0.0.1", port), seed, servers, ledger)
    begin = time.monotonic()

    def say(text: str) -> None:
        shown.step(min(time.monotonic() - begin, seconds), text)

    await soak.play("warm", WARM * seconds, say)
    say("rest")
    before = await rest(admin, shield.pid, None)
    await soak.play("soak", (1 - WARM) * seconds, say)
    say("rest")
    after = await rest(admin, shield.pid, before)
    told = await asyncio.to_thread(status, admin)
    for server in servers:
        await server.fall()
    problems = ledger.problems + ledger.miscounted() + judge(before, after)
    return {
        "seconds": seconds,
        "asked": dict(ledger.asked),
        "outcomes": dict(ledger.outcomes),
        "attacks": dict(soak.hostile.attacks),
        "falls": ledger.falls,
        "more_than_once": sum(times > 1 for times in ledger.seen.values()),
        "before": before,
        "after": after,
        "status": {key: told[key] for key in ("requests", "responses", "faults", "connections")},
        "problems": problems + errors(shield.log.read_text(errors="replace")),
    }


def errors(log: str, most: int = 10) -> list[str]:
    """What Shield logged and ought not to have to."""
    bugs = [line for line in log.splitlines() if '"event":"exception"' in line or '"level":"error"' in line]
    return [f"Shield said: {line[:500]}" for line in bugs[:most]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=bounded(float, 10, 36_000), default=600.0)
    add_seed_and_files(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints the table and returns the exit status."""
    print(f"seed {arguments.seed}", file=sys.stderr)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that Shield is not left behind
    with tempfile.TemporaryDirectory(prefix="soak-") as name, running([]) as started:
        with bar("soak", arguments.seconds) as shown:
            results = uvloop.run(play(arguments.seconds, arguments.seed, Path(name), started, shown))
        if arguments.keep_log:
            arguments.keep_log.write_bytes(started[0].log.read_bytes())
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")
    print(markdown(results))
    return 1 if results["problems"] else 0
