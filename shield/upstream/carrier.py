"""What an exchange knows of the way to a server: the same of a connection of HTTP/1.1 and of a stream of HTTP/2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio

    from shield.exchange.ports import Passage, Requester
    from shield.http.head import Head
    from shield.upstream.server import Server
    from shield.wire.turns import Turn


class Carrier(Protocol):
    """What carries one request to a server: a connection of HTTP/1.1, or a stream of HTTP/2."""

    address: str
    """IP address that it leads to; empty for a unix socket."""
    server: Server
    sent: Turn | None
    """The turn of the loop in which the last byte of the request was written, None before."""
    used_before: bool
    """Whether its connection has carried another request."""
    idle_since: float

    def usable(self) -> bool:
        """Whether a request may be sent over it."""

    def silent(self) -> bool:
        """Whether nothing has come since send()."""

    def send(
        self,
        exchange: Requester,
        head: Head,
        suffix: bytes,
        request_id: bytes,
        turn: Turn,
        body: list[bytes] = ...,
        done: bool = ...,
        trailers: list[bytes] = ...,
    ) -> None:
        """Serve `exchange` from now on: send the request with this head, and what there is of its body. `done`: that is
        all of it, but for `trailers`. `suffix` are the forwarding fields. Each field has its CRLF."""

    def send_body(self, pieces: list[bytes], done: bool, turn: Turn, trailers: list[bytes] = ...) -> None:
        """Send more of the request's body; `done`: that was the last of it, but for `trailers`."""

    def open_tunnel(self, tunnel: Passage) -> None:
        """What comes goes to `tunnel` from now on, and no other request follows."""

    def pass_on(self, data: bytes) -> bool:
        """Send bytes of the tunnel. Whether they were taken."""

    def close_when_sent(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        """Close; what waits may go out within `seconds`."""

    def detach(self) -> bool:
        """No longer serve the exchange or the tunnel. Whether all that was to be sent has left."""

    def close(self) -> None:
        """End without waiting for anything."""

    def pause(self) -> None:
        """Read no more until resume()."""

    def resume(self) -> None:
        """Read on."""
