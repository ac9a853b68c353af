"""Shield's pieces without sockets: an engine with a clock moved by hand; a client connection and an origin on fake
transports.

What remains is the Python cost of a request. The system calls, which cost as much again, are in the throughput suite.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

from shield.client.connection import ClientConnection
from shield.client.h2.connection import Http2Connection
from shield.config.load import parse
from shield.http import response_head
from shield.http.forwarded import Forwarding
from shield.model import Action, Outcome
from shield.operator.metrics import Metrics
from shield.policy.engine import Engine
from shield.policy.keys import Keys
from shield.policy.request import Request
from shield.process.assembly import assemble
from shield.process.build import request_ids
from shield.replies.rendering import Replies
from shield.upstream.connection import UpstreamConnection
from shield.upstream.pool import Pool

START: Final = 1_000_000.0  # monotonic s at which the hand-moved clock begins
HUGE: Final = "{ rate = 1e9, burst = 1e9 }"
OUT_OF_REACH: Final = f"[limits]\nclient = {HUGE}\naddress = {HUGE}\nnetwork = {HUGE}\npass = {HUGE}\n"
ONE: Final = "{ rate = 0.0001, burst = 1 }"
TINY: Final = f"[limits]\nclient = {ONE}\naddress = {ONE}\n"
AGENT: Final = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
RESPONSE: Final = (
    b"HTTP/1.1 200 OK\r\nServer: origin\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Type: text/plain\r\n"
    b"Cache-Control: max-age=60\r\nContent-Length: 500\r\n\r\n" + b"x" * 500
)

SWITCHED: Final = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


@functools.cache
def replies() -> Replies:
    """Rendering them takes longer than all the rest."""
    return Replies("shield_pass", "Shield-Pass")


def engine(tables: str = OUT_OF_REACH, concurrency: int = 1_000_000) -> Engine:
    """An engine with these TOML tables; it never queues unless `concurrency` says so. Begins at START."""
    loaded = parse(tables)
    settings = loaded.policy()
    settings = replace(settings, concurrency=replace(settings.concurrency, adaptive=False))
    made = Engine(settings, Keys(b"k" * 32, None), os.urandom, 1_700_000_000.0 - START, concurrency)
    made.tick(START)
    return made


@contextlib.contextmanager
def calls(thing: Any, name: str) -> Iterator[list[Any]]:
    """The arguments of each call of a method while the context lasts; the calls are carried out."""
    seen: list[Any] = []
    method = getattr(type(thing), name)

    def noted(self: Any, *arguments: Any) -> Any:
        seen.append(arguments)
        return method(self, *arguments)

    setattr(type(thing), name, noted)
    try:
        yield seen
    finally:
        setattr(type(thing), name, method)


class SilentLog:
    """An access log that is off."""

    traces = None

    def request(self, *_: Any, **__: Any) -> None:
        pass

    refused = refused_unread = fault = event = request


class FakeTransport:
    """Takes everything at once and counts it."""

    def __init__(self) -> None:
        self.written = 0

    def write(self, data: bytes) -> None:
        self.written += len(data)

    def get_extra_info(self, name: str) -> Any:
        return ("127.0.0.1", 1234) if name == "peername" else None

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False

    def can_write_eof(self) -> bool:
        return True

    def nothing(self, *_: Any, **__: Any) -> None:
        pass

    set_write_buffer_limits = pause_reading = resume_reading = close = abort = write_eof = nothing


class Proxy:
    """A whole data path whose one upstream connection is fake. Needs a running event loop."""

    def __init__(
        self,
        tables: str = OUT_OF_REACH,
        clock: Callable[[], float] = time.monotonic,
        forwarding: Forwarding | None = None,
    ) -> None:
        loaded = parse(f'[upstream]\nservers = ["http://127.0.0.1:1"]\n{tables}')
        self.metrics = Metrics()
        self.pool = Pool(
            loaded.upstream, loaded.upstream.servers, self.metrics, None, UpstreamConnection, lambda *_: None
        )
        self.engine = engine(tables, concurrency=1000)
        self.serving = assemble(
            engine=self.engine,
            pool=self.pool,
            replies=replies(),
            crawlers=None,  # type: ignore[arg-type]  # none is configured, so nobody is asked
            forwarding=forwarding or Forwarding((), "none"),
            http=loaded.http,
            timeouts=loaded.timeouts,
            challenge=loaded.challenge,
            metrics=self.metrics,
            log=SilentLog(),  # type: ignore[arg-type]
            clock=clock,
            loop=asyncio.get_running_loop(),
            request_ids=request_ids("bench"),
        )
        self.origin = self.new_origin()
        self.connect()

    def new_origin(self) -> UpstreamConnection:
        """A new connection to the origin in place of the one before."""
        server = self.pool.servers[0]
        server.idle.clear()
        self.origin = UpstreamConnection(server)
        self.origin.connection_made(FakeTransport())  # type: ignore[arg-type]
        server.idle.append(self.origin)
        return self.origin

    def ban(self, address: str) -> None:
        """Ban an address whose bucket pays for no challenge any more, so that it is shut out unread."""
        engine = self.engine
        source = engine._identity.source(address, START)
        source.tat = START + 3600.0
        engine._reputation.hard_of(source, 20.0, "bench", START)

    def exhaust(self, address: str) -> None:
        """Have an address use up its bucket, which with TINY is that of a few requests."""
        for number in range(1000):
            client = self.engine.identify(address, f"{number}", "", "", START)
            request = Request(client, "GET", "/", {}, None, False, None)
            if self.engine.decide(request, START).action is not Action.FORWARD:
                return
            self.engine.learn(request, Outcome(200, 0.002), START)
        raise AssertionError("a bucket without a bottom")

    def forget_lines(self) -> None:
        """Know no line and no name of a field of a request from before."""
        heads = self.serving.heads
        heads._lines.known.clear()
        heads.examiner._names.known.clear()

    @staticmethod
    def forget_response_lines() -> None:
        """Know no line of a response from before."""
        response_head._lines.known.clear()
        response_head._statuses.known.clear()

    def connect(self) -> ClientConnection:
        """A new client connection; also kept as `connection`."""
        self.transport = FakeTransport()
        self.connection = ClientConnection(self.serving)
        self.connection.connection_made(self.transport)  # type: ignore[arg-type]
        return self.connection

    def connect_http2(self) -> Http2Connection:
        """A new client connection of HTTP/2, without TLS."""
        self.transport = FakeTransport()
        connection = Http2Connection(self.serving)
        connection.connection_made(self.transport)
        return connection

    def counted(self, action: str) -> int:
        """Requests with that verdict so far, by the metrics."""
        return sum(self.metrics.verdicts.get(action, {}).values())
