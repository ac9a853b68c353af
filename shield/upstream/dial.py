"""Opening a connection to a server: look its name up, connect, say the PROXY header, shake hands.

Every address of a name is tried, the one that took the last connection first. How long all of it may take is for the
caller to limit.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from shield.errors import out_of_files
from shield.upstream.h2.connection import Http2Upstream
from shield.upstream.settings import UpstreamSettings
from shield.wire.transport import Backlog, SocketTransport
from shield.wire.turns import Turns

if TYPE_CHECKING:
    from shield.upstream.connection import UpstreamConnection
    from shield.upstream.server import Server

T = TypeVar("T")

_H2: Final = "h2"

MAX_ADDRESSES: Final = 16
"""Addresses of one name that are used; a longer answer is cut."""

CONNECT_ERRORS: Final = (OSError, ssl.SSLError, TimeoutError, EOFError)
"""Errors that mean that no connection could be opened. Others are bugs."""


class Lookup(Protocol):
    """What is asked of the resolver."""

    async def lookup(self, name: str) -> list[str]:
        """The IP addresses of `name`. Raises OSError."""


class Dialer:
    """Opens connections to servers. One for all of them."""

    def __init__(
        self,
        settings: UpstreamSettings,
        resolver: Lookup,
        tls: bool,
        connection_factory: Callable[[Server], UpstreamConnection],
    ) -> None:
        """`tls`: whether there is an https server. Raises ValueError, ssl.SSLError, OSError for bad TLS files."""
        self._settings = settings
        self._resolver = resolver
        self._factory = connection_factory
        self._tls = _tls_context(settings, "http/1.1") if tls else None
        self._tls_2 = _tls_context(settings, _H2) if tls else None
        self.preserve_host = True  # over HTTP/2; whoever puts them together says
        self.turns: Turns | None = None  # those of the clients' connections; whoever puts them together says
        self._backlog = Backlog()

    async def connect(self, server: Server, preamble: bytes) -> UpstreamConnection:
        """A connection to `server`, over which `preamble` was said before TLS. Raises one of CONNECT_ERRORS."""

        async def opening(family: int, address: str | tuple[str, int]) -> UpstreamConnection:
            sock = await self.dial(family, address, preamble)
            if server.tls:
                return await self._shake_hands(server, sock)
            loop = asyncio.get_running_loop()
            turns = self.turns = self.turns or Turns(loop, time.monotonic)
            made = self._factory(server)
            SocketTransport(loop, turns, self._backlog, sock, address, made, read_out=True).start()
            return made

        connection, address = await self._first(server, opening)
        connection.address = address
        return connection

    async def multiplex(self, server: Server) -> Http2Upstream:
        """A connection of HTTP/2 to `server`. Raises one of CONNECT_ERRORS."""
        loop = asyncio.get_running_loop()
        turns = self.turns = self.turns or Turns(loop, time.monotonic)

        async def opening(family: int, address: str | tuple[str, int]) -> Http2Upstream:
            sock = await self.dial(family, address, b"")
            made = Http2Upstream(server, self.preserve_host, turns)
            made.address = address[0] if isinstance(address, tuple) else ""
            if not server.tls:
                SocketTransport(loop, turns, self._backlog, sock, address, made, read_out=False).start()
                return await _settled(made)
            name = self._tls_name(server)
            transport, _ = await handed_over(
                sock, loop.create_connection(lambda: made, sock=sock, ssl=self._tls_2, server_hostname=name)
            )
            agreed = transport.get_extra_info("ssl_object").selected_alpn_protocol()
            if agreed != _H2:
                made.close()
                raise OSError(f"{server.name}: it does not speak HTTP/2")
            return await _settled(made)

        connection, _ = await self._first(server, opening)
        return connection

    async def _shake_hands(self, server: Server, sock: socket.socket) -> UpstreamConnection:
        loop = asyncio.get_running_loop()
        _, connection = await handed_over(
            sock,
            loop.create_connection(
                lambda: self._factory(server), sock=sock, ssl=self._tls, server_hostname=self._tls_name(server)
            ),
        )
        return connection

    async def stream(
        self, server: Server, preamble: bytes, limit: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The same as a pair of streams, of which the reader buffers `limit` bytes. Raises one of CONNECT_ERRORS."""

        async def opening(
            family: int, address: str | tuple[str, int]
        ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            sock = await self.dial(family, address, preamble)
            tls, name = None, None
            if server.tls:
                tls, name = self._tls_2 if server.http2 else self._tls, self._tls_name(server)
            return await handed_over(
                sock, asyncio.open_connection(sock=sock, ssl=tls, server_hostname=name, limit=limit)
            )

        streams, _ = await self._first(server, opening)
        return streams

    def _tls_name(self, server: Server) -> str:
        return self._settings.server_name or server.host

    async def _first(
        self, server: Server, opening: Callable[[int, str | tuple[str, int]], Awaitable[T]]
    ) -> tuple[T, str]:
        """What `opening` gives for the first address of `server` that takes a connection, and that address."""
        if server.path:
            return await opening(socket.AF_UNIX, server.path), ""
        addresses = await self.addresses(server)
        error: Exception = OSError(f"{server.host}: no address")
        for turn in range(len(addresses)):
            index = (server.next_address + turn) % len(addresses)
            address = addresses[index]
            try:
                family = socket.AF_INET6 if ":" in address else socket.AF_INET
                opened = await opening(family, (address, server.port))
            except (OSError, ssl.SSLError) as failure:
                if out_of_files(failure):
                    raise
                error = failure
                continue
            server.next_address = index
            return opened, address
        raise error

    async def addresses(self, server: Server) -> list[str]:
        """The IP addresses of `server`, looked up again when their records have expired. Raises OSError.

        Health checks ask, so a name that moves is followed however busy the connections to its old address are: the
        idle ones are closed at once, the others when they are given back.
        """
        try:
            return [str(ipaddress.ip_address(server.host))]
        except ValueError:
            pass
        addresses = (await self._resolver.lookup(server.host))[:MAX_ADDRESSES]
        server.moved_to(addresses)
        return addresses

    async def dial(self, family: int, address: str | tuple[str, int], preamble: bytes) -> socket.socket:
        """A connected socket, over which `preamble` was said. Raises OSError."""
        loop = asyncio.get_running_loop()
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            if family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                await loop.sock_connect(sock, address)
            except OSError as error:  # its text says where to, but not what went wrong
                raise OSError(error.errno, os.strerror(error.errno or 0)) from error
            if preamble:
                await loop.sock_sendall(sock, preamble)
        except BaseException:
            sock.close()
            raise
        return sock


async def _settled(connection: Http2Upstream) -> Http2Upstream:
    """The connection, once its server has said what it allows."""
    try:
        await connection.settled
    except BaseException:
        connection.close()
        raise
    return connection


def _tls_context(settings: UpstreamSettings, protocol: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=settings.ca or None)
    context.set_alpn_protocols([protocol])
    if not settings.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


async def handed_over(sock: socket.socket, opening: Awaitable[T]) -> T:
    """Await `opening`, which gives `sock` to the loop. Raises what it raises.

    When it fails, the loop may have closed the descriptor already, and the socket object must not close it again
    (docs/platform.md).
    """
    try:
        return await opening
    except BaseException:
        sock.detach()
        raise
