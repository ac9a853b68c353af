"""One stream of HTTP/2: one request's end at the client (exchange.ports.ClientSide).

       +--------------------- a request without a body ----------------------+
       v                                                                     |
    (decide) -+-> forwarded ---> BODY -> EXCHANGE -> response sent -> LINGER -> closed
              +-> refused ---------------------------------------------> LINGER -> closed
                                         TUNNEL -> closed

LINGER: the answer is complete, and waits for the client's windows or for the end of its request. A request that is not
whole by then is told that the rest is not wanted (RST_STREAM with NO_ERROR, RFC 9113 section 8.1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from ngh2 import ErrorCode

from shield.client.answering import BODY, CLOSED, EXCHANGE, IDLE, LINGER, PHASES, TUNNEL, Answering
from shield.client.flow import Flow
from shield.client.h2.session import STREAM_WINDOW
from shield.client.watch import NEVER, Watch
from shield.exchange.endings import READ_TIMEOUT
from shield.exchange.exchange import RESPONDING, Exchange
from shield.exchange.ports import Seen
from shield.http.framing import CHUNKED
from shield.http.grpc import is_call, refusal
from shield.http.rules import Rule
from shield.http.trailers import lines_of
from shield.model import Action, Fault, Tier
from shield.readers import READS_NOTHING, Reader
from shield.replies.pages import PREFIX

if TYPE_CHECKING:
    from shield.client.collecting import Collecting
    from shield.client.h2.calm import Calm
    from shield.client.h2.response import Http2Response
    from shield.client.h2.session import Session
    from shield.client.peer import Peer
    from shield.client.serving import Serving
    from shield.exchange.ports import Passage
    from shield.http.head import Head
    from shield.http.http2_head import Pairs
    from shield.http.pairs import Pair
    from shield.policy.request import Request
    from shield.replies.redirect import Redirect
    from shield.replies.reply import Reply
    from shield.wire.proxy_protocol import Ends
    from shield.wire.sideline import Lane
    from shield.wire.splice import Pipe, Shortcut

STREAM_HIGH: Final = 64 * 1024
"""bytes of payload that wait for the client's windows, at which its stream is `blocked`. A quarter of it lets more
come."""
AT_ONCE: Final = 16 * 1024
"""bytes. So much is handed to the transport at once, and does not wait for the end of the turn."""

_ACCEPT: Final = b"sec-websocket-accept:"
_WHOLE: Final = Seen.WHOLE
_STRANGERS: Final = Tier.T2


class ManyStreams(Protocol):
    """The connection of a stream, as far as the stream knows it."""

    serving: Serving
    redirect: Redirect | None
    server_name: str
    peer: Peer
    secure: bool
    ja4: str
    transport: Any
    session: Session
    calm: Calm

    def pump(self) -> None:
        """Send what can be sent."""

    def pump_soon(self) -> None:
        """The same at the end of this turn."""

    def block(self, stream: Stream) -> None:
        """Too much waits for `stream`: call drained() when there is less."""

    def finishing(self, stream: Stream) -> None:
        """`stream` has its answer."""

    def rest(self, now: float) -> None:
        """A stranger was refused while Shield's own core is full."""

    def note_ban(self) -> None:
        """The address is banned."""

    def ends_of(self, address: str) -> Ends:
        """Both ends of the connection."""


class Stream(Answering):
    """A request of `connection`, and what comes of it. `gone`: the session has closed the stream.

    More than 15 attributes: a stream is what a connection is in HTTP/1, but for the transport.
    """

    __slots__ = (
        "_collecting",
        "_connection",
        "_gathered",
        "_head",
        "_most",
        "_open_ended",
        "_size",
        "_unread",
        "asked",
        "cancelled",
        "gone",
        "number",
        "whole",
    )

    response: Http2Response

    def __init__(self, connection: ManyStreams, number: int, response: Http2Response, whole: bool, now: float) -> None:
        """`number` is its identifier; `whole`: the request has ended with its head."""
        self._connection = connection
        self._serving = serving = connection.serving
        self._redirect = connection.redirect
        self.number = number
        self.peer = connection.peer
        self.secure = connection.secure
        self.ja4 = connection.ja4
        self.watch = Watch(serving.limits, now, False)
        self.watch.deadline = NEVER
        self.flow = Flow(self, serving.connections.ahead)
        self.response = response
        self._phase = IDLE
        self._exchange: Exchange | None = None
        self._tunnel: Passage | None = None
        self._collecting: Collecting | None = None
        self._gathered = 0  # bytes of what it collects
        self._head: Head | None = None
        self._most = 0  # bytes of the body that are allowed, 0 for any number
        self._size = 0  # bytes of it that have come
        self._open_ended = False  # a call of gRPC that goes on both ways
        self._unread = 0  # bytes that have come and are not acknowledged, so that less will come
        self.whole = whole
        self.gone = False
        self.cancelled = False  # by the client, or with its connection
        self.asked = b""  # method and path, for the log, of a head that was not understood

    def __repr__(self) -> str:
        work = self._tunnel or self._exchange
        parts = [self.number, PHASES[self._phase], self.watch, self.flow, work]
        return f"<Stream {' '.join(str(part) for part in parts if part is not None)}>"

    # flow.Wire: what waits for the client's windows, and what is taken from it

    def is_closing(self) -> bool:
        """Whether it is of no use to read or write."""
        return self.gone

    def pause_reading(self) -> None:
        """Acknowledge nothing more: when its window is used up, the client must wait."""

    def resume_reading(self) -> None:
        """Acknowledge what has come."""
        unread, self._unread = self._unread, 0
        if unread:
            self._connection.session.take(self.number, unread)
            self._connection.pump_soon()

    def get_write_buffer_size(self) -> int:
        """bytes of payload that wait for the client's windows, or for the transport."""
        return self._connection.session.unsent(self.number)

    def get_extra_info(self, name: str) -> None:
        """Nothing: a stream has no socket of its own."""

    # the request

    def begin(self, head: Head, now: float) -> None:
        """Serve the request that `head` asks for."""
        self._head = head
        self._serve(head, now)

    def refuse(self, head: Head, rule: Rule, reader: Reader, now: float) -> None:
        """Say what is wrong with a request whose head breaks `rule`. What is known of it is in `head`."""
        self._head = head
        fault = rule.fault
        serving, peer = self._serving, self.peer
        request_id = b"" if reader in READS_NOTHING else serving.forwarder.request_ids()
        reply = serving.replies.fault(fault, reader, head.language)
        serving.log.fault(
            now,
            peer.address,
            fault.value,
            reply.status,
            ja4=peer.ja4,
            head=self.asked,
            rule=rule.value,
            request_id=request_id,
            http="2",
        )
        self.answer(reply, head, now, request_id)

    def _make_response(self) -> None:
        """Never called: a stream is made with its response."""
        raise AssertionError("a stream has its response")

    def _recognize(self, head: Head, now: float) -> None:
        self.peer.recognize(head, None, now)

    def _stand_aside(self, lane: Lane | None) -> None:
        self._connection.transport.stand_aside(lane)

    def _server_name(self) -> str:
        return self._connection.server_name

    def _note_ban(self) -> None:
        self._connection.note_ban()

    def _send_on(self, request: Request, head: Head, action: Action, suffix: bytes, now: float) -> None:
        if not self.gone:
            super()._send_on(request, head, action, suffix, now)
            return
        # It was cancelled in the same read: it costs what it costs, and the service is spared.
        forwarder = self._serving.forwarder
        exchange = Exchange(forwarder, self, request, head, suffix, forwarder.request_ids(), now)
        request.owner = self._exchange = exchange
        exchange.abandon(now)

    def _begin_body(self, head: Head, now: float, most: int, collecting: Collecting | None = None) -> None:
        self._phase = BODY
        self._most = most
        self._collecting = collecting
        if collecting is None and head.length == CHUNKED and self._serving.forwarder.pool.http2 and is_call(head):
            self._serving.loop.call_soon(self._go_on)
        self.expect_progress(now)
        if head.expect:
            self._connection.session.inform(self.number, _CONTINUE)
            self._connection.pump_soon()

    def _go_on(self) -> None:
        """A call whose body has not come whole with its head: it may go on for hours, both ways."""
        if self._phase == BODY and self._exchange is not None:
            self._open_ended = True
            now = self._serving.clock()
            self.expect_progress(now)
            self._exchange.open_ended(now)

    def _received(self) -> int:
        return self._size

    def data(self, data: bytes, ended: bool, now: float) -> None:
        """Payload of the request, and whether that was all."""
        size = len(data)
        self._size += size
        self.whole = ended
        phase = self._phase
        if self._open_ended and phase == BODY:
            self.watch.tunnel(now)
        if self.flow.paused or phase == LINGER:
            self._unread += size
        elif size:
            self._connection.session.take(self.number, size)
        if phase == BODY:
            if 0 < self._most < self._size:
                self._break(Rule.BODY_SIZE.fault, now, rule=Rule.BODY_SIZE)
                return
            if ended:
                self._phase = EXCHANGE
            if self._exchange is not None:
                self._exchange.send_body([data] if data else [], ended, now)
            elif self._collecting is not None:
                self._collect(self._collecting, data, ended, now)
        elif phase == TUNNEL:
            tunnel = cast("Passage", self._tunnel)
            if data:
                tunnel.up(data, now)
            if ended and self._tunnel is not None:
                tunnel.abandon(now)

    def trailers(self, pairs: Pairs, now: float) -> None:
        """The fields behind the payload, which end the request."""
        if self._phase == BODY and self._exchange is not None:
            self._exchange.end_body_with(lines_of(pairs))
        self.data(b"", True, now)

    def _collect(self, collecting: Collecting, data: bytes, ended: bool, now: float) -> None:
        """A body on which Shield's own reply depends."""
        self._gathered += len(data)
        self._serving.forwarder.backlog.keeps(len(data))
        if not collecting.add([data]) or ended:
            self._stop_collecting()
            self.answer(collecting.reply(now), collecting.head, now, collecting.request_id)

    def _stop_collecting(self) -> None:
        self._collecting = None
        if self._gathered:
            self._serving.forwarder.backlog.keeps(-self._gathered)
            self._gathered = 0

    def kept(self) -> int:
        """bytes of its body in memory."""
        exchange = self._exchange
        return self._gathered if exchange is None else exchange.kept()

    def closed(self, code: int, now: float) -> None:
        """The session has closed the stream: both sides have ended it, or one has reset it, with `code`."""
        self.gone = True
        if self.flow.blocked:
            self.flow.caught_up()
        exchange, tunnel = self._exchange, self._tunnel
        if tunnel is not None:
            tunnel.abandon(now)
        elif exchange is not None:
            if self.cancelled or code == ErrorCode.NO_ERROR:
                exchange.abandon(now)
            else:
                exchange.spoiled(Fault.BAD_FRAMING, now, Rule.STREAM_ERROR)
        self._phase = CLOSED
        self._stop_collecting()
        self.watch.nothing()

    # replies of our own

    def answer(self, reply: Reply, head: Head, now: float, request_id: bytes = b"") -> None:
        serving = self._serving
        serving.metrics.own_responses[reply.status // 100] += 1
        if self.gone:
            return
        if head.method == "GET" and not head.origin:  # as most of a flood
            pairs = reply.pairs.get(self.secure) or self._pairs_of(reply)
            body = reply.body
            if request_id:
                body = reply.message(False, False, request_id).partition(b"\r\n\r\n")[2]
            self.response.say_pairs(pairs, body)
            self._finish(now)
            return
        block, _, body = reply.message(head.method == "HEAD", False, request_id).partition(b"\r\n\r\n")
        lines = block.split(b"\r\n")
        del lines[0]  # the status line
        if head.method == "POST" and is_call(head):
            self.response.say(200, refusal(reply.status, lines, reply.summary()), b"")
            self._finish(now)
            return
        if head.origin and not head.path.startswith(PREFIX):
            lines += serving.forwarder.origins.lines(head.host, head.origin, now).split(b"\r\n")
        self.response.say(reply.status, lines, body)
        self._finish(now)

    def _pairs_of(self, reply: Reply) -> list[Pair]:
        """The head of a reply as HTTP/2 has it, which is kept with it."""
        pairs = self._serving.field_pairs.write(reply.status, reply.fields.split(b"\r\n"), self.secure)
        reply.pairs[self.secure] = pairs
        return pairs

    def _finish(self, now: float) -> None:
        """Everything has been said."""
        self._phase = LINGER
        self._stop_collecting()
        self.watch.client_reading(now, self.flow.sent - self.get_write_buffer_size())
        self._connection.finishing(self)

    def _rest(self, request: Request, head: Head, now: float) -> None:
        if request.tier >= _STRANGERS and not self.peer.trusted:
            self._connection.rest(now)

    def _break(self, fault: Fault, now: float, head: bytes | bytearray = b"", rule: Rule | None = None) -> None:
        """The body is too slow or too long."""
        asked = cast("Head", self._head)
        exchange = self._exchange
        serving = self._serving
        if exchange is None:
            word = "" if rule is None else rule.value
            serving.metrics.faults[fault.value] += 1
            if rule is not None:
                serving.metrics.rules["request"][word] += 1
            reader = asked.reader()
            request_id = b"" if reader in READS_NOTHING else serving.forwarder.request_ids()
            reply = serving.replies.fault(fault, reader, asked.language)
            serving.log.fault(
                now,
                self.peer.address,
                fault.value,
                reply.status,
                ja4=self.ja4,
                head=asked,
                rule=word,
                request_id=request_id,
            )
        else:
            request_id = exchange.request_id
            responding = exchange.state == RESPONDING
            exchange.spoiled(fault, now, rule)
            if responding:
                self.reset(ErrorCode.CANCEL)
                return
            reply = serving.replies.fault(fault, asked.reader(), asked.language)
        self.answer(reply, asked, now, request_id)

    def reset(self, code: ErrorCode) -> None:
        """End it, however far it has come."""
        self._phase = CLOSED
        self.response.drop()
        self.watch.nothing()
        if not self.gone:
            self.cancelled = True  # whoever closes it now need not say why
            if not self.whole:
                self._connection.calm.unwanted(STREAM_WINDOW)
            self._connection.session.reset(self.number, code)
            self._connection.pump_soon()

    # the exchange's half: exchange.ports.ClientSide

    def ends_of(self, address: str) -> Ends:
        """Both ends of the connection."""
        return self._connection.ends_of(address)

    def expect_progress(self, now: float) -> None:
        if self._phase == BODY:
            if self._open_ended:
                self.watch.tunnel(now)
            else:
                self.watch.body(now, self._size)
        else:
            self.watch.client_reading(now, self.flow.taken())

    def flush(self) -> None:
        """Send what has been framed of the response."""
        size = self.response.send()
        self._sent(size)

    def _sent(self, size: int) -> None:
        """So many bytes of payload were given to the session."""
        connection = self._connection
        flow = self.flow
        if size:
            flow.sent += size
            connection.calm.sent(size)
        if size >= AT_ONCE:
            connection.pump()
        else:
            connection.pump_soon()
        if not flow.blocked and self.get_write_buffer_size() > STREAM_HIGH:
            flow.blocked = True
            connection.block(self)

    def drained(self, now: float) -> bool:
        """The windows have let something pass. Whether that was enough to go on."""
        if self.get_write_buffer_size() > STREAM_HIGH // 4:
            return False
        self.flow.caught_up()
        work = self._tunnel or self._exchange
        if work is not None:
            work.client_drained(now)
        return True

    def shortcut(self, pipe: Pipe) -> Shortcut | None:
        """None: what is sent on a stream is framed."""
        return None

    def passed(self, size: int) -> None:
        """Never called, as there is no shortcut."""
        raise AssertionError("there is no shortcut")

    def open_tunnel(self, tunnel: Passage, protocol: bytes, fields: list[bytes], tail: bytes, now: float) -> None:
        """Say 200, which in HTTP/2 opens a WebSocket (RFC 8441 section 5), and pass bytes on."""
        self._tunnel = tunnel
        self._phase = TUNNEL
        self.response.accept([line for line in fields if not line.lower().startswith(_ACCEPT)])
        if tail:
            self.response.body(tail)
        self.flush()
        self.watch.tunnel(now)
        self.flow.resume()

    def pass_on(self, data: bytes) -> None:
        """Bytes of the tunnel."""
        self.response.body(data)
        self.flush()

    def ended(self, seen: Seen, fault: Fault | None, now: float) -> None:
        """The one place in which the stream and an exchange, or its tunnel, part."""
        exchange = self._exchange
        self._exchange = self._tunnel = None
        response = self.response
        if seen is _WHOLE or (seen is Seen.CLOSE and response.begun):
            if not self.gone:
                self._sent(response.end())
                self._finish(now)
            return
        response.drop()
        if self._phase == CLOSED or self.gone or exchange is None:
            return
        head = exchange.head
        if seen is Seen.STAND_IN:
            reply = self._serving.replies.fault(cast("Fault", fault), head.reader(), head.language)
            self.answer(reply, head, now, exchange.request_id)
        elif seen is Seen.REFUSAL:
            request = exchange.request
            request.reader = reader = head.reader()
            reply = self._serving.replies.refusal(request.verdict, reader, head.language)
            self._serving.log.refused(now, request, reply.status, exchange.request_id, self.ja4, "2")
            self.answer(reply, head, now, exchange.request_id)
        elif seen is Seen.CUT:
            self.reset(ErrorCode.INTERNAL_ERROR)

    # the connection

    def abandon(self, now: float) -> None:
        """The client has gone."""
        self.gone = self.cancelled = True
        self._stop_collecting()
        if self.flow.blocked:
            self.flow.caught_up()
        work = self._tunnel or self._exchange
        if work is not None:
            work.abandon(now)
        self._phase = CLOSED
        self.watch.nothing()

    def displace(self, now: float) -> None:
        """Its connection is closed to make room for others."""
        work = self._tunnel or self._exchange
        if work is not None:
            work.displaced(now)
        self.abandon(now)

    def unread(self, now: float) -> None:
        """Its connection's client has not read what waits for it for too long."""
        work = self._tunnel or self._exchange
        if work is not None:
            work.unread(now)

    def pending_only(self) -> bool:
        """Whether no server has heard of its request: it is a body that has not come, or nothing at all."""
        exchange = self._exchange
        return self._phase == BODY and (exchange is None or exchange.request.body_pending)

    def has_work(self) -> bool:
        """Whether an exchange is under way."""
        return self._exchange is not None

    def answered(self) -> bool:
        """Whether nothing but the client's reading is waited for."""
        return self._phase == LINGER

    def on_deadline(self, now: float) -> None:
        """What the stream waited for has not come in time."""
        flow = self.flow
        if flow.blocked or self._phase == LINGER:
            # The client does not read. It may be slow, but not slower than min_rate.
            if flow.unsent() and self.watch.kept_pace(flow.taken()):
                self.expect_progress(now)
                return
            if flow.unsent() and (self._may_rest(now) or self._may_stay(now)):
                return
            self._not_read(now)
        else:
            self._late(now)

    def _not_read(self, now: float) -> None:
        work = self._tunnel or self._exchange
        if work is not None:
            work.unread(now)
            return
        # The exchange has ended, and its line was written.
        serving = self._serving
        serving.metrics.faults[READ_TIMEOUT] += 1
        serving.log.fault(now, self.peer.address, READ_TIMEOUT, ja4=self.ja4, http="2")
        self.reset(ErrorCode.CANCEL)


_CONTINUE: Final = [(b":status", b"100")]
