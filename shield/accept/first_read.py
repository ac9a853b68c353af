"""The doorstep: a connection that asks once and is refused is answered before anything is made for it.

A flood of short connections is what costs a proxy most per request, and a refusal needs nothing of what a connection
is given: no transport, no gate, no place among the deadlines. So the first bytes are read as the connection is
accepted. If they are one plain head that asks to close (`Connection: close`, no body), the policy is asked at once, and
a refusal is sent and the connection closed in one segment. Everything else goes on to a ClientConnection: with
the verdict, if there is one.

Who opened a connection with the very same bytes from the same address a moment ago need not be read again: flood tools
do, and so do monitors.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from shield.http.head import Refused, take_cookie
from shield.model import Action
from shield.policy.request import Request
from shield.replies.pages import PREFIX
from shield.wire.transport import READ_BYTES

if TYPE_CHECKING:
    from shield.client.connection import ClientConnection
    from shield.client.edge import Edge
    from shield.http.head import Head
    from shield.policy.entries import Pass
    from shield.policy.identity import Client

KNOWN: Final = 512
"""Openings remembered, of at most 2 KiB each; beyond, all are forgotten."""
KNOWN_BYTES: Final = 2048
KNOWN_SECONDS: Final = 10.0
"""After which all are forgotten, too: a pass that was void may have become a good one."""

_REFUSED: Final = frozenset({Action.LIMIT, Action.SHED, Action.BAN})  # answered at once, without a challenge
_ONCE: Final = socket.MSG_DONTWAIT | getattr(socket, "MSG_MORE", 0)  # with close(): data and FIN in one segment

Opening = tuple["Head", "Client", "Pass | None"]


class FirstRead:
    """Serves first reads. One for all listening sockets of plain HTTP."""

    __slots__ = ("_edge", "_known", "_until")

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._known: dict[tuple[str, bytes], Opening] = {}
        self._until = 0.0

    def serve(self, sock: socket.SocketType, peer: Any) -> Callable[[ClientConnection], None] | None:
        """Read what the client of an accepted connection says first. `peer` is what accept() said of it.

        None: it was refused, and the connection is closed. Otherwise what its gate is to do first.
        """
        edge = self._edge
        address = peer[0].removeprefix("::ffff:")
        try:
            data = sock.recv(READ_BYTES, socket.MSG_DONTWAIT)
        except OSError:
            return _wait  # nothing there yet, or an error that the next read will show, too
        now = edge.clock()
        opening = self._known.get((address, data)) if now < self._until else None
        if opening is None:
            opening = self._read(address, data, now)
            if opening is None:
                return _go_on(data)
        head, client, held = opening
        metrics = edge.metrics
        metrics.bytes_in += len(data)
        request = Request(client, head.method, head.path, head.headers, held, False, None)
        verdict = edge.engine.decide(request, now)
        action = verdict.action
        metrics.verdicts[action._value_][verdict.reason._value_] += 1
        if action not in _REFUSED:
            return lambda gate: gate.carry_out(request, head, verdict, b"", now)
        reply = edge.replies.refusal(verdict, head.page)
        message = reply.message(head.method == "HEAD", True)
        edge.log.refused(now, request, reply.status)
        metrics.connections_total += 1
        metrics.own_responses[reply.status // 100] += 1
        metrics.bytes_out += len(message)
        try:  # noqa: SIM105 - suppress() costs 0.4 µs
            sock.send(message, _ONCE)  # a new socket takes 4 KiB at least (tcp(7), tcp_wmem)
        except OSError:
            pass  # it is gone; it was counted, and that is all
        sock.close()
        return None

    def _read(self, address: str, data: bytes, now: float) -> Opening | None:
        """Who asks, and what, if `data` is all there is to be read."""
        edge = self._edge
        if (
            not KNOWN_BYTES >= len(data) <= edge.http.max_head_bytes
            or data.find(b"\r\n\r\n") != len(data) - 4
            or edge.draining
            or edge.forwarding.trusts(address)
        ):
            return None
        try:
            head = edge.plain.read(data, data.find(b"\r\n"))
        except Refused:
            return None
        if head is None or not head.close or head.length or head.path.startswith(PREFIX):
            return None
        engine = edge.engine
        client = engine.identify(address, head.agent.decode("latin-1"), head.language.decode("latin-1"), "", now)
        if client.crawler is not None and client.unverified:
            edge.crawlers.check(client.address, client.crawler.domains)
        cookie, head.kept_cookie = take_cookie(head.cookie, edge.cookie)
        token = head.token or cookie
        opening = (head, client, engine.present(token.decode("latin-1"), now) if token else None)
        if now >= self._until or len(self._known) >= KNOWN:
            self._known.clear()
            self._until = now + KNOWN_SECONDS
        self._known[address, data] = opening
        return opening


def _wait(gate: ClientConnection) -> None:
    """Nothing to do until the poller says so."""


def _go_on(data: bytes) -> Callable[[ClientConnection], None]:
    return (lambda gate: gate.data_received(data)) if data else _wait
