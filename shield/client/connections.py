"""The open client connections of a process: their deadlines, how many there may be, and how they end together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol

from shield.client.crowding import Crowding, Guest
from shield.client.sweep import Sweep, Watched

if TYPE_CHECKING:
    from shield.client.flow import ReadAhead
    from shield.operator.metrics import Metrics


class Member(Guest, Watched, Protocol):
    """A client connection, as seen from here."""

    def drain(self, now: float) -> None:
        """Shield is stopping: close if nothing is in flight."""

    def cut(self) -> None:
        """The grace is over: close whatever is in flight."""


class Connections:
    """All of them, bounded by the listener's limit. `draining`: each ends with the response that it is sent next;
    `ahead` is what is read ahead of slow clients. `streams` are those of HTTP/2, whose deadlines are their own."""

    __slots__ = ("_metrics", "_on_close", "ahead", "crowding", "draining", "streams", "sweep")

    def __init__(self, crowding: Crowding, ahead: ReadAhead, metrics: Metrics, on_close: Callable[[], None]) -> None:
        """`on_close` is called when one has been closed: there may be room for another."""
        self.crowding = crowding
        self.sweep: Sweep[Member] = Sweep()
        self.streams: Sweep[Watched] = Sweep()
        self.ahead = ahead
        self.draining = False
        self._metrics = metrics
        self._on_close = on_close

    def __len__(self) -> int:
        return len(self.sweep)

    def __iter__(self) -> Iterator[Member]:
        return iter(self.sweep)

    def __repr__(self) -> str:
        return f"<Connections {len(self)}{' draining' if self.draining else ''} {self.crowding!r} {self.ahead!r}>"

    def opened(self, connection: Member) -> None:
        """One is open: it has deadlines from now on."""
        self.sweep.add(connection)
        self._metrics.connections_total += 1
        self._metrics.connections_open += 1

    def closed(self, connection: Member) -> None:
        """One is closed, and has let go of whatever it had."""
        self.sweep.remove(connection)
        self.crowding.remove(connection)
        self._metrics.connections_open -= 1
        self._on_close()

    def replaced(self, connection: Member) -> None:
        """Another one takes over the transport of this one, and is opened in its place."""
        self.sweep.remove(connection)
        self.crowding.remove(connection)
        self._metrics.connections_total -= 1
        self._metrics.connections_open -= 1

    def drain(self, now: float) -> None:
        """Close those on which nothing is in flight; the others end with their response."""
        self.draining = True
        for connection in self:
            connection.drain(now)

    def cut(self) -> int:
        """Close those that are left. How many these are."""
        left = list(self)
        for connection in left:
            connection.cut()
        return len(left)
