"""One connection to an upstream server: bytes -> response events for the exchange that holds it.

llhttp, by way of httptools, reads the responses, in strict mode and afresh for each message, so nothing of one
answer reaches the next: trailers are dropped with the parser. What it leaves to us is the framing of HEAD, 204 and 304,
and to treat every byte behind a message as poison: a connection that has sent one is not used again.

A plain response needs no parser: HTTP/1.1, its head whole in one read, with one Content-Length and nothing that bears
on framing besides. What its lines mean is remembered, as in plain.py, and its body is counted here. Every other is read
by llhttp from its first byte, and nothing is taken for plain that llhttp would read differently.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, Final, cast

import httptools

from shield.proxy.faults import Fault
from shield.proxy.headers import CHUNKED, FIELD, RESPONSE_DROP, UNTIL_CLOSE, drop_named

if TYPE_CHECKING:
    from shield.proxy.exchange import Exchange
    from shield.proxy.tunnel import Tunnel
    from shield.proxy.upstream import Server

MAX_RESPONSE_HEAD: Final = 131072
"""bytes. Interim responses and the head of the final one together, as read."""
MAX_INTERIM: Final = 16
"""Interim responses before the final one; curl stops at a similar number, no server sends more than a few."""
_KNOWN_LIMIT: Final = 4096

PASS, DROP, LENGTH, CODING, CONNECTION, TYPE = range(6)
_FIELDS: Final = {
    **dict.fromkeys(RESPONSE_DROP, DROP),
    b"content-length": LENGTH,
    b"transfer-encoding": CODING,
    b"connection": CONNECTION,
    b"content-type": TYPE,
}
_known: dict[bytes, int] = {}  # spelling -> kind; bounded by _KNOWN_LIMIT


def _classify(name: bytes) -> int:
    kind = _FIELDS.get(name.lower(), PASS)
    if len(_known) < _KNOWN_LIMIT and len(name) <= 64:
        _known[name] = kind
    return kind


_PLAIN_STATUS = re.compile(rb"HTTP/1\.1 ([2-5][0-9][0-9])(?: [\t -~\x80-\xff]*)?")
_NO_BODY: Final = frozenset({204, 304})
KNOWN_LINES: Final = 4096
"""Lines of responses remembered; beyond, all are forgotten."""
KNOWN_LENGTH: Final = 512
"""bytes. A longer line is read each time."""
_statuses: dict[bytes, int] = {}  # status line -> status; bounded by KNOWN_LINES
_lines: dict[bytes, tuple[int, bytes, bytes]] = {}  # line -> kind, value, what to forward; likewise


def _status(line: bytes) -> int:
    """The status of a plain final response that may have a body; 0 when it is not one."""
    match = _PLAIN_STATUS.fullmatch(line)
    status = int(match[1]) if match is not None else 0
    if status in _NO_BODY:
        status = 0
    if len(line) <= KNOWN_LENGTH:
        if len(_statuses) >= KNOWN_LINES:
            _statuses.clear()
        _statuses[line] = status
    return status


def _learn(line: bytes) -> tuple[int, bytes, bytes] | None:
    """What a line of a response means; None when it is not plain."""
    match = FIELD.fullmatch(line)
    if match is None:
        return None
    name, value = match.groups()
    kind = _known.get(name)
    if kind is None:
        kind = _classify(name)
    if kind == CODING or (kind == CONNECTION and value.lower() != b"keep-alive"):
        return None
    if kind == LENGTH and not (value.isdigit() and len(value) <= 18):
        return None
    if kind == TYPE and value[:17].lower() != b"text/event-stream":
        kind = PASS
    entry = (kind, value, b"%b: %b\r\n" % (name, value))
    if len(line) <= KNOWN_LENGTH and name.lower() != b"set-cookie":
        if len(_lines) >= KNOWN_LINES:
            _lines.clear()
        _lines[line] = entry
    return entry


class Unacceptable(Exception):
    """The response breaks a rule that llhttp does not hold."""


class OriginConnection(asyncio.Protocol):
    """A connection to `server`. Between requests `exchange` is None and the connection lies in the pool."""

    __slots__ = (
        "_body",
        "_codings",
        "_connection",
        "_head_bytes",
        "_head_done",
        "_interim",
        "_keep",
        "_left",
        "_length",
        "_lengths",
        "_parser",
        "_paused",
        "_stream",
        "address",
        "complete",
        "exchange",
        "fields",
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
        self._parser: Any = None
        self._head_bytes = 0
        self._interim = 0
        self._left = 0  # bytes of a plain response's body that have not come yet
        # per message
        self.fields: list[bytes] = []
        self._reset_message()

    def _reset_message(self) -> None:
        self.fields = []
        self._head_done = False
        self._length = self._lengths = self._codings = 0
        self._connection = b""
        self._stream = False
        self._keep = False
        self._body = True

    def __repr__(self) -> str:
        state = "busy" if self.exchange else "idle"
        return f"<OriginConnection {self.server.name} {state}{' poisoned' if self.poisoned else ''}>"

    # used by the pool and the exchange

    def usable(self) -> bool:
        """Whether another request may be sent over it."""
        return not (self.poisoned or self.transport.is_closing())

    def silent(self) -> bool:
        """Whether no byte has come since begin()."""
        return self._head_bytes == 0

    def begin(self, exchange: Exchange) -> None:
        """Serve `exchange` from now on."""
        self.exchange = exchange
        self.complete = self._head_done = False
        self._head_bytes = self._interim = 0
        self._left = 0

    def detach(self) -> None:
        """No longer serve the exchange; what still comes is poison unless the response is complete."""
        self.exchange = None
        self._parser = None
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
        elif self._head_done and self._length == UNTIL_CLOSE and exc is None and not self.complete:
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
        parser = self._parser
        if parser is None:
            if self._left:
                self._plain_body(exchange, data, 0)
                return
            if not self._head_bytes and not exchange.head_only and self._plain(exchange, data):
                return
            parser = self._parser = httptools.HttpResponseParser(self)
        if not self._head_done:
            self._head_bytes += len(data)
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if not self.complete:
                exchange.switch(data[upgrade.args[0] :])
                return
        except httptools.HttpParserError:
            self.poisoned = True
            if not self.complete:
                exchange.upstream_failed(Fault.UPSTREAM_GARBAGE)
                return
        if self.complete:
            exchange.finish()
        elif not self._head_done and self._head_bytes > MAX_RESPONSE_HEAD:
            exchange.upstream_failed(Fault.UPSTREAM_GARBAGE)
        else:
            exchange.flush()

    def _plain(self, exchange: Exchange, data: bytes) -> bool:
        """Read a response that begins with `data`, if it is plain."""
        stop = data.find(b"\r\n\r\n", 0, MAX_RESPONSE_HEAD)
        if stop < 0:
            return False
        first, *lines = data[:stop].split(b"\r\n")
        status = _statuses.get(first)
        if status is None:
            status = _status(first)
        if not status:
            return False
        fields: list[bytes] = []
        length = -1
        stream = False
        for line in lines:
            entry = _lines.get(line)
            if entry is None:
                entry = _learn(line)
                if entry is None:
                    return False
            kind, value, forwarded = entry
            if kind == PASS:
                fields.append(forwarded)
            elif kind == LENGTH:
                if length >= 0:
                    return False
                length = int(value)
            elif kind == TYPE:
                fields.append(forwarded)
                stream = True
        if length < 0:
            return False
        self.fields = fields
        self._head_done = True
        self._head_bytes = stop
        self._length = self._left = length
        exchange.on_head(status, fields, length, -1, stream)
        self._plain_body(exchange, data, stop + 4)
        return True

    def _plain_body(self, exchange: Exchange, data: bytes, at: int) -> None:
        """What has come of a plain response's body: data[at:]."""
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

    # called by httptools; an exception here surfaces as HttpParserCallbackError

    def on_message_begin(self) -> None:
        if self.complete:
            self.poisoned = True
            raise Unacceptable("bytes behind the response")
        self._reset_message()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head_done:
            return  # a trailer
        value = value.rstrip(b" \t")  # llhttp leaves the whitespace behind it (RFC 9112 section 5.1)
        kind = _known.get(name)
        if kind is None:
            kind = _classify(name)
        if kind == PASS:
            self.fields.append(name + b": " + value + b"\r\n")
        elif kind == LENGTH:
            self._lengths += 1
            if not value.isdigit() or len(value) > 18:
                raise Unacceptable("Content-Length")
            self._length = int(value)
        elif kind == TYPE:
            self.fields.append(name + b": " + value + b"\r\n")
            if value[:17].lower() == b"text/event-stream":
                self._stream = True
        elif kind == CODING:
            self._codings += 1
            if value.lower() != b"chunked":
                raise Unacceptable("Transfer-Encoding")
            self._length = CHUNKED
        elif kind == CONNECTION:
            self._connection += b"," + value.lower()

    def on_headers_complete(self) -> None:
        self._head_done = True
        exchange = cast("Exchange", self.exchange)
        parser = self._parser
        status = parser.get_status_code()
        version = parser.get_http_version()
        if self._lengths + self._codings > 1 or (version != "1.1" and (version != "1.0" or self._codings)):
            raise Unacceptable("framing")
        if not 100 <= status <= 599:
            raise Unacceptable("status")
        if self._head_bytes > MAX_RESPONSE_HEAD and sum(map(len, self.fields)) > MAX_RESPONSE_HEAD:
            raise Unacceptable("head too large")  # it came in one read, some of which may be body
        if self._connection:
            tokens = {token.strip() for token in self._connection.split(b",")}
            if not tokens <= _COMMON:
                self.fields = drop_named(self.fields, tokens)
            self._keep = version == "1.1" and b"close" not in tokens
        else:
            self._keep = version == "1.1"
        if status < 200:
            if self._length:  # llhttp would read a body, which no client expects (RFC 9110 section 15.2)
                raise Unacceptable("an interim response with a body")
            if status == 101:
                if not exchange.wants_upgrade:
                    raise Unacceptable("unasked 101")
                return
            self._interim += 1
            if self._interim > MAX_INTERIM:
                raise Unacceptable("too many interim responses")
            exchange.on_interim(status, self.fields)
            return
        if exchange.head_only or status == 204 or status == 304:
            self._body = False
            declared = self._length if self._lengths else -1
            if not self._keep or (exchange.head_only and declared != 0):
                # Some servers answer HEAD with the body after all, in words that a client may have chosen. Late enough,
                # they would be the answer to the next client.
                self.poisoned = True
            exchange.on_head(status, self.fields, 0, declared, self._stream)
            self.complete = True
            return
        if not self._lengths and not self._codings:
            self._length = UNTIL_CLOSE
        if not self._keep or self._length == UNTIL_CLOSE:
            self.poisoned = True
        exchange.on_head(status, self.fields, self._length, -1, self._stream)

    def on_body(self, body: bytes) -> None:
        if not self._body:
            self.poisoned = True
            raise Unacceptable("a body where none belongs")
        cast("Exchange", self.exchange).on_body(body)

    def on_message_complete(self) -> None:
        if self._head_done and self._parser.get_status_code() >= 200:
            self.complete = True


_COMMON: Final = frozenset({b"", b"close", b"keep-alive", b"upgrade"})
