"""A WebSocket once the upstream has agreed to it (101): bytes pass unread in both directions.

It ends when one end leaves, or when neither has said anything for `upstream.tunnel_idle_timeout`. Each side is read
only as fast as the other takes it, so at most the two transports' buffers are pinned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shield.client.connection import ClientConnection
    from shield.exchange.exchange import Exchange
    from shield.upstream.connection import UpstreamConnection


class Tunnel:
    """Between `gate` and `connection`, which from now on belong to it; `exchange` accounts for it in the end."""

    __slots__ = ("_connection", "_exchange", "_gate", "_idle", "_open")

    def __init__(self, exchange: Exchange, gate: ClientConnection, connection: UpstreamConnection) -> None:
        self._exchange = exchange
        self._gate = gate
        self._connection = connection
        self._idle = gate.edge.upstream.tunnel_idle_timeout
        self._open = True
        gate.edge.metrics.tunnels_open += 1
        connection.poisoned = True
        connection.tunnel = self

    def __repr__(self) -> str:
        return f"<Tunnel {self._connection!r}{'' if self._open else ' closed'}>"

    # from the gate

    def up(self, data: bytes, now: float) -> None:
        """Bytes from the client."""
        transport = self._connection.transport
        if not transport.is_closing():
            transport.write(data)
            if not self._gate.blocked:  # else it has to read, whatever it says
                self._gate.deadline = now + self._idle

    def client_drained(self, now: float) -> None:
        """The client has caught up: read on."""
        self._connection.resume()
        self._gate.deadline = now + self._idle

    def close(self, now: float) -> None:
        """The client has left, or both ends are silent. What is still unsent may go out, if the server takes it."""
        if not self._open:
            return
        transport = self._connection.transport
        transport.close()
        if transport.get_write_buffer_size():
            edge = self._gate.edge
            edge.loop.call_later(edge.timeouts.linger, transport.abort)
        self._end(now)

    # from the connection

    def down(self, data: bytes) -> None:
        """Bytes from the upstream."""
        gate = self._gate
        gate.write(data)
        self._exchange.body_sent += len(data)
        now = gate.edge.clock()
        if gate.blocked:
            self._connection.pause()
            gate.expect_progress(now)
        else:
            gate.deadline = now + self._idle

    def upstream_full(self) -> None:
        """The upstream reads slower than the client sends."""
        self._gate.pause()

    def upstream_drained(self) -> None:
        """The upstream has caught up."""
        self._gate.resume()

    def upstream_closed(self) -> None:
        """The upstream has closed its end."""
        if self._open:
            now = self._gate.edge.clock()
            self._end(now)
            self._gate.end(now)

    def _end(self, now: float) -> None:
        self._open = False
        self._connection.exchange = self._connection.tunnel = None
        self._gate.edge.metrics.tunnels_open -= 1
        self._exchange.tunnel_closed(now)
