"""What an exchange and its two neighbours need of each other.

    client's side  <-- ClientSide --  Exchange  <-- Requester --  upstream connection
                   <-- ClientSide --  Tunnel    <-- Passage  --

Only Protocols stand here, and nothing that runs. Their verbs are those of HTTP's semantics (RFC 9110), with one short
cut for HTTP/1.1: chunks that are framed already may be handed on as they are. How else a response is framed, and
whether a connection carries one request at a time or a hundred, is known to the client's side alone; how a request is
written, to the upstream connection alone. Each of a list of `fields` is a line that ends with CRLF. `now` is in
monotonic seconds.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shield.http.head import Head
    from shield.http.rules import Rule
    from shield.model import Fault
    from shield.wire.proxy_protocol import Ends
    from shield.wire.splice import Pipe, Shortcut


class Seen(enum.Enum):
    """What a client sees of the end of its request."""

    WHOLE = "whole"  # the response, to its end, which the client's side frames now
    STAND_IN = "stand_in"  # a reply of Shield's own to a fault, in place of the response
    REFUSAL = "refusal"  # the policy's verdict
    CUT = "cut"  # a part of the response, and that it is one
    CLOSE = "close"  # the end of a tunnel
    NOTHING = "nothing"  # the client's side has ended it and sees to the rest itself


class Waits(Protocol):
    """Tells the client's side what is waited for from now on. Each wait has its own limit; the newest one counts."""

    def queue(self) -> None:
        """The request waits for a concurrency slot; the policy limits how long."""

    def connecting(self) -> None:
        """The request waits for a connection to a server; the pool limits how long."""

    def first_byte(self, now: float) -> None:
        """The request has been sent, and waits for the head of its response."""

    def upstream_reading(self, now: float) -> None:
        """The request's body waits for the server, which takes no more of it for now."""

    def next_byte(self, now: float) -> None:
        """The exchange waits for more of the response."""

    def next_event(self, now: float) -> None:
        """The same of an event stream, which says something when something happens."""

    def tunnel(self, now: float) -> None:
        """The tunnel waits for bytes, from either end."""


class Flow(Protocol):
    """Backpressure between Shield and the client, for one request."""

    blocked: bool
    """Whether more waits to be sent to the client than should."""

    def pause(self) -> None:
        """Take no more of the request's body, or of a tunnel, until resume()."""

    def resume(self) -> None:
        """Read on."""


class Response(Protocol):
    """Frames a response as the client's protocol wants it. What it has framed goes out with flush() and at the end."""

    def interim(self, request: Head, status: int, fields: list[bytes]) -> None:
        """A 1xx response to `request`."""

    def head(self, request: Head, status: int, fields: list[bytes], length: int, declared: int, whole: bool) -> bool:
        """The head of the final response to `request`. The list `fields` is given away.

        `length` is that of the body in bytes, or CHUNKED or UNTIL_CLOSE where nobody knows it yet; `declared` is a
        Content-Length without a body, as of an answer to HEAD, or -1. `whole`: the request has been read to its end.
        Returns whether chunks() will do: whether the client's framing is HTTP/1.1's chunks.
        """

    def body(self, piece: bytes) -> None:
        """Payload."""

    def chunks(self, chunks: list[bytes]) -> None:
        """Payload that is framed in chunks already; only after head() has returned True."""

    def trailers(self, fields: list[bytes]) -> None:
        """Fields behind the payload, as far as the framing has a place for them. Nothing but the end follows."""


class ClientSide(Protocol):
    """One request's end at the client: an HTTP/1 connection while it serves the request, or a stream of HTTP/2."""

    secure: bool
    """Whether the client speaks TLS with Shield."""
    ja4: str
    """The JA4 of its ClientHello; empty over plain TCP."""

    @property
    def watch(self) -> Waits:
        """Where the exchange says what it waits for."""

    @property
    def flow(self) -> Flow:
        """Where it holds up the client."""

    @property
    def response(self) -> Response:
        """Where the response goes."""

    def ends_of(self, address: str) -> Ends:
        """Both ends of the connection of the client at `address`, for a PROXY header."""

    def expect_progress(self, now: float) -> None:
        """From now on it is the client's turn, to send or to read, and it must do so at a certain pace."""

    def read_ahead(self, now: float) -> bool:
        """Whether more of the response may be read although the client is behind."""

    def flush(self) -> None:
        """Send what has been framed."""

    def shortcut(self, pipe: Pipe) -> Shortcut | None:
        """A way past Python for payload that needs no framing, if the client's protocol allows one."""

    def passed(self, size: int) -> None:
        """So many bytes of payload went by that way."""

    def open_tunnel(self, tunnel: Passage, protocol: bytes, fields: list[bytes], tail: bytes, now: float) -> None:
        """The server agrees to a `protocol` that the client asked for: send that with `fields`, then `tail`, and from
        now on give `tunnel` whatever the client sends."""

    def pass_on(self, data: bytes) -> None:
        """Bytes of the tunnel, for the client."""

    def ended(self, seen: Seen, fault: Fault | None, now: float) -> None:
        """The exchange is over and calls its client's side no more. `fault` says what a STAND_IN is about."""


class Requester(Protocol):
    """What an upstream connection tells of the response. A call may end the exchange, which then lets go of it."""

    def on_interim(self, status: int, fields: list[bytes]) -> None:
        """A 1xx response other than 101."""

    def on_head(self, status: int, fields: list[bytes], length: int, declared: int, endless: int) -> bool:
        """The final response's head; see Response.head(). `endless`: see ResponseHead."""

    def on_body(self, piece: bytes) -> None:
        """Payload."""

    def on_chunks(self, chunks: list[bytes], payload: int) -> None:
        """Chunks that hold `payload` bytes; only after on_head() has returned True."""

    def on_trailers(self, lines: Sequence[bytes]) -> None:
        """The fields behind the payload as they came, without CRLF; finish() follows."""

    def on_call_status(self, status: int) -> None:
        """The response is the answer to a call that failed: this status of HTTP says the same. finish() follows."""

    def shortcut(self) -> Shortcut | None:
        """A way past Python for the rest of a body whose length is known, if there is one."""

    def on_passed(self, size: int) -> None:
        """So many bytes of payload went to the client by that way."""

    def flush(self) -> None:
        """Called after the events of one read that does not end the response: what was framed of them may be sent."""

    def finish(self) -> None:
        """The response has come to its end."""

    def switch(self, protocol: bytes, fields: list[bytes], tail: bytes) -> None:
        """The server agrees to a `protocol` that was asked for; of WebSocket it has proved that it speaks it. `tail`
        are the first bytes behind that."""

    def upstream_failed(self, fault: Fault, rule: Rule | None = None) -> None:
        """The connection broke, or what came is no response: it breaks `rule`."""

    def upstream_refused(self) -> None:
        """The server has not looked at the request, and says so: whatever it is, it may be sent again."""

    def upstream_full(self) -> None:
        """The server reads more slowly than the request is sent."""

    def upstream_drained(self) -> None:
        """It has caught up."""


class Passage(Protocol):
    """A tunnel, as its two ends see it."""

    def up(self, data: bytes, now: float) -> None:
        """Bytes from the client."""

    def down(self, data: bytes) -> None:
        """Bytes from the server."""

    def client_drained(self, now: float) -> None:
        """The client has caught up."""

    def upstream_full(self) -> None:
        """The server reads more slowly than the client sends."""

    def upstream_drained(self) -> None:
        """It has caught up."""

    def upstream_closed(self) -> None:
        """The server has closed its end."""

    def abandon(self, now: float) -> None:
        """The client has left."""

    def unread(self, now: float) -> None:
        """The client has not read what waits for it for too long."""

    def displaced(self, now: float) -> None:
        """The client's connection was closed to make room for others."""
