"""What comes before HTTP on a connection: a PROXY protocol header, a ClientHello, the TLS handshake.

    accepted -> [header of a trusted proxy] -> [rate of the address] -> [ClientHello] -> [handshake] -> gate

Header and hello are looked at in the socket and stay there (MSG_PEEK): a header is then taken out, a hello is left for
OpenSSL. While one is not whole, the kernel is asked to wake us when it is as long as it must be (SO_RCVLOWAT), so that
a client which sends it byte by byte costs two looks, not five hundred.

Everything that a client can make us do here is bounded: how long it takes (`tls.handshake_timeout` from the first byte
to the last), how often an address may begin (`tls.handshake_rate`), and how many handshakes there are at once
(`tls.handshakes`). Whoever is turned away by that has cost no cryptography. Connections in this state count against
the limit of connections; each takes 1.5 KiB, and while OpenSSL is at work 55 KiB.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import select
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

from shield.accept.tls import objection
from shield.policy.bucket import SLACK
from shield.policy.locations import locate
from shield.policy.table import Table
from shield.wire import client_hello, proxy_protocol
from shield.wire.client_hello import BadHello, Program
from shield.wire.proxy_protocol import BadHeader, Ends

if TYPE_CHECKING:
    import ssl

    from shield.accept.tls import Certificates, TlsSettings
    from shield.client.edge import Edge

Begin = Callable[[socket.SocketType, Any, Ends | None], None]
MakeGate = Callable[[Ends | None, Program], asyncio.Protocol]

PATIENCE: Final = 2.0
"""Seconds that a handshake has before it may have to give way: two round trips of a slow mobile network."""
LOOKS: Final = 8
"""Of the handshakes under way, the oldest that are looked at to find one of an address that has more than others."""
AGAIN_SECONDS: Final = 0.05
"""Until a socket is looked at again whose peer has sent too little, and which the kernel calls readable all the same,
as it may when it is short of memory."""
ADDRESSES: Final = 65_536
"""Whose rate is known at once, at 250 bytes; an address is forgotten after IDLE seconds."""
IDLE: Final = 60.0

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

_PEEK: Final = socket.MSG_PEEK | socket.MSG_DONTWAIT
_MOST_PEEKED: Final = max(client_hello.MOST_BYTES + 5, proxy_protocol.MOST_V2)
_HUNG_UP: Final = select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0)


class Beginner:
    """How often an address (IPv4 /32, IPv6 /64) has begun a handshake, and how many are under way. An entry of the
    table below."""

    __slots__ = ("live", "queued", "tat", "under_way")

    def __init__(self) -> None:
        self.live = True
        self.queued = 0.0
        self.tat = 0.0
        self.under_way = 0

    def restrains(self, now: float) -> bool:
        return self.tat > now


class Opening:
    """One connection on its way to a gate."""

    __slots__ = ("beginner", "ends", "expected", "peer", "shaking_since", "sock", "started", "step", "timer")

    def __init__(self, sock: socket.SocketType, peer: Any, started: float) -> None:
        self.sock = sock
        self.peer = peer
        self.started = started
        self.beginner: Beginner
        self.shaking_since = 0.0
        self.ends: Ends | None = None
        self.expected = 0  # bytes without which looking again is of no use; 0: it is not being watched
        self.step: Callable[[Opening, bytes], int]
        self.timer: asyncio.TimerHandle | None = None


class Openings:
    """The connections of one listener that have not come to HTTP yet."""

    def __init__(
        self,
        edge: Edge,
        settings: TlsSettings,
        certificates: Certificates | None,
        proxied: Callable[[str], bool] | None,
        make_gate: MakeGate,
    ) -> None:
        """No certificates: plain HTTP. `proxied`: whether connections from an address begin with a PROXY header; None:
        none does."""
        self._edge = edge
        self._loop: asyncio.AbstractEventLoop = edge.loop
        self._timeout = settings.handshake_timeout
        self._most = settings.handshakes
        self._interval = 1.0 / settings.handshake_rate.rate
        self._span = settings.handshake_rate.burst * self._interval
        self._certificates = certificates
        self._proxied = proxied
        self._make_gate = make_gate
        self._begin: Begin
        self._waiting: dict[Opening, None] = {}  # the oldest first
        self._shaking: dict[asyncio.Task[None], Opening] = {}  # the oldest first
        self._beginners: Table[str, Beginner] = Table(ADDRESSES, IDLE, Beginner)

    def __len__(self) -> int:
        return len(self._waiting) + len(self._shaking)

    def open(self, sock: socket.SocketType, peer: Any, begin: Begin) -> None:
        """Take over an accepted connection. When all is said that comes before HTTP, `begin(sock, peer, ends)` is
        called, or over TLS a gate made."""
        self._begin = begin
        if not peer:  # it was reset before it was accepted
            sock.close()
            return
        opening = Opening(sock, peer, self._edge.clock())
        if self._proxied is not None and self._proxied(_plain(peer[0])):
            opening.step = self._read_header
            self._look(opening)
        else:
            self._enter(opening)

    def expire(self, now: float) -> None:
        """Call every second or so: forget addresses that have not come for long."""
        self._beginners.expire(now, 4096)

    def stale(self) -> Opening | None:
        """The one that has not come to a handshake for longest, if it had its time."""
        opening = next(iter(self._waiting), None)
        had_its_time = opening is not None and self._edge.clock() - opening.started >= PATIENCE
        return opening if had_its_time else None

    def give_way(self, opening: Opening) -> None:
        """All connections are in use: drop a stale one for a newcomer."""
        self._give_up(opening, "displaced")

    def stop(self) -> None:
        """Drop those that have not begun a handshake. The others may end it."""
        for opening in list(self._waiting):
            self._drop(opening)

    # looking at what has come

    def _look(self, opening: Opening) -> None:
        try:
            data = opening.sock.recv(_MOST_PEEKED, _PEEK)
        except (BlockingIOError, InterruptedError):
            self._await(opening, 1)
            return
        except OSError:
            self._lose(opening)
            return
        if not data or (len(data) < opening.expected and _hung_up(opening.sock)):
            self._lose(opening)
            return
        if len(data) < opening.expected:
            self._unwatch(opening)
            self._loop.call_later(AGAIN_SECONDS, self._look_again, opening)
            return
        needed = opening.step(opening, data)
        if needed:
            self._await(opening, needed)

    def _look_again(self, opening: Opening) -> None:
        if opening in self._waiting:
            self._look(opening)

    def _await(self, opening: Opening, needed: int) -> None:
        """Look again when there are `needed` bytes, or none will come any more."""
        sock = opening.sock
        if opening.timer is None:
            self._waiting[opening] = None
            opening.timer = self._loop.call_later(self._timeout, self._give_up, opening)
        if needed != opening.expected and (needed > 1 or opening.expected > 1):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, needed)
        if not opening.expected:
            self._loop.add_reader(sock.fileno(), self._look, opening)
        opening.expected = needed

    def _unwatch(self, opening: Opening) -> None:
        if opening.expected:
            self._loop.remove_reader(opening.sock.fileno())
            if opening.expected > 1:
                opening.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
            opening.expected = 0

    def _leave(self, opening: Opening) -> None:
        """It waits no longer."""
        self._unwatch(opening)
        self._waiting.pop(opening, None)
        if opening.timer is not None:
            opening.timer.cancel()
            opening.timer = None

    def _drop(self, opening: Opening) -> None:
        self._leave(opening)
        opening.sock.close()
        self._edge.on_close()

    def _refuse(self, opening: Opening, outcome: str) -> None:
        self._edge.metrics.handshakes[outcome] += 1
        self._drop(opening)

    def _lose(self, opening: Opening) -> None:
        """The client has left. If it said nothing at all it was no handshake: monitors knock, browsers connect
        ahead."""
        if opening.expected > 1:
            self._give_up(opening, "failed")
        else:
            self._drop(opening)

    def _give_up(self, opening: Opening, outcome: str = "timeout") -> None:
        if opening.step == self._read_header:
            self._refuse_header(opening, "it ends too early")
        else:
            self._refuse(opening, outcome)

    # PROXY protocol

    def _read_header(self, opening: Opening, data: bytes) -> int:
        """The bytes needed to get further, or 0 when done."""
        try:
            header = proxy_protocol.read(data)
        except BadHeader as error:
            self._refuse_header(opening, str(error))
            return 0
        if isinstance(header, int):
            return header
        try:
            opening.sock.recv(header.length, socket.MSG_DONTWAIT)
        except OSError:  # it was reset after we looked
            self._drop(opening)
            return 0
        opening.ends = header.ends
        if header.ends is not None:
            opening.peer = header.ends[:2]
        self._unwatch(opening)
        self._enter(opening)
        return 0

    def _refuse_header(self, opening: Opening, why: str) -> None:
        edge = self._edge
        edge.metrics.faults["proxy_header"] += 1
        edge.log.fault(edge.clock(), _plain(opening.peer[0]), "proxy_header", detail=why)
        self._drop(opening)

    # TLS

    def _enter(self, opening: Opening) -> None:
        """Its address is known."""
        if self._certificates is None:
            self._leave(opening)
            self._begin(opening.sock, opening.peer, opening.ends)
        elif self._admits(opening):
            opening.step = self._read_hello
            self._look(opening)
        else:
            self._refuse(opening, "rate")

    def _admits(self, opening: Opening) -> bool:
        """Whether its address may begin another handshake: a token bucket (bucket.py)."""
        address = _plain(opening.peer[0])
        now = self._edge.clock()
        if self._edge.forwarding.trusts(address):
            opening.beginner = Beginner()  # of whom it brings nothing is known
            return True
        home = locate(address)[1]
        entry = self._beginners.get(home)
        if entry is None:
            entry = self._beginners.enter(home, Beginner(), now)
        opening.beginner = entry
        tat = max(entry.tat, now) + self._interval
        if tat - now > self._span + SLACK:
            return False
        entry.tat = tat
        return True

    def _read_hello(self, opening: Opening, data: bytes) -> int:
        """The bytes needed to get further, or 0 when done."""
        try:
            hello = client_hello.read(data)
        except BadHello:
            self._refuse(opening, "no_hello")
            return 0
        if isinstance(hello, int):
            return hello
        alert = objection(hello)
        if alert:
            with contextlib.suppress(OSError):  # it is gone
                opening.sock.recv(len(data), socket.MSG_DONTWAIT)  # what is unread would make close() send a reset
                opening.sock.send(bytes((21, 3, 3, 0, 2, 2, alert)), socket.MSG_DONTWAIT)  # RFC 8446 section 6
            self._refuse(opening, "incompatible")
        elif len(self._shaking) >= self._most and not self._displace(opening):
            self._refuse(opening, "crowded")
        else:
            self._leave(opening)
            context = cast("Certificates", self._certificates).choose(hello)
            task = self._loop.create_task(self._shake_hands(opening, context, client_hello.program(hello)))
            opening.shaking_since = self._edge.clock()
            opening.beginner.under_way += 1
            self._shaking[task] = opening
            task.add_done_callback(self._shaken)
        return 0

    def _displace(self, newcomer: Opening) -> bool:
        """Make room at the cost of an address that has more under way than the newcomer's, or else of the oldest
        handshake, if that has had its time. An honest one takes a round trip or two; one that was begun to hold a place
        stays as long as it may."""
        oldest = list(itertools.islice(self._shaking, LOOKS))
        task = max(oldest, key=lambda task: self._shaking[task].beginner.under_way)
        if self._shaking[task].beginner.under_way <= newcomer.beginner.under_way + 1:
            task = oldest[0]
            if self._edge.clock() - self._shaking[task].shaking_since < PATIENCE:
                return False
        self._shaken(task)
        task.cancel()
        return True

    def _shaken(self, task: asyncio.Task[None]) -> None:
        opening = self._shaking.pop(task, None)
        if opening is not None:
            opening.beginner.under_way -= 1
            self._edge.on_close()

    async def _shake_hands(self, opening: Opening, context: ssl.SSLContext, program: Program) -> None:
        bare = opening.sock
        # The loop wants the class that is written in Python.
        sock = socket.socket(bare.family, bare.type, bare.proto, bare.detach())
        outcome = "failed"
        try:
            left = opening.started + self._timeout - self._edge.clock()
            transport, _ = await self._loop.connect_accepted_socket(
                lambda: self._make_gate(opening.ends, program),
                sock,
                ssl=context,
                ssl_handshake_timeout=max(left, 0.001),
            )
            outcome = "resumed" if transport.get_extra_info("ssl_object").session_reused else "completed"
        except asyncio.CancelledError:
            outcome = "displaced"
            raise
        except (ConnectionAbortedError, TimeoutError):
            outcome = "timeout"
        except (OSError, EOFError):  # ssl.SSLError is an OSError
            pass
        finally:
            self._edge.metrics.handshakes[outcome] += 1


def _plain(address: str) -> str:
    """Without the prefix of an IPv4 client on a dual-stack socket."""
    return address.removeprefix("::ffff:")


def _hung_up(sock: socket.SocketType) -> bool:
    """Whether the peer will send no more."""
    poll = select.poll()
    poll.register(sock.fileno(), _HUNG_UP)
    return bool(poll.poll(0))
