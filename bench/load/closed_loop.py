"""Closed-loop load: a fixed number of keep-alive connections, each sending its next request when its answer is there.

This is our own generator, on uvloop: for an exact number of requests, for full TLS handshakes, and where wrk is not on
PATH. It can be run by itself:

    python -m bench.load.closed_loop --target http://127.0.0.1:8080/ --connections 64 --seconds 4
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import itertools
import json
import time
from dataclasses import asdict
from typing import Any, Final

import httptools
import uvloop

from bench.common.guard import MOST_REQUESTS, any_target, bounded
from bench.common.processes import unverified
from bench.common.stats import quantile
from bench.load.plan import BROWSER_FIELDS, SESSION, Plan, Result, add_arguments

AT_ONCE: Final = 200
"""Connections that are opened at a time: less than any listener's backlog."""
MOST_ADDRESSES: Final = 4000
"""That connections come from, each in a /24 of its own."""


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
        self.lines = itertools.count()
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
        for first in range(0, self.plan.connections, AT_ONCE):
            last = min(first + AT_ONCE, self.plan.connections)
            await asyncio.gather(*(self.connect(loop) for _ in range(first, last)))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.done.wait(), self.plan.seconds)
        self.stopping = True
        ended = time.perf_counter()
        counted, heard = len(self.latencies), self.statuses.copy()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.done.wait(), 2.0)  # what is in flight still gets its answer, and counts below
        self.failed += self.open
        if self.plan.requests:  # by number: every request counts; by time: those answered within it
            counted, heard = len(self.latencies), self.statuses
        statuses = {str(status): count for status, count in sorted(heard.items())}
        refused = sum(count for status, count in heard.items() if status >= 400)
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
            p95=quantile(spent, 0.95),
        )

    async def connect(self, loop: asyncio.AbstractEventLoop) -> None:
        """Open one connection; the caller has counted it in `open`."""
        try:
            where = self.plan.target
            line = next(self.lines) % self.plan.addresses
            source = (f"127.{1 + line // 200}.{line % 200}.7", 0) if self.plan.addresses > 1 else None
            await loop.create_connection(
                lambda: Connection(self), where.host, where.port, ssl=self.context, local_addr=source
            )
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
    add_arguments(parser, any_target, "requests")
    parser.add_argument("--body", type=bounded(int, 0, 1 << 20), default=0, help="bytes; with any it is a POST")
    parser.add_argument("--close", action="store_true", help="one request per connection")
    parser.add_argument("--addresses", type=bounded(int, 1, MOST_ADDRESSES), default=1, help="that it comes from")
    parser.add_argument("--varied", action="store_true", help="another cookie in each request")
    plan = Plan(**vars(parser.parse_args()))
    print(json.dumps(asdict(uvloop.run(_run(plan)))))


async def _run(plan: Plan) -> Result:
    return await Generator(plan).run()


if __name__ == "__main__":
    main()
