"""A WebSocket, or another upgrade, once the upstream has agreed to it (101): bytes pass unread in both directions.

It ends when one end leaves, or when neither has said anything for `upstream.tunnel_idle_timeout`. Each side is read
only as fast as the other takes it, so at most the two transports' buffers are pinned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from shield.exchange.endings import EVICTED, OUSTED, TUNNEL_CUT, Ending

if TYPE_CHECKING:
    from shield.exchange.forwarder import Forwarder
    from shield.exchange.ports import ClientSide
    from shield.upstream.carrier import Carrier


class Account(Protocol):
    """The exchange that a tunnel came of."""

    body_sent: int
    """bytes. Sent to the client so far."""

    def tunnel_closed(self, now: float, cut: Ending | None = None) -> None:
        """The tunnel has ended, or was `cut`."""


class Tunnel:
    """Between `client` and `connection`, which from now on belongs to it; `exchange` accounts for it in the end."""

    __slots__ = ("_client", "_connection", "_exchange", "_forwarder", "_open")

    def __init__(self, exchange: Account, client: ClientSide, connection: Carrier, forwarder: Forwarder) -> None:
        self._exchange = exchange
        self._client = client
        self._connection = connection
        self._forwarder = forwarder
        self._open = True
        forwarder.metrics.tunnels_open += 1
        connection.open_tunnel(self)

    def __repr__(self) -> str:
        return f"<Tunnel {self._connection!r}{'' if self._open else ' closed'}>"

    # from the client's side

    def up(self, data: bytes, now: float) -> None:
        """Bytes from the client."""
        client = self._client
        if self._connection.pass_on(data) and not client.flow.blocked:  # else it has to read, whatever it says
            client.watch.tunnel(now)

    def client_drained(self, now: float) -> None:
        """The client has caught up: read on."""
        self._connection.resume()
        self._client.watch.tunnel(now)

    def abandon(self, now: float) -> None:
        """The client has left, or both ends are silent. What is still unsent may go out, if the server takes it."""
        if self._open:
            self._connection.close_when_sent(self._forwarder.loop, self._forwarder.linger)
            self._end(now)

    def unread(self, now: float) -> None:
        """The client has not read for too long."""
        self._cut(TUNNEL_CUT, now)

    def give_way(self, now: float) -> None:
        """Somebody asks for a place among the streams who has less than its client, address or network."""
        self._cut(OUSTED, now)

    def displaced(self, now: float) -> None:
        """The client's connection was closed to make room for others."""
        self._cut(EVICTED, now)

    def _cut(self, ending: Ending, now: float) -> None:
        if self._open:
            self._connection.close_when_sent(self._forwarder.loop, self._forwarder.linger)
            self._end(now, ending)

    # from the upstream connection

    def down(self, data: bytes) -> None:
        """Bytes from the server."""
        client = self._client
        client.pass_on(data)
        self._exchange.body_sent += len(data)
        now = self._forwarder.clock()
        if client.flow.blocked:
            self._connection.pause()
            client.expect_progress(now)
        else:
            client.watch.tunnel(now)

    def upstream_full(self) -> None:
        """The server reads more slowly than the client sends."""
        self._client.flow.pause()

    def upstream_drained(self) -> None:
        """The server has caught up."""
        self._client.flow.resume()

    def upstream_closed(self) -> None:
        """The server has closed its end."""
        if self._open:
            self._end(self._forwarder.clock())

    def _end(self, now: float, cut: Ending | None = None) -> None:
        self._open = False
        self._connection.detach()
        self._forwarder.metrics.tunnels_open -= 1
        self._exchange.tunnel_closed(now, cut)
