"""TLS handshakes under way: how many there are at once, how often an address begins one, and which gives way.

A handshake costs OpenSSL some hundred microseconds and 55 KiB, and a client can begin one without ever ending it. So an
address has a token bucket of them (`tls.handshake_rate`), and when `tls.handshakes` are under way, a newcomer displaces
one of an address that has more of them than its own, or else the oldest, if that had PATIENCE.
"""

from __future__ import annotations

import asyncio
import itertools
from functools import partial
from typing import TYPE_CHECKING, Final

from shield.accept.arrival import PATIENCE, Handshaker
from shield.accept.contexts import HTTP_2
from shield.policy.bucket import SLACK
from shield.policy.locations import locate
from shield.policy.table import Table
from shield.wire import client_hello
from shield.wire.tls_transport import TlsTransport
from shield.wire.transport import SocketTransport

if TYPE_CHECKING:
    from shield.accept.arrival import Arrival
    from shield.accept.certificates import Certificates
    from shield.accept.entrance import Entrance, MakeConnection
    from shield.accept.tls import TlsSettings
    from shield.wire.client_hello import Hello, Program

OLDEST_LOOKED_AT: Final = 8
"""Of the handshakes under way, the oldest that are looked at to find one of an address that has more than others."""
ADDRESSES: Final = 65_536
"""Addresses whose rate is tracked at the same time, at 250 bytes each."""
IDLE: Final = 60.0
"""s. An address that begins no handshake for so long is forgotten."""

OUTCOMES: Final = (
    "completed",
    "resumed",  # completed with a ticket, at a fraction of the cost
    "failed",  # the two could not agree, or the client left
    "timeout",  # it took longer than tls.handshake_timeout
    "no_hello",  # what came is no ClientHello
    "incompatible",  # no version, suite, group or protocol in common, of which the client is told
    "rate",  # beyond tls.handshake_rate
    "crowded",  # beyond tls.handshakes
    "displaced",  # gave way to a newer one
)
"""Labels of shield_tls_handshakes_total."""


class Handshakes:
    """The handshakes of one listener."""

    def __init__(
        self, entrance: Entrance, settings: TlsSettings, certificates: Certificates, make_connection: MakeConnection
    ) -> None:
        self._entrance = entrance
        self._certificates = certificates
        self._make_connection = make_connection
        self._timeout = settings.handshake_timeout
        self._most = settings.handshakes
        self._interval = 1.0 / settings.handshake_rate.rate
        self._span = settings.handshake_rate.burst * self._interval
        self._turns = entrance.turns
        self._backlog = entrance.crowding.backlog
        self._under_way: dict[Arrival, TlsTransport] = {}  # the oldest first
        self._handshakers: Table[str, Handshaker] = Table(ADDRESSES, IDLE, Handshaker)

    def __len__(self) -> int:
        return len(self._under_way)

    @property
    def protocols(self) -> tuple[bytes, ...]:
        """Those that are spoken, by ALPN."""
        return self._certificates.protocols

    def expire(self, now: float) -> None:
        """Call every second or so: forget addresses that have not come for long."""
        self._handshakers.expire(now, 4096)

    def admit(self, arrival: Arrival) -> bool:
        """Whether the address of `arrival` may begin another handshake. Charges its bucket for it."""
        address = arrival.address
        now = self._entrance.clock()
        if self._entrance.crowding.unlimited(address):
            arrival.handshaker = Handshaker()  # a trusted proxy's clients are not known yet, so none of them is charged
            return True
        home = locate(address)[1]
        entry = self._handshakers.get(home)
        if entry is None:
            entry = self._handshakers.enter(home, Handshaker(), now)
        arrival.handshaker = entry
        tat = max(entry.tat, now) + self._interval
        if tat - now > self._span + SLACK:
            return False
        entry.tat = tat
        return True

    def repay(self, arrival: Arrival) -> None:
        """Give back to the address of `arrival` what `admit` has charged: it was no handshake."""
        arrival.handshaker.tat -= self._interval

    def make_room(self, newcomer: Arrival) -> bool:
        """Whether there is room for the handshake of `newcomer`; if need be, at the cost of another one.

        That is one of an address that has more under way than the newcomer's, or else the oldest, if it has had its
        time. An honest handshake takes a round trip or two; one that was begun to hold a place stays as long as it may.
        """
        if len(self._under_way) < self._most:
            return True
        oldest = list(itertools.islice(self._under_way, OLDEST_LOOKED_AT))
        arrival = max(oldest, key=lambda arrival: arrival.handshaker.under_way)
        if arrival.handshaker.under_way <= newcomer.handshaker.under_way + 1:
            arrival = oldest[0]
            if self._entrance.clock() - arrival.shaking_since < PATIENCE:
                return False
        self._give_up(arrival, "displaced")
        return True

    def begin(self, arrival: Arrival, hello: Hello) -> None:
        """Let OpenSSL shake hands with a client whose `hello` is still in the socket, and then make a protocol."""
        entrance, loop = self._entrance, self._entrance.loop
        ready = partial(self._ready, arrival, client_hello.program(hello))
        tls = TlsTransport(self._certificates.choose(hello), ready, partial(self._failed, arrival))
        now = arrival.shaking_since = entrance.clock()
        left = arrival.started + self._timeout - now
        arrival.timer = loop.call_later(max(left, 0.001), self._give_up, arrival, "timeout")
        arrival.handshaker.under_way += 1
        self._under_way[arrival] = tls
        SocketTransport(loop, self._turns, self._backlog, arrival.sock, arrival.peer, tls).start()

    def _over(self, arrival: Arrival, outcome: str) -> None:
        del self._under_way[arrival]
        arrival.handshaker.under_way -= 1
        if arrival.timer is not None:
            arrival.timer.cancel()
            arrival.timer = None
        self._entrance.metrics.handshakes[outcome] += 1

    def _ready(self, arrival: Arrival, program: Program, tls: TlsTransport) -> asyncio.Protocol:
        """It has ended well."""
        self._over(arrival, "resumed" if tls.resumed else "completed")
        return self._make_connection(arrival.ends, program, tls.protocol == HTTP_2)

    def _failed(self, arrival: Arrival) -> None:
        """The connection is closed before it has."""
        if arrival in self._under_way:  # or it has been given up, and counted
            self._over(arrival, "failed")
        self._entrance.on_room()

    def _give_up(self, arrival: Arrival, outcome: str) -> None:
        tls = self._under_way[arrival]
        self._over(arrival, outcome)
        tls.abort()
