"""A service with a hard capacity, for the attack runs: it does so much and no more, and gets slower when it is pushed.

It behaves like an application server with a pool of threads in front of a database. A request takes one of `--threads`
when its head has come, and keeps it until the last byte of its answer is written: a slow body or a slow reader holds a
thread and does nothing with it. `--parallel` requests at a time take `--service` seconds of work each; further ones are
worked on too, share what there is, and cost extra for every one above the optimum (`--thrash`). Those without a thread
wait in a backlog without a bound that matters, and are worked off even when their client has left, because the server
finds out only when it writes. With the defaults (4 at a time, 20 ms each) it serves 200/s, and 64 at a time bring it
down to 91/s. No CPU is burnt: the times are timers, so the figures do not depend on how fast the machine is, as long as
the timers are in time; how late they were is in the counters.

    /search     takes five times as long as anything else
    /article    136 KiB, in a fifth of the time
    /light      a style sheet, in a tenth
    /large      8 MiB
    /download   4 MiB
    /wait       nothing for 25 s, without any work, as a long poll; then a page
    /part/...   a style sheet; everything else is a page

Requests are counted by who sent them: the last address of X-Forwarded-For, else the peer. 127.2.0.0/16 are users,
127.3.0.0/16 newcomers, and those from 127.16.0.0 on attackers; whoever asks for /abuse is one too. GET /counters on
`--side-port` shows the counts as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import json
import random
import socket
import time
from collections.abc import Callable
from typing import Any, Final

import httptools
import uvloop

from bench.common.guard import bounded, loopback
from bench.common.processes import raise_file_limit
from bench.origins.small_origin import render

BIN: Final = 0.5  # seconds of one entry in the timeline
TICK: Final = 0.01  # seconds between two looks at how late the loop is
MOST_WAITING: Final = 1_000_000


WEIGHTS: Final = {b"/search": 5.0, b"/article": 0.2, b"/light": 0.1}  # times the usual work
WAIT: Final = 25.0  # seconds
LARGE: Final = 8 * 1024 * 1024  # bytes; more than the system keeps between two processes
SIZES: Final = {b"/large": LARGE, b"/download": LARGE // 2, b"/article": 136 * 1024}  # bytes
CHUNK: Final = bytes(65_536)
SEND_BUFFER: Final = 65_536  # bytes that the system takes off a thread


def class_of(address: str) -> str:
    """Whose address this is."""
    second = address.split(".")[1] if address.startswith("127.") else ""
    if second.isdigit() and int(second) >= 16:
        return "attacker"
    return {"2": "user", "3": "newcomer"}.get(second, "other")


class Service:
    """The pool of threads and its backlog. `later` is the event loop's call_later."""

    def __init__(
        self, parallel: int, service: float, threads: int, thrash: float, later: Callable[..., object], seed: int = 1
    ) -> None:
        self.parallel = parallel
        self.service = service
        self.threads = threads
        self.thrash = thrash
        self.later = later
        self.random = random.Random(seed)
        self.taken = 0  # threads
        self.busy = 0  # threads that work; the others wait for a body or for a reader
        self.most_taken = 0
        self.served = 0
        self.backlog: collections.deque[Exchange] = collections.deque()
        self.arrived: collections.Counter[str] = collections.Counter()
        self.timeline: dict[int, collections.Counter[str]] = {}
        self.late: dict[int, float] = {}  # by bin, the seconds by which a timer was late at most

    def tick(self, due: float) -> None:
        """Note how late the timer is that was due at a monotonic time, and set the next."""
        now = time.monotonic()
        number = int(now / BIN)
        self.late[number] = max(self.late.get(number, 0.0), now - due)
        self.later(TICK, self.tick, now + TICK)

    def duration(self) -> float:
        """Seconds for a request that starts now, itself included in `busy`; ±20 % of noise, as real services have."""
        shared = max(1.0, self.busy / self.parallel)
        extra = 1.0 + self.thrash * max(0, self.busy - self.parallel)
        return self.service * shared * extra * self.random.uniform(0.8, 1.2)

    def arrive(self, exchange: Exchange) -> None:
        """The head of a request is here."""
        source = exchange.sender()
        self.arrived[source] += 1
        self.timeline.setdefault(int(time.monotonic() / BIN), collections.Counter())[source] += 1
        if self.taken < self.threads:
            self.take(exchange)
        elif len(self.backlog) < MOST_WAITING:
            self.backlog.append(exchange)
        else:
            exchange.connection.transport.abort()

    def take(self, exchange: Exchange) -> None:
        self.taken += 1
        self.most_taken = max(self.most_taken, self.taken)
        exchange.has_thread = True
        if exchange.complete:
            self.work(exchange)

    def work(self, exchange: Exchange) -> None:
        """The whole request is here, and it has a thread."""
        if exchange.waits():
            self.later(WAIT, self.waited, exchange)
            return
        self.busy += 1
        self.later(self.duration() * exchange.weight(), self.finish, exchange)

    def finish(self, exchange: Exchange) -> None:
        self.busy -= 1
        self.waited(exchange)

    def waited(self, exchange: Exchange) -> None:
        """It is time for the answer."""
        self.served += 1
        if exchange.answer():
            self.release(exchange)

    def release(self, exchange: Exchange) -> None:
        exchange.has_thread = False
        self.taken -= 1
        if self.backlog:
            self.take(self.backlog.popleft())

    def counters(self) -> dict[str, Any]:
        """Times in `timeline` are monotonic seconds, the beginning of each bin."""
        return {
            "arrived": dict(self.arrived),
            "served": self.served,
            "busy": self.busy,
            "taken": self.taken,
            "most_taken": self.most_taken,
            "backlog": len(self.backlog),
            "bin": BIN,
            "late": [[number * BIN, late] for number, late in sorted(self.late.items())],
            "timeline": [[number * BIN, dict(counts)] for number, counts in sorted(self.timeline.items())],
        }


PAGE: Final = b"<!doctype html><title>page</title>" + b"<p>Some text that a person would like to read.</p>" * 80
PART: Final = b"/* a part of the page */\n" * 80


def page(cookie: bool) -> bytes:
    """A personal page: caches may not share it, and a first visit gets a session cookie, as most sites do."""
    answer = render(PAGE, b"text/html; charset=utf-8").replace(b"max-age=60", b"private, no-cache")
    return answer if cookie else answer.replace(b"\r\n", b"\r\nSet-Cookie: session=0123456789abcdef; Path=/\r\n", 1)


PAGE_ANSWER: Final = page(cookie=True)
FIRST_PAGE_ANSWER: Final = page(cookie=False)
PART_ANSWER: Final = render(PART, b"text/css")


LARGE_HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n"


class Exchange:
    """One request, waiting for its answer."""

    __slots__ = ("complete", "connection", "fields", "has_thread", "keep_alive", "left", "url")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.url = b""
        self.fields: dict[bytes, bytes] = {}
        self.keep_alive = True
        self.complete = False  # the body is here too, or nobody is left to send it
        self.has_thread = False
        self.left = 0  # bytes of the answer that are not written

    def source(self) -> str:
        forwarded = self.fields.get(b"x-forwarded-for", b"").decode("latin-1").rpartition(",")[2].strip()
        return forwarded or str(self.connection.peer)

    def sender(self) -> str:
        return "attacker" if self.url.startswith(b"/abuse") else class_of(self.source())

    def weight(self) -> float:
        return WEIGHTS.get(self.url, 1.0)

    def waits(self) -> bool:
        """Whether there is nothing to do for it, but to wait."""
        return self.url == b"/wait"

    def answer(self) -> bool:
        """Write; whether that was all."""
        transport = self.connection.transport
        if transport.is_closing():
            return True
        if size := SIZES.get(self.url):
            transport.write(LARGE_HEAD % size)
            self.left = size
            self.connection.writing = self
            return self.go_on()
        if self.url.startswith((b"/part/", b"/light")):
            transport.write(PART_ANSWER)
        else:
            known = b"session=" in self.fields.get(b"cookie", b"")
            transport.write(PAGE_ANSWER if known else FIRST_PAGE_ANSWER)
        if not self.keep_alive:
            transport.close()
        return True

    def go_on(self) -> bool:
        """Write until the reader is behind; whether that was all."""
        connection = self.connection
        while self.left and not connection.paused:
            connection.transport.write(CHUNK[: self.left])
            self.left -= min(self.left, len(CHUNK))
        if self.left:
            return False
        connection.writing = None
        if not self.keep_alive:
            connection.transport.close()
        return True


class Connection(asyncio.Protocol):
    """One connection. Pipelined requests are refused by closing: neither proxies nor browsers send them."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.exchange = Exchange(self)
        self.writing: Exchange | None = None  # its answer is held up by the reader
        self.paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.peer = transport.get_extra_info("peername")[0]
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self.parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.transport.abort()

    def on_message_begin(self) -> None:
        self.exchange = Exchange(self)

    def on_url(self, url: bytes) -> None:
        self.exchange.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.exchange.fields[name.lower()] = value

    def on_headers_complete(self) -> None:
        if self.exchange.fields.get(b"expect", b"").lower() == b"100-continue":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # Without a body the next callback comes at once, and finds the request complete: it is worked on only once.
        self.service.arrive(self.exchange)

    def on_message_complete(self) -> None:
        self.exchange.keep_alive = self.parser.should_keep_alive()
        self.come(self.exchange)

    def come(self, exchange: Exchange) -> None:
        """No more of the body is to be waited for."""
        if not exchange.complete:
            exchange.complete = True
            if exchange.has_thread:
                self.service.work(exchange)

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        exchange = self.writing
        if exchange is not None and exchange.go_on():
            self.service.release(exchange)

    def connection_lost(self, error: Exception | None) -> None:
        if self.writing is not None:
            self.service.release(self.writing)
            self.writing = None
        if self.exchange.fields:
            self.come(self.exchange)


class Side(asyncio.Protocol):
    """Answers every request with the counters, and closes."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(render(json.dumps(self.service.counters()).encode(), b"application/json"))
        self.transport.close()


async def serve(arguments: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    service = Service(arguments.parallel, arguments.service, arguments.threads, arguments.thrash, loop.call_later)
    service.tick(time.monotonic())
    main = await loop.create_server(lambda: Connection(service), arguments.host, arguments.port, backlog=16_384)
    side = await loop.create_server(lambda: Side(service), arguments.host, arguments.side_port)
    await asyncio.gather(main.serve_forever(), side.serve_forever())


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.origins.capacity_origin", description="A service that can be pushed."
    )
    parser.add_argument("--host", type=loopback, default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--side-port", type=int, required=True)
    parser.add_argument("--parallel", type=bounded(int, 1, 1000), default=4)
    parser.add_argument("--service", type=bounded(float, 0.001, 10), default=0.020, help="seconds")
    parser.add_argument("--threads", type=bounded(int, 1, 10_000), default=64)
    parser.add_argument("--thrash", type=bounded(float, 0, 1), default=0.02, help="extra time per request above")
    arguments = parser.parse_args()
    raise_file_limit()
    uvloop.run(serve(arguments))


if __name__ == "__main__":
    main()
