"""One client connection of HTTP/2: bytes -> events of its session -> streams, and back.

    transport -- Http2Connection -- Session (libnghttp2)
                       |
                 Stream, Stream, ... -> Exchange

Each stream is a request like any other (stream.py). Here is what they have in common: the transport, the session, how
much is sent at a time, what may be asked of the connection itself (calm.py), and its end.

Deadlines: a stream has those of a request over HTTP/1. The connection has one of its own before its first request and
from the beginning of each frame or header block that does not come whole (`timeouts.header`), while no stream is open
(`timeouts.keep_alive`), and while its transport takes no more (`timeouts.progress`). PING and other frames of control
move none of them.

Its end is said in two steps (RFC 9113 section 6.8): first that no more streams should be opened, then, a round trip
later, which one was the last; it closes with the last of them.

Bytes pinned per connection: the session's (HPACK's tables of 4 KiB each way, a header block), for each of MOST_STREAMS
streams at most STREAM_HIGH and one read of its response, unless more is read ahead (flow.py), of its request what the
exchange keeps, and WRITE_HIGH in the transport. What waits in the session counts as unsent (`http.unsent_bytes`).
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Container
from typing import TYPE_CHECKING, Any, Final

from ngh2 import (
    ConnectionClosed,
    DataReceived,
    ErrorCode,
    Event,
    GoAwayReceived,
    PingAcknowledged,
    PingReceived,
    PriorityUpdateReceived,
    RequestReceived,
    SettingsReceived,
    StreamClosed,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)

from shield.client.answering import NOT_YET
from shield.client.crowding import NOTHING_UNDER_WAY, NOWHERE, UNDER_WAY, UNREAD, UNREAD_SECONDS, UNSENT
from shield.client.ends import address_of, both_ends, enter, reset
from shield.client.flow import WRITE_HIGH, Flow
from shield.client.h2.calm import BLAMELESS, Budget, Calm
from shield.client.h2.edge import Edge
from shield.client.h2.response import Http2Response
from shield.client.h2.session import SessionError, goaway
from shield.client.h2.stream import Stream
from shield.client.peer import Peer
from shield.client.watch import LAST_SECONDS, NEVER, Watch
from shield.exchange.endings import READ_TIMEOUT
from shield.http.fields import Fields
from shield.http.head import Head
from shield.http.http2_head import Http2Heads, Pairs
from shield.http.rules import Broken, Rule
from shield.model import Fault, Signal
from shield.readers import Reader
from shield.wire.client_hello import NO_PROGRAM, Program

if TYPE_CHECKING:
    from shield.client.serving import Serving
    from shield.replies.redirect import Redirect
    from shield.wire.proxy_protocol import Ends

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What every connection of HTTP/2 begins with (RFC 9113 section 3.4)."""
PREFACE_HEAD: Final = PREFACE[:18]
"""What of it looks like a head of HTTP/1."""
PUMP_BYTES: Final = 64 * 1024
"""bytes that are taken from the session at a time."""

LONG_BLOCK: Final = 16384
"""bytes that no client need send in one frame (RFC 9113 section 4.2). HPACK makes 64 KiB 40 KiB at best."""

PROTOCOL_ERROR: Final = "http2_error"
"""The fault of a connection, or of a stream without a request, that breaks HTTP/2."""
FLOOD: Final = "http2_flood"
"""The fault of a connection that exceeds a budget of calm.py; the log's detail says which."""

_MISSED: Final = frozenset({Rule.HOST_DIFFERS, Rule.SCHEME, Rule.TARGET_FORM, Rule.FIELD_NAME, Rule.TARGET})
"""Rules besides those that are charged whose breach makes a request malformed (RFC 9113 section 8.1.1): its stream is
reset. What breaks any other is answered."""
_TOLD: Final = (b":method", b":path", b"accept")
"""The fields that are looked at in a request whose head is not read: by them the form of its answer is chosen, and the
log names it."""
_CONTROL: Final = frozenset({SettingsReceived, PingReceived, WindowUpdated, PriorityUpdateReceived})


class Http2Connection(asyncio.Protocol):
    """One client's connection, and its streams by their numbers.

    More than 15 attributes: everything that belongs to a connection meets here.
    """

    __slots__ = (
        "_barred",
        "_blocked",
        "_closing",
        "_counted",
        "_edge",
        "_ends",
        "_farewell",
        "_finishing",
        "_heads",
        "_last",
        "_leaving",
        "_owed",
        "_program",
        "_pumping",
        "_queued",
        "_streams",
        "_stuck",
        "_unasked",
        "calm",
        "flow",
        "ja4",
        "peer",
        "redirect",
        "seat",
        "secure",
        "server_name",
        "serving",
        "session",
        "transport",
        "watch",
        "whereabouts",
    )

    def __init__(
        self,
        serving: Serving,
        ends: Ends | None = None,
        program: Program = NO_PROGRAM,
        redirect: Redirect | None = None,
    ) -> None:
        """See ClientConnection."""
        self.serving = serving
        self.redirect = redirect
        self._ends = ends
        self._program = program
        self.server_name = program.server_name  # the host for which it was made
        self.transport: Any = NOT_YET
        self.seat = -1
        self.whereabouts = NOWHERE
        self._streams: dict[int, Stream] = {}
        self._blocked: set[Stream] = set()  # those for which too much waits in the session
        self._finishing: set[Stream] = set()  # answered, while their requests go on
        self._unasked = 0  # bytes that the next request may have come in: its head may have begun behind the last one's
        self._last = 0  # the number of the last stream that was served
        self._counted = 0  # bytes in the session that the backlog knows of
        self._stuck = False  # the transport takes no more
        self._pumping = self._queued = False
        self._farewell: tuple[int, bytes] | None = None  # the client's own last word
        self._leaving = 0  # steps of its end that were said
        self._edge = Edge(len(PREFACE))
        self._owed = NEVER  # when the rest of what has begun to come must be there
        self._closing = False

    def __repr__(self) -> str:
        if self.transport is NOT_YET:
            return "<Http2Connection not made yet>"
        state = "closing" if self._closing else "leaving" if self._leaving else "open"
        return f"<Http2Connection {self.peer.address} {state}, {len(self._streams)} streams, {self.watch} {self.flow}>"

    # asyncio.Protocol

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.set_write_buffer_limits(high=WRITE_HIGH)
        serving = self.serving
        address = address_of(transport, self._ends)
        self.secure = transport.get_extra_info("sslcontext") is not None
        scheme = "https" if self.secure else "http"
        self.peer = Peer(serving.recognition, address, scheme, self._program)
        self.ja4 = self.peer.ja4
        now = serving.clock()
        if serving.hosting is not None and self.server_name:
            self.serving = serving = serving.hosting.of(self.server_name.encode("latin-1")) or serving
        # Whether its address was banned, for all who show nothing, when last looked at.
        self._barred = serving.shut_out.verdict(address, now) is not None and self.redirect is None
        connections = serving.connections
        self.watch = Watch(serving.limits, now, connections.draining)
        self.flow = Flow(transport, connections.ahead)
        self.calm = Calm(now)
        self._heads = Http2Heads(serving.heads, scheme.encode("ascii"), self.peer.trusted)
        self.session = serving.http2.begin(self.peer.trusted)
        connections.opened(self)
        if enter(self, serving, transport, address, self.secure):
            self.pump_soon()

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self._drop_streams(self.serving.clock())
        self.session.over = True
        self._count()
        self.serving.connections.closed(self)

    def eof_received(self) -> bool:
        """No client of HTTP/2 closes its half and goes on reading."""
        now = self.serving.clock()
        self._closing = True
        self._drop_streams(now)
        self.watch.closing(now)
        return False

    def pause_writing(self) -> None:
        self._stuck = True
        self.watch.client_reading(self.serving.clock(), self.flow.taken())

    def resume_writing(self) -> None:
        self._stuck = False
        if not self._closing:
            self._wait(self.serving.clock())
            self.pump()

    def data_received(self, data: bytes) -> None:
        serving = self.serving
        serving.metrics.bytes_in += len(data)
        if self._closing:
            return
        now = serving.clock()
        calm = self.calm
        calm.pass_time(now)
        try:
            events = self.session.read(data)
        except SessionError as error:
            self._fail(error, now)
            return
        last = self._last
        self._unasked += len(data)
        self._handle(events, now, len(data))
        if self._last != last:
            self._unasked = len(data)
        self._follow(data, now)
        exceeded = calm.read(len(data))
        if exceeded is not None:
            self._calm_down(exceeded, now)
        self.pump_soon()

    def _follow(self, data: bytes, now: float) -> None:
        """Have the rest of a frame or of a header block come in the time that a head has."""
        edge = self._edge
        edge.read(data)
        if edge.inside():
            if self._owed == NEVER:
                self._owed = now + self.watch.limits.head
                self.watch.deadline = min(self.watch.deadline, self._owed)
        elif self._owed != NEVER:
            self._owed = NEVER
            if self._streams and not self._closing:
                self._wait(now)

    # what the session tells

    def _handle(self, events: list[Event], now: float, size: int = 0) -> None:
        """What `size` bytes have brought, or what has come of sending."""
        closed = {each.stream_id for each in events if type(each) is StreamClosed} if len(events) > 1 else ()
        calm = self.calm
        exceeded: Budget | None = None
        for event in events:
            kind = type(event)
            if kind is RequestReceived:
                calm.asked(size)
                self._open(event, now, closed)  # type: ignore[arg-type]
            elif kind is DataReceived:
                exceeded = exceeded or self._take(event, now)  # type: ignore[arg-type]
            elif kind is StreamClosed:
                exceeded = exceeded or self._closed(event, now)  # type: ignore[arg-type]
            elif kind is StreamReset:
                stream = self._streams.get(event.stream_id)  # type: ignore[attr-defined]
                if stream is not None:
                    stream.cancelled = True
                exceeded = exceeded or calm.reset()
            elif kind in _CONTROL:
                exceeded = exceeded or calm.control()
            elif kind is TrailersReceived:
                self._end_request(event, now)  # type: ignore[arg-type]
            elif kind is PingAcknowledged:
                if self._leaving == 1:
                    self._refuse_more()
            elif kind is GoAwayReceived:
                self._farewell = event.error_code, event.debug_data  # type: ignore[attr-defined]
            elif kind is ConnectionClosed:
                self._over(event, now)  # type: ignore[arg-type]
            if self._closing:
                return
        if exceeded is not None:
            self._calm_down(exceeded, now)

    def _open(self, event: RequestReceived, now: float, closed: Container[int]) -> None:
        """A request. The streams that were `closed` in the same read are gone already."""
        number = event.stream_id
        self._last = number
        serving = self.serving
        if self._barred and self._turned_away(event, now):
            return
        if now >= self.watch.expires and not self._leaving:
            serving.connections.crowding.expired()
            self._leave(now)
        response = Http2Response(self.session, number, serving.field_pairs, self.secure)
        stream = Stream(self, number, response, event.end_stream, now)
        stream.gone = stream.cancelled = number in closed
        if not self._streams:
            self.watch.nothing()
        self._streams[number] = stream
        serving.connections.streams.add(stream)
        try:
            head = self._heads.read(event.headers, event.end_stream, _websocket_key, self._unasked)
        except Broken as broken:
            self._refuse_head(stream, event.headers, broken.rule, now)
        else:
            stream.begin(head, now)

    def _turned_away(self, event: RequestReceived, now: float) -> bool:
        """Whether the ban of the address is the answer to a request, whose head has not been read. It was sent, then,
        and the connection ends."""
        serving, peer = self.serving, self.peer
        shut_out, pairs = serving.shut_out, event.headers
        verdict = shut_out.verdict(peer.address, now)
        if verdict is None or shut_out.fields_may_be_spared(pairs):
            return False
        known = dict(pairs)
        asked = b"%b %b HTTP/2\r\naccept: %b" % tuple(known.get(name, b"") for name in _TOLD)
        message = shut_out.refuse(verdict, peer.address, asked, now, self.ja4, "2")
        block, _, body = message.partition(b"\r\n\r\n")
        response = Http2Response(self.session, event.stream_id, serving.field_pairs, self.secure)
        first, *lines = block.split(b"\r\n")
        response.say(int(first.split(b" ")[1]), lines, body)
        self._say_last()
        self._bye(ErrorCode.NO_ERROR, now, linger=True)
        return True

    def note_ban(self) -> None:
        """The address is banned: what it asks next need not be read."""
        self._barred = not self.peer.trusted

    def _refuse_head(self, stream: Stream, pairs: Pairs, rule: Rule, now: float) -> None:
        """A head that breaks `rule`: answer it, or reset its stream, and blame who must have meant it."""
        serving = self.serving
        metrics = serving.metrics
        metrics.rules["request"][rule.value] += 1
        metrics.faults[rule.fault.value] += 1
        known = dict(pairs)
        method, path = known.get(b":method", b""), known.get(b":path", b"")
        stream.asked = b"%b %b" % (method, path)
        if not rule.charged and rule not in _MISSED:
            head = Head()
            head.method, head.path = method.decode("latin-1"), path.decode("latin-1")
            head.headers = Fields(b"\r\n\r\n")
            head.http = "2"
            stream.refuse(head, rule, Reader(b"text/html" in known.get(b"accept", b"")), now)
            return
        serving.log.fault(
            now, self.peer.address, rule.fault.value, ja4=self.ja4, head=stream.asked, rule=rule.value, http="2"
        )
        stream.reset(ErrorCode.PROTOCOL_ERROR)
        if rule.charged:
            self._blame(now, b"\nuser-agent: %b" % known.get(b"user-agent", b""))
        exceeded = self.calm.error()
        if exceeded is not None:
            self._calm_down(exceeded, now)

    def _take(self, event: DataReceived, now: float) -> Budget | None:
        """Payload of a request."""
        data = event.data
        stream = self._streams.get(event.stream_id)
        if stream is None or stream.gone:
            self.session.take(event.stream_id, len(data))
        else:
            stream.data(data, event.end_stream, now)
        if data:
            self.calm.received(len(data))
        elif not event.end_stream:
            return self.calm.control()
        return None

    def _end_request(self, event: TrailersReceived, now: float) -> None:
        """Trailers end a request."""
        stream = self._streams.get(event.stream_id)
        if stream is not None and not stream.gone:
            stream.trailers(event.headers, now)

    def _closed(self, event: StreamClosed, now: float) -> Budget | None:
        """A stream is no more."""
        stream = self._streams.pop(event.stream_id, None)
        code = event.error_code
        if stream is None:  # no request ever came of it
            if code == ErrorCode.REFUSED_STREAM:  # it was one too many
                return self.calm.reset()
            return self._broken_stream(Rule.STREAM_ERROR, now)
        self.serving.connections.streams.remove(stream)
        self._blocked.discard(stream)
        self._finishing.discard(stream)
        ours = not stream.cancelled and code != ErrorCode.NO_ERROR and event.local_error is None
        had = stream.has_work()
        stream.closed(code, now)
        if not self._streams:
            self._idle(now)
        if not ours:
            return None
        return self._broken_stream(Rule.STREAM_ERROR, now, logged=had)

    def _broken_stream(self, rule: Rule, now: float, logged: bool = False) -> Budget | None:
        """The library has reset a stream for what the client has sent on it. Its exchange, if it has had one, has
        counted and `logged` that."""
        serving = self.serving
        if not logged:
            serving.metrics.faults[PROTOCOL_ERROR] += 1
            serving.metrics.rules["request"][rule.value] += 1
            serving.log.fault(now, self.peer.address, PROTOCOL_ERROR, ja4=self.ja4, rule=rule.value, http="2")
        self._blame(now)
        return self.calm.error()

    def _over(self, event: ConnectionClosed, now: float) -> None:
        """The session has said its last word, which may still have to be sent, or the client has: it may leave for any
        reason."""
        code = event.error_code
        if (code, event.debug_data) == self._farewell:
            code = ErrorCode.NO_ERROR
        if code != ErrorCode.NO_ERROR:
            serving = self.serving
            serving.metrics.faults[PROTOCOL_ERROR] += 1
            detail = event.debug_data.decode("latin-1")
            serving.log.fault(now, self.peer.address, PROTOCOL_ERROR, detail=detail, ja4=self.ja4, http="2")
            if not (code == ErrorCode.COMPRESSION_ERROR and self._in_long_block()):
                self._blame(now)
        self._close(now, linger=code != ErrorCode.NO_ERROR)

    def _in_long_block(self) -> bool:
        """Whether the header block that has come last goes on beyond its first frame. The library takes a field of more
        than 64 KiB for a mistake of HPACK, and so ends the connection of a browser that a page has ask for that."""
        return self._edge.goes_on() or self._unasked > LONG_BLOCK

    def _fail(self, error: SessionError, now: float) -> None:
        """The session can say nothing more: say for it that it is over."""
        serving = self.serving
        fault = FLOOD if error.code == ErrorCode.ENHANCE_YOUR_CALM else PROTOCOL_ERROR
        serving.metrics.faults[fault] += 1
        serving.log.fault(now, self.peer.address, fault, detail=str(error), ja4=self.ja4, http="2")
        if error.blamed:
            self._blame(now)
        self._count()
        self._write(goaway(self._last, error.code))
        self._close(now, linger=True)

    def _calm_down(self, budget: Budget, now: float) -> None:
        """The client has exceeded a budget."""
        if self._closing:
            return
        serving = self.serving
        serving.metrics.faults[FLOOD] += 1
        serving.log.fault(now, self.peer.address, FLOOD, detail=budget.value, ja4=self.ja4, http="2")
        if budget not in BLAMELESS:
            self._blame(now)
        self._bye(ErrorCode.ENHANCE_YOUR_CALM, now)

    def _blame(self, now: float, head: bytes = b"", signal: Signal = Signal.MALFORMED) -> None:
        """Only a program can have done it, and no page can have made it."""
        peer = self.peer
        if not peer.trusted:
            self.serving.engine.report(peer.whose(head, now), signal, now)

    # sending

    def pump_soon(self) -> None:
        """Send at the end of this turn."""
        if not self._queued and not self._closing:
            self._queued = True
            self.serving.forwarder.turns.add(self)

    def settle(self) -> None:
        """The end of the turn (turns.Settled)."""
        self._queued = False
        self.pump()

    def fail(self, error: BaseException) -> None:
        """End the connection because of a bug."""
        self.serving.loop.call_exception_handler(
            {"message": "Fatal error on a connection of HTTP/2", "exception": error, "protocol": self}
        )
        self.cut()

    def pump(self) -> None:
        """Send what the windows and the transport let pass, and let those go on that waited for that."""
        if self._pumping or self._closing or self.transport.is_closing():
            return
        self._pumping = True
        now = self.serving.clock()
        try:
            while not self._closing:
                data, events = self.session.write(PUMP_BYTES) if not self._stuck else (b"", [])
                if data:
                    self._write(data)
                if events:
                    self._handle(events, now)  # what comes of that is sent by another call
                if len(data) < PUMP_BYTES and not ((self._blocked or self._finishing) and self._go_on(now)):
                    break
        except SessionError as error:
            self._fail(error, now)
        finally:
            self._pumping = False
        self._count()

    def _go_on(self, now: float) -> bool:
        """Nothing more can be sent for now: tell who has waited for that. Whether there may be more by that."""
        more = False
        for stream in list(self._blocked):
            if stream.drained(now):
                self._blocked.discard(stream)
        session = self.session
        for stream in list(self._finishing):
            if not session.unsent(stream.number) and session.may_send(stream.number) and not self._stuck:
                self._finishing.discard(stream)
                stream.reset(ErrorCode.NO_ERROR)
                more = True
        return more

    def _write(self, data: bytes) -> None:
        transport = self.transport
        if not transport.is_closing():
            size = len(data)
            self.flow.sent += size
            self.serving.metrics.bytes_out += size
            transport.write(data)

    def _count(self) -> None:
        """Keep the backlog's account of what waits in the session."""
        unsent = self.session.unsent()
        more = unsent - self._counted
        if more:
            self._counted = unsent
            self.serving.connections.crowding.backlog.changed(more)

    def block(self, stream: Stream) -> None:
        """Too much waits for a stream: tell it when there is less."""
        self._blocked.add(stream)
        self._count()

    def finishing(self, stream: Stream) -> None:
        """A stream has its answer. Once that has left, what is still to come of the request is not wanted."""
        if not stream.whole:
            self._finishing.add(stream)
        self.pump_soon()

    # its end

    def _idle(self, now: float) -> None:
        """The last stream has ended."""
        if self._closing:
            return
        if self._leaving == 2:
            self._bye(ErrorCode.NO_ERROR, now)
        elif self.serving.connections.draining and not self._leaving:
            self._leave(now)
        else:
            self._wait(now)

    def _wait(self, now: float) -> None:
        """Wait for what comes next."""
        watch = self.watch
        if self._stuck:  # first of all the client has to read
            return
        if self._leaving == 1:
            watch.nothing()
            watch.deadline = now + LAST_SECONDS
        elif self._streams:
            watch.nothing()
        else:
            watch.next_request(now, self.flow.sent)
        watch.deadline = min(watch.deadline, self._owed)

    def _leave(self, now: float) -> None:
        """Begin to end: no more streams should be opened."""
        self._leaving = 1
        self.session.announce_end()
        self._wait(now)
        self.pump_soon()

    def _refuse_more(self) -> None:
        """A round trip after that: no more are served."""
        self._leaving = 2
        now = self.serving.clock()
        if self._streams:
            self.session.refuse_more()
            self._wait(now)
            self.pump_soon()
        else:
            self._bye(ErrorCode.NO_ERROR, now)

    def _bye(self, code: ErrorCode, now: float, linger: bool = False) -> None:
        """End now, with a last GOAWAY. `linger` as in _close(); always after an error."""
        if self._closing:
            return
        self.session.end(code)
        self._stuck = False  # it is the last that is written
        self._say_last()
        self._close(now, linger=linger or code != ErrorCode.NO_ERROR)

    def _say_last(self) -> None:
        """Send what the session has to say; what comes of that is of no interest any more."""
        pumping, self._pumping = self._pumping, True
        try:
            data, _ = self.session.write(PUMP_BYTES)
        except SessionError:
            data = b""
        self._pumping = pumping
        self._write(data)

    def _close(self, now: float, linger: bool) -> None:
        """Close once everything is sent. `linger`: the client may be sending, and must not lose the last word to a
        reset."""
        self._closing = True
        self._drop_streams(now)
        transport = self.transport
        if not linger:
            transport.close()
            self.watch.closing(now)
            return
        if not self.secure and not transport.is_closing():
            transport.write_eof()
        self.flow.resume()
        self.watch.lingering(now)

    def _drop_streams(self, now: float) -> None:
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            self.serving.connections.streams.remove(stream)
            stream.abandon(now)
        self._blocked.clear()
        self._finishing.clear()

    def cut(self) -> None:
        """Close at once, whatever is in flight."""
        self.watch.nothing()
        self.transport.abort()

    def drain(self, now: float) -> None:
        """Shield is stopping."""
        if not self._leaving and not self._closing:
            self._leave(now)

    # crowding.Guest

    def stake(self, now: float) -> int:
        """What would be lost if the connection were closed now, as crowding.py puts it."""
        streams = self._streams.values()
        if any(not stream.answered() and not stream.pending_only() for stream in streams):
            return UNDER_WAY
        if any(not stream.answered() for stream in streams):
            return UNSENT
        if self.unsent():
            since = max([self.watch.answered(), *(stream.watch.answered() for stream in streams)], default=now)
            return UNREAD if now - since >= UNREAD_SECONDS else UNDER_WAY
        return UNDER_WAY if self.transport.is_closing() else NOTHING_UNDER_WAY

    def unsent(self) -> int:
        """bytes that wait for the client, framed or not."""
        return self.flow.unsent() + self.session.unsent()

    def held(self) -> int:
        """bytes that wait for the client, and those of bodies that are in memory."""
        return self.unsent() + sum(stream.kept() for stream in self._streams.values())

    def displace(self, now: float) -> None:
        """Close to make room for another connection."""
        self._closing = True
        for stream in list(self._streams.values()):
            stream.displace(now)
        self._drop_streams(now)
        self.cut()

    # deadlines

    def rest(self, now: float) -> None:
        """A stranger was refused while Shield's own core is full: read nothing more of it for a moment, unless somebody
        waits for an answer here."""
        flow = self.flow
        if not flow.paused and not any(stream.has_work() for stream in self._streams.values()):
            flow.pause()
            self.serving.resting.rest(self, now)

    def rested(self) -> None:
        """Read on, after a rest."""
        self.flow.resume()

    def on_deadline(self, now: float) -> None:
        """What the connection waited for has not come in time."""
        flow = self.flow
        if self._closing:
            self.cut()
        elif now >= self._owed:
            self._late(now)
        elif flow.unsent():
            # The client does not read. It may be slow, but not slower than min_rate.
            if self.watch.kept_pace(flow.taken()):
                self.watch.client_reading(now, flow.taken())
            elif not self._may_rest(now):
                self._not_read(now)
        elif self._leaving == 1:
            self._refuse_more()
        elif not self._streams:
            self._bye(ErrorCode.NO_ERROR, now)

    def _late(self, now: float) -> None:
        """The rest of a frame or of a header block has not come."""
        serving, fault = self.serving, Fault.HEAD_TIMEOUT
        serving.metrics.faults[fault.value] += 1
        serving.log.fault(now, self.peer.address, fault.value, ja4=self.ja4, http="2")
        self._blame(now, signal=Signal.SLOW_ABORT)
        self._bye(ErrorCode.NO_ERROR, now)

    def _may_rest(self, now: float) -> bool:
        """As that of a connection of HTTP/1, where the transport takes no more for now."""
        peer, engine = self.peer, self.serving.engine
        known = peer.client is not None and engine.deserves(peer.client, peer.shown_pass)
        return (known or not engine.pressed) and self.watch.pause(now)

    def _not_read(self, now: float) -> None:
        serving = self.serving
        self._closing = True
        for stream in list(self._streams.values()):
            stream.unread(now)
        serving.metrics.faults[READ_TIMEOUT] += 1
        serving.log.fault(now, self.peer.address, READ_TIMEOUT, ja4=self.ja4, http="2")
        self._drop_streams(now)
        self.watch.nothing()
        reset(self.transport)

    def ends_of(self, address: str) -> Ends:
        """Both ends of the connection of the client at `address`, for a PROXY header."""
        return both_ends(self._ends, self.transport, self.peer.address, address)


class Handover:
    """Takes what a connection of HTTP/1 has read behind the first half of the preface (exchange.ports.Passage, of which
    nothing else is called)."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Http2Connection) -> None:
        self._connection = connection

    def up(self, data: bytes, now: float) -> None:
        """The rest of that read."""
        self._connection.data_received(data)


def _websocket_key() -> bytes:
    """A Sec-WebSocket-Key (RFC 6455 section 4.1), which in HTTP/2 no client sends."""
    return base64.b64encode(os.urandom(16))
