"""Closed-loop load: a fixed number of keep-alive connections, each sending its next request when its answer is there.

`wrk` when it is on PATH, else (or when an exact number of requests is wanted) a generator of our own on uvloop. Both
send the same browser-like request, over TLS where the target says so. wrk resumes TLS sessions, so that a handshake
for each request is the own one's task as well: it makes full ones. The own one can be run by itself:

    python -m bench.load.closed_loop --target http://127.0.0.1:8080/ --connections 64 --seconds 4
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import httptools
import uvloop

from bench.common.guard import MOST_CONNECTIONS, MOST_REQUESTS, MOST_SECONDS, Target, any_target, bounded
from bench.common.processes import ROOT, pinned, unverified
from bench.common.stats import median, quantile

TIMEOUT: Final = 30  # s that an answer may take before wrk counts it as failed; 100 MiB take a second or two
LUA: Final = Path(__file__).with_name("browser.lua")

SESSION: Final = "0123456789abcdef0123456789abcdef"
BROWSER_FIELDS: Final = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
    "Accept-Language: en-GB,en;q=0.7,de;q=0.3\r\n"
    "Accept-Encoding: gzip, deflate, br, zstd\r\n"
    f"Cookie: session={SESSION}; theme=dark\r\n"
    "Upgrade-Insecure-Requests: 1\r\n"
    "Sec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Site: none\r\nSec-Fetch-User: ?1\r\n"
    "Priority: u=0, i\r\n"
)


@dataclass(frozen=True, slots=True)
class Plan:
    """One run: either `seconds` long, or `requests` many (0: as many as fit), never longer than MOST_SECONDS."""

    target: Target
    connections: int = 64
    seconds: float = 4.0
    requests: int = 0
    close: bool = False  # one request per connection
    body: int = 0  # bytes; with any it is a POST
    varied: bool = False  # another cookie in each request


@dataclass(frozen=True, slots=True)
class Result:
    """What one run sent and got. Latencies in seconds; `refused` are answers with 4xx or 5xx; `upgrades` are
    WebSockets, whose messages count as requests."""

    requests: int
    seconds: float
    bytes: int
    refused: int
    failed: int
    p50: float
    p99: float
    statuses: dict[str, int] = field(default_factory=dict)
    upgrades: int = 0

    @property
    def rate(self) -> float:
        return self.requests / self.seconds if self.seconds else 0.0


def with_wrk(plan: Plan, cores: frozenset[int]) -> Result:
    """Run wrk with a thread for each core. Raises RuntimeError when it does not report."""
    argv = ["wrk", f"-t{min(len(cores), plan.connections)}", f"-c{plan.connections}"]
    argv += [f"-d{max(1, round(plan.seconds))}s", "--timeout", f"{TIMEOUT}s", "-s", str(LUA), plan.target.url]
    argv += ["--", "close" if plan.close else "keep", str(plan.body), "varied" if plan.varied else "same"]
    return report(argv, cores, plan.seconds)


def with_own(plan: Plan, cores: frozenset[int]) -> Result:
    """Run our own generator, in a process for each core."""
    number = min(len(cores), plan.connections)
    requests, connections = share(plan.requests, number), share(plan.connections, number)

    def one(core: int, index: int) -> Result:
        argv = [sys.executable, "-m", "bench.load.closed_loop", "--target", plan.target.url, "--body", str(plan.body)]
        argv += ["--connections", str(connections[index]), "--requests", str(requests[index])]
        argv += ["--seconds", str(plan.seconds), *(["--close"] if plan.close else [])]
        argv += ["--varied"] if plan.varied else []
        return report(argv, frozenset({core}), plan.seconds)

    with ThreadPoolExecutor(number) as pool:
        return merged(list(pool.map(one, sorted(cores)[:number], range(number))))


def share(whole: int, parts: int) -> list[int]:
    """`whole` as so many integers that differ by at most one."""
    return [whole // parts + (index < whole % parts) for index in range(parts)]


def merged(results: Sequence[Result]) -> Result:
    """What generators side by side sent and got together. Of their percentiles, the median and the greatest."""
    statuses: collections.Counter[str] = collections.Counter()
    for result in results:
        statuses.update(result.statuses)
    return Result(
        sum(result.requests for result in results),
        max(result.seconds for result in results),
        sum(result.bytes for result in results),
        sum(result.refused for result in results),
        sum(result.failed for result in results),
        median([result.p50 for result in results]),
        max(result.p99 for result in results),
        dict(statuses),
    )


def have_wrk() -> bool:
    return shutil.which("wrk") is not None


def report(argv: list[str], cores: frozenset[int], seconds: float) -> Result:
    """Run a generator pinned to these cores, for the line of JSON it ends with. Raises RuntimeError without one."""
    done = subprocess.run(
        pinned(argv, cores),
        capture_output=True,
        text=True,
        timeout=seconds + 30,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        raise RuntimeError(f"{argv[0]} gave no report: {done.stdout[-500:]}{done.stderr[-1500:]}")
    return Result(**json.loads(lines[-1]))


class Generator:
    """The state that the connections of one run share."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.request = (
            f"{'POST' if plan.body else 'GET'} {plan.target.path} HTTP/1.1\r\n"
            f"Host: {plan.target.host}:{plan.target.port}\r\n{BROWSER_FIELDS}"
            f"{f'Content-Length: {plan.body}' + chr(13) + chr(10) if plan.body else ''}"
            f"{'Connection: close' + chr(13) + chr(10) if plan.close else ''}\r\n"
        ).encode() + b"x" * plan.body
        self.numbers = itertools.count(time.time_ns())  # of sessions, where they vary
        self.context = unverified() if plan.target.tls else None
        self.left = plan.requests or MOST_REQUESTS
        self.open = 0
        self.failed = 0
        self.bytes = 0
        self.statuses: collections.Counter[int] = collections.Counter()
        self.latencies: list[float] = []
        self.stopping = False
        self.done = asyncio.Event()

    def render(self) -> bytes:
        """The next request."""
        if not self.plan.varied:
            return self.request
        return self.request.replace(SESSION.encode(), b"%032d" % next(self.numbers), 1)

    def take(self) -> bool:
        """Whether one more request may be sent."""
        if self.stopping or self.left <= 0:
            return False
        self.left -= 1
        return True

    async def run(self) -> Result:
        loop = asyncio.get_running_loop()
        began = time.perf_counter()
        self.open = self.plan.connections
        await asyncio.gather(*(self.connect(loop) for _ in range(self.plan.connections)))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.done.wait(), self.plan.seconds)
        self.stopping = True
        ended = time.perf_counter()
        counted = len(self.latencies)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.done.wait(), 2.0)  # what is in flight still gets its answer, and counts below
        self.failed += self.open
        if self.plan.requests:  # by number: every request counts; by time: those answered within it
            counted = len(self.latencies)
        statuses = {str(status): count for status, count in sorted(self.statuses.items())}
        refused = sum(count for status, count in self.statuses.items() if status >= 400)
        spent = self.latencies[:counted]
        return Result(
            counted,
            ended - began,
            self.bytes,
            refused,
            self.failed,
            quantile(spent, 0.5),
            quantile(spent, 0.99),
            statuses,
        )

    async def connect(self, loop: asyncio.AbstractEventLoop) -> None:
        """Open one connection; the caller has counted it in `open`."""
        try:
            where = self.plan.target
            await loop.create_connection(lambda: Connection(self), where.host, where.port, ssl=self.context)
        except OSError:  # an ssl.SSLError is one
            self.failed += 1
            self.closed()

    def closed(self) -> None:
        self.open -= 1
        if self.open == 0:
            self.done.set()


class Connection(asyncio.Protocol):
    """One connection: sends, waits for the whole answer, sends again."""

    def __init__(self, generator: Generator) -> None:
        self.generator = generator
        self.waiting = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.parser = httptools.HttpResponseParser(self)
        self.send()

    def send(self) -> None:
        if self.generator.take():
            self.waiting = True
            self.sent = time.perf_counter()
            self.transport.write(self.generator.render())
        else:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        self.generator.bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.transport.abort()

    def on_message_complete(self) -> None:
        generator = self.generator
        generator.statuses[self.parser.get_status_code()] += 1
        generator.latencies.append(time.perf_counter() - self.sent)
        self.waiting = False
        if self.parser.should_keep_alive() and not generator.plan.close:
            self.send()
        else:
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        generator = self.generator
        if self.waiting:
            generator.failed += 1
        if not generator.stopping and generator.left > 0:
            generator.open += 1
            loop = asyncio.get_running_loop()
            task = loop.create_task(generator.connect(loop))
            TASKS.add(task)
            task.add_done_callback(TASKS.discard)
        generator.closed()


TASKS: Final[set[asyncio.Task[None]]] = set()  # the loop itself keeps weak references only


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.load.closed_loop", description="Closed-loop load, loopback only."
    )
    parser.add_argument("--target", type=any_target, required=True, help="http or https://127.0.0.1:PORT/PATH")
    parser.add_argument("--connections", type=bounded(int, 1, MOST_CONNECTIONS), default=64)
    parser.add_argument("--seconds", type=bounded(float, 0.1, MOST_SECONDS), default=4.0, help="at most")
    parser.add_argument("--requests", type=bounded(int, 0, MOST_REQUESTS), default=0, help="0: as many as fit")
    parser.add_argument("--body", type=bounded(int, 0, 1 << 20), default=0, help="bytes; with any it is a POST")
    parser.add_argument("--close", action="store_true", help="one request per connection")
    parser.add_argument("--varied", action="store_true", help="another cookie in each request")
    plan = Plan(**vars(parser.parse_args()))
    print(json.dumps(asdict(uvloop.run(_run(plan)))))


async def _run(plan: Plan) -> Result:
    return await Generator(plan).run()


if __name__ == "__main__":
    main()
