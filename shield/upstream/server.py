"""One upstream server: where it is, how it is, what it has to do, and the connections that are kept to it.

A Server holds numbers and rules about itself alone. Which server gets a request, and when one is left out, is for the
pool to say, by the settings; nothing here opens a connection or reads a clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlsplit

from shield.model import Fault

if TYPE_CHECKING:
    import asyncio

    from shield.exchange.ports import Requester
    from shield.operator.metrics import UpstreamCounters

LEAST_SHARE: Final = 0.1
"""Of its full load, for a server that has just come back."""
MOST_EJECTIONS: Final = 10
"""Ejections in a row that make the next one longer."""
FORGIVEN_AFTER: Final = 10
"""Lengths of the last ejection without another one, after which one ejection is forgotten."""


_TLS: Final = frozenset({"https", "h2"})
_HTTP_2: Final = frozenset({"h2", "h2c"})


class KeptConnection(Protocol):
    """What a server needs of a connection that waits for the next request."""

    address: str
    """IP address that it leads to; empty for a unix socket."""
    idle_since: float

    def usable(self) -> bool:
        """Whether another request may be sent over it."""

    def close(self) -> None:
        """Close without waiting for anything."""


class MultiplexedConnection(Protocol):
    """What a server needs of a connection that carries many requests at a time."""

    address: str
    idle_since: float

    def idle(self) -> bool:
        """Whether no request is under way."""

    def retire(self) -> None:
        """Take no further requests, and close with the last one."""

    def close(self) -> None:
        """Close without waiting for anything."""


class OpenConnection(Protocol):
    """What a server needs of a connection that is open."""

    def awaited(self, before: float) -> Requester | None:
        """Who has waited for the head of a response since before that clock reading, with the whole request sent."""


class Server:
    """One upstream server. `outstanding`: requests that were sent to it or wait for a connection to it. `connections`
    are all that are open.

    It has more than 15 attributes because it is an address, a health and a load in one.
    """

    __slots__ = (
        "addresses",
        "authority",
        "checks_failed",
        "connections",
        "counters",
        "date",
        "ejected_until",
        "ejections",
        "failures",
        "healthy",
        "host",
        "http2",
        "idle",
        "multiplexed",
        "name",
        "next_address",
        "opening",
        "outstanding",
        "path",
        "port",
        "returned_at",
        "tls",
    )

    def __init__(self, name: str, counters: UpstreamCounters) -> None:
        """`name`: as in upstream.servers, a URL or "unix:" and a path."""
        # address
        self.name = name
        self.path = ""  # of a unix socket
        self.host = ""
        self.port = 0
        self.tls = False
        self.http2 = False
        if name.startswith("unix:"):
            self.path = name[5:]
            self.authority = b"localhost"
        else:
            parts = urlsplit(name)
            self.host = parts.hostname or ""
            self.tls = parts.scheme in _TLS
            self.http2 = parts.scheme in _HTTP_2
            self.port = parts.port or (443 if self.tls else 80)
            self.authority = parts.netloc.encode("ascii")
        # where the name led to at the last look-up; empty for an address or a socket, which do not move
        self.addresses: list[str] = []
        self.next_address = 0  # index of the address that took the last connection
        self.counters = counters
        self.date: tuple[bytes, ...] = ()  # the line for responses that have none, if the time is known
        # health
        self.healthy = True  # by the active checks
        self.checks_failed = 0  # in a row
        self.failures = 0  # of requests, in a row
        self.ejections = 0
        self.ejected_until = 0.0
        self.returned_at = float("-inf")
        # load
        self.outstanding = 0
        self.connections: set[OpenConnection] = set()
        self.idle: list[KeptConnection] = []  # the one used last at the end
        self.multiplexed: set[MultiplexedConnection] = set()  # those of HTTP/2 that take further requests
        self.opening: asyncio.Future[Any] | None = None  # one that is being opened

    def __repr__(self) -> str:
        state = "healthy" if self.healthy else "down"
        return f"<Server {self.name} {state} outstanding={self.outstanding} idle={len(self.idle)}>"

    # load

    def load(self, now: float, slow_return: float) -> float:
        """Outstanding requests over the share of requests that it may have: after a return that grows from LEAST_SHARE
        to 1 within `slow_return` seconds."""
        share = min(1.0, max(LEAST_SHARE, (now - self.returned_at) / slow_return))
        return (self.outstanding + 1) / share

    # health

    def failed(self, fault: Fault) -> None:
        """A request failed at it."""
        self.counters.failures[fault.value] += 1
        self.failures += 1

    def eject(self, now: float, seconds: float) -> None:
        """Leave it out from `now` on for `seconds`, and for as much longer as it was ejected before."""
        self.failures = 0
        self.ejections = min(self.ejections + 1, MOST_EJECTIONS)
        self.ejected_until = self.returned_at = now + seconds * self.ejections
        self.counters.ejections += 1

    def forgive(self, now: float, seconds: float) -> None:
        """Forget one ejection if the last one, in units of `seconds`, is long past."""
        if self.ejections and now - self.ejected_until > FORGIVEN_AFTER * seconds * self.ejections:
            self.ejections -= 1

    def checked(self, ok: bool, now: float, unhealthy_after: int) -> bool:
        """The result of an active check. Returns whether it is up or down now, and was not before."""
        if ok:
            self.checks_failed = 0
            if self.healthy:
                return False
            self.healthy = True
            self.returned_at = now
            return True
        self.checks_failed += 1
        if not self.healthy or self.checks_failed < unhealthy_after:
            return False
        self.healthy = False
        return True

    def awaited(self, before: float) -> list[Requester]:
        """Those who have waited for the head of a response since before that clock reading."""
        return [waits for connection in self.connections if (waits := connection.awaited(before)) is not None]

    # kept connections

    def moved_to(self, addresses: list[str]) -> None:
        """Its name leads to `addresses` now. Kept connections to others are closed."""
        if addresses == self.addresses:
            return
        self.addresses = addresses
        kept, self.idle = self.idle, []
        for connection in kept:
            if connection.address in addresses:
                self.idle.append(connection)
            else:
                connection.close()
        for shared in list(self.multiplexed):
            if shared.address not in addresses:
                shared.retire()

    def at(self, address: str) -> bool:
        """Whether it is still where this connection's address says. One without `addresses` does not move."""
        return not self.addresses or address in self.addresses

    def forget(self, connection: KeptConnection) -> None:
        """The connection is gone; it need not have been kept."""
        if connection in self.idle:
            self.idle.remove(connection)

    def kept(self) -> int:
        """How many connections without a request are kept."""
        return len(self.idle) + sum(shared.idle() for shared in self.multiplexed)

    def close_idle(self, before: float) -> None:
        """Close the connections that have been idle since before then."""
        idle = self.idle
        while idle and idle[0].idle_since < before:
            idle.pop(0).close()
        for shared in list(self.multiplexed):
            if shared.idle() and shared.idle_since < before:
                shared.close()
