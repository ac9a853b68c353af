"""The servers behind Shield: which one gets a request, connections kept to it, and when it is left in peace.

One Pool, some Servers, each with idle connections (origin.py). Picking and taking an idle connection is synchronous;
only opening one waits. Bounds: open connections by `max_concurrency`, plus `max_streams` for those that hold no slot
any more, plus `keep_alive_connections` per server; addresses per name by MAX_ADDRESSES.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import random
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import urlsplit

from shield.model import Fault
from shield.upstream.settings import UpstreamSettings
from shield.wire.transport import SocketTransport, TurnEnd

if TYPE_CHECKING:
    from shield.operator.metrics import Metrics, UpstreamCounters
    from shield.upstream.connection import UpstreamConnection
    from shield.upstream.resolve import Resolver

T = TypeVar("T")

MAX_ADDRESSES: Final = 16
"""Addresses of one name that are used; a longer answer is cut."""

# Errors that mean "could not connect" and not "a bug". asyncio.TimeoutError is TimeoutError since 3.11.
CONNECT_ERRORS: Final = (OSError, ssl.SSLError, TimeoutError, EOFError)


def out_of_files(error: BaseException) -> bool:
    """Whether this process or machine has no descriptor left: that says nothing about who was to be connected to."""
    return isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE)


class Server:
    """One upstream server. `outstanding` requests are those sent or waiting for a connection."""

    __slots__ = (
        "addresses",
        "authority",
        "checks_failed",
        "counters",
        "ejected_until",
        "ejections",
        "failures",
        "healthy",
        "host",
        "idle",
        "name",
        "next_address",
        "outstanding",
        "path",
        "port",
        "returned_at",
        "tls",
    )

    def __init__(self, name: str, counters: UpstreamCounters) -> None:
        # fixed
        self.name = name
        self.path = ""  # of a unix socket
        self.host = ""
        self.port = 0
        self.tls = False
        if name.startswith("unix:"):
            self.path = name[5:]
            self.authority = b"localhost"
        else:
            parts = urlsplit(name)
            self.host = parts.hostname or ""
            self.tls = parts.scheme == "https"
            self.port = parts.port or (443 if self.tls else 80)
            self.authority = parts.netloc.encode("ascii")
        self.counters = counters
        # where the name led to at the last look-up; empty for an address or a socket, which do not move
        self.addresses: list[str] = []
        # health
        self.healthy = True
        self.checks_failed = 0
        self.failures = 0
        self.ejections = 0
        self.ejected_until = 0.0
        self.returned_at = float("-inf")
        # load
        self.outstanding = 0
        self.next_address = 0
        self.idle: list[UpstreamConnection] = []

    def __repr__(self) -> str:
        state = "healthy" if self.healthy else "down"
        return f"<Server {self.name} {state} outstanding={self.outstanding} idle={len(self.idle)}>"


async def handed_over(sock: socket.socket, opening: Awaitable[T]) -> T:
    """What `opening`, which gives `sock` to the loop, comes to. Raises what it raises.

    The descriptor is the loop's then. Where the server resets the connection before the ClientHello is written, uvloop
    0.23 closes it and leaves the socket object believing that it has it (as its issue 738 says of a cancellation).
    Collected later, the object would close it again, when it may be somebody else's connection.
    """
    try:
        return await opening
    except BaseException:
        sock.detach()
        raise


class Pool:
    """All upstream servers. `now` is in monotonic seconds, from the caller's clock."""

    def __init__(
        self,
        settings: UpstreamSettings,
        servers: Sequence[str],
        metrics: Metrics,
        resolver: Resolver,
        connection_factory: Callable[[Server], UpstreamConnection],
        notify: Callable[[str, str], None],
    ) -> None:
        """`servers` are those of the settings with the demo site's address in its place; `notify(event, server
        name)` is told
        of ejections and returns. Raises ValueError, ssl.SSLError, OSError for bad TLS files."""
        self.settings = settings
        self.shared = settings.proxy_protocol == "off"
        """Whether a connection serves one client after the other."""
        self.servers = [Server(name, metrics.upstream(name)) for name in servers]
        self._resolver = resolver
        self._turn_end: TurnEnd | None = None
        self._factory = connection_factory
        self._notify = notify
        self._random = random.Random()  # noqa: S311 - balances load, guards nothing
        self.tls = self._tls_context() if any(server.tls for server in self.servers) else None

    def _tls_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.settings.ca or None)
        context.set_alpn_protocols(["http/1.1"])
        if not self.settings.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    # choosing

    def available(self, now: float) -> bool:
        """Whether any server is believed able to answer."""
        return any(server.healthy for server in self.servers)

    def choose(self, now: float, tried: Sequence[Server] = ()) -> Server | None:
        """The less busy of two servers drawn at random among the usable ones; None when every server is down or tried.

        When passive ejection leaves nothing, ejected servers count as usable: a guess should not cause an outage that
        a health check would not (Envoy calls this panic routing).
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
        return first if self._load(first, now) <= self._load(second, now) else second

    def _load(self, server: Server, now: float) -> float:
        """Outstanding requests over the weight; a server that came back grows from a tenth to its full weight."""
        weight = min(1.0, max(0.1, (now - server.returned_at) / self.settings.slow_return))
        return (server.outstanding + 1) / weight

    def take(self, server: Server, now: float, fresh: bool) -> UpstreamConnection | None:
        """The idle connection used last, or None. `fresh`: only one used within the last second.

        A request that must not be sent twice goes over a connection that the server has hardly had time to close.
        """
        idle = server.idle
        while idle:
            connection = idle.pop()
            if connection.usable():
                if fresh and now - connection.idle_since > 1.0:
                    idle.append(connection)
                    return None
                server.counters.reuses += 1
                return connection
        return None

    def give_back(self, connection: UpstreamConnection, now: float) -> None:
        """Keep `connection` for the next request, or close it."""
        server = connection.server
        if (
            self.shared
            and connection.usable()
            and len(server.idle) < self.settings.keep_alive_connections
            and (not server.addresses or connection.address in server.addresses)
        ):
            connection.idle_since = now
            server.idle.append(connection)
        else:
            connection.close()

    async def connect(self, server: Server, preamble: bytes = b"") -> UpstreamConnection:
        """Open a connection, and say `preamble` first, before TLS. Raises one of CONNECT_ERRORS; never takes longer
        than connect_timeout."""
        server.counters.connects += 1
        async with asyncio.timeout(self.settings.connect_timeout):
            return await self._connect(server, preamble)

    async def _connect(self, server: Server, preamble: bytes) -> UpstreamConnection:
        if server.path:
            return await self._open(server, socket.AF_UNIX, server.path, preamble)
        addresses = await self.addresses(server)
        error: Exception = OSError(f"{server.host}: no address")
        for turn in range(len(addresses)):
            address = addresses[(server.next_address + turn) % len(addresses)]
            try:
                family = socket.AF_INET6 if ":" in address else socket.AF_INET
                connection = await self._open(server, family, (address, server.port), preamble)
            except (OSError, ssl.SSLError) as failure:
                if out_of_files(failure):
                    raise
                error = failure
                continue
            server.next_address = (server.next_address + turn) % len(addresses)
            connection.address = address
            return connection
        raise error

    async def dial(self, family: int, address: str | tuple[str, int], preamble: bytes = b"") -> socket.socket:
        """A connected socket, over which `preamble` was said. Raises OSError."""
        loop = asyncio.get_running_loop()
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            if family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                await loop.sock_connect(sock, address)
            except OSError as error:  # which says where to, but not what went wrong
                raise OSError(error.errno, os.strerror(error.errno or 0)) from error
            if preamble:
                await loop.sock_sendall(sock, preamble)
        except BaseException:
            sock.close()
            raise
        return sock

    async def _open(
        self, server: Server, family: int, address: str | tuple[str, int], preamble: bytes
    ) -> UpstreamConnection:
        loop = asyncio.get_running_loop()
        sock = await self.dial(family, address, preamble)
        if server.tls:
            name = self.settings.server_name or server.host
            opening = loop.create_connection(
                lambda: self._factory(server), sock=sock, ssl=self.tls, server_hostname=name
            )
            _, connection = await handed_over(sock, opening)
            return connection
        if self._turn_end is None:
            self._turn_end = TurnEnd(loop)
        connection = self._factory(server)
        SocketTransport(loop, self._turn_end, sock, address, connection, read_out=True).start()
        return connection

    async def addresses(self, server: Server) -> list[str]:
        """The IP addresses of `server`, looked up again when their records have expired. Raises OSError.

        Health checks ask, so a name that moves is followed however busy the connections to its old address are: the
        idle ones are closed here, the others when they are given back.
        """
        try:
            return [str(ipaddress.ip_address(server.host))]
        except ValueError:
            pass
        addresses = (await self._resolver.lookup(server.host))[:MAX_ADDRESSES]
        if addresses != server.addresses:
            server.addresses = addresses
            kept, server.idle = server.idle, []
            for connection in kept:
                if connection.address in addresses:
                    server.idle.append(connection)
                else:
                    connection.close()
        return addresses

    # health

    def succeeded(self, server: Server, now: float) -> None:
        """A response came that does not speak against the server."""
        server.failures = 0

    def failed(self, server: Server, fault: Fault, now: float) -> None:
        """A request failed at this server: count it, and eject the server when it is one too many.

        Never the only one: choose() would use it all the same, and a log that says otherwise misleads.
        """
        server.counters.failures[fault.value] += 1
        server.failures += 1
        if server.failures < self.settings.eject_after or server.ejected_until > now or len(self.servers) == 1:
            return
        server.failures = 0
        server.ejections = min(server.ejections + 1, 10)
        server.ejected_until = now + self.settings.eject_seconds * server.ejections
        server.returned_at = server.ejected_until
        server.counters.ejections += 1
        self._notify("upstream_ejected", server.name)

    def no_files(self, server: Server) -> None:
        """No descriptor was left for a connection to `server`. Nothing is held against it."""
        self._notify("out_of_files", server.name)

    def checked(self, server: Server, ok: bool, now: float) -> None:
        """The result of an active health check."""
        if ok:
            server.checks_failed = 0
            if not server.healthy:
                server.healthy = True
                server.returned_at = now
                self._notify("upstream_up", server.name)
            return
        server.checks_failed += 1
        if server.healthy and server.checks_failed >= self.settings.unhealthy_after:
            server.healthy = False
            self._notify("upstream_down", server.name)

    def sweep(self, now: float) -> None:
        """Once a second: close connections idle for too long, forgive servers that have been well for long."""
        limit = now - self.settings.keep_alive_seconds
        for server in self.servers:
            idle = server.idle
            while idle and idle[0].idle_since < limit:
                idle.pop(0).close()
            if server.ejections and now - server.ejected_until > 10 * self.settings.eject_seconds * server.ejections:
                server.ejections -= 1

    def close(self) -> None:
        """Close every idle connection."""
        for server in self.servers:
            while server.idle:
                server.idle.pop().close()


Probe = Callable[[Server], Awaitable[bool | None]]
"""Whether a server is well; None: that could not be found out."""


async def watch(
    pool: Pool, probe: Probe, clock: Callable[[], float], sleep: Callable[[float], Awaitable[None]]
) -> None:
    """Check every server for ever, all at once, one round each interval. `probe` never raises."""
    while True:
        results = await asyncio.gather(*(probe(server) for server in pool.servers))
        for server, ok in zip(pool.servers, results, strict=True):
            if ok is not None:
                pool.checked(server, ok, clock())
        await sleep(pool.settings.health_interval)
