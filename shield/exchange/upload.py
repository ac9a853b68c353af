"""A request's body on its way to the server, where it does not go in one piece with the head.

What is here of it is sent as fast as the server takes it. Of a body that is not whole the rest follows as the client
sends it. Meanwhile the service works on nothing, so the exchange goes on without its slot (slot.py). With the end of
such a body the service's work begins: the upload holds it back, and asks for a slot again. Where the queue has none, it
asks again every slot.ROOM_SECONDS for slot.LATE_SECONDS, since the service has nearly all of it.

The time for which the service reads what is here is charged like service time, once, as no request may cost more than
`routes.most_cost`, however long it takes to read a gigabyte.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from shield.exchange.slot import LATE_SECONDS, Roomless, Slot
from shield.model import Action

if TYPE_CHECKING:
    from shield.exchange.body import RequestBody
    from shield.exchange.forwarder import Forwarder
    from shield.exchange.ports import ClientSide
    from shield.model import Verdict
    from shield.policy.request import Request
    from shield.upstream.carrier import Carrier

PIECES_PER_TURN: Final = 16
"""Pieces of a kept body (spool.PIECE: 1 MiB in all) that are sent before others get their turn."""

_QUEUE, _SHED = Action.QUEUE, Action.SHED  # looking one up costs 70 ns


class Uploader(Roomless, Protocol):
    """The exchange, as its upload knows it."""

    @property
    def request(self) -> Request:
        """Whose body it is."""

    @property
    def slot(self) -> Slot | None:
        """Its slot, if it has been thought of."""

    def on_uploaded(self, now: float) -> None:
        """The server has the whole request."""

    def on_caught_up(self, now: float) -> None:
        """The server has what is here, and the rest is yet to come from the client: no slot is needed meanwhile."""

    def on_unreadable(self, error: OSError, now: float) -> None:
        """The disk does not give the body back."""

    def on_no_slot(self, now: float) -> None:
        """There was no slot for the body's end for so long that the request is given up."""


class Upload:
    """One attempt to send a body over one connection.

    `draining`: something that is here is yet to be sent, and that began at `_since`. `_blocked`: the server takes no
    more for now; while nothing drains, that began at `_since`. `over`: the last of it was sent. `_worked` are the
    seconds for which the server has read it that were not charged yet.
    """

    __slots__ = (
        "_blocked",
        "_body",
        "_client",
        "_connection",
        "_exchange",
        "_forwarder",
        "_since",
        "_stopped",
        "_worked",
        "draining",
        "over",
    )

    def __init__(
        self,
        exchange: Uploader,
        body: RequestBody,
        client: ClientSide,
        forwarder: Forwarder,
        connection: Carrier,
        now: float,
    ) -> None:
        self._exchange = exchange
        self._body = body
        self._client = client
        self._forwarder = forwarder
        self._connection = connection
        self._since = now
        self._worked = 0.0
        self._blocked = self._stopped = self.over = False
        self.draining = True

    def __repr__(self) -> str:
        return (
            f"<Upload{' draining' * self.draining}{' blocked' * self._blocked}{' over' * self.over} of {self._body!r}>"
        )

    def first(self) -> list[bytes]:
        """What goes with the head, from the beginning of the body. Raises OSError when the disk does not give it."""
        self._body.rewind()
        return self._take()

    def send(self, pieces: list[bytes], done: bool, now: float) -> None:
        """Payload has come from the client."""
        body = self._body
        if self.draining:
            body.add(pieces, done)
        elif done:
            body.add(pieces, done)
            self.draining = True
            self._since = now
            if not self._slot().returned:  # of a call, whose server has not been silent for long
                self._send_end(now)
                return
            self._ask(self._forwarder.engine.enter(self._exchange.request, now), now)
        else:
            body.passed(pieces)
            self._connection.send_body(pieces, done, self._forwarder.turns.now())

    def drain(self, now: float) -> None:
        """Send what is here of the body, as fast as the server takes it."""
        body, watch = self._body, self._client.watch
        pieces, turn = PIECES_PER_TURN, self._forwarder.turns.now()
        while not body.empty() or (body.done and not self.over):
            if self._blocked:
                watch.upstream_reading(now)
                return
            if not pieces:
                watch.upstream_reading(now)
                self._forwarder.loop.call_soon(self._go_on)
                return
            pieces -= 1
            try:
                taken = self._take()
            except OSError as error:
                self._exchange.on_unreadable(error, now)
                return
            self._connection.send_body(taken, self.over, turn, body.trailers)
        if self.over:
            self._drained(now)
            self._exchange.on_uploaded(now)
        elif self._blocked:  # it still has something to read
            watch.upstream_reading(now)
        else:
            self._drained(now)
            body.forget()
            self._client.flow.resume()
            self._client.expect_progress(now)
            self._exchange.on_caught_up(now)

    def on_full(self) -> None:
        """The server reads slower than it is sent to."""
        self._blocked = True
        if not self.draining:
            self._since = self._forwarder.clock()
        if not self._body.done:
            self._client.flow.pause()
            self._client.watch.upstream_reading(self._forwarder.clock())

    def on_drained(self) -> None:
        """The server has caught up."""
        self._blocked = False
        if self.draining:
            slot = self._exchange.slot
            if slot is None or not slot.awaited:
                self._go_on()
        elif not self._body.done:
            now = self._forwarder.clock()
            self._worked += now - self._since  # without a slot, but not for nothing: its client waited for the service
            self._client.flow.resume()
            self._client.expect_progress(now)

    def on_verdict(self, verdict: Verdict, now: float) -> None:
        """The policy has decided about the slot that the end of the body waits for: FORWARD or SHED."""
        if verdict.action is _SHED:
            self._turned_away(now)
        else:
            self._send_end(now)

    def ask_again(self, now: float) -> None:
        """There may be a slot for the end of the body now."""
        self._forwarder.streams.waiting.pop(self._exchange, None)
        self._ask(self._forwarder.engine.enter_again(self._exchange.request, now), now)

    def stop(self) -> None:
        """It is over, however far it came."""
        self._stopped = True

    def end(self, now: float, held: bool) -> None:
        """So is its request: charge what the service has read. `held`: the request had a slot until now."""
        self._stopped = True
        if self.draining and held:
            self._worked += now - self._since
        self._charge(now)

    def _ask(self, verdict: Verdict, now: float) -> None:
        """The policy has been asked for a slot."""
        if verdict.action is _QUEUE:
            self._slot().awaited = True
            self._client.watch.queue()
        else:
            self.on_verdict(verdict, now)

    def _send_end(self, now: float) -> None:
        self._slot().granted()
        self._since = now
        self.drain(now)

    def _turned_away(self, now: float) -> None:
        self._slot().awaited = False
        if now - self._since < LATE_SECONDS:
            self._forwarder.streams.waiting[self._exchange] = None
            self._client.watch.queue()
        else:
            self._forwarder.metrics.decided(self._exchange.request.verdict)
            self._exchange.on_no_slot(now)

    def _slot(self) -> Slot:
        slot = self._exchange.slot
        assert slot is not None  # noqa: S101 - it was thought of before the end of a streamed body came
        return slot

    def _go_on(self) -> None:
        """Another turn, if it is still wanted."""
        if self.draining and not self._stopped:
            self.drain(self._forwarder.clock())

    def _take(self) -> list[bytes]:
        """What is to be sent next. Raises OSError."""
        pieces = self._body.take()
        self.over = self._body.done and self._body.empty()
        return pieces

    def _drained(self, now: float) -> None:
        """The server has what was here."""
        self.draining = False
        self._worked += now - self._since
        if self.over:
            self._charge(now)

    def _charge(self, now: float) -> None:
        worked, self._worked = self._worked, 0.0
        if worked:
            self._forwarder.engine.occupied(self._exchange.request, worked, now)
