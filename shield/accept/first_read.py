"""The first read: a connection that asks once and is refused is answered before anything is made for it.

A flood of short connections is what costs a proxy most per request, and a refusal needs nothing of what a connection
is given: no transport, no protocol, no deadline. So the first bytes are read as the connection is accepted. If they
are one plain head that asks to close (`Connection: close`, no body), the policy is asked at once, and a refusal is
sent and the connection closed in one segment. Everything else goes on to a ClientConnection, with the verdict if there
is one.

A client that opens a connection with the very same bytes from the same address a moment later is not read again: flood
tools do that, and so do monitors.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from shield.client.shut_out import BODILESS
from shield.http.rules import Broken
from shield.model import Action
from shield.policy.request import Request
from shield.readers import READS_NOTHING
from shield.replies.pages import PREFIX
from shield.wire import client_hello
from shield.wire.transport import READ_BYTES

if TYPE_CHECKING:
    from shield.accept.entrance import Entrance
    from shield.client.connection import ClientConnection
    from shield.client.hosting import Hosting
    from shield.client.peer import Recognition
    from shield.client.serving import Serving
    from shield.client.shut_out import ShutOut
    from shield.http.head import Head
    from shield.http.plain_head import PlainHeads
    from shield.policy.engine import Engine
    from shield.policy.entries import Pass
    from shield.policy.identity import Client
    from shield.replies.rendering import Replies

KNOWN: Final = 512
"""First requests that are remembered, of at most KNOWN_BYTES each; beyond, all are forgotten."""
KNOWN_BYTES: Final = 2048
KNOWN_SECONDS: Final = 10.0
"""After this long all are forgotten, too: a pass that was void may have become a good one."""

_REFUSED: Final = frozenset({Action.LIMIT, Action.SHED, Action.BAN})  # answered at once, unlike a challenge
_ONCE: Final = socket.MSG_DONTWAIT | getattr(socket, "MSG_MORE", 0)  # with close(): data and FIN in one segment

FirstRequest = tuple["Head", "Client", "Pass | None"]
"""A first request that was read: its head, who asks, and the pass that they show. Not a class: one is made for each
connection of a flood whose bytes vary."""

Continue = Callable[["ClientConnection"], None]
"""What a connection is to do with what was read before it was made."""


class FirstRead:
    """Serves first reads. One for all listening sockets of plain HTTP."""

    __slots__ = (
        "_clock",
        "_engine",
        "_heads",
        "_hosting",
        "_known",
        "_log",
        "_max_head_bytes",
        "_metrics",
        "_recognition",
        "_replies",
        "_request_ids",
        "_shut_out",
        "_until",
    )

    def __init__(
        self,
        entrance: Entrance,
        engine: Engine,
        heads: PlainHeads,
        max_head_bytes: int,
        recognition: Recognition,
        replies: Replies,
        shut_out: ShutOut,
        request_ids: Callable[[], bytes],
        hosting: Hosting[Serving] | None = None,
    ) -> None:
        """`max_head_bytes` is `http.max_head_bytes`: what is longer is answered by a connection. `request_ids` returns
        a new id for each page. `hosting`: where there are several sites, whose engines are asked."""
        self._hosting = hosting
        self._clock = entrance.clock
        self._metrics = entrance.metrics
        self._log = entrance.log
        self._engine = engine
        self._heads = heads
        self._max_head_bytes = max_head_bytes
        self._recognition = recognition
        self._replies = replies
        self._shut_out = shut_out
        self._request_ids = request_ids
        self._known: dict[tuple[str, bytes], FirstRequest] = {}  # by address and bytes
        self._until = 0.0

    def serve(self, sock: socket.SocketType, peer: Any) -> Continue | None:
        """Read what the client of an accepted connection says first. `peer` is what accept() said of it.

        None: the request was refused, and the connection is closed. Otherwise what its protocol is to do first.
        """
        address = peer[0].removeprefix("::ffff:")
        try:
            data = sock.recv(READ_BYTES, socket.MSG_DONTWAIT)
        except OSError:
            return _wait  # nothing is there yet, or there is an error that the next read will show, too
        now = self._clock()
        shut_out = self._shut_out
        ban = shut_out.verdict(address, now)
        if (
            ban is not None
            and data.endswith(b"\r\n\r\n")
            and data.startswith(BODILESS)
            and not shut_out.may_be_spared(data)
        ):
            self._metrics.bytes_in += len(data)
            self._close_with(sock, shut_out.refuse(ban, address, data, now))
            return None
        first = self._known.get((address, data)) if now < self._until else None
        if first is None:
            first = self._read(address, data, now)
            if first is None:
                if client_hello.begins(data):
                    self._turn_tls_away(sock, address, len(data), now)
                    return None
                return _go_on(data)
        head, client, shown_pass = first
        metrics = self._metrics
        request = Request(client, head.method, head.path, head.headers, shown_pass, False, None, head.found_reader)
        engine, hosting = self._engine, self._hosting
        if hosting is not None:
            serving = hosting.of(head.host)
            if serving is None:
                return _go_on(data)
            engine = serving.engine
        metrics.bytes_in += len(data)
        verdict = engine.decide(request, now)
        action = verdict.action
        metrics.decided(verdict)
        if action not in _REFUSED:
            return lambda connection: connection.serve_judged(request, head, verdict, now)
        request.reader = reader = head.reader()
        reply = self._replies.refusal(verdict, reader, head.language)
        request_id = b"" if reader in READS_NOTHING else self._request_ids()
        self._log.refused(now, request, reply.status, request_id)
        message = reply.message(head.method == "HEAD", True, request_id)
        metrics.own_responses[reply.status // 100] += 1
        self._close_with(sock, message)
        return None

    def _close_with(self, sock: socket.SocketType, message: bytes) -> None:
        """Send the only answer of a connection, and close it."""
        metrics = self._metrics
        metrics.connections_total += 1
        metrics.bytes_out += len(message)
        try:  # noqa: SIM105 - suppress() costs 0.4 µs
            sock.send(message, _ONCE)  # a new socket takes 4 KiB at least (tcp(7), tcp_wmem)
        except OSError:
            pass  # the client is gone; its request was counted, and that is all
        sock.close()

    def _turn_tls_away(self, sock: socket.SocketType, address: str, received: int, now: float) -> None:
        """Tell a client that speaks TLS that it is not spoken here, and close. Nobody is blamed for it."""
        alert = client_hello.alert(client_hello.UNEXPECTED_MESSAGE)
        metrics = self._metrics
        metrics.bytes_in += received
        metrics.bytes_out += len(alert)
        metrics.connections_total += 1
        metrics.faults[client_hello.TLS_ON_PLAIN_PORT] += 1
        self._log.fault(now, address, client_hello.TLS_ON_PLAIN_PORT)
        with contextlib.suppress(OSError):  # it is gone
            sock.send(alert, socket.MSG_DONTWAIT)
        sock.close()

    def _read(self, address: str, data: bytes, now: float) -> FirstRequest | None:
        """Who asks, and what, if `data` is one whole request that ends its connection. None: a connection is needed."""
        recognition = self._recognition
        if (
            not KNOWN_BYTES >= len(data) <= self._max_head_bytes
            or data.find(b"\r\n\r\n") != len(data) - 4
            or recognition.forwarding.trusts(address)
        ):
            return None
        try:
            head = self._heads.read(data, data.find(b"\r\n"))
        except Broken:
            return None
        if head is None or not head.close or head.length or head.origin or head.path.startswith(PREFIX):
            return None
        client = recognition.client(address, head, "", now)
        token, head.kept_cookie = recognition.split_cookie(head.cookie)
        first = (head, client, recognition.pass_of(head.token or token, now))
        if now >= self._until or len(self._known) >= KNOWN:
            self._known.clear()
            self._until = now + KNOWN_SECONDS
        self._known[address, data] = first
        return first


def _wait(connection: ClientConnection) -> None:
    """Nothing is to be done until the poller says so."""


def _go_on(data: bytes) -> Continue:
    return (lambda connection: connection.data_received(data)) if data else _wait
