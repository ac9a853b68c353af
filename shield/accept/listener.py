"""Accepting connections, and not accepting them while there is no room.

When all connections are in use, the least deserving one is closed for each newcomer (client/crowding.py). When none may
be closed, or descriptors run out, Shield stops accepting, and new connections wait in the kernel's backlog until some
are free.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from annotated_types import Ge, Le
from typing_extensions import Doc

from shield.accept.sockets import names
from shield.complaints import Complaint, KeyPath, networks
from shield.errors import out_of_files
from shield.marks import Unit, Why
from shield.wire.addresses import wrong_tcp_address
from shield.wire.client_hello import NO_PROGRAM
from shield.wire.proxy_protocol import Ends
from shield.wire.transport import SocketTransport

if TYPE_CHECKING:
    from shield.accept.entrance import Entrance, MakeConnection
    from shield.accept.first_read import FirstRead
    from shield.accept.prelude import Prelude

BACKLOG: Final = 2048
ACCEPT_BURST: Final = 32
"""Connections accepted, and their first requests served, before those that are open get their turn."""
ACCEPT_SECONDS: Final = 0.002
"""s. Or so long: a TLS handshake takes ten times as long as to accept a connection does."""
DEFER_SECONDS: Final = 1
"""s. A client that connects and says nothing stays with the kernel for so long (TCP_DEFER_ACCEPT). The first bytes of a
client that asks at once are there when it is accepted, and need not be polled for."""
_STREAM: Final = int(socket.SOCK_STREAM)
_OUT_OF_MEMORY: Final = (errno.ENOBUFS, errno.ENOMEM)


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
            "connections of one network (IPv4 /24, IPv6 /48) to one worker, so its limits are exact. What "
            "concerns all is found by all together: pressure, price, the concurrency limit, bans, bought "
            "passes, answered challenges and the waiting room. With trusted_proxies, by PROXY protocol or "
            "not, and on systems other than Linux, connections are spread without regard to the client: "
            "a worker then learns within a tenth of a second what a client has used up elsewhere, once "
            "that is a tenth of a bucket. See docs/workers.md."
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
    h2c: Annotated[
        bool,
        Doc(
            "Whether clients may speak HTTP/2 without TLS, as those do that know it beforehand: a load balancer, gRPC. "
            "Nobody is switched to it by Upgrade. Of no use with tls.certificates."
        ),
    ] = False
    forwarded_from: Annotated[
        Literal["x-forwarded-for", "forwarded", "none"],
        Doc("Field in which trusted proxies name the client. The other field is never believed."),
        Why("Precedent", "what most proxies send"),
    ] = "x-forwarded-for"
    gate: Annotated[
        bool,
        Doc(
            "Answer other proxies instead of forwarding: nginx (auth_request), Caddy, Traefik or Envoy carry the "
            "requests, and ask here whether each may pass. Only trusted_proxies may ask. See docs/gate.md."
        ),
    ] = False
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
        Why(
            "Chosen",
            "four such addresses can take all, and a whole office behind one address still fits",
        ),
    ] = 0
    max_connections_per_network: Annotated[
        int,
        Ge(0),
        Le(10_000_000),
        Unit("connections"),
        Doc("Connections of one network (IPv4 /24, IPv6 /48); 0 is half of all, at most 16,384."),
        Why(
            "Chosen",
            "two such networks can take all",
        ),
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
            at: KeyPath = ("address",) if isinstance(self.address, str) else ("address", number)
            if wrong := wrong_tcp_address(address):
                yield at, wrong
            if address in self.addresses[:number] and not address.endswith(":0"):
                yield at, "this address is listed twice"
        yield from networks("trusted_proxies", self.trusted_proxies)
        if self.proxy_protocol and not self.trusted_proxies:
            yield ("proxy_protocol",), "of use only with listen.trusted_proxies: nobody else's header is believed"
        if self.gate and not self.trusted_proxies:
            yield ("gate",), "of use only with listen.trusted_proxies: only they may ask"
        if self.gate and self.forwarded_from == "none":
            yield ("forwarded_from",), "with listen.gate the proxies must name the client of each request"


class Listener:
    """Accepts connections on `sockets` while fewer than `limit` are open in this process."""

    def __init__(
        self,
        entrance: Entrance,
        sockets: Sequence[socket.socket],
        limit: int,
        make_connection: MakeConnection,
        prelude: Prelude | None = None,
        first_read: FirstRead | None = None,
    ) -> None:
        """Without a `prelude`, connections begin with HTTP; without a `first_read`, nothing is read before a connection
        is made."""
        self._entrance = entrance
        self._loop = entrance.loop
        self._sockets = list(sockets)
        self._limit = limit
        self._make_connection = make_connection
        self._prelude = prelude
        self._first_read = first_read
        self._crowding = entrance.crowding
        self._turns = entrance.turns
        self._backlog = entrance.crowding.backlog
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
        self._turns.now()
        clock = self._entrance.clock
        until = clock() + ACCEPT_SECONDS
        # socket.accept() and socket.socket() are written in Python, around these, and take 3 µs longer.
        for _ in range(ACCEPT_BURST):
            make_room = None
            if self._taken() >= self._limit:
                make_room = self._way_to_make_room()
                if make_room is None:
                    self._tell("accepting_paused")
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
            accepted = socket.SocketType(family, _STREAM, 0, number)
            if make_room is not None and not (peer and make_room(peer[0].removeprefix("::ffff:"))):
                accepted.close()
                continue
            if self._prelude is None:
                self._begin(accepted, peer, None)
            else:
                self._prelude.open(accepted, peer, self._begin)
            if clock() > until:
                return

    def _way_to_make_room(self) -> Callable[[str], bool] | None:
        """How to close a connection for a newcomer, whose address it is told, and which it may refuse: one that has
        come no further than to connect goes before all others. None if no connection may be closed."""
        prelude = self._prelude
        stale = None if prelude is None else prelude.stale()
        if prelude is not None and stale is not None:
            return partial(prelude.give_way, stale)
        least = self._crowding.least()
        return None if least is None else partial(self._crowding.make_room, least)

    def _begin(self, accepted: socket.SocketType, peer: Any, ends: Ends | None) -> None:
        """HTTP comes next. `ends` if a PROXY header has told them; `peer` is the client's address in any case."""
        address = peer[0].removeprefix("::ffff:") if peer else ""
        if peer and not self._crowding.admit(address):
            accepted.close()
            return
        lane = self._entrance.lane_for(address) if peer else None
        try:
            first = None
            if self._first_read is not None and peer and lane is None:
                first = self._first_read.serve(accepted, peer)
                if first is None:
                    return
            protocol: Any = self._make_connection(ends, NO_PROGRAM, False)
        except Exception:  # a bug: the loop's handler tells of it
            accepted.close()
            raise
        transport = SocketTransport(self._loop, self._turns, self._backlog, accepted, peer, protocol)
        if lane is None:
            transport.start(first and partial(first, protocol))
        else:
            transport.start(unread, lane)

    def _taken(self) -> int:
        """Connections that are open in this process, but for those that another listener has not brought to HTTP."""
        return self._entrance.metrics.connections_open + (0 if self._prelude is None else len(self._prelude))

    def _pause(self) -> None:
        if self._accepting:
            self._accepting = False
            for sock in self._sockets:
                self._loop.remove_reader(sock.fileno())

    def check(self) -> None:
        """Call when connections have closed, and now and then: accept again when there is room."""
        if not self._accepting and not self._stopped and self._taken() < self._limit * 0.95:
            self._tell("accepting_resumed")
            self.start()

    def expire(self, now: float) -> None:
        """Call every second or so: let go of what is remembered of addresses."""
        if self._prelude is not None:
            self._prelude.expire(now)

    def retry(self) -> None:
        """Call several times a second: when all connections are in use, one of them may be idle by now."""
        full = not self._accepting and not self._stopped and self._taken() >= self._limit * 0.95
        if full and self._way_to_make_room() is not None:
            self._tell("accepting_resumed")
            self.start()

    def pause_for_files(self) -> None:
        """accept() has failed for want of descriptors: stop until check() finds room."""
        if self._accepting:
            self._tell("out_of_files")
            self._pause()

    def _tell(self, event: str) -> None:
        self._entrance.log.event(event, open=self._entrance.metrics.connections_open, limit=self._limit)

    @property
    def arriving(self) -> int:
        """Connections that were accepted and have not come to HTTP."""
        return 0 if self._prelude is None else len(self._prelude)

    def retire(self) -> None:
        """Accept no more, for good; those that were accepted go on, whatever comes before HTTP on them."""
        self._pause()
        self._stopped = True
        for sock in self._sockets:
            sock.close()

    def stop(self) -> None:
        """Accept no more, for good, and drop those that have not begun a handshake."""
        self.retire()
        if self._prelude is not None:
            self._prelude.stop()


def unread() -> None:
    """What a connection does first whose first request is read later."""
