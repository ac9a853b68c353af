"""One request on a connection of HTTP/2 to a server: what an exchange knows as its connection (upstream/carrier.py).

    send() -> [interim responses] -> head -> payload -> [trailers] -> finish()

The head of a response is written as HTTP/1.1 would write it and read by http/response_head.py, so the same rules hold.
How much payload there is, the library has looked at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

from ngh2 import ErrorCode, NeverIndexedHeader

from shield.http.framing import CHUNKED
from shield.http.grpc import is_answer, status_like
from shield.http.pairs import Pair, PairMemory, as_head
from shield.http.response_head import CALL, MAX_HEAD_BYTES, MAX_INTERIM, parse
from shield.http.rules import Broken, Rule
from shield.http.trailers import lines_of, wanted
from shield.model import Fault

if TYPE_CHECKING:
    from shield.exchange.ports import Passage, Requester
    from shield.http.head import Head
    from shield.upstream.server import Server
    from shield.wire.turns import Turn

SEND_HIGH: Final = 64 * 1024
"""bytes of a request's body that wait for the server's windows, at which the exchange is told. A quarter of it lets
more come."""

_memory: Final = PairMemory()  # a line is the same, whichever server it is sent to
_NOTHING: Final[list[bytes]] = []


class Multiplexed(Protocol):
    """The connection of a stream, as far as it is known here."""

    server: Server
    address: str
    preserve_host: bool

    def request(self, stream: UpstreamStream, pairs: Sequence[Pair], whole: bool) -> int:
        """Send the head of a request; the number of its stream, 0 if none can be begun any more."""

    def payload(self, number: int, data: bytes, whole: bool) -> None:
        """Send payload."""

    def trail(self, number: int, pairs: Sequence[Pair]) -> None:
        """Send trailers, which end the request."""

    def unsent(self, number: int) -> int:
        """bytes of payload that wait for the server's windows."""

    def take(self, number: int, size: int) -> None:
        """So much payload has found its place: as much more may come."""

    def leave(self, stream: UpstreamStream, code: ErrorCode) -> None:
        """The stream is of no use any more: reset it. Where the connection has said nothing for long, it may be dead,
        and no other request follows over it."""


class UpstreamStream:
    """A stream of `connection`. `sent` is the turn of the loop in which the last byte of the request was written, None
    before. `number` is 0 before the request is sent, `used_before`: the connection has carried another one.

    More than 15 attributes, as of an UpstreamConnection.
    """

    __slots__ = (
        "_blocked",
        "_bodiless",
        "_call",
        "_connection",
        "_head_bytes",
        "_head_only",
        "_heads",
        "_interim",
        "_paused",
        "_sized",
        "_unread",
        "address",
        "asked_at",
        "complete",
        "exchange",
        "idle_since",
        "number",
        "over",
        "reset",
        "sent",
        "server",
        "used_before",
    )

    def __init__(self, connection: Multiplexed, used_before: bool, now: float) -> None:
        self._connection = connection
        self.server = connection.server
        self.address = connection.address
        self.used_before = used_before
        self.exchange: Requester | None = None
        self.number = 0
        self.sent: Turn | None = None
        self.complete = False  # the response
        self.over = False  # the stream
        self.reset = False  # by the server
        self.idle_since = now
        self.asked_at = now
        self._heads = False  # the final head has come
        self._head_bytes = 0  # of all heads
        self._head_only = False
        self._interim = 0
        self._bodiless = False  # the response has no body, whatever comes
        self._call = False  # the response is the answer to a call of gRPC
        self._sized = False  # the request says how long its body is
        self._paused = False
        self._blocked = False
        self._unread = 0

    def __repr__(self) -> str:
        return f"<UpstreamStream {self.number} of {self.server.name}{' over' * self.over}>"

    # used by the pool and the exchange

    def usable(self) -> bool:
        """Whether the request may be sent over it. It carries one."""
        return not self.number and not self.over

    def silent(self) -> bool:
        """Whether nothing has come since send()."""
        return not self._heads and not self._interim

    def awaited(self, before: float) -> Requester | None:
        """Who has waited for the head of a response since before that clock reading, with the whole request sent."""
        exchange, sent = self.exchange, self.sent
        if exchange is None or sent is None or self._heads:
            return None
        return exchange if sent.settled < before else None

    def send(
        self,
        exchange: Requester,
        head: Head,
        suffix: bytes,
        request_id: bytes,
        turn: Turn,
        body: list[bytes] = _NOTHING,
        done: bool = True,
        trailers: list[bytes] = _NOTHING,
    ) -> None:
        """As UpstreamConnection.send()."""
        self.exchange = exchange
        connection = self._connection
        self.server.counters.requests += 1
        self._head_only = head.method == "HEAD"
        self._sized = head.length > 0
        self.asked_at = turn.began
        whole = done and not any(body) and not trailers
        self.number = connection.request(self, self._pairs(head, suffix, request_id), whole)
        if not self.number:
            self.over = True
            asyncio.get_running_loop().call_soon(self.refused)
        elif whole:
            self.sent = turn
        else:
            self.send_body(body, done, turn, trailers)

    def _pairs(self, head: Head, suffix: bytes, request_id: bytes) -> list[Pair]:
        server = self.server
        kept = self._connection.preserve_host and head.host
        pairs: list[Pair] = [
            (b":method", head.method.encode("ascii")),
            (b":scheme", b"https" if server.tls else b"http"),
            (b":authority", kept or server.authority),
            (b":path", head.target.encode("ascii")),
        ]
        _memory.add(pairs, head.lines())
        if head.kept_cookie:
            pairs.append(NeverIndexedHeader(b"cookie", head.kept_cookie))
        if head.length > 0:
            pairs.append((b"content-length", b"%d" % head.length))
        if wanted(head.headers.get("TE")):
            pairs.append((b"te", b"trailers"))
        _memory.add(pairs, suffix.split(b"\r\n"))
        pairs.append((b"x-request-id", request_id))
        return pairs

    def send_body(self, pieces: list[bytes], done: bool, turn: Turn, trailers: list[bytes] = _NOTHING) -> None:
        """Send more of the request's body; `done`: that was the last of it, but for `trailers`."""
        if done:
            self.sent = turn
        if self.over:
            return
        connection, number = self._connection, self.number
        data = b"".join(pieces) if len(pieces) != 1 else pieces[0]
        trail = done and bool(trailers) and not self._sized
        if data or (done and not trail):
            connection.payload(number, data, done and not trail)
        if trail:
            pairs: list[Pair] = []
            _memory.add(pairs, trailers)
            connection.trail(number, pairs)
        if not self._blocked and connection.unsent(number) > SEND_HIGH:
            self._blocked = True
            if self.exchange is not None:
                self.exchange.upstream_full()

    def drained(self) -> None:
        """The server's windows have let something pass."""
        if self._blocked and self._connection.unsent(self.number) <= SEND_HIGH // 4:
            self._blocked = False
            if self.exchange is not None:
                self.exchange.upstream_drained()

    def open_tunnel(self, tunnel: Passage) -> None:
        """Never called: no upgrade is asked for, so none is agreed to."""
        raise AssertionError("no tunnel over HTTP/2")

    def pass_on(self, data: bytes) -> bool:
        """Never called, as there is no tunnel."""
        raise AssertionError("no tunnel over HTTP/2")

    def close_when_sent(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        """Never called, as there is no tunnel."""
        raise AssertionError("no tunnel over HTTP/2")

    def detach(self) -> bool:
        """No longer serve the exchange. Whether all that was to be sent has left."""
        self.exchange = None
        return self.over or not self._connection.unsent(self.number)

    def close(self) -> None:
        """End it, however far it has come."""
        self.exchange = None
        if not self.over:
            self.over = True
            self._connection.leave(self, ErrorCode.CANCEL)

    def pause(self) -> None:
        """Take no more of the response, until resume(): its window fills up."""
        self._paused = True

    def resume(self) -> None:
        """Take more."""
        self._paused = False
        unread, self._unread = self._unread, 0
        if unread and not self.over:
            self._connection.take(self.number, unread)

    # what the server says; each may end the exchange, which then lets go

    def on_interim(self, pairs: Sequence[Pair]) -> None:
        """A 1xx response."""
        exchange = self.exchange
        self._interim += 1
        if exchange is None:
            return
        try:
            if self._interim > MAX_INTERIM:
                raise Broken(Rule.INTERIM_COUNT)
            status, fields, *_ = parse(self._written(pairs), self._head_only)
        except Broken as broken:
            self._broken(broken.rule)
            return
        if status != 101:  # which HTTP/2 does not have
            exchange.on_interim(status, fields)

    def on_head(self, pairs: Sequence[Pair], ended: bool) -> None:
        """The final response's head."""
        exchange = self.exchange
        self._heads = True
        if exchange is None:
            return
        try:
            parsed = parse(self._written(pairs), self._head_only)
        except Broken as broken:
            self._broken(broken.rule)
            return
        status, fields, length, declared, endless, _, _, dated = parsed
        if not dated:
            fields += self.server.date
        if ended:
            length = 0
        elif length < 0:
            length = CHUNKED  # to a client of HTTP/1; nobody knows it yet
        self._bodiless = not length
        if any(name == b"content-type" and is_answer(value) for name, value in pairs):
            endless = CALL
            self._call = True
        exchange.on_head(status, fields, length, declared, endless)
        if ended:
            self._tell_status(lines_of(pairs[1:]))
            self.on_end()

    def on_body(self, data: bytes) -> bool:
        """Payload. Whether it was taken at once, and as much more may come.

        What comes behind a 205 would be the next response to a client of HTTP/1, so it is dropped. (Of other responses
        without a body the library sees to that.)"""
        exchange = self.exchange
        if exchange is not None and data and not self._bodiless:
            exchange.on_body(data)
        if not self._paused:
            return True
        self._unread += len(data)
        return False

    def on_trailers(self, pairs: Sequence[Pair]) -> None:
        """The fields behind the payload, which end the response."""
        if self.exchange is not None:
            lines = lines_of(pairs)
            self.exchange.on_trailers(lines)
            self._tell_status(lines)

    def _tell_status(self, lines: Sequence[bytes]) -> None:
        """How a call has ended, if the response is the answer to one, stands in the last of its fields."""
        if self._call and self.exchange is not None:
            like = status_like(lines)
            if like:
                self.exchange.on_call_status(like)

    def on_end(self) -> None:
        """The response is complete."""
        exchange = self.exchange
        self.complete = True
        if exchange is not None:
            exchange.finish()

    def flush(self) -> None:
        """That was all of one read."""
        if self.exchange is not None:
            self.exchange.flush()

    def refused(self) -> None:
        """The server has not looked at the request, and never will (RFC 9113 section 8.7)."""
        self.over = True
        exchange = self.exchange
        if exchange is not None:
            exchange.upstream_refused()

    def ended(self, code: int, rule: Rule | None) -> None:
        """The stream has ended before the response was complete, with `code`; `rule`: the one that the server has
        broken, if that is why."""
        self.over = True
        exchange = self.exchange
        if exchange is None or self.complete:
            return
        if rule is not None:
            exchange.upstream_failed(Fault.UPSTREAM_GARBAGE, rule)
        else:
            exchange.upstream_failed(Fault.UPSTREAM_RESET if self.reset else Fault.UPSTREAM_CLOSED)

    def _written(self, pairs: Sequence[Pair]) -> bytes:
        """A head as HTTP/1.1 writes it. Raises Broken where that is too long, with the interim ones before it, or not
        what it was: the library has looked at that, but what passes here may be written to a client of HTTP/1."""
        text = as_head(_status_line(pairs), pairs[1:])
        self._head_bytes += len(text)
        if self._head_bytes > MAX_HEAD_BYTES:
            raise Broken(Rule.HEAD_SIZE)
        if text.count(b"\n") != len(pairs) - 1 or text.count(b"\r") != len(pairs) - 1:
            raise Broken(Rule.CONTROL_CHARACTER)
        return text

    def _broken(self, rule: Rule) -> None:
        exchange = self.exchange
        if exchange is not None:
            exchange.upstream_failed(Fault.UPSTREAM_GARBAGE, rule)


def _status_line(pairs: Sequence[Pair]) -> bytes:
    """The status line of HTTP/1.1. Raises Broken where the first field is no :status, which the library has seen to."""
    if not pairs or pairs[0][0] != b":status":
        raise Broken(Rule.STATUS_LINE)
    return b"HTTP/1.1 %b " % pairs[0][1]
