"""Sockets: binding, accepting, and not accepting.

When all connections are in use, the least deserving is closed for each newcomer (connections.py). When none may be
closed, or descriptors run out, Shield stops accepting, and new ones wait in the kernel's backlog until some are free.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import resource
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from annotated_types import Ge, Le
from typing_extensions import Doc

from shield.accept.prelude import MakeGate, Opening, Openings
from shield.complaints import Complaint, Place, networks
from shield.errors import StartError
from shield.marks import Unit, Why
from shield.upstream.pool import out_of_files
from shield.wire.addresses import UnixAddress, parse_address, wrong_tcp_address
from shield.wire.client_hello import NO_PROGRAM
from shield.wire.proxy_protocol import Ends
from shield.wire.transport import Batch, SocketTransport

if TYPE_CHECKING:
    from shield.client.connection import ClientConnection
    from shield.client.crowding import Crowding

BACKLOG: Final = 2048
ACCEPT_BURST: Final = 32
"""Connections accepted, and their first requests served, before those that are open get their turn."""
DEFER_SECONDS: Final = 1
"""A client that connects and says nothing stays with the kernel so long (TCP_DEFER_ACCEPT); whoever asks at once is
read as it is accepted, and is not polled for."""
_STREAM: Final = int(socket.SOCK_STREAM)
_OUT_OF_MEMORY: Final = (errno.ENOBUFS, errno.ENOMEM)
Greet = Callable[[socket.SocketType, Any], Callable[[Any], None] | None]
RESERVED_FILES: Final = 128
"""Descriptors kept back for upstream checks, DNS, logs, the admin listener and the like."""


@dataclass(frozen=True, slots=True)
class ListenSettings:
    """The [listen] table: where clients connect."""

    address: Annotated[
        str | tuple[str, ...],
        Doc(
            'Address and port where clients connect, or a list of them: "127.0.0.1:8080", "[::]:8080", '
            '"0.0.0.0:80". Port 0 is any free one.'
        ),
        Why("Chosen", "reachable from this machine only, until the operator says otherwise"),
    ] = "127.0.0.1:8080"
    workers: Annotated[
        int,
        Ge(0),
        Le(1024),
        Unit("processes"),
        Doc(
            "Worker processes that share the address; 0 is one per core. On Linux the kernel brings all "
            "connections of one network (IPv4 /24, IPv6 /48) to one worker, which alone knows its "
            "clients, their limits, bans and spent challenges. Each worker has its own pressure and "
            "price. A pass used from several networks may have its budget in several workers, and a "
            "bought one must be shown to a worker within challenge.bought_idle. With trusted_proxies, by "
            "PROXY protocol or not, and on systems other than Linux, connections are spread without "
            "regard to the client: its limits then count per worker, and an answered challenge may be "
            "answered once more to each."
        ),
        Why(
            "Chosen",
            "one process knows all clients; a second one is for a service that needs more than a core of proxy",
        ),
    ] = 1
    trusted_proxies: Annotated[
        tuple[str, ...],
        Doc('Addresses or networks whose `forwarded_from` field is believed: ["10.0.0.0/8"]. Nobody else is believed.'),
    ] = ()
    proxy_protocol: Annotated[
        bool,
        Doc(
            "Whether connections of trusted_proxies begin with a PROXY protocol header, version 1 or 2. "
            "It gives the client's address, and a connection without it is closed. Connections of others "
            "are taken as they are."
        ),
    ] = False
    forwarded_from: Annotated[
        Literal["x-forwarded-for", "forwarded", "none"],
        Doc("Field in which trusted proxies name the client. The other field is never believed."),
        Why("Precedent", "what most proxies send"),
    ] = "x-forwarded-for"
    max_connections: Annotated[
        int,
        Ge(0),
        Le(10_000_000),
        Unit("connections"),
        Doc(
            "Client connections at the same time; 0 is as many as the file limit allows, at two "
            "descriptors each. Several workers share it equally, rounded up."
        ),
        Why("Chosen", "the file limit is the operator's word on it already"),
    ] = 0
    max_connections_per_address: Annotated[
        int,
        Ge(0),
        Le(10_000_000),
        Unit("connections"),
        Doc(
            "Connections of one address (IPv6: one /64), trusted proxies aside; 0 is a quarter of all, at "
            "most 4,096. Beyond it, an idle connection of the address is closed for the newcomer, or the "
            "newcomer if all are in use."
        ),
        Why("Chosen", "three more such addresses still leave room"),
    ] = 0
    max_connections_per_network: Annotated[
        int,
        Ge(0),
        Le(10_000_000),
        Unit("connections"),
        Doc("Connections of one network (IPv4 /24, IPv6 /48); 0 is half of all, at most 16,384."),
        Why("Chosen", "one network never takes all"),
    ] = 0
    backlog: Annotated[
        int,
        Ge(1),
        Le(65535),
        Unit("connections"),
        Doc("Connections that the kernel holds before they are accepted."),
        Why(
            "Chosen",
            "four times nginx's 511: a flood of handshakes must not turn people away while a turn of the loop lasts",
        ),
    ] = BACKLOG

    @property
    def addresses(self) -> tuple[str, ...]:
        """`address`, which may be one or several."""
        return (self.address,) if isinstance(self.address, str) else self.address

    def complaints(self) -> Iterator[Complaint]:
        if not self.addresses:
            yield ("address",), "at least one address is needed"
        for number, address in enumerate(self.addresses):
            place: Place = ("address",) if isinstance(self.address, str) else ("address", number)
            if wrong := wrong_tcp_address(address):
                yield place, wrong
            if address in self.addresses[:number] and not address.endswith(":0"):
                yield place, "this address is listed twice"
        yield from networks("trusted_proxies", self.trusted_proxies)
        if self.proxy_protocol and not self.trusted_proxies:
            yield ("proxy_protocol",), "of use only with listen.trusted_proxies: nobody else's header is believed"


def raise_file_limit() -> int:
    """Raise the soft limit of open files to the hard one; returns what is in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else 1 << 20
    if soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):  # some kernels refuse more than fs.nr_open
            return soft
        return wanted
    return soft


def idle_limit(configured: int, files: int, servers: int) -> int:
    """Idle connections to keep to each of `servers`: as configured, but all of them on a quarter of `files` at most."""
    return min(configured, files // 4 // servers)


def connection_limit(configured: int, files: int, idle: int) -> int:
    """Client connections that `files` descriptors allow beside `idle` ones to the upstream; at least 16.

    Each counts twice: a WebSocket, a stream or a slow reader has a connection to the upstream as long as its own.
    """
    possible = max(16, (files - idle - RESERVED_FILES) // 2)
    return min(configured, possible) if configured else possible


def stream_limit(configured: int, connections: int) -> int:
    """How many of the client connections may be streams: as configured, or half, so that others still get in."""
    return configured or max(1, connections // 2)


def bind(addresses: Sequence[str], backlog: int, reuse_port: bool) -> list[socket.socket]:
    """Listening sockets for all of `addresses`, or StartError naming the one that failed, and none."""
    sockets: list[socket.socket] = []
    try:
        for text in addresses:
            try:
                sockets.append(_bind_one(text, backlog, reuse_port))
            except (OSError, ValueError) as error:
                raise StartError(f"cannot listen on {text}: {getattr(error, 'strerror', None) or error}") from error
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def bind_groups(addresses: Sequence[str], backlog: int, members: int) -> list[list[socket.socket]]:
    """For each address a group of sockets that share it, in the order in which the kernel counts them.

    Raises StartError as bind() does, also when somebody else is in the group: SO_REUSEPORT would let a second Shield of
    the same user in, and each would silently get a part of the connections.
    """
    groups: list[list[socket.socket]] = []
    try:
        for text in addresses:
            (alone,) = bind([text], backlog, reuse_port=False)
            port = alone.getsockname()[1]
            alone.close()
            groups.append(bind([f"{text.rpartition(':')[0]}:{port}"] * members, backlog, reuse_port=True))
    except BaseException:
        for sock in itertools.chain(*groups):
            sock.close()
        raise
    return groups


def _bind_one(text: str, backlog: int, reuse_port: bool) -> socket.socket:
    address = parse_address(text)
    if isinstance(address, UnixAddress):
        raise ValueError("clients connect over TCP, since limits need their addresses")
    family = socket.AF_INET6 if ":" in address.host or not address.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind((address.host, address.port))
        sock.listen(backlog)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def names(sockets: Sequence[socket.socket]) -> list[str]:
    """Their addresses as host:port."""
    found = (sock.getsockname() for sock in sockets)
    return [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port, *_ in found]


class Listener:
    """Accepts connections while fewer than `limit` are open. `opened()` tells how many there are."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sockets: Sequence[socket.socket],
        make_gate: MakeGate,
        openings: Openings | None,
        limit: int,
        opened: Callable[[], int],
        notify: Callable[[str], None],
        greet: Greet | None = None,
        connections: Crowding | None = None,
    ) -> None:
        """`openings`, if any, takes the connections first (openings.py); `greet`, if any, serves the first read of
        plain ones (doorstep.py); `connections`, if any, says who may have another one, and whose goes for it."""
        self._loop = loop
        self._sockets = list(sockets)
        self._make_gate = make_gate
        self._openings = openings
        self._limit = limit
        self._opened = opened
        self._notify = notify
        self._greet = greet
        self._connections = connections
        self._batch = Batch(loop)
        self._accepting = False
        self._stopped = False

    @property
    def addresses(self) -> list[str]:
        """What is listened on, as host:port."""
        return names(self._sockets)

    def start(self) -> None:
        """Begin to accept."""
        if not self._accepting and not self._stopped:
            self._accepting = True
            for sock in self._sockets:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted connections inherit it
                if hasattr(socket, "TCP_DEFER_ACCEPT"):
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, DEFER_SECONDS)
                self._loop.add_reader(sock.fileno(), self._accept, sock, int(sock.family))

    def _accept(self, sock: socket.socket, family: int) -> None:
        # socket.accept() and socket.socket() are written in Python, around these, and take 3 µs longer.
        for _ in range(ACCEPT_BURST):
            stale = least = None
            if self._taken() >= self._limit:
                stale = self._stale()
                least = None if stale else self._least()
                if least is None and stale is None:
                    self._notify("accepting_paused")
                    self._pause()
                    return
            try:
                number, peer = sock._accept()  # type: ignore[attr-defined]
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if not out_of_files(error) and error.errno not in _OUT_OF_MEMORY:
                    raise
                self.pause_for_files()
                return
            if stale is not None and self._openings is not None:
                self._openings.give_way(stale)
            if least is not None and self._connections is not None:
                self._connections.make_room(least)
            accepted = socket.SocketType(family, _STREAM, 0, number)
            if self._openings is None:
                self._begin(accepted, peer, None)
            else:
                self._openings.open(accepted, peer, self._begin)

    def _stale(self) -> Opening | None:
        """Who has come no further than to connect, and may go for a newcomer before all others."""
        return None if self._openings is None else self._openings.stale()

    def _least(self) -> ClientConnection | None:
        """Whose connection may be closed for a newcomer's."""
        return None if self._connections is None else self._connections.least()

    def _begin(self, accepted: socket.SocketType, peer: Any, ends: Ends | None) -> None:
        """HTTP comes next. `ends` if a PROXY header has told them; `peer` is the client's address in any case."""
        if self._connections is not None and peer and not self._connections.admit(peer[0].removeprefix("::ffff:")):
            accepted.close()
            return
        try:
            first = None
            if self._greet is not None:
                first = self._greet(accepted, peer)
                if first is None:
                    return
            protocol = self._make_gate(ends, NO_PROGRAM)
        except Exception:  # a bug: the loop's handler tells of it
            accepted.close()
            raise
        SocketTransport(self._loop, self._batch, accepted, peer, protocol).start(first and partial(first, protocol))

    def _taken(self) -> int:
        return self._opened() + (0 if self._openings is None else len(self._openings))

    def _pause(self) -> None:
        if self._accepting:
            self._accepting = False
            for sock in self._sockets:
                self._loop.remove_reader(sock.fileno())

    def check(self) -> None:
        """Call when connections have closed, and now and then: accept again when there is room."""
        if not self._accepting and not self._stopped and self._taken() < self._limit * 0.95:
            self._notify("accepting_resumed")
            self.start()

    def expire(self, now: float) -> None:
        """Call every second or so: let go of what is remembered of addresses."""
        if self._openings is not None:
            self._openings.expire(now)

    def retry(self) -> None:
        """Call several times a second: when all connections are in use, one of them may be idle by now."""
        full = not self._accepting and not self._stopped and self._taken() >= self._limit * 0.95
        if full and (self._stale() or self._least()):
            self._notify("accepting_resumed")
            self.start()

    def pause_for_files(self) -> None:
        """accept() has failed for want of descriptors: stop until check() finds room."""
        if self._accepting:
            self._notify("out_of_files")
            self._pause()

    def stop(self) -> None:
        """Accept no more, for good."""
        self._pause()
        self._stopped = True
        if self._openings is not None:
            self._openings.stop()
        for sock in self._sockets:
            sock.close()
