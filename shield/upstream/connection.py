"""One connection to an upstream server: bytes -> response events for the exchange that holds it.

Heads are read by http/response_head.py, the end of a body is found by http/framing.py, and nothing of one response
reaches the next. What breaks a rule is `upstream_garbage`: 502, or a cut connection if the client has the head already.
What is clear to us and might not be to others, or is followed by a single byte too many, is passed on, and the
connection is not used again (`poisoned`).

Bytes pinned: a head that is not whole (`MAX_HEAD_BYTES`) and one read; a chunk's or trailer's line (framing.py).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from shield.http.framing import CHUNKED, ChunkedBody, FramingError
from shield.http.response_head import ResponseHeadReader, Unacceptable
from shield.model import Fault

if TYPE_CHECKING:
    from shield.exchange.exchange import Exchange
    from shield.exchange.tunnel import Tunnel
    from shield.upstream.server import Server

HEAD, SIZED, CHUNKS, ENDLESS = range(4)  # what is being read; ENDLESS: a body until the connection closes


class UpstreamConnection(asyncio.Protocol):
    """A connection to `server`. Between requests `exchange` is None and the connection lies in the pool."""

    __slots__ = (
        "_chunks",
        "_heads",
        "_left",
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
        self._heads = ResponseHeadReader()
        # per request
        self.exchange: Exchange | None = None
        self.complete = False
        self._state = HEAD
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
        return self._state == HEAD and self._heads.silent()

    def begin(self, exchange: Exchange) -> None:
        """Serve `exchange` from now on."""
        self.exchange = exchange
        self.complete = False
        self._state = HEAD

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
            self.server.forget(self)
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
        heads = self._heads
        at = 0
        while at < len(data):
            head, at = heads.read(data, at, exchange.head_only)
            if head is None:
                break
            status, fields, length, declared, event_stream, last, websocket = head
            if last:
                self.poisoned = True
            if status == 101:
                if not (websocket and exchange.wants_upgrade):
                    raise Unacceptable("unasked 101")
                exchange.switch(fields, data[at:])
                return
            if status < 200:
                exchange.on_interim(status, fields)
                continue
            exchange.on_head(status, fields, length, declared, event_stream)
            if length >= 0:
                self._state = SIZED
                self._left = length
                self._read_sized(exchange, data, at)
            elif length == CHUNKED:
                self._state = CHUNKS
                self._chunks = ChunkedBody(0, exchange.chunked)
                self._read_chunks(exchange, data, at)
            else:
                self._state = ENDLESS
                if at < len(data):
                    exchange.on_body(data[at:])
                exchange.flush()
            return
        exchange.flush()

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
