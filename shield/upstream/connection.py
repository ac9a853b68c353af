"""One connection to an upstream server: bytes -> response events for the exchange that holds it.

An origin is believed no more than a client. A response has one reading or none: its head is read a line at a time by
the grammar of RFC 9112 and nothing more, its end is found by framing.py, and nothing of one response reaches the next.
What breaks a rule is `upstream_garbage`: 502, or a cut connection if the client has the head already. What is clear to
us and might not be to others, or is followed by a single byte too many, is passed on, and the connection is not used
again (`poisoned`).

What a line means is remembered by its bytes, as in plain.py: servers write the same ones again and again. (Measured: 4
us for a usual head whose lines are known.)

Bytes pinned: a head that is not whole, MAX_RESPONSE_HEAD and one read; a chunk's or trailer's line (framing.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Final, cast

from shield.http.framing import ChunkedBody, FramingError
from shield.http.grammar import BARE_LF, CONTENT_LENGTH, FIELD_LINE, STATUS_LINE, STATUS_LINE_START
from shield.http.head import CHUNKED, RESPONSE_DROP, UNTIL_CLOSE, disguised, drop_named
from shield.model import Fault

if TYPE_CHECKING:
    from shield.exchange.exchange import Exchange
    from shield.exchange.tunnel import Tunnel
    from shield.upstream.pool import Server

MAX_RESPONSE_HEAD: Final = 131072
"""bytes. Interim responses and the head of the final one together, as read."""
MAX_INTERIM: Final = 16
"""Interim responses before the final one; curl stops at a similar number, no server sends more than a few."""
KNOWN_LINES: Final = 4096
"""Lines of responses remembered; beyond, all are forgotten."""
KNOWN_LENGTH: Final = 512
"""bytes. A longer line is read each time."""

PASS, DROP, LENGTH, CODING, CONNECTION, UPGRADE, TYPE = range(7)
_KINDS: Final = {
    **dict.fromkeys(RESPONSE_DROP, DROP),
    b"content-length": LENGTH,
    b"transfer-encoding": CODING,
    b"connection": CONNECTION,
    b"upgrade": UPGRADE,
    b"content-type": TYPE,
}
HEAD, SIZED, CHUNKS, ENDLESS = range(4)  # what is being read; ENDLESS: a body until the connection closes

_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})

_statuses: dict[bytes, tuple[int, bool]] = {}  # status line -> status, is it HTTP/1.0; bounded by KNOWN_LINES
_lines: dict[bytes, tuple[int, bytes, bytes]] = {}  # line -> kind, value, what to forward; likewise


class Unacceptable(Exception):
    """The response breaks a rule."""


def _status(line: bytes) -> tuple[int, bool]:
    """What a status line says; remembered."""
    match = STATUS_LINE.fullmatch(line)
    if match is None:
        raise Unacceptable("status line")
    entry = (int(match[2]), match[1] == b"0")
    if len(line) <= KNOWN_LENGTH:
        if len(_statuses) >= KNOWN_LINES:
            _statuses.clear()
        _statuses[line] = entry
    return entry


def _learn(line: bytes) -> tuple[int, bytes, bytes]:
    """What a field line means; remembered unless it sets a cookie."""
    match = FIELD_LINE.fullmatch(line)
    if match is None:
        raise Unacceptable("field line")
    name, value = match.groups()
    lower = name.lower()
    kind = _KINDS.get(lower, PASS)
    if kind == PASS:
        if disguised(lower):
            kind = DROP  # Transfer_Encoding, Content--Length: nobody behind us shall take it for what it is not
    elif kind == LENGTH:
        if CONTENT_LENGTH.fullmatch(value) is None:
            raise Unacceptable("Content-Length")
    elif kind == CODING:
        if value.lower() != b"chunked":
            raise Unacceptable("Transfer-Encoding")
    elif kind == CONNECTION:
        value = value.lower()
        if value == b"keep-alive":
            kind = DROP  # says nothing; HTTP/1.0 connections are not kept
    elif kind == TYPE and value[:17].lower() != b"text/event-stream":
        kind = PASS
    entry = (kind, value, b"%b: %b\r\n" % (name, value))
    if len(line) <= KNOWN_LENGTH and lower != b"set-cookie":
        if len(_lines) >= KNOWN_LINES:
            _lines.clear()
        _lines[line] = entry
    return entry


class UpstreamConnection(asyncio.Protocol):
    """A connection to `server`. Between requests `exchange` is None and the connection lies in the pool."""

    __slots__ = (
        "_chunks",
        "_head_bytes",
        "_interim",
        "_left",
        "_partial",
        "_paused",
        "_state",
        "address",
        "complete",
        "exchange",
        "idle_since",
        "poisoned",
        "server",
        "transport",
        "tunnel",
    )

    def __init__(self, server: Server) -> None:
        # per connection
        self.server = server
        self.address = ""  # the one that the server's name led to; the pool says
        self.transport: asyncio.Transport = cast("asyncio.Transport", None)
        self.idle_since = 0.0
        self.poisoned = False
        self.tunnel: Tunnel | None = None
        self._paused = False
        # per request
        self.exchange: Exchange | None = None
        self.complete = False
        self._state = HEAD
        self._partial: bytearray | None = None  # what there is of a head that comes in pieces
        self._head_bytes = 0
        self._interim = 0
        self._left = 0  # bytes of a SIZED body that have not come yet
        self._chunks: ChunkedBody | None = None

    def __repr__(self) -> str:
        state = "busy" if self.exchange else "idle"
        return f"<UpstreamConnection {self.server.name} {state}{' poisoned' if self.poisoned else ''}>"

    # used by the pool and the exchange

    def usable(self) -> bool:
        """Whether another request may be sent over it."""
        return not (self.poisoned or self.transport.is_closing())

    def silent(self) -> bool:
        """Whether no byte has come since begin()."""
        return self._head_bytes == 0 and self._partial is None

    def begin(self, exchange: Exchange) -> None:
        """Serve `exchange` from now on."""
        self.exchange = exchange
        self.complete = False
        self._state = HEAD
        self._head_bytes = self._interim = 0

    def detach(self) -> None:
        """No longer serve the exchange; what still comes is poison."""
        self.exchange = self._chunks = None
        if self._paused:
            self.resume()

    def close(self) -> None:
        """Close without waiting for anything."""
        self.poisoned = True
        self.exchange = None
        self.transport.abort()

    def pause(self) -> None:
        """Read no more until resume()."""
        if not self._paused and not self.transport.is_closing():
            self._paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._paused:
            self._paused = False
            if not self.transport.is_closing():
                self.transport.resume_reading()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.poisoned = True
        exchange = self.exchange
        if exchange is None:
            if self in self.server.idle:
                self.server.idle.remove(self)
            return
        if self.tunnel is not None:
            self.tunnel.upstream_closed()
        elif self._state == ENDLESS and exc is None and not self.complete:
            self.complete = True
            exchange.finish()
        else:
            exchange.upstream_failed(Fault.UPSTREAM_CLOSED)

    def eof_received(self) -> bool:
        return False  # closes; connection_lost() tells the exchange

    def pause_writing(self) -> None:
        if self.exchange is not None:
            (self.tunnel or self.exchange).upstream_full()

    def resume_writing(self) -> None:
        if self.exchange is not None:
            (self.tunnel or self.exchange).upstream_drained()

    def data_received(self, data: bytes) -> None:
        exchange = self.exchange
        if exchange is None:  # unasked: between two messages nothing may come (RFC 9112 section 6.3, last paragraph)
            self.close()
            return
        if self.tunnel is not None:
            self.tunnel.down(data)
            return
        state = self._state
        try:
            if state == HEAD:
                self._read_heads(exchange, data)
            elif state == SIZED:
                self._read_sized(exchange, data, 0)
            elif state == CHUNKS:
                self._read_chunks(exchange, data, 0)
            else:
                exchange.on_body(data)
                exchange.flush()
        except (Unacceptable, FramingError):
            self.poisoned = True
            exchange.upstream_failed(Fault.UPSTREAM_GARBAGE)

    # the head

    def _read_heads(self, exchange: Exchange, data: bytes) -> None:
        """Interim responses, the final one's head, and what has come of its body."""
        scanned = 0
        if self._partial is not None:
            scanned = len(self._partial)
            self._partial += data
            stop = self._partial.find(b"\r\n\r\n", max(0, scanned - 3))
            if stop < 0:
                self._wait(self._partial, scanned)
                return
            data, self._partial = bytes(self._partial), None
        else:
            stop = data.find(b"\r\n\r\n")
        at = 0
        while stop >= 0:
            self._head_bytes += stop + 4 - at
            if self._head_bytes > MAX_RESPONSE_HEAD:
                raise Unacceptable("head too large")
            if self._read_head(exchange, data, at, stop):
                return
            at = stop + 4
            stop = data.find(b"\r\n\r\n", at)
        if at < len(data):
            self._partial = bytearray(data[at:])
            self._wait(self._partial, 0)
        else:
            exchange.flush()

    def _wait(self, partial: bytearray, scanned: int) -> None:
        """Wait for the rest of a head, unless it cannot become one. `scanned` bytes of it were looked at before."""
        if self._head_bytes + len(partial) > MAX_RESPONSE_HEAD:
            raise Unacceptable("head too large")
        if not (partial.startswith(STATUS_LINE_START) or STATUS_LINE_START.startswith(partial)) or BARE_LF.search(
            partial, scanned
        ):
            raise Unacceptable("not HTTP")
        cast("Exchange", self.exchange).flush()

    def _read_head(self, exchange: Exchange, data: bytes, at: int, stop: int) -> bool:
        """The head in data[at:stop] and, if that is a final one, what has come of the body. Whether it is final."""
        first, *lines = data[at:stop].split(b"\r\n")
        entry = _statuses.get(first)
        if entry is None:
            entry = _status(first)
        status, old = entry
        fields: list[bytes] = []
        length = UNTIL_CLOSE
        framings = 0
        stream = False
        connection = upgrade = b""
        tokens: AbstractSet[bytes] = frozenset()
        for line in lines:
            known = _lines.get(line)
            if known is None:
                known = _learn(line)
            kind, value, forwarded = known
            if kind == PASS:
                fields.append(forwarded)
            elif kind == LENGTH:
                framings += 1
                length = int(value)
            elif kind == TYPE:
                fields.append(forwarded)
                stream = True
            elif kind == CODING:
                framings += 1
                length = CHUNKED
                if old:
                    raise Unacceptable("Transfer-Encoding in HTTP/1.0")
            elif kind == CONNECTION:
                connection += b"," + value
            elif kind == UPGRADE:
                upgrade += value.lower()
        if framings > 1:
            raise Unacceptable("two framings")
        if old:
            self.poisoned = True
        if connection:
            tokens = {token.strip(b" \t") for token in connection.split(b",")}
            if not tokens <= _COMMON:
                fields = drop_named(fields, tokens)
                if tokens & _FRAMING:  # somebody may read it without
                    self.poisoned = True
            if b"close" in tokens:
                self.poisoned = True
        if status < 200:
            if framings or old:  # RFC 9110 sections 8.6, 15.2; RFC 9112 section 6.1
                raise Unacceptable("interim response with a body, or in HTTP/1.0")
            if status == 101:
                if not exchange.wants_upgrade or upgrade != b"websocket" or b"upgrade" not in tokens:
                    raise Unacceptable("unasked 101")
                exchange.switch(fields, data[stop + 4 :])
                return True
            self._interim += 1
            if self._interim > MAX_INTERIM:
                raise Unacceptable("too many interim responses")
            exchange.on_interim(status, fields)
            return False
        at = stop + 4
        if exchange.head_only or status in _NO_CONTENT:
            self._read_none(exchange, status, fields, length, stream, at < len(data))
        elif not framings:
            self._state = ENDLESS
            self.poisoned = True
            exchange.on_head(status, fields, UNTIL_CLOSE, -1, stream)
            if at < len(data):
                exchange.on_body(data[at:])
            exchange.flush()
        elif length == CHUNKED:
            self._state = CHUNKS
            exchange.on_head(status, fields, CHUNKED, -1, stream)
            self._chunks = ChunkedBody(0, exchange.chunked)
            self._read_chunks(exchange, data, at)
        else:
            self._state = SIZED
            self._left = length
            exchange.on_head(status, fields, length, -1, stream)
            self._read_sized(exchange, data, at)
        return True

    # the body

    def _read_sized(self, exchange: Exchange, data: bytes, at: int) -> None:
        left = self._left
        came = len(data) - at
        if came > left:
            self.poisoned = True  # bytes behind the response
            came = left
        self._left = left - came
        if came:
            exchange.on_body(data if came == len(data) else data[at : at + came])
        if self._left:
            exchange.flush()
        else:
            self.complete = True
            exchange.finish()

    def _read_chunks(self, exchange: Exchange, data: bytes, at: int) -> None:
        chunks = cast("ChunkedBody", self._chunks)
        before = chunks.payload
        pieces, stop = chunks.feed(data, at)
        if chunks.framed:
            exchange.on_chunks(pieces, chunks.payload - before)
        else:
            for piece in pieces:
                exchange.on_body(piece)
        if not chunks.done:
            exchange.flush()
            return
        if stop < len(data):
            self.poisoned = True
        self.complete = True
        exchange.finish()

    def _read_none(
        self, exchange: Exchange, status: int, fields: list[bytes], length: int, stream: bool, more: bool
    ) -> None:
        """A response without a body: to HEAD, 204, 205, 304. `more`: something follows it."""
        # Some servers send a body after all, in words that a client may have chosen. Late enough, they would be the
        # answer to the next client.
        reset = status == 205 and not exchange.head_only
        if more or length == CHUNKED or (length != 0 if exchange.head_only or reset else status == 204 and length > 0):
            self.poisoned = True
        exchange.on_head(status, fields, 0, 0 if reset else max(length, -1), stream)
        self.complete = True
        exchange.finish()


_NO_CONTENT: Final = frozenset({204, 205, 304})
"""No content comes with these. A server says so of a 205 besides, by a length of 0 (RFC 9110 section 15.3.6), which
some clients do not look at: content would be the next answer to them."""
_COMMON: Final = frozenset({b"", b"close", b"keep-alive", b"upgrade"})
