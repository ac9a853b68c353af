"""Shield's data path without sockets and without an event loop: bytes in, bytes out, some thousand requests a second.

    Peer -> ClientConnection, Exchange, Pool, UpstreamConnection (all real) -> Origin, which reads by h11

The parts below stand for the transports and the loop. `settle()` runs what is due until nothing is.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, Final

import h11

from shield.client.connection import ClientConnection
from shield.client.h2.connection import Http2Connection
from shield.client.watch import TimeoutSettings
from shield.http.forwarded import Forwarding
from shield.http.settings import HttpSettings
from shield.operator.metrics import Metrics
from shield.policy.challenge.challenge import Redeemed, Redemption
from shield.policy.challenge.settings import ChallengeSettings
from shield.process.assembly import assemble
from shield.replies.rendering import Replies
from shield.upstream.connection import UpstreamConnection
from shield.upstream.crawlers import Crawlers
from shield.upstream.pool import Pool
from shield.upstream.server import Server
from shield.upstream.settings import UpstreamSettings
from tests.harness import PermissiveEngine, QuietLog

HTTP: Final = HttpSettings(max_head_bytes=4096, max_target_bytes=512, max_fields=40, max_body_bytes=20_000)
URL: Final = "http://127.0.0.1:9"
REFUSING: Final = frozenset({400, 405, 408, 413, 414, 417, 431, 501, 505})
"""Statuses by which Shield refuses a request; the origin here never uses them."""


class Loop:
    """What Shield wants of an event loop while nothing waits for a socket."""

    def __init__(self) -> None:
        self.due: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()

    def call_soon(self, callback: Callable[..., Any], *args: Any) -> None:
        self.due.append((callback, args))

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any) -> None:
        """Never: no time passes here."""

    def create_task(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            work.send(None)
        except StopIteration:
            return
        raise AssertionError("a connection that had to wait")

    def get_debug(self) -> bool:
        return False

    def settle(self) -> None:
        for _ in range(100_000):
            if not self.due:
                return
            callback, args = self.due.popleft()
            callback(*args)
        raise AssertionError("never at rest")


class Transport:
    """One end of a connection. `written` is what our side has sent; `heard` is told of each piece.

    `closed` both ways, `ended` in one, `aborted` without waiting for what was written."""

    def __init__(self, loop: Loop, protocol: Any, heard: Callable[[bytes], None] | None = None) -> None:
        self._loop = loop
        self._protocol = protocol
        self._heard = heard
        self.written = bytearray()
        self.closed = self.ended = self.aborted = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        assert not self.ended, "written after the end"
        assert data
        self.written += data
        if self._heard is not None:
            self._heard(bytes(data))

    def write_eof(self) -> None:
        self.ended = True

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._loop.call_soon(self._protocol.connection_lost, None)

    def abort(self) -> None:
        self.aborted = True
        self.close()

    def is_closing(self) -> bool:
        return self.closed

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("192.0.2.1", 4711) if name == "peername" else default

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is ever buffered."""

    def pause_reading(self) -> None:
        """The tests here feed nothing that a paused side would not have got from its kernel."""

    def resume_reading(self) -> None:
        """See above."""


Answer = Callable[["Link", bytes, bytes, bytes], Sequence[bytes] | None]
"""(link, method, target, body) -> the pieces of the answer; None: the origin closes after the last of them."""


class Link:
    """The origin's end of one connection. It reads strictly, and an answer is due for each request."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.raw = bytearray()
        self._reader = h11.Connection(h11.SERVER)
        self._request: h11.Request | None = None
        self._body = b""
        self.connection = UpstreamConnection(memory.server)
        self.transport = Transport(memory.loop, self.connection, self._read)
        self.connection.connection_made(self.transport)  # type: ignore[arg-type]

    def _read(self, data: bytes) -> None:
        self.raw += data
        self._reader.receive_data(data)
        while True:
            event = self._reader.next_event()
            if isinstance(event, h11.Request):
                self._request, self._body = event, b""
            elif isinstance(event, h11.Data):
                self._body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                request = self._request
                assert request is not None
                self._request = None
                rest = self._reader.trailing_data[0]
                self._reader = h11.Connection(h11.SERVER)
                self.memory.seen.append((bytes(request.method), bytes(request.target), self._body))
                self.memory.heads.append(request)
                self.memory.loop.call_soon(self._answer, bytes(request.method), bytes(request.target), self._body)
                if rest:  # b"" would be the end
                    self._reader.receive_data(rest)
            else:
                return

    def _answer(self, method: bytes, target: bytes, body: bytes) -> None:
        pieces = self.memory.answer(self, method, target, body)
        for piece in pieces or ():
            if not self.transport.closed and piece:
                self.connection.data_received(piece)

    def end(self) -> None:
        """The origin closes."""
        if not self.transport.closed:
            self.connection.eof_received()
            self.transport.close()


def echo(link: Link, method: bytes, target: bytes, body: bytes) -> Sequence[bytes]:
    """An answer that tells what was asked."""
    said = b"%b %b %d" % (method, target, len(body))
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(said)
    return (head if method == b"HEAD" else head + said,)


class Unbelieving(PermissiveEngine):
    """Takes every answer to a challenge for a forgery."""

    def redeem(self, *_: object) -> Redemption:
        return Redemption(Redeemed.FORGED)

    claim = redeem


@cache
def replies() -> Replies:
    """Rendering them takes longer than all the rest."""
    return Replies("shield_pass", "Shield-Pass")


class MemoryPool(Pool):
    """A pool whose server always takes another connection."""

    memory: Memory

    async def connect(self, server: Server, *_: object) -> UpstreamConnection:
        link = Link(self.memory)
        self.memory.links.append(link)
        return link.connection


class Memory:
    """Shield with one origin. `seen` are the requests that reached the origin: method, target, body."""

    def __init__(
        self,
        answer: Answer = echo,
        http: HttpSettings = HTTP,
        forwarding: Forwarding | None = None,
        engine: Any = None,
    ) -> None:
        self.answer = answer
        self.loop = Loop()
        self.seen: list[tuple[bytes, bytes, bytes]] = []
        self.heads: list[h11.Request] = []
        self.links: list[Link] = []
        self.now = 1000.0
        settings = replace(UpstreamSettings(), servers=(URL,))
        metrics = Metrics()
        nobody: Any = None
        self.pool = MemoryPool(settings, settings.servers, metrics, nobody, UpstreamConnection, lambda *_: None)
        self.pool.memory = self
        self.server = self.pool.servers[0]
        self.engine: Any = Unbelieving() if engine is None else engine
        self.log: Any = QuietLog()
        count = itertools.count(1)
        self.serving = assemble(
            engine=self.engine,
            pool=self.pool,
            replies=replies(),
            crawlers=Crawlers(nobody, lambda address, ok: None),
            forwarding=forwarding or Forwarding((), "none"),
            http=http,
            timeouts=TimeoutSettings(),
            challenge=ChallengeSettings(pass_lifetime=3600.0),
            metrics=metrics,
            log=self.log,
            clock=lambda: self.now,
            loop=self.loop,  # type: ignore[arg-type]
            request_ids=lambda: b"id-%x" % next(count),
        )

    def client(self, http2: bool = False) -> Client:
        return Client(self, http2)

    def close(self) -> None:
        """Nothing may be left over: no slot, no exchange, no connection that is counted."""
        self.pool.close()
        self.loop.settle()
        assert not self.engine.slots, "a concurrency slot leaked"
        assert not self.engine.queued
        assert self.server.outstanding == 0, "an exchange leaked"
        assert self.serving.metrics.connections_open == 0
        assert self.serving.connections.ahead.total == 0
        assert (self.serving.forwarder.spools.open, self.serving.forwarder.spools.shares.total) == (0, 0), (
            "a spool leaked"
        )


class Client:
    """A client, and its connection to Shield."""

    def __init__(self, memory: Memory, http2: bool = False) -> None:
        self._memory = memory
        self.connection: Any = (Http2Connection if http2 else ClientConnection)(memory.serving)
        self.transport = Transport(memory.loop, self.connection)
        self.connection.connection_made(self.transport)
        memory.loop.settle()

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            if piece and not self.transport.closed:
                self.connection.data_received(piece)
                self._memory.loop.settle()

    @property
    def heard(self) -> bytes:
        return bytes(self.transport.written)

    @property
    def closing(self) -> bool:
        """Whether Shield has said its last word."""
        return self.transport.closed or self.transport.ended

    def leave(self) -> None:
        """The client closes."""
        if not self.transport.closed:
            if self.connection.eof_received():
                self._memory.loop.settle()
            self.transport.close()
        self._memory.loop.settle()
