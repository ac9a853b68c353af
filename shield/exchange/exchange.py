"""The forwarder: one request on its way to an upstream server, and the response on its way back.

There is only this one, for GETs, uploads, event streams and WebSockets alike. It is synchronous until it must wait: a
request that finds an idle connection is sent in the same wake-up in which it was read, and its response is written in
the wake-up that brought it. Only opening a connection is a coroutine.

    BUFFERING -+-> CONNECTING -+-> SENT -> RESPONDING -> ENDED
               +---- QUEUED ---+    ^  |
               |                    |  +-> TUNNEL (after 101) -> ENDED
               +-- idle connection -+

A request is BUFFERING until its body is here, in memory or in a spool, or as much of it as there is room for; only then
is a slot asked for. A body that does not go in one piece with its head is sent by upload.py.

Every state may also go to ENDED at once; endings.py says what that means. SENT may go back to CONNECTING, for another
attempt, while nothing has come and the request may be repeated.

It knows the client's side and the upstream connection by ports.py. Their verbs are those of HTTP's semantics (RFC
9110), with one short cut for HTTP/1.1: chunks that are framed already may be handed on as they are. In memory are at
most `http.body_buffer_bytes` of the request's body plus one read, in files what spool.py allows, and of the
response what one read brought; the transports' own buffers are bounded by backpressure, at `http.response_buffer_bytes`
for a slow client and `http.response_buffers_bytes` for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, cast

from shield.errors import out_of_files
from shield.exchange.attempts import IDEMPOTENT, Attempts
from shield.exchange.body import RequestBody
from shield.exchange.endings import (
    BROKEN,
    CANCEL,
    CLIENT_LEFT,
    DISPLACED,
    FAILED,
    LEARN,
    LEFT,
    NO_ROOM,
    OF_FAULT,
    OF_RESPONSE,
    RESPONDED,
    SHED,
    SLOW_READER,
    SPOILED,
    SPOILED_LATE,
    TRICKLED,
    TUNNELLED,
    UNREAD,
    Ending,
)
from shield.exchange.slot import Slot
from shield.exchange.tunnel import Tunnel
from shield.exchange.upload import Upload
from shield.http.response_head import CALL, EVENTS
from shield.http.trailers import passable, wanted
from shield.model import Action, Fault, Outcome, Tier
from shield.upstream.dial import CONNECT_ERRORS
from shield.wire.proxy_protocol import write

if TYPE_CHECKING:
    from shield.exchange.forwarder import Forwarder
    from shield.exchange.ports import ClientSide
    from shield.exchange.slot import Stream
    from shield.http.head import Head
    from shield.http.rules import Rule
    from shield.policy.request import Request
    from shield.upstream.carrier import Carrier
    from shield.upstream.server import Server
    from shield.wire.splice import Shortcut
    from shield.wire.turns import Turn

BUFFERING, QUEUED, CONNECTING, SENT, RESPONDING, TUNNEL, ENDED = range(7)
_UPSTREAM: Final = frozenset({SENT, RESPONDING})
_NO_ANSWER: Final = frozenset({Fault.UPSTREAM_CLOSED, Fault.UPSTREAM_RESET})
STATES: Final = ("buffering", "queued", "connecting", "sent", "responding", "tunnel", "ended")

_QUEUE, _SHED = Action.QUEUE, Action.SHED  # looking one up costs 70 ns

NO_RTT: Final = -1.0


class Exchange:
    """One admitted request. Its client's side calls start() or wait(), send_body(), client_drained(), on_deadline()
    and abandon(); the upstream connection the verbs of ports.Requester; the policy's decision comes by resume().

    It has an attribute for each part that it knows, and so more than 15 attributes.
    """

    __slots__ = (
        "_attempts",
        "_body",
        "_client",
        "_connection",
        "_forwarder",
        "_open_ended",
        "_outcome",
        "_server",
        "_suffix",
        "_upload",
        "body_sent",
        "head",
        "request",
        "request_id",
        "slot",
        "started",
        "state",
    )

    def __init__(
        self,
        forwarder: Forwarder,
        client: ClientSide,
        request: Request,
        head: Head,
        suffix: bytes,
        request_id: bytes,
        now: float,
    ) -> None:
        """`suffix` are the forwarding fields for the upstream, each with its CRLF."""
        self._forwarder = forwarder
        self._client = client
        self.request = request
        self.head = head
        self.started = now
        self.request_id = request_id
        self._suffix = suffix
        self.state = BUFFERING
        self._body = RequestBody(forwarder.buffer_for(request), forwarder.backlog) if head.length else None
        self._server: Server | None = None
        self._connection: Carrier | None = None
        self._attempts: Attempts | None = None
        self._outcome: Outcome | None = None  # once the response's head is there
        self._open_ended = False  # a call that goes on, maybe for hours
        self._upload: Upload | None = None  # of a body that is sent piece by piece
        self.slot: Slot | None = None  # once it matters how long it is held
        self.body_sent = 0

    def __repr__(self) -> str:
        parts = [STATES[self.state], self._server, self._body, self._attempts, self.slot]
        told = " ".join(str(part) for part in parts if part is not None)
        return f"<Exchange {self.head.method} {self.head.path!r} {told}>"

    # from the client's side: before it is sent

    def wait(self) -> None:
        """The policy has queued the request: resume() follows, or abandon()."""
        self.state = QUEUED
        self._client.watch.queue()

    def resume(self, now: float) -> None:
        """The policy has decided about a queued request: its verdict is FORWARD or SHED."""
        slot = self.slot
        shed = self.request.verdict.action is _SHED
        if self.state == QUEUED:
            self._forwarder.metrics.decided(self.request.verdict)
            if shed:
                self._end(SHED, now)
            else:
                self.start(now)
        elif slot is not None and slot.awaited:
            cast("Upload", self._upload).on_verdict(self.request.verdict, now)

    def send_body(self, pieces: list[bytes], done: bool, now: float) -> None:
        """Payload from the client. Pauses the client when it comes faster than it can leave."""
        body = cast("RequestBody", self._body)
        connection = self._connection
        if connection is None:
            body.add(pieces, done)
            if (done or self._no_more_room(body, now)) and self.request.body_pending:
                self._enter(now)
        else:
            cast("Upload", self._upload).send(pieces, done, now)

    def end_body_with(self, lines: Sequence[bytes]) -> None:
        """The fields behind the payload, whose end send_body() tells next: as they came, without CRLF."""
        cast("RequestBody", self._body).trailers = passable(lines, to_server=True, read=self._forwarder.read_fields)

    def open_ended(self, now: float) -> None:
        """The request is a call whose client may wait for an answer before it goes on: send what there is of it at
        once, and the rest as it comes. It has a place among the streams, as a WebSocket, and no slot while it waits for
        its client."""
        if self.state != BUFFERING or not self.request.body_pending or not self._room_for_stream(now):
            return
        self._open_ended = True
        slot = self.slot = Slot(self._forwarder.streams)
        slot.place(self, self.request, lagging=False)
        self._enter(now)

    def kept(self) -> int:
        """bytes of its body in memory."""
        body = self._body
        return 0 if body is None else body.kept

    # its body, before it is sent

    def _no_more_room(self, body: RequestBody, now: float) -> bool:
        """Whether a body that is not whole must be sent as it is: there is no more room for it, but a place among the
        streams. Where there is no such place it waits for room."""
        forwarder = self._forwarder
        if not body.full() or body.spill(forwarder.spools, self.request):
            return False
        self._client.flow.pause()
        if self.request.body_pending and not self._place(now):
            forwarder.streams.waiting[self] = None
            self._client.watch.upstream_reading(now)
            return False
        return True

    def _enter(self, now: float) -> None:
        """Ask for a slot, for the first time."""
        forwarder = self._forwarder
        request = self.request
        forwarder.streams.waiting.pop(self, None)
        request.body_pending = False
        verdict = forwarder.engine.enter(request, now)
        forwarder.metrics.decided(verdict)
        if verdict.action is _QUEUE:
            self.wait()
        elif verdict.action is _SHED:
            self._end(SHED, now)
        else:
            self.start(now)

    def _place(self, now: float) -> bool:
        """Take a place among the streams for a body that cannot wait until it is whole. Whether there is one."""
        forwarder, request = self._forwarder, self.request
        streams = forwarder.streams
        limit = forwarder.engine.concurrency_limit
        if not streams.make_lag_room(request, limit, now) or not streams.make_room(request, now):
            return False
        slot = self.slot = Slot(streams)
        slot.place(self, request, lagging=True)
        return True

    def claim(self) -> tuple[int, int]:
        """Who among those whose body waits for room gets it first."""
        return self.request.tier, cast("RequestBody", self._body).size

    def on_room(self, now: float) -> None:
        """There may be room for the body now: in the spool, or among the streams; or a slot for its end."""
        if self._upload is not None:
            self._upload.ask_again(now)
        elif cast("RequestBody", self._body).spill(self._forwarder.spools, self.request):
            self._forwarder.streams.waiting.pop(self, None)
            self._client.flow.resume()
            self._client.expect_progress(now)
        elif self._place(now):
            self._enter(now)

    def start(self, now: float) -> None:
        """Send the request: at once over an idle connection, else as soon as one is open."""
        forwarder = self._forwarder
        head = self.head
        upgrade = head.upgrade
        if upgrade and not forwarder.streams.may_enter(self.request):
            self._end(NO_ROOM, now, Fault.STREAMS_FULL)
            return
        attempts = self._attempts
        pool = forwarder.pool
        tried = () if attempts is None else attempts.tried
        server = pool.choose(now, tried)
        if server is None:
            self._end(FAILED, now, Fault.UPSTREAM_REFUSED if tried else Fault.UPSTREAM_UNAVAILABLE)
            return
        self._server = server
        server.outstanding += 1
        # A second attempt opens a connection of its own: after a restart of the server all that were kept are stale.
        if attempts is None:
            connection: Carrier | None
            if server.http2 and not upgrade:
                connection = pool.stream(server)
            else:
                connection = pool.take(server, now, fresh=head.method not in IDEMPOTENT)
            if connection is not None:
                self._send(connection, now)
                return
            attempts = self._attempts = Attempts()
        self.state = CONNECTING
        self._client.watch.connecting()
        attempts.connecting = forwarder.loop.create_task(self._connect(server, attempts))

    async def _connect(self, server: Server, attempts: Attempts) -> None:
        forwarder = self._forwarder
        pool = forwarder.pool
        try:
            connection = await pool.connect(server, self._preamble(), self.head.upgrade != b"")
        except CONNECT_ERRORS as error:
            attempts.connecting = None
            self._not_connected(server, attempts, error, forwarder.clock())
            return
        except Exception:
            # A bug. The loop's handler tells of it; the client must not wait for ever meanwhile.
            attempts.connecting = None
            self._end(FAILED, forwarder.clock(), Fault.INTERNAL)
            raise
        attempts.connecting = None
        if self.state == ENDED:
            pool.give_back(connection, forwarder.clock())
        elif connection.usable():
            self._send(connection, forwarder.clock())
        else:  # it was closed again, or spoke before it was asked
            self._connection = connection
            self.upstream_failed(Fault.UPSTREAM_CLOSED)

    def _preamble(self) -> bytes:
        version = self._forwarder.pool.settings.proxy_protocol
        return b"" if version == "off" else write(version, self._client.ends_of(self.request.client.address))

    def _not_connected(self, server: Server, attempts: Attempts, error: BaseException, now: float) -> None:
        """No connection to `server` could be opened: try another one, if there is one."""
        forwarder = self._forwarder
        pool = forwarder.pool
        if out_of_files(error):
            pool.no_files(server)
            self._end(NO_ROOM, now, Fault.OUT_OF_FILES)
            return
        fault = Fault.UPSTREAM_TIMEOUT if isinstance(error, TimeoutError) else Fault.UPSTREAM_REFUSED
        self._blame(server, fault, now)
        forwarder.log.event("upstream_connect_failed", server=server.name, error=str(error) or type(error).__name__)
        if attempts.number < max(1, pool.settings.retries) and len(pool.servers) > 1:
            self._leave(now)
            attempts.failed(server, avoid=True)
            self.start(now)
        else:
            self._end(FAILED, now, fault)

    def _send(self, connection: Carrier, now: float) -> None:
        self.state = SENT
        self._connection = connection
        body = self._body
        turns = self._forwarder.turns
        turn = turns.current if turns.open else turns.begin()
        if body is None:
            connection.send(self, self.head, self._suffix, self.request_id, turn)
            self._client.watch.first_byte(now)
        elif body.in_memory():
            connection.send(self, self.head, self._suffix, self.request_id, turn, body.pieces, True, body.trailers)
            self._client.watch.first_byte(now)
        else:
            self._send_kept(connection, body, turn, now)

    # its body, while it is sent

    def _send_kept(self, connection: Carrier, body: RequestBody, turn: Turn, now: float) -> None:
        """Send the request and what is here of its body, which is not whole or does not lie in memory."""
        if body.done and self.slot is not None:  # it has come whole after all
            self.slot.granted()
        upload = self._upload = Upload(self, body, self._client, self._forwarder, connection, now)
        try:
            pieces = upload.first()
        except OSError as error:
            self.on_unreadable(error, now)
            return
        connection.send(self, self.head, self._suffix, self.request_id, turn, pieces, upload.over, body.trailers)
        upload.drain(now)

    def on_uploaded(self, now: float) -> None:
        """The server has the whole request."""
        if self.state == SENT:
            self._client.watch.first_byte(now)

    def on_caught_up(self, now: float) -> None:
        """The server has what is here of the body: the client is what is waited for. For a call it may be at work
        already, as for any other request: that keeps its slot until the server answers, or has been silent for as long
        as a request takes."""
        if not self._open_ended:
            self._give_slot_back(now, lagging=True)
        elif self.state == RESPONDING:
            self._give_slot_back(now, lagging=False)
            self._client.watch.next_event(now)
        else:
            forwarder = self._forwarder
            forwarder.loop.call_later(forwarder.engine.work_takes(self.request), self._on_silence)

    def _on_silence(self) -> None:
        """The server of a call has not answered: it waits for what the client says next, unless that was all."""
        if self.state == SENT and not cast("RequestBody", self._body).done:
            self._give_slot_back(self._forwarder.clock(), lagging=False)

    def on_unreadable(self, error: OSError, now: float) -> None:
        """The disk does not give the body back."""
        self._forwarder.spools.failed(error)
        self._end(BROKEN if self.state == RESPONDING else FAILED, now, Fault.INTERNAL)

    def on_no_slot(self, now: float) -> None:
        """There was none for the end of the body for too long."""
        self._end(TRICKLED if self.state == RESPONDING else SHED, now)

    # from the upstream connection: the upstream takes or refuses our bytes

    def upstream_full(self) -> None:
        """The upstream reads slower than it is sent to."""
        if self._upload is not None:
            self._upload.on_full()

    def upstream_drained(self) -> None:
        """The upstream has caught up."""
        if self._upload is not None:
            self._upload.on_drained()

    # from the upstream connection: the response

    def on_interim(self, status: int, fields: list[bytes]) -> None:
        """1xx: passed on to clients that may understand it; 100 is ours to say, and was said."""
        client = self._client
        if status != 100:
            client.response.interim(self.head, status, fields)
        connection = self._connection
        if connection is not None and connection.sent is not None:  # it is at work: 102 says nothing else
            client.watch.first_byte(self._forwarder.clock())

    def on_head(self, status: int, fields: list[bytes], length: int, declared: int, endless: int) -> bool:
        """The head of the final response."""
        forwarder = self._forwarder
        now = forwarder.clock()
        stream = endless == EVENTS
        if stream and not self._room_for_stream(now):
            return False
        self.state = RESPONDING
        # A response may come before the request has been sent whole; then there is nothing to measure.
        connection = self._connection
        sent = connection.sent if connection is not None else None
        if sent is None:
            self._outcome = Outcome(status, NO_RTT, stream)
        else:
            turns = forwarder.turns
            turn = turns.current if turns.open else turns.begin()
            rtt = turn.began - sent.settled
            self._outcome = Outcome(status, max(0.0, rtt), stream, turn.began - turn.since)
        client = self._client
        head = self.head
        if self.request.grant and status < 400:
            fields += forwarder.earned.fields(self.request, head, fields, client.secure or head.secure, now)
        if forwarder.budgets is not None:
            fields += forwarder.budgets.fields(self.request, fields, now)
        if head.origin:
            forwarder.origins.learn(head.host, head.origin, fields, now)
        body = self._body
        chunked = client.response.head(head, status, fields, length, declared, body is None or body.done)
        if self._open_ended and body is not None and not body.done:
            self._give_slot_back(now, lagging=False)
        elif endless == CALL:
            self._open_ended = True
        elif endless:
            self._give_slot_back(now, lagging=False)
        return chunked

    def on_body(self, piece: bytes) -> None:
        """Payload of the response."""
        self.body_sent += len(piece)
        self._client.response.body(piece)

    def on_chunks(self, chunks: list[bytes], payload: int) -> None:
        """The same in chunks with `payload` bytes in all."""
        self.body_sent += payload
        self._client.response.chunks(chunks)

    def on_trailers(self, lines: Sequence[bytes]) -> None:
        """The fields behind it, which a client gets that takes any."""
        if wanted(self.head.headers.get("TE")):
            fields = passable(lines)
            if fields:
                self._client.response.trailers(fields)

    def on_call_status(self, status: int) -> None:
        """The response, whose status of HTTP is 200, is the answer to a call that failed: this one says the same."""
        if self._outcome is not None:
            self._outcome.status = status

    def shortcut(self) -> Shortcut | None:
        """A way from the server's socket to the client's, if both are plain ones."""
        pipe = self._forwarder.pipe
        return self._client.shortcut(pipe) if pipe.open() else None

    def on_passed(self, size: int) -> None:
        """Payload of the response that has gone to the client already."""
        self.body_sent += size
        self._client.passed(size)

    def flush(self) -> None:
        """Hand what one read brought to the client; when the client is slow, read ahead as far as there is room."""
        client = self._client
        client.flush()
        if self.state == RESPONDING:
            now = self._forwarder.clock()
            slot = self.slot
            if slot is None or not (slot.returned or slot.measured()):
                self._pace(now)
            if not client.flow.blocked:
                if self._open_ended:
                    client.watch.next_event(now)
                elif slot is None or not slot.returned:
                    client.watch.next_byte(now)
                else:
                    self._expect_more(now)
            elif not client.read_ahead(now):
                self._lag(now)

    def finish(self) -> None:
        """The response is complete."""
        if self.state == RESPONDING:
            forwarder = self._forwarder
            now = forwarder.clock()
            server, outcome = self._server, self._outcome
            if server is not None and outcome is not None and (server.failures or outcome.status >= 502):
                forwarder.pool.answered(server, outcome.status, now)
            self._end(RESPONDED, now)

    def upstream_failed(self, fault: Fault, rule: Rule | None = None) -> None:
        """The connection broke, or what came is no response: it breaks `rule`."""
        if self.state == ENDED:
            return
        now = self._forwarder.clock()
        connection = cast("Carrier", self._connection)
        server = cast("Server", self._server)
        body = self._body
        untouched = self.state != RESPONDING and connection.silent() and (body is None or body.replayable)
        # A kept connection that the server has closed in the meantime says nothing about the server.
        stale = fault in _NO_ANSWER and untouched and connection.used_before
        pool = self._forwarder.pool
        if not stale:
            self._blame(server, fault, now)
        if untouched and fault in _NO_ANSWER and self.head.method in IDEMPOTENT:
            attempts = self._attempts
            if attempts is None:
                attempts = self._attempts = Attempts()
            retries = pool.settings.retries
            again = stale and attempts.number < 1 + retries
            if again or attempts.number < retries:
                self._leave(now)
                attempts.failed(server, avoid=not again and len(pool.servers) > 1)
                self.start(now)
                return
        self._end(BROKEN if self.state == RESPONDING else FAILED, now, fault, rule)

    def upstream_refused(self) -> None:
        """The server has not looked at the request: it may be sent again, whatever it is."""
        if self.state == ENDED:
            return
        now = self._forwarder.clock()
        server, body, pool = cast("Server", self._server), self._body, self._forwarder.pool
        attempts = self._attempts
        if attempts is None:
            attempts = self._attempts = Attempts()
        if (body is None or body.replayable) and attempts.number < 1 + pool.settings.retries:
            self._leave(now)
            attempts.failed(server, avoid=False)
            self.start(now)
            return
        pool.failed(server, Fault.UPSTREAM_REFUSED, now)
        self._end(FAILED, now, Fault.UPSTREAM_REFUSED)

    def _blame(self, server: Server, fault: Fault, now: float) -> None:
        """Hold a failure against a server; not that one of HTTP/2 does not speak HTTP/1.1, in which a WebSocket is
        asked for: anybody can ask."""
        if not (server.http2 and self.head.upgrade):
            self._forwarder.pool.failed(server, fault, now)

    # slow ones

    def client_drained(self, now: float) -> None:
        """The client has caught up: read on."""
        if self._connection is not None:
            self._connection.resume()
            self._expect_more(now)

    def _expect_more(self, now: float) -> None:
        """Wait for the service: an event stream may be silent as long as a WebSocket."""
        watch, outcome = self._client.watch, self._outcome
        if self._open_ended or (outcome is not None and outcome.stream):
            watch.next_event(now)
        else:
            watch.next_byte(now)

    def on_deadline(self, now: float) -> None:
        """The client's side has waited for the upstream for too long, or its body for room."""
        if self in self._forwarder.streams.waiting:
            self._end(NO_ROOM, now, Fault.STREAMS_FULL)
        elif self._connection is not None:
            # A server may have no events to tell of.
            if self._outcome is None or not (self._outcome.stream or self._open_ended):
                self._blame(cast("Server", self._server), Fault.UPSTREAM_TIMEOUT, now)
            self._end(BROKEN if self.state == RESPONDING else FAILED, now, Fault.UPSTREAM_TIMEOUT)

    def _lag(self, now: float) -> None:
        """The client is slow, and there is no room to read ahead of it: stop reading, and give the slot back.

        The upstream is not free by that: a service with a thread for each request is held by slow readers as by
        requests. So there are at most as many of these as there are slots. One beyond that keeps its slot, for as long
        as on_pace() says.
        """
        slot = self.slot
        cast("Carrier", self._connection).pause()
        self._client.expect_progress(now)
        if (slot is not None and slot.placed) or self._may_lag():
            self._give_slot_back(now, lagging=True)

    def _may_lag(self) -> bool:
        forwarder = self._forwarder
        return forwarder.streams.may_lag(self.request, forwarder.engine.concurrency_limit)

    def _room_for_stream(self, now: float) -> bool:
        """Whether there is a place among the streams for what the service has just begun; else it is told so."""
        slot = self.slot
        if (slot is not None and slot.placed) or self._forwarder.streams.make_room(self.request, now):
            return True
        self._end(NO_ROOM, now, Fault.STREAMS_FULL)
        return False

    def _give_slot_back(self, now: float, lagging: bool, stream: Stream | None = None) -> bool:
        """Go on without a concurrency slot, as one of the streams; when there is no place among these, with it. Whether
        it does. `stream` is what goes on, if not this."""
        forwarder = self._forwarder
        slot = self.slot
        if slot is None:
            slot = self.slot = Slot(forwarder.streams)
        if slot.returned or not (slot.placed or forwarder.streams.make_room(self.request, now)):
            return slot.returned
        slot.give_back(stream or self, self.request, lagging)
        if lagging:
            slot.too_slow(self)
        forwarder.resume(forwarder.engine.release(self.request, now), now)
        return True

    def _pace(self, now: float) -> None:
        """The response is under way, and a slot is held: measure from now on how fast the service writes it."""
        slot = self.slot
        if slot is None:
            slot = self.slot = Slot(self._forwarder.streams)
        slot.measure(self, self.body_sent, now)

    def on_pace(self, now: float) -> None:
        """A response that has moved too slowly since it was last looked at loses its slot.

        Else as many trickles as there are slots would keep everybody out, for as long as they like. Who is slow for
        good reason does not notice: there is room for as many beside the slots, and what has no room keeps its slot
        while nobody waits for it. When somebody does, of all slow ones the one is ended whose client, address or
        network has most of them (policy/shares.py); nobody is, for somebody who has as many. Under pressure slow ones
        without a place are ended for anybody who waits.
        """
        slot = cast("Slot", self.slot)
        forwarder = self._forwarder
        engine = forwarder.engine
        if slot.returned:
            slot.stop_measuring()
        elif slot.fast_enough(self.body_sent, now):
            slot.not_slow()
            self._pace(now)
        elif self._step_aside(slot, now):
            slot.stop_measuring()
        else:
            slot.too_slow(self)
            self._pace(now)
            waiting = engine.next_waiting
            if waiting is not None:
                victim = forwarder.streams.for_whom(waiting)
                if victim is not None:
                    victim.give_way(now)
                elif engine.pressed and self.request.tier >= Tier.T2:
                    self.give_way(now)
                if self.state != ENDED and self._step_aside(slot, now):
                    slot.stop_measuring()

    def _step_aside(self, slot: Slot, now: float) -> bool:
        """Give the slot back if there is a place among the laggards; for a call, among the streams, as its service says
        something when something happens. Whether there was."""
        outcome = self._outcome
        if self._open_ended and outcome is not None and not self._client.flow.blocked:
            outcome.stream = self._give_slot_back(now, lagging=False)
            return outcome.stream
        return (slot.placed or self._may_lag()) and self._give_slot_back(now, lagging=True)

    def give_way(self, now: float) -> None:
        """End: somebody waits who has less than its client, address or network."""
        if self.state == RESPONDING:
            self._end(SLOW_READER if self._client.flow.blocked else TRICKLED, now)
        else:
            self._end(NO_ROOM, now, Fault.STREAMS_FULL)

    # tunnels

    def switch(self, protocol: bytes, fields: list[bytes], tail: bytes) -> None:
        """101: from here on bytes pass unread in both directions, `tail` first."""
        connection = cast("Carrier", self._connection)
        forwarder = self._forwarder
        now = forwarder.clock()
        if not self._room_for_stream(now):
            return
        self.state = TUNNEL
        self._connection = None  # it is the tunnel's
        sent = connection.sent
        self._outcome = Outcome(101, now - sent.settled if sent is not None else NO_RTT, True)
        client = self._client
        tunnel = Tunnel(self, client, connection, forwarder)
        self._give_slot_back(now, lagging=False, stream=tunnel)
        client.open_tunnel(tunnel, protocol, fields, tail, now)

    def tunnel_closed(self, now: float, cut: Ending | None = None) -> None:
        """The tunnel that came of this request has ended, or was `cut`."""
        if cut is None:
            self._end(TUNNELLED, now)
        else:
            self._forwarder.metrics.faults[cut.counter] += 1
            self._end(cut, now)

    # the end

    def abandon(self, now: float) -> None:
        """The client has left, or was sent away: stop wherever it is and free everything."""
        if self.state != ENDED:
            self._end(LEFT, now)

    def displaced(self, now: float) -> None:
        """The client's connection was closed to make room for others."""
        self._end(DISPLACED, now)

    def unread(self, now: float) -> None:
        """The client has not read its response for too long."""
        self._end(UNREAD, now)

    def spoiled(self, fault: Fault, now: float, rule: Rule | None = None) -> None:
        """The client's side ends it for what is wrong with the request's body, and answers that itself. `rule`: the one
        that the body breaks, if it breaks one."""
        self._end(SPOILED_LATE if self.state == RESPONDING else SPOILED, now, fault, rule)

    def _end(self, ending: Ending, now: float, fault: Fault | None = None, rule: Rule | None = None) -> None:
        """The one way out of every state: free everything, and tell everybody what endings.py says."""
        forwarder = self._forwarder
        request = self.request
        was_sent = self.state >= SENT
        self.state = ENDED
        request.owner = None  # a cycle per request would be work for the garbage collector
        name = ""  # of the server tried last, whether or not that was the one to blame
        if self._attempts is not None:
            self._attempts.cancel()
            name = self._attempts.last
        body = self._body
        if self.slot is not None or self._upload is not None or (body is not None and not body.in_memory()):
            self._let_go(now)
        elif body is not None:  # it lay in memory and was sent in one piece
            body.close()
        if self._server is not None:
            name = self._server.name
            self._leave(now, ending.reuse)
        outcome = self._outcome
        released: Sequence[Request]
        if fault is None and outcome is not None and ending.told == LEARN:
            status = outcome.status
            metrics = forwarder.metrics
            metrics.upstream_responses[status // 100] += 1
            metrics.request_seconds[request.tier].observe(now - self.started)
            if outcome.rtt >= 0.0:
                metrics.upstream_seconds.observe(outcome.rtt)
                if forwarder.log.traces is not None:
                    forwarder.log.traces.answered(request, outcome.rtt)
            released = forwarder.engine.learn(request, outcome, now)
        else:
            status, released = self._tell_policy(ending, now, fault, was_sent)
        client = self._client
        if ending.logs:
            seconds, request_id = now - self.started, self.request_id.decode("ascii")
            word = ending.counter if fault is None else fault.value
            told = "" if rule is None else rule._value_
            if told:
                side = "request" if ending in (SPOILED, SPOILED_LATE) else "response"
                forwarder.metrics.rules[side][told] += 1
            forwarder.log.request(
                now, request, status, seconds, self.body_sent, name, request_id, word, client.ja4, told, self.head.http
            )
        if released:
            forwarder.resume(released, now)
        client.ended(ending.seen, fault, now)

    def _tell_policy(
        self, ending: Ending, now: float, fault: Fault | None, was_sent: bool
    ) -> tuple[int, Sequence[Request]]:
        """Count and tell the policy an ending without a whole response. The status for the log, and the requests whose
        verdict has changed with it."""
        forwarder = self._forwarder
        request, outcome = self.request, self._outcome
        status = ending.logged
        if fault is not None:
            forwarder.metrics.faults[fault.value] += 1
            if status == OF_FAULT:
                status = fault.status
        elif ending.counter:
            forwarder.metrics.faults[ending.counter] += 1
        if status == OF_RESPONSE:
            status = CLIENT_LEFT if outcome is None else outcome.status
        if ending.told == LEARN:
            learned = Outcome(status, NO_RTT)
            if outcome is not None:
                learned = Outcome(ending.learned or status, outcome.rtt, outcome.stream)
            return status, forwarder.engine.learn(request, learned, now)
        if ending.told == CANCEL:
            if ending.refunds_unsent:
                request.body_pending = not was_sent
            return status, forwarder.engine.cancel(request, now, was_sent and outcome is None)
        return status, ()

    def _let_go(self, now: float) -> None:
        """The exchange is over: free its place among the streams, and what is kept of its request's body."""
        forwarder = self._forwarder
        slot, body = self.slot, self._body
        if slot is not None:
            if slot.awaited:
                forwarder.engine.withdraw(self.request)
            slot.end()
        if body is not None:
            forwarder.streams.waiting.pop(self, None)
            if self._upload is not None:
                self._upload.end(now, held=slot is None or not slot.returned)
            body.close()

    def _leave(self, now: float, reuse: bool = False) -> None:
        """Part from the server and from the connection to it, if there is one. `reuse`: the response has been read to
        its end.

        Nothing else does, but that switch() hands the connection to the tunnel, which closes it. The server is left
        here then too, when the tunnel has ended.
        """
        server = self._server
        if server is not None:
            self._server = None
            server.outstanding -= 1
        connection = self._connection
        if connection is not None:
            self._connection = None
            upload = self._upload
            if upload is not None:
                self._upload = None
                upload.stop()
            if reuse and (upload is None or upload.over) and not self.head.doubtful and connection.detach():
                self._forwarder.pool.give_back(connection, now)
            else:
                connection.close()
