"""The pool of servers: which one gets a request, which connections are kept, and which servers are left out.

Choosing a server and taking a kept connection are synchronous; only opening a connection waits (dial.py). Bounds: open
connections by `max_concurrency`, plus `max_streams` for those that hold no slot any more, plus
`keep_alive_connections` for each server.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from email.utils import formatdate
from functools import partial
from typing import TYPE_CHECKING, Final

from shield.model import Fault
from shield.upstream.dial import Dialer, Lookup
from shield.upstream.server import Server
from shield.upstream.settings import UpstreamSettings

if TYPE_CHECKING:
    from shield.operator.metrics import Metrics
    from shield.upstream.carrier import Carrier
    from shield.upstream.connection import UpstreamConnection
    from shield.upstream.h2.connection import Http2Upstream

FRESH_SECONDS: Final = 1.0
"""For so long after its last use a server has hardly had time to close a connection."""


class Pool:
    """All upstream servers. `now` is in monotonic seconds, from the caller's clock."""

    def __init__(
        self,
        settings: UpstreamSettings,
        servers: Sequence[str],
        metrics: Metrics,
        resolver: Lookup,
        connection_factory: Callable[[Server], UpstreamConnection],
        notify: Callable[[str, str], None],
    ) -> None:
        """`servers` are those of the settings with the demo site's address in its place; `notify(event, server name)`
        is told of ejections and returns. Raises ValueError, ssl.SSLError, OSError for bad TLS files."""
        self.settings = settings
        self.shared = settings.proxy_protocol == "off"
        """Whether a connection serves one client after the other."""
        self.servers = [Server(name, metrics.upstream(name)) for name in servers]
        self.http2 = any(server.http2 for server in self.servers)
        self.dialer = Dialer(settings, resolver, any(server.tls for server in self.servers), connection_factory)
        self.set_date(0.0)
        self._notify = notify
        self._random = random.Random()  # noqa: S311 - balances load, guards nothing

    # choosing

    def available(self, now: float) -> bool:
        """Whether any server is believed able to answer."""
        return any(server.healthy for server in self.servers)

    def choose(self, now: float, tried: Sequence[Server] = ()) -> Server | None:
        """The less busy of two servers drawn at random among the usable ones; None when every server is down or tried.

        When ejection leaves nothing, ejected servers count as usable: a guess should not cause an outage that a health
        check would not (Envoy calls this panic routing).
        """
        servers = self.servers
        if len(servers) == 1:
            server = servers[0]
            return server if server.healthy and server not in tried else None
        usable = [s for s in servers if s.healthy and s not in tried and s.ejected_until <= now]
        if not usable:
            usable = [s for s in servers if s.healthy and s not in tried]
            if not usable:
                return None
        if len(usable) == 1:
            return usable[0]
        first, second = self._random.sample(usable, 2)
        slow_return = self.settings.slow_return
        return first if first.load(now, slow_return) <= second.load(now, slow_return) else second

    # connections

    def take(self, server: Server, now: float, fresh: bool) -> UpstreamConnection | None:
        """The kept connection used last, or None. `fresh`: only one used within FRESH_SECONDS.

        A request that must not be sent twice goes over a fresh one.
        """
        idle = server.idle
        while idle:
            connection: UpstreamConnection = idle.pop()  # type: ignore[assignment]  # cast() would cost 50 ns
            if connection.usable():
                if fresh and now - connection.idle_since > FRESH_SECONDS:
                    idle.append(connection)
                    return None
                server.counters.reuses += 1
                return connection
        return None

    def stream(self, server: Server) -> Carrier | None:
        """A stream of a connection of HTTP/2 that has room, or None. The server says so before it closes one."""
        stream = _stream(server)
        if stream is not None:
            server.counters.reuses += 1
        return stream

    def give_back(self, connection: Carrier, now: float) -> None:
        """Keep `connection` for the next request, or close it."""
        server = connection.server
        if (
            self.shared
            and connection.usable()
            and len(server.idle) < self.settings.keep_alive_connections
            and (not server.addresses or server.at(connection.address))
        ):
            connection.idle_since = now
            server.idle.append(connection)
        else:
            connection.close()

    async def connect(self, server: Server, preamble: bytes = b"", upgrade: bool = False) -> Carrier:
        """Open a connection, and say `preamble` first, before TLS. Raises one of CONNECT_ERRORS; takes no longer than
        connect_timeout. Of HTTP/2, a stream: one connection is opened for all who wait."""
        async with asyncio.timeout(self.settings.connect_timeout):
            if upgrade or not server.http2:
                server.counters.connects += 1
                return await self.dialer.connect(server, preamble)
            while True:
                stream = _stream(server)
                if stream is not None:
                    return stream
                opening = server.opening
                if opening is None:
                    opening = server.opening = asyncio.ensure_future(self._open(server))
                    opening.add_done_callback(partial(_opened, server))
                await asyncio.shield(opening)

    async def _open(self, server: Server) -> None:
        server.counters.connects += 1
        async with asyncio.timeout(self.settings.connect_timeout):
            await self.dialer.multiplex(server)

    async def reach(self, server: Server, preamble: bytes) -> None:
        """Open a connection of its own and close it. Raises as connect()."""
        server.counters.connects += 1
        async with asyncio.timeout(self.settings.connect_timeout):
            if server.http2:
                (await self.dialer.multiplex(server)).close()
            else:
                (await self.dialer.connect(server, preamble)).close()

    # health

    def answered(self, server: Server, status: int, now: float) -> None:
        """A whole response came. One of 502 to 504 speaks against the server: it is a gateway to something broken."""
        if 502 <= status <= 504:
            self.failed(server, Fault.UPSTREAM_UNAVAILABLE, now)
        else:
            server.failures = 0

    def failed(self, server: Server, fault: Fault, now: float) -> None:
        """A request failed at this server: count it, and eject the server when it is one too many.

        Never the only one: choose() would use it all the same, and a log that says otherwise misleads.
        """
        server.failed(fault)
        settings = self.settings
        if server.failures >= settings.eject_after and server.ejected_until <= now and len(self.servers) > 1:
            server.eject(now, settings.eject_seconds)
            self._notify("upstream_ejected", server.name)

    def no_files(self, server: Server) -> None:
        """No descriptor was left for a connection to `server`. Nothing is held against it."""
        self._notify("out_of_files", server.name)

    def checked(self, server: Server, ok: bool, now: float) -> None:
        """The result of an active health check."""
        if server.checked(ok, now, self.settings.unhealthy_after):
            self._notify("upstream_up" if ok else "upstream_down", server.name)

    def set_date(self, wall: float) -> None:
        """Once a second: `wall` seconds since the epoch are the Date of responses that come without one."""
        line = b"Date: %b\r\n" % formatdate(wall, usegmt=True).encode("ascii")
        for server in self.servers:
            server.date = (line,)

    def sweep(self, now: float) -> None:
        """Once a second: close connections idle for too long, forgive servers that have been well for long."""
        for server in self.servers:
            server.close_idle(now - self.settings.keep_alive_seconds)
            server.forgive(now, self.settings.eject_seconds)

    def close(self) -> None:
        """Close every kept connection."""
        for server in self.servers:
            server.close_idle(float("inf"))


def _stream(server: Server) -> Carrier | None:
    """A place for another request on a connection of HTTP/2, if one has room."""
    connection: Http2Upstream
    for connection in server.multiplexed:  # type: ignore[assignment]
        stream = connection.stream()
        if stream is not None:
            return stream
    return None


def _opened(server: Server, opening: asyncio.Future[None]) -> None:
    """The connection of HTTP/2 is there, or could not be opened, which those are told who wait for it."""
    server.opening = None
    if not opening.cancelled():
        opening.exception()
