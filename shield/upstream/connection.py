"""One HTTP/1.1 connection to an upstream server: a request out, and the events of its response for the exchange.

Heads are read by http/response_head.py, the end of a body is found by http/framing.py, and nothing of one response
reaches the next. What breaks a rule of http/rules.py is `upstream_garbage`: 502, or a cut connection if the client has
the head already.
What is clear to us and might not be to others, or is followed by a single byte too many, is passed on, and the
connection is not used again (`poisoned`).

Bytes pinned: a head that is not whole (`MAX_HEAD_BYTES`) and one read; a chunk's or trailer's line (framing.py).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

from shield.http.framing import CHUNKED, LAST_CHUNK, ChunkedBody, encode_chunk
from shield.http.response_head import ResponseHeadReader
from shield.http.rules import Broken, Rule
from shield.http.websocket import accepted
from shield.model import Fault
from shield.wire.transport import SocketTransport

if TYPE_CHECKING:
    from shield.exchange.ports import Passage, Requester
    from shield.http.head import Head
    from shield.upstream.server import Server
    from shield.wire.turns import Turn

LARGE_BODY: Final = 512 * 1024
"""bytes. Of a body that still has so much to come, the rest may pass by a shortcut (wire/splice.py)."""
SMALL_BODY: Final = 16 * 1024
"""bytes. A body of one piece of up to this goes out with its head; a larger one is not worth copying."""

HEAD, SIZED, CHUNKS, ENDLESS = range(4)  # what is being read; ENDLESS: a body until the connection closes

_METHOD_BYTES: Final = {
    method: method.encode("ascii") for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
}
_NOTHING: Final[list[bytes]] = []
_BODY_EXPECTED: Final = frozenset({"POST", "PUT", "PATCH"})


class UpstreamConnection(asyncio.Protocol):
    """A connection to `server`. Between requests `exchange` is None and the connection lies in the pool.

    `sent` is the turn of the loop in which the last byte of the request was written, None before. There are more than
    15 attributes because in HTTP/1.1 both directions are one state: whether a connection may be used again depends on
    what was sent and read.
    """

    __slots__ = (
        "_chunks",
        "_heads",
        "_left",
        "_paused",
        "_preserve_host",
        "_request",
        "_shared",
        "_short",
        "_state",
        "_tunnel",
        "_websocket_key",
        "address",
        "complete",
        "exchange",
        "idle_since",
        "poisoned",
        "sent",
        "server",
        "transport",
        "used_before",
    )

    def __init__(self, server: Server, preserve_host: bool = True, shared: bool = True) -> None:
        """`preserve_host`: the client's Host is sent; `shared`: the connection may serve other clients later."""
        # per connection
        self.server = server
        self._preserve_host = preserve_host
        self._shared = shared
        self.address = ""  # the one that the server's name led to; the pool says
        self.transport: asyncio.Transport = cast("asyncio.Transport", None)
        self.idle_since = 0.0
        self.poisoned = False
        self.used_before = False
        self._tunnel: Passage | None = None
        self._paused = False
        self._short = False  # payload goes by a shortcut
        self._heads = ResponseHeadReader()
        # per request
        self.exchange: Requester | None = None
        self._request: Head = cast("Head", None)
        self.sent: Turn | None = None
        self.complete = False
        self._state = HEAD
        self._left = 0  # bytes of a SIZED body that have not come yet
        self._chunks: ChunkedBody | None = None
        self._websocket_key = ""  # the one that was sent, if the request asks for a WebSocket

    def __repr__(self) -> str:
        state = "busy" if self.exchange else "idle"
        return f"<UpstreamConnection {self.server.name} {state}{' poisoned' if self.poisoned else ''}>"

    # used by the pool and the exchange

    def usable(self) -> bool:
        """Whether another request may be sent over it."""
        return not (self.poisoned or self.transport.is_closing())

    def silent(self) -> bool:
        """Whether no byte has come since send()."""
        return self._state == HEAD and self._heads.silent()

    def awaited(self, before: float) -> Requester | None:
        """Who has waited for the head of a response since before that clock reading, with the whole request sent."""
        exchange, sent = self.exchange, self.sent
        if exchange is None or sent is None or self._state != HEAD or self._tunnel is not None:
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
        """Serve `exchange` from now on: send the request with this head, and what there is of its body. `done`: that is
        all of it, but for `trailers`. `suffix` are the forwarding fields. Each field has its CRLF."""
        # Longer than a screen because it runs for each request: a call would cost as much as three of its lines.
        self.exchange = exchange
        self._request = head
        self.complete = False
        self._state = HEAD
        server = self.server
        server.counters.requests += 1
        parts = [head.written] if head.written and self._preserve_host else self._begin(head, server)
        if head.kept_cookie:
            parts += (b"Cookie: ", head.kept_cookie, b"\r\n")
        length = head.length
        if length > 0:
            parts.append(b"Content-Length: %d\r\n" % length)
        elif length == CHUNKED:
            parts.append(b"Transfer-Encoding: chunked\r\n")
        elif head.method in _BODY_EXPECTED:
            parts.append(b"Content-Length: 0\r\n")  # RFC 9110 section 8.6
        if head.upgrade:
            parts.append(b"Connection: Upgrade\r\nUpgrade: %b\r\n" % head.upgrade)
            if head.upgrade == b"websocket":
                self._websocket_key = head.headers["Sec-WebSocket-Key"]  # it is one of the fields
        elif head.doubtful or not self._shared:
            parts.append(b"Connection: close\r\n")
        parts += (suffix, b"X-Request-Id: ", request_id, b"\r\n\r\n")
        if length == 0:
            self.transport.write(b"".join(parts))
            self.sent = turn
            return
        if done and length > 0 and len(body) == 1 and len(body[0]) <= SMALL_BODY:
            parts += body
            self.transport.write(b"".join(parts))
            self.sent = turn
            return
        self.sent = None
        self.transport.write(b"".join(parts))
        self.send_body(body, done, turn, trailers)

    def _begin(self, head: Head, server: Server) -> list[bytes]:
        """The request line, Host, and the fields that the client has sent, in pieces.

        A head that comes again is joined at the second time, since most come once. It is kept only where it does not
        depend on the server."""
        method = _METHOD_BYTES.get(head.method) or head.method.encode("ascii")
        kept_host = self._preserve_host and head.host
        host = kept_host or server.authority
        fields = head.fields
        if len(fields) > 1:
            head.fields = fields = [b"".join(fields)]
        parts = [method, b" ", head.target.encode("ascii"), b" HTTP/1.1\r\nHost: ", host, b"\r\n", *fields]
        if head.written is None:
            head.written = b""
        elif kept_host:
            head.written = b"".join(parts)
        return parts

    def send_body(self, pieces: list[bytes], done: bool, turn: Turn, trailers: list[bytes] = _NOTHING) -> None:
        """Send more of the request's body; `done`: that was the last of it, but for `trailers`, for which only chunks
        have a place."""
        if done:
            self.sent = turn
        transport = self.transport
        if transport.is_closing():
            return
        body = b"".join(pieces) if len(pieces) != 1 else pieces[0]
        if self._request.length == CHUNKED:
            body = encode_chunk(body)  # one, however many the client has made of it
            if done and trailers:
                # Some servers take the last trailer for the first field of the next request, which is somebody else's.
                self.poisoned = True
                body = b"".join((body, b"0\r\n", *trailers, b"\r\n"))
            elif done:
                body += LAST_CHUNK
        if body:
            transport.write(body)

    def open_tunnel(self, tunnel: Passage) -> None:
        """The server has said 101: what comes goes to `tunnel` from now on, and no other request follows."""
        self.poisoned = True
        self._tunnel = tunnel

    def pass_on(self, data: bytes) -> bool:
        """Send bytes of the tunnel. Whether they were taken."""
        transport = self.transport
        if transport.is_closing():
            return False
        transport.write(data)
        return True

    def close_when_sent(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        """Close; what waits in the transport may go out within `seconds`."""
        transport = self.transport
        transport.close()
        if transport.get_write_buffer_size():
            loop.call_later(seconds, transport.abort)

    def detach(self) -> bool:
        """No longer serve the exchange or the tunnel; what still comes is poison. Returns whether all that was to be
        sent has left."""
        self.exchange = self._tunnel = self._chunks = None
        self.used_before = True
        if self._short:
            self._short = False
            cast("SocketTransport", self.transport).take(None)
        if self._paused:
            self.resume()
        return not self.transport.get_write_buffer_size()

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
        self.server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.poisoned = True
        self.server.connections.discard(self)
        exchange = self.exchange
        if exchange is None:
            self.server.forget(self)
            return
        if self._tunnel is not None:
            self._tunnel.upstream_closed()
        elif self._state == ENDLESS and exc is None and not self.complete:
            self.complete = True
            exchange.finish()
        else:
            exchange.upstream_failed(Fault.UPSTREAM_CLOSED)

    def eof_received(self) -> bool:
        return False  # closes; connection_lost() tells the exchange

    def pause_writing(self) -> None:
        if self.exchange is not None:
            (self._tunnel or self.exchange).upstream_full()

    def resume_writing(self) -> None:
        if self.exchange is not None:
            (self._tunnel or self.exchange).upstream_drained()

    def data_received(self, data: bytes) -> None:
        exchange = self.exchange
        if exchange is None:  # unasked: between two messages nothing may come (RFC 9112 section 6.3, last paragraph)
            self.close()
            return
        if self._tunnel is not None:
            self._tunnel.down(data)
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
        except Broken as broken:
            self.poisoned = True
            exchange.upstream_failed(Fault.UPSTREAM_GARBAGE, broken.rule)

    # the head

    def _read_heads(self, exchange: Requester, data: bytes) -> None:
        """Interim responses, the final one's head, and what has come of its body."""
        heads = self._heads
        at = 0
        head_only = self._request.method == "HEAD"
        while True:
            head, at = heads.read(data, at, head_only)
            if head is None:
                break
            status, fields, length, declared, endless, last, switched, dated = head
            if last:
                self.poisoned = True
            if status < 200:
                if status == 101:
                    exchange.switch(self._agreed(switched, fields), fields, data[at:])
                    return
                exchange.on_interim(status, fields)
                if at < len(data):
                    continue
                break
            if not dated:
                fields += self.server.date  # RFC 9110 section 6.6.1
            framed = exchange.on_head(status, fields, length, declared, endless)
            if self.exchange is None:  # it has let go of us
                return
            if length >= 0:
                self._state = SIZED
                self._left = length
                self._read_sized(exchange, data, at)
                if self._left >= LARGE_BODY:
                    self._cut_short(exchange)
            elif length == CHUNKED:
                self._state = CHUNKS
                self._chunks = ChunkedBody(0, framed, padded=True)
                self._read_chunks(exchange, data, at)
            else:
                self._state = ENDLESS
                if at < len(data):
                    exchange.on_body(data[at:])
                exchange.flush()
            return
        exchange.flush()

    def _agreed(self, protocol: bytes, fields: list[bytes]) -> bytes:
        """The protocol that a 101 switches to, as it was asked for; `protocol` in lower case. Raises Broken."""
        asked = self._request.upgrade
        if asked == protocol == b"websocket":
            # A client may know a page that answers 101 to anything, and would have a way past every rule here.
            if not accepted(self._websocket_key, fields):
                raise Broken(Rule.SWITCH_UNPROVED)
            return asked
        for name in asked.split(b", "):
            if name and name.lower() == protocol:
                return name
        raise Broken(Rule.SWITCH_UNASKED)

    # the body

    def _read_sized(self, exchange: Requester, data: bytes, at: int) -> None:
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

    def _cut_short(self, exchange: Requester) -> None:
        """Have the rest of the body pass by a shortcut, if the exchange is still there and has one."""
        transport = self.transport
        if self.exchange is exchange and isinstance(transport, SocketTransport):
            shortcut = exchange.shortcut()
            if shortcut is not None:
                self._short = True
                transport.take(shortcut)

    def passable(self) -> int:
        """bytes of the body that are still to come, and may pass by the shortcut."""
        return self._left

    def data_passed(self, size: int) -> None:
        """So many bytes of the body have passed."""
        exchange = cast("Requester", self.exchange)
        self._left -= size
        exchange.on_passed(size)
        if self._left:
            exchange.flush()
        else:
            self.complete = True
            exchange.finish()

    def _read_chunks(self, exchange: Requester, data: bytes, at: int) -> None:
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
        if chunks.trailers:
            exchange.on_trailers(chunks.trailers)
        self.complete = True
        exchange.finish()
