"""What comes before HTTP on a connection: a PROXY protocol header, and over TLS a ClientHello and the handshake.

    accepted -> [header of a trusted proxy] -> [rate of the address] -> [ClientHello] -> [handshake] -> HTTP

Header and hello are looked at in the socket and stay there (MSG_PEEK): a header is then taken out, a hello is left for
OpenSSL. While one is not whole, the kernel is asked to wake us when it is as long as it must be (SO_RCVLOWAT), so that
a client which sends it byte by byte costs two looks, not five hundred.

Everything that a client can make us do here is bounded: how long it takes (`tls.handshake_timeout` from the first byte
to the last), how often an address may begin (`tls.handshake_rate`), and how many handshakes there are at once
(`tls.handshakes`). A client that is turned away by that has cost no cryptography. Connections in this state count
against the limit of connections; each takes 1.5 KiB, and while OpenSSL is at work 55 KiB.
"""

from __future__ import annotations

import contextlib
import re
import select
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

from shield.accept.arrival import PATIENCE, Arrival
from shield.accept.contexts import objection
from shield.wire import client_hello, proxy_protocol
from shield.wire.client_hello import BadHello
from shield.wire.proxy_protocol import BadHeader, Ends

if TYPE_CHECKING:
    from shield.accept.entrance import Entrance
    from shield.accept.handshakes import Handshakes

Begin = Callable[[socket.SocketType, Any, Ends | None], None]

AGAIN_SECONDS: Final = 0.05
"""When a socket is looked at again whose peer has sent too little, and which the kernel calls readable all the same, as
it may when it is short of memory."""

HTTP_ON_TLS_PORT: Final = "http_on_tls_port"
"""The fault of a connection that begins with plain HTTP where TLS is spoken."""
_HTTP: Final = re.compile(rb"[A-Z]{3,16} |[A-Z]{5}")
_WORDS: Final = b"This port speaks HTTPS: the address has to begin with https://\n"
_SPEAKS_TLS: Final = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n"
    b"Connection: close\r\n\r\n%b" % (len(_WORDS), _WORDS)
)

_PEEK: Final = socket.MSG_PEEK | socket.MSG_DONTWAIT
_MOST_PEEKED: Final = max(client_hello.MOST_BYTES + 5, proxy_protocol.MOST_V2)
_HUNG_UP: Final = select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0)


class Prelude:
    """The connections of one listener that have not come to HTTP yet."""

    def __init__(self, entrance: Entrance, timeout: float, proxied: bool, handshakes: Handshakes | None) -> None:
        """`timeout` in seconds, for all of it; `proxied`: connections of trusted proxies begin with a PROXY
        header; no `handshakes`: plain HTTP."""
        self._entrance = entrance
        self._loop = entrance.loop
        self._timeout = timeout
        self._proxied = proxied
        self._handshakes = handshakes
        self._begin: Begin
        self._waiting: dict[Arrival, None] = {}  # the oldest first

    def __len__(self) -> int:
        return len(self._waiting) + (0 if self._handshakes is None else len(self._handshakes))

    def open(self, sock: socket.SocketType, peer: Any, begin: Begin) -> None:
        """Take over an accepted connection. When all is said that comes before HTTP, `begin(sock, peer, ends)` is
        called; over TLS a protocol is made instead, after the handshake."""
        self._begin = begin
        if not peer:  # it was reset before it was accepted
            sock.close()
            return
        arrival = Arrival(sock, peer, self._entrance.clock())
        if self._proxied and self._entrance.trusts(arrival.address):
            arrival.step = self._read_header
            self._look(arrival)
        else:
            self._enter(arrival)

    def expire(self, now: float) -> None:
        """Call every second or so: forget addresses that have not come for long."""
        if self._handshakes is not None:
            self._handshakes.expire(now)

    def stale(self) -> Arrival | None:
        """The connection that has waited longest to come to a handshake, if it had its time."""
        arrival = next(iter(self._waiting), None)
        had_its_time = arrival is not None and self._entrance.clock() - arrival.started >= PATIENCE
        return arrival if had_its_time else None

    def give_way(self, arrival: Arrival, newcomer: str) -> bool:
        """All connections are in use: drop a stale one for one from any address. True: `newcomer` may stay."""
        self._give_up(arrival, "displaced")
        return True

    def stop(self) -> None:
        """Drop those that have not begun a handshake. The others may end it."""
        for arrival in list(self._waiting):
            self._drop(arrival)

    # looking at what has come

    def _look(self, arrival: Arrival) -> None:
        try:
            data = arrival.sock.recv(_MOST_PEEKED, _PEEK)
        except (BlockingIOError, InterruptedError):
            self._await(arrival, 1)
            return
        except OSError:
            self._lose(arrival)
            return
        if not data or (len(data) < arrival.expected and _hung_up(arrival.sock)):
            self._lose(arrival)
            return
        if len(data) < arrival.expected:
            self._unwatch(arrival)
            self._loop.call_later(AGAIN_SECONDS, self._look_again, arrival)
            return
        needed = arrival.step(arrival, data)
        if needed:
            self._await(arrival, needed)

    def _look_again(self, arrival: Arrival) -> None:
        if arrival in self._waiting:
            self._look(arrival)

    def _await(self, arrival: Arrival, needed: int) -> None:
        """Look again when there are `needed` bytes, or none will come any more."""
        sock = arrival.sock
        if arrival.timer is None:
            self._waiting[arrival] = None
            arrival.timer = self._loop.call_later(self._timeout, self._give_up, arrival)
        if needed != arrival.expected and (needed > 1 or arrival.expected > 1):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, needed)
        if not arrival.expected:
            self._loop.add_reader(sock.fileno(), self._look, arrival)
        arrival.expected = needed

    def _unwatch(self, arrival: Arrival) -> None:
        if arrival.expected:
            self._loop.remove_reader(arrival.sock.fileno())
            if arrival.expected > 1:
                arrival.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
            arrival.expected = 0

    def _leave(self, arrival: Arrival) -> None:
        """It is waited for no longer."""
        self._unwatch(arrival)
        self._waiting.pop(arrival, None)
        if arrival.timer is not None:
            arrival.timer.cancel()
            arrival.timer = None

    def _drop(self, arrival: Arrival) -> None:
        self._leave(arrival)
        arrival.sock.close()
        self._entrance.on_room()

    def _refuse(self, arrival: Arrival, outcome: str) -> None:
        """Drop a connection that was to have a handshake; `outcome` is one of handshakes.OUTCOMES."""
        self._entrance.metrics.handshakes[outcome] += 1
        self._drop(arrival)

    def _lose(self, arrival: Arrival) -> None:
        """The client has left. If it said nothing at all it was no handshake: monitors knock, browsers connect
        ahead."""
        if arrival.expected > 1:
            self._give_up(arrival, "failed")
        else:
            self._drop(arrival)

    def _give_up(self, arrival: Arrival, outcome: str = "timeout") -> None:
        if arrival.step == self._read_header:
            self._refuse_header(arrival, "it ends too early")
        else:
            self._refuse(arrival, outcome)

    # PROXY protocol

    def _read_header(self, arrival: Arrival, data: bytes) -> int:
        try:
            header = proxy_protocol.read(data)
        except BadHeader as error:
            self._refuse_header(arrival, str(error))
            return 0
        if isinstance(header, int):
            return header
        try:
            arrival.sock.recv(header.length, socket.MSG_DONTWAIT)
        except OSError:  # it was reset after we looked
            self._drop(arrival)
            return 0
        arrival.ends = header.ends
        if header.ends is not None:
            arrival.peer = header.ends[:2]
        self._unwatch(arrival)
        self._enter(arrival)
        return 0

    def _refuse_header(self, arrival: Arrival, why: str) -> None:
        entrance = self._entrance
        entrance.metrics.faults["proxy_header"] += 1
        entrance.log.fault(entrance.clock(), arrival.address, "proxy_header", detail=why)
        self._drop(arrival)

    # TLS

    def _enter(self, arrival: Arrival) -> None:
        """The client's address is known."""
        if self._handshakes is None:
            self._leave(arrival)
            self._begin(arrival.sock, arrival.peer, arrival.ends)
        elif self._handshakes.admit(arrival):
            arrival.step = self._read_hello
            self._look(arrival)
        else:
            self._refuse(arrival, "rate")

    def _read_hello(self, arrival: Arrival, data: bytes) -> int:
        try:
            hello = client_hello.read(data)
        except BadHello:
            self._turn_away(arrival, data)
            return 0
        if isinstance(hello, int):
            return hello
        handshakes = cast("Handshakes", self._handshakes)
        alert = objection(hello, handshakes.protocols)
        if alert:
            with contextlib.suppress(OSError):  # it is gone
                arrival.sock.recv(len(data), socket.MSG_DONTWAIT)  # what is unread would make close() send a reset
                arrival.sock.send(client_hello.alert(alert), socket.MSG_DONTWAIT)
            self._refuse(arrival, "incompatible")
        elif not handshakes.make_room(arrival):
            self._refuse(arrival, "crowded")
        else:
            self._leave(arrival)
            handshakes.begin(arrival, hello)
        return 0

    def _turn_away(self, arrival: Arrival, data: bytes) -> None:
        """Drop a connection that does not begin with a hello. Plain HTTP is told where it is.

        Neither is blamed on anybody, nor counted as a handshake of the address: any page can have a browser ask for
        http://site:443/ as often as it likes, and its neighbours would find no handshake left.
        """
        cast("Handshakes", self._handshakes).repay(arrival)
        if _HTTP.match(data) is not None:
            entrance = self._entrance
            entrance.metrics.faults[HTTP_ON_TLS_PORT] += 1
            entrance.log.fault(entrance.clock(), arrival.address, HTTP_ON_TLS_PORT, 400)
            with contextlib.suppress(OSError):  # it is gone
                arrival.sock.recv(len(data), socket.MSG_DONTWAIT)  # what is unread would make close() send a reset
                arrival.sock.send(_SPEAKS_TLS, socket.MSG_DONTWAIT)
        self._refuse(arrival, "no_hello")


def _hung_up(sock: socket.SocketType) -> bool:
    """Whether the peer will send no more."""
    poll = select.poll()
    poll.register(sock.fileno(), _HUNG_UP)
    return bool(poll.poll(0))
