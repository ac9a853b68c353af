"""One client connection: bytes -> Request -> carry out the Verdict.

A connection serves one request at a time, so answers leave in the order of the requests whatever was refused in
between; what a client pipelines meanwhile waits unread, up to one head's size, then in the kernel.

              +------------------------------ answer sent ------------------------------+
              v                                                                         |
    IDLE -> HEAD -> (decide) -+-> forwarded ---> BODY -> EXCHANGE -> answered ----------+
                              +-> refused ------> DISCARD (small rest of a body) -------+
                              +-> broken -------> LINGER -> closed
                                                  TUNNEL (after 101) -> closed

What it needs is beside it: http/head_reader.py cuts out and reads heads, peer.py knows who asks, request_body.py where
a body ends, replies/ what Shield says itself; exchange/ takes a request to the upstream, response.py frames what comes
back, watch.py knows what is waited for, flow.py who is faster than the other. Only the connection sends.

Bytes pinned per connection: those of the head reader, one read (64 KiB), and what the transport's
high-water mark allows (flow.WRITE_HIGH).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, cast

from shield.client.answering import (
    BODY,
    CLOSED,
    DISCARD,
    EXCHANGE,
    HEAD,
    IDLE,
    LINGER,
    NOT_YET,
    PHASES,
    TUNNEL,
    Answering,
)
from shield.client.collecting import Collecting
from shield.client.crowding import NOTHING_UNDER_WAY, NOWHERE, UNDER_WAY, UNREAD, UNREAD_SECONDS, UNSENT
from shield.client.ends import address_of, both_ends, enter, reset
from shield.client.flow import WRITE_HIGH, Flow
from shield.client.h2.connection import PREFACE_HEAD, Handover, Http2Connection
from shield.client.peer import Peer
from shield.client.request_body import IncomingBody
from shield.client.response import Http1Response
from shield.client.shut_out import BODILESS
from shield.client.watch import Watch
from shield.exchange.endings import READ_TIMEOUT
from shield.exchange.exchange import RESPONDING, Exchange
from shield.exchange.ports import Seen
from shield.http.framing import CHUNKED
from shield.http.grammar import TCHARS
from shield.http.head import Head
from shield.http.head_reader import HeadReader
from shield.http.rules import Broken, Rule
from shield.model import Fault, Signal, Tier
from shield.policy.request import Request
from shield.readers import READS_NOTHING, Reader
from shield.replies.pages import PREFIX
from shield.replies.reply import Reply
from shield.wire import client_hello
from shield.wire.client_hello import NO_PROGRAM, Program
from shield.wire.proxy_protocol import Ends
from shield.wire.splice import Shortcut
from shield.wire.transport import SocketTransport

if TYPE_CHECKING:
    from shield.client.serving import Serving
    from shield.exchange.ports import Passage
    from shield.replies.redirect import Redirect
    from shield.wire.sideline import Lane
    from shield.wire.splice import Pipe

DISCARD_LIMIT: Final = 64 * 1024
"""bytes. A longer rest of a refused request's body is not worth reading to keep the connection."""
LINGER_LIMIT: Final = 1024 * 1024
"""bytes. Read and dropped after an early answer, so that the answer is not lost to a reset (RFC 9112 section 9.6)."""
PIPELINE_BURST: Final = 16
"""Requests served from one read before other connections get their turn."""

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class ClientConnection(Answering, asyncio.Protocol):
    """One client's connection, and while it serves a request, that request's end (exchange.ports.ClientSide).

    More than 15 attributes: everything that belongs to a connection meets here, and a part that has a worry of its own
    is an object of its own already.
    """

    __slots__ = (
        "_barred",
        "_body",
        "_ends",
        "_eof",
        "_heads",
        "_linger_left",
        "_pending",
        "_program",
        "seat",
        "transport",
        "whereabouts",
    )

    def __init__(
        self,
        serving: Serving,
        ends: Ends | None = None,
        program: Program = NO_PROGRAM,
        redirect: Redirect | None = None,
    ) -> None:
        """`ends` as a PROXY header has told them; the client's `program`, over TLS; `redirect` if all that is asked
        over this connection is to be asked over https."""
        # shared
        self._serving = serving
        self._redirect = redirect
        # per connection
        self._ends = ends
        self._program = program
        self.transport: Any = NOT_YET  # connection_made() brings it, and makes what belongs to it
        self.seat = -1
        self.whereabouts = NOWHERE
        self.response: Http1Response = NOT_YET  # until one is forwarded
        self._heads = HeadReader(serving.heads)
        self._eof = False
        # per request
        self._phase = IDLE
        self._pending = b""
        self._body: IncomingBody | None = None
        self._exchange: Exchange | None = None
        self._tunnel: Passage | None = None
        self._linger_left = 0

    def __repr__(self) -> str:
        if self.transport is NOT_YET:
            return "<ClientConnection not made yet>"
        work = self._tunnel or self._exchange
        parts = [self.peer.address, PHASES[self._phase], self.watch, self.flow, self._body, work]
        return f"<ClientConnection {' '.join(str(part) for part in parts if part is not None)}>"

    # asyncio.Protocol

    def connection_made(self, transport: Any) -> None:  # an asyncio.Transport; to cast() costs 50 ns
        self.transport = transport
        transport.set_write_buffer_limits(high=WRITE_HIGH)
        serving = self._serving
        address = address_of(transport, self._ends)
        self.secure = transport.get_extra_info("sslcontext") is not None
        self.peer = Peer(serving.recognition, address, "https" if self.secure else "http", self._program)
        self.ja4 = self.peer.ja4
        now = serving.clock()
        if serving.hosting is not None and self._program.server_name:
            self._serving = serving = serving.hosting.of(self._program.server_name.encode("latin-1")) or serving
        # Whether its address was banned, for all who show nothing, when last looked at.
        self._barred = serving.shut_out.verdict(address, now) is not None and self._redirect is None
        connections = serving.connections
        self.watch = Watch(serving.limits, now, connections.draining)
        self.flow = Flow(transport, connections.ahead)
        connections.opened(self)
        enter(self, serving, transport, address, self.secure)

    def connection_lost(self, exc: Exception | None) -> None:
        self._phase = CLOSED
        if self.flow.blocked:
            self.flow.caught_up()
        work = self._tunnel or self._exchange
        if work is not None:
            work.abandon(self._serving.clock())
        self._forget()
        self._serving.connections.closed(self)

    def eof_received(self) -> bool:
        """A client may close its half and still wait for the answer (RFC 9112 section 9.6). Else it has gone, though it
        may be long until it has taken what is unsent: the service works for it no longer."""
        self._eof = True
        phase = self._phase
        # Over TLS there is no half-close to keep.
        if not self.secure and (phase == EXCHANGE or (phase == IDLE and self._pending)):
            return True
        work = self._tunnel or self._exchange
        if work is not None:
            now = self._serving.clock()
            work.abandon(now)
            self._phase = LINGER
            self._forget()
            self.watch.closing(now)
        return False

    def pause_writing(self) -> None:
        self.flow.blocked = True

    def resume_writing(self) -> None:
        flow = self.flow
        flow.caught_up()
        now = self._serving.clock()
        work = self._tunnel or self._exchange
        if work is not None:
            work.client_drained(now)
        elif self._phase == IDLE:
            self.watch.next_request(now, flow.sent)
            if self._pending or self._eof:
                self._continue()

    def fell_behind(self) -> None:
        """So much waits for this client and others that it waits in a file. What is kept of its last request to read
        the next one sooner, 0.9 KB, is worth less than the memory: that one is long in coming."""
        self._heads.forget()
        self.peer.forget()

    def data_received(self, data: bytes) -> None:
        serving = self._serving
        now = serving.clock()
        serving.metrics.bytes_in += len(data)
        heads = self._heads
        if self._pending:
            data = self._pending + data
            self._pending = b""
        elif data == heads.last and heads.kept is not None and self._phase == IDLE and not self.flow.blocked:
            heads.blank = False  # the very same request again, as programs and floods send it
            self._serve(heads.kept, now)
            return
        self._consume(data, now)

    # reading

    def _consume(self, data: bytes, now: float) -> None:
        """Read requests and bodies from `data` until one has to wait; keep the rest."""
        at = served = 0
        end = len(data)
        while at < end:
            phase = self._phase
            if phase == IDLE:
                flow = self.flow
                waits = flow.blocked or flow.paused  # paused: it rests
                if waits or served == PIPELINE_BURST:
                    self._keep(data[at:])
                    if not waits:
                        self._serving.loop.call_soon(self._continue)
                    return
                stop = data.find(b"\r\n\r\n", at)
                if stop < 0 or data[at] == 13:  # 13: CR, an empty line before the request
                    self._phase = HEAD
                    continue
                stop += 4
                served += 1
                self._read_head(data if stop - at == end else data[at:stop], now)
                at = stop
            elif phase == HEAD:
                served += 1
                at = self._collect_head(data, at, now)
            elif phase in _READING_BODY:
                at = self._read_body(data, at, now)
            elif phase == EXCHANGE:
                self._keep(data[at:])
                return
            elif phase == TUNNEL:
                cast("Passage", self._tunnel).up(data[at:] if at else data, now)
                return
            else:
                self._linger_left -= end - at
                if self._linger_left <= 0 and self._phase == LINGER:
                    self.transport.abort()
                return

    def _keep(self, rest: bytes) -> None:
        """Bytes of a later request: they wait here, and beyond one head's size in the kernel."""
        self._pending = rest
        if len(rest) >= self._serving.heads.examiner.max_head:
            self.flow.pause()

    def _continue(self) -> None:
        """Serve what was kept. Called when the connection is free for the next request."""
        if self._phase == IDLE and not self.flow.blocked:
            data, self._pending = self._pending, b""
            self.flow.resume()
            if data:
                self._consume(data, self._serving.clock())
            if self._eof and self._phase in _INCOMPLETE and not self._pending:
                self.transport.close()

    def _collect_head(self, data: bytes, at: int, now: float) -> int:
        """A head that comes in pieces, or after an empty line."""
        heads = self._heads
        begins = heads.partial is None
        try:
            head, at = heads.collect(data, at)
        except Broken as broken:
            self._break(broken.rule.fault, now, heads.partial or data[at:], broken.rule)
            return len(data)
        if heads.partial is None:
            self._phase = IDLE
        elif begins:
            self.watch.head(now)
        if head is not None:
            self._read_head(head, now)
        return at

    def _read_body(self, data: bytes, at: int, now: float) -> int:
        """Payload for the exchange, for whoever collects it, or for nobody."""
        body = self._body
        if body is None:
            return len(data)
        try:
            pieces, stop, done = body.feed(data, at)
        except Broken as broken:
            self._break(broken.rule.fault, now, rule=broken.rule)
            return len(data)
        if done:
            self._body = None
        if self._exchange is not None:
            if done:
                self._phase = EXCHANGE
                if body.framing.trailers:
                    self._exchange.end_body_with(body.framing.trailers)
            self._exchange.send_body(pieces, done, now)
        elif body.collecting is not None:
            collecting = body.collecting
            if not collecting.add(pieces) or done:
                body.collecting = None
                self.answer(collecting.reply(now), collecting.head, now, collecting.request_id)
        elif self._phase == DISCARD:
            self._linger_left -= stop - at
            if done:
                self._phase = IDLE
                self._ready(now)
            elif self._linger_left < 0:
                self.transport.abort()
        return stop

    # one request

    def _recognize(self, head: Head, now: float) -> None:
        self.peer.recognize(head, self._heads.kept, now)

    def _make_response(self) -> None:
        serving = self._serving
        self.response = Http1Response(serving.connections, serving.hsts if self.secure else b"")

    def _stand_aside(self, lane: Lane | None) -> None:
        self.transport.stand_aside(lane)

    def _server_name(self) -> str:
        return self._program.server_name

    def _note_ban(self) -> None:
        self._barred = not self.peer.trusted  # what it asks next need not be read

    def _received(self) -> int:
        return 0 if self._body is None else self._body.received

    def _with_hsts(self, message: bytes) -> bytes:
        """A reply of our own as this connection needs it (RFC 6797 section 7.1)."""
        return message.replace(b"\r\n", b"\r\n" + self._serving.hsts, 1) if self.secure else message

    def _read_head(self, data: bytes, now: float) -> None:
        """One whole head: understand it, and serve the request or say what is wrong with it."""
        if self._barred and self._turned_away(data, now):
            return
        try:
            head = self._heads.read(data)
        except Broken as broken:
            self._break(broken.rule.fault, now, data, broken.rule)
        else:
            self._serve(head, now)

    def _turned_away(self, head: bytes, now: float) -> bool:
        """Whether the ban of the address is the answer to a whole `head`, which has not been read. It was sent, then,
        and the connection ends."""
        shut_out, peer = self._serving.shut_out, self.peer
        verdict = shut_out.verdict(peer.address, now)
        if verdict is None or shut_out.may_be_spared(head):
            return False
        self.write(self._with_hsts(shut_out.refuse(verdict, peer.address, head, now, self.ja4)))
        self.end(now, linger=not head.startswith(BODILESS))
        return True

    def _begin_body(self, head: Head, now: float, most: int, collecting: Collecting | None = None) -> None:
        """The body of a request follows, of `most` bytes at most; 0 is any number."""
        self._phase = BODY
        self._body = IncomingBody(head.length, most, collecting)
        self.expect_progress(now)
        if head.expect:
            self.write(CONTINUE)

    # replies of our own, as replies/ returns them

    def must_close(self, head: Head) -> bool:
        """Whether the connection ends with this answer: asked for, draining, or a body too long to read for nothing."""
        if head.close or self._serving.connections.draining:
            return True
        body = self._body
        if self._phase == IDLE:  # nothing of the body was read yet
            if head.length == 0:
                return False
            return head.expect or head.length == CHUNKED or head.length > DISCARD_LIMIT
        return body is not None and body.may_exceed(DISCARD_LIMIT)

    def _rest(self, request: Request, head: Head, now: float) -> None:
        """A request was refused. While Shield's own core is full, read nothing for a moment of a stranger that asks
        again at once."""
        flow = self.flow
        if request.tier < _STRANGERS or self.peer.trusted or self._phase != IDLE or head.length:
            return
        if not (flow.paused or self._eof):
            flow.pause()
            self._serving.resting.rest(self, now)

    def rested(self) -> None:
        """Read on, after a rest."""
        if self._phase == IDLE:
            if self._pending:
                self._continue()
            else:
                self.flow.resume()

    def answer(self, reply: Reply, head: Head, now: float, request_id: bytes = b"") -> None:
        """Send a reply of our own to a request whose body may not have been read, with the `request_id`."""
        close = reply.closes or self.must_close(head)
        self._serving.metrics.own_responses[reply.status // 100] += 1
        message = reply.message(head.method == "HEAD", close, request_id)
        if head.origin and not head.path.startswith(PREFIX):
            readable = self._serving.forwarder.origins.lines(head.host, head.origin, now)
            message = message.replace(b"\r\n", b"\r\n" + readable, 1)
        self.write(self._with_hsts(message) if self.secure else message)
        if close:
            self.end(now, linger=head.length != 0 and self._phase == IDLE)
            return
        if self._phase == IDLE and head.length:
            self._body = IncomingBody(head.length, 0)
        if self._body is not None:
            self._phase = DISCARD
            self.flow.resume()
            self._linger_left = DISCARD_LIMIT + 1
            self.watch.rest(now)
            return
        if self._phase == IDLE:  # still inside _consume(), which goes on by itself
            if self.flow.blocked:
                self.expect_progress(now)
            else:
                self.watch.next_request(now, self.flow.sent)
        else:
            self._phase = IDLE
            self._ready(now)

    def _break(self, fault: Fault, now: float, head: bytes | bytearray = b"", rule: Rule | None = None) -> None:
        """The client's bytes are not HTTP as we read it: answer, and never read another request from them.

        `head` is what there is of a head, as far as it tells whom the answer is for. `rule` is the one that was
        broken, None where it was a deadline."""
        serving = self._serving
        new = self.peer.client is None
        if new and serving.h2c and head == PREFACE_HEAD and not self.secure:
            self._change_to_http_2(now)
            return
        foreign = new and fault is _MALFORMED_HEAD and _is_foreign(head)
        if foreign and client_hello.begins(head) and self.peer.scheme == "http":
            self._turn_tls_away(now)
            return
        exchange = self._exchange
        # Of a request that was understood only the body went wrong; of another, the bytes tell whom the reply is for.
        reader = Reader(b"text/html" in head) if exchange is None else exchange.head.reader()
        head_only = head.startswith(b"HEAD ") if exchange is None else exchange.head.method == "HEAD"
        language = b"" if exchange is None else exchange.head.language
        reply = serving.replies.fault(fault, reader, language)
        if exchange is None:
            request_id = b"" if reader in READS_NOTHING else serving.forwarder.request_ids()
            serving.metrics.faults[fault.value] += 1
            asked = head if self._body is None or self._body.collecting is None else self._body.collecting.head
            word = ""
            if rule is not None:
                word = rule._value_
                serving.metrics.rules["request"][word] += 1
            peer = self.peer
            serving.log.fault(
                now, peer.address, fault.value, reply.status, ja4=peer.ja4, head=asked, rule=word, request_id=request_id
            )
        else:
            request_id = exchange.request_id
            responding = exchange.state == RESPONDING
            exchange.spoiled(fault, now, rule)
            if responding:  # a second answer would be read as part of the first
                self.reset()
                return
        if rule is not None and rule.charged and not foreign and not (new and _is_by_hand(head, rule)):
            self._report(Signal.MALFORMED, now, head)
        serving.metrics.own_responses[reply.status // 100] += 1
        self.write(self._with_hsts(reply.message(head_only, True, request_id)))
        self.end(now, linger=True)

    def _change_to_http_2(self, now: float) -> None:
        """The client knows that HTTP/2 is spoken here (RFC 9113 section 3.3): somebody else goes on."""
        serving = self._serving
        other = Http2Connection(serving, self._ends, self._program, self._redirect)
        serving.connections.replaced(self)
        self._phase = TUNNEL
        rest: Any = Handover(other)
        self._tunnel = rest
        self.transport.set_protocol(other)
        other.connection_made(self.transport)
        other.data_received(PREFACE_HEAD)

    def _turn_tls_away(self, now: float) -> None:
        """Tell a client that speaks TLS that it is not spoken here. Nobody is blamed for it."""
        serving = self._serving
        serving.metrics.faults[client_hello.TLS_ON_PLAIN_PORT] += 1
        serving.log.fault(now, self.peer.address, client_hello.TLS_ON_PLAIN_PORT)
        self.write(client_hello.alert(client_hello.UNEXPECTED_MESSAGE))
        self.end(now, linger=True)

    # the exchange's half of the connection: exchange.ports.ClientSide

    def ends_of(self, address: str) -> Ends:
        return both_ends(self._ends, self.transport, self.peer.address, address)

    def write(self, data: bytes) -> None:
        """Send to the client."""
        transport = self.transport
        if not transport.is_closing():
            size = len(data)
            self.flow.sent += size
            self._serving.metrics.bytes_out += size
            transport.write(data)

    def flush(self) -> None:
        """Send what has been framed of the response."""
        data = self.response.take()
        if data:
            self.write(data)

    def shortcut(self, pipe: Pipe) -> Shortcut | None:
        """The way to the client's socket, but for TLS."""
        transport = self.transport
        if not isinstance(transport, SocketTransport):
            return None
        transport.get_extra_info("socket").setblocking(False)
        return Shortcut(pipe, transport)

    def passed(self, size: int) -> None:
        """Payload that went to the client by the shortcut."""
        self.flow.sent += size
        self._serving.metrics.bytes_out += size

    def open_tunnel(self, tunnel: Passage, protocol: bytes, fields: list[bytes], tail: bytes, now: float) -> None:
        """Say 101 and pass bytes on."""
        self._tunnel = tunnel
        self._phase = TUNNEL
        self.response.switch(protocol, fields, tail)
        self.flush()
        self.watch.tunnel(now)
        rest, self._pending = self._pending, b""
        self.flow.resume()
        if rest:
            tunnel.up(rest, now)

    def pass_on(self, data: bytes) -> None:
        """Bytes of the tunnel."""
        self.write(data)

    def ended(self, seen: Seen, fault: Fault | None, now: float) -> None:
        """The one place in which the connection and an exchange, or its tunnel, part."""
        exchange = self._exchange
        self._exchange = self._tunnel = None
        response = self.response
        if seen is _WHOLE:
            data = response.end()
            if data:
                self.write(data)
            if response.close or self._phase != EXCHANGE:
                if self._phase != CLOSED:
                    self.end(now)
            else:
                self._phase = IDLE
                self._ready(now)
            return
        response.drop()
        if self._phase == CLOSED or exchange is None:
            return
        head = exchange.head
        if seen is Seen.STAND_IN:
            reply = self._serving.replies.fault(cast("Fault", fault), head.reader(), head.language)
            self.answer(reply, head, now, exchange.request_id)
        elif seen is Seen.REFUSAL:
            request = exchange.request
            request.reader = reader = head.reader()
            reply = self._serving.replies.refusal(request.verdict, reader, head.language)
            self._serving.log.refused(now, request, reply.status, exchange.request_id, self.ja4, exchange.head.http)
            self.answer(reply, head, now, exchange.request_id)
            if self._serving.resting.seconds:
                self._rest(request, head, now)
        elif seen is Seen.CUT:
            self.reset()
        elif seen is Seen.CLOSE:
            self.end(now)

    def _ready(self, now: float) -> None:
        """Wait for the next request, or serve the one that waits."""
        if self._serving.connections.draining and not self._pending:
            self.end(now)
            return
        flow = self.flow
        if flow.blocked:  # the rest of the response was read ahead: the client has to keep moving
            self.expect_progress(now)
        else:
            self.watch.next_request(now, flow.sent)
        if self._pending or self._eof:
            # From a fresh stack: a client that pipelines must not make us recurse, and one that has closed its half may
            # have sent another request before.
            self._serving.loop.call_soon(self._continue)
        elif flow.paused:
            flow.resume()

    def end(self, now: float, linger: bool = False) -> None:
        """Close once the answer is out. What the client still sends is read for a while, else a reset could overtake
        the answer; `linger`: it may be sending although nothing of that has been read yet."""
        transport = self.transport
        clean = (
            not linger
            and self._body is None
            and not self._pending
            and not self.flow.paused
            and self._phase in (IDLE, EXCHANGE, TUNNEL)
        )
        self._phase = LINGER
        self._forget()
        self._linger_left = LINGER_LIMIT
        if not transport.is_closing():
            if self._eof or clean:
                transport.close()
                self.watch.closing(now)
                return
            if not self.secure:  # TLS has no half-close; the answer's Connection: close has to do
                transport.write_eof()
            self.flow.resume()
        self.watch.lingering(now)

    def _forget(self) -> None:
        """Drop what was kept of requests that are no longer served."""
        self._heads.partial = self._body = None
        self._pending = b""

    def reset(self) -> None:
        """Cut the connection so that the client sees an error, whatever framing the response had."""
        self._phase = CLOSED
        self.watch.nothing()
        reset(self.transport)

    def expect_progress(self, now: float) -> None:
        """From now on the client must move min_rate bytes a second, in whichever direction it is its turn."""
        if self._body is not None and self._phase == BODY:
            self.watch.body(now, self._body.received)
        else:
            self.watch.client_reading(now, self.flow.taken())

    def stake(self, now: float) -> int:
        """What would be lost if the connection were closed now, as crowding.py puts it."""
        phase = self._phase
        if phase == BODY:
            exchange = self._exchange
            return UNSENT if exchange is None or exchange.request.body_pending else UNDER_WAY
        if phase in _AT_WORK:
            return UNDER_WAY
        if self.flow.unsent():
            return UNREAD if now - self.watch.answered() >= UNREAD_SECONDS else UNDER_WAY
        return UNDER_WAY if self._pending or self.transport.is_closing() else NOTHING_UNDER_WAY

    def held(self) -> int:
        """bytes that wait for the client, and those of a body that are in memory."""
        exchange = self._exchange
        return self.flow.unsent() + (0 if exchange is None else exchange.kept())

    def displace(self, now: float) -> None:
        """Close to make room for another connection."""
        work = self._tunnel or self._exchange
        if work is not None:
            work.displaced(now)
        self._phase = CLOSED
        self.watch.nothing()
        self._forget()
        self.transport.abort()

    def drain(self, now: float) -> None:
        """Shield is stopping: close if nothing is in flight; what is in flight ends with Connection: close."""
        if self._phase == IDLE and not self._pending:
            self.end(now)

    def cut(self) -> None:
        """Close at once, whatever is in flight."""
        self.transport.abort()

    def on_deadline(self, now: float) -> None:
        """What the connection waited for has not come in time."""
        serving = self._serving
        phase = self._phase
        flow = self.flow
        exchange = self._exchange
        if flow.blocked or (phase in (IDLE, LINGER) and flow.unsent()):
            # The client does not read. It may be slow, but not slower than min_rate.
            if self.watch.kept_pace(flow.taken()):
                self.expect_progress(now)
                return
            if self._may_rest(now) or self._may_stay(now):
                return
            work = self._tunnel or exchange
            if work is not None:
                work.unread(now)
            else:  # the exchange has ended, and its line was written
                serving.metrics.faults[READ_TIMEOUT] += 1
                serving.log.fault(now, self.peer.address, READ_TIMEOUT, ja4=self.ja4)
                self.reset()
        elif phase == IDLE:
            self.end(now)
        elif phase == HEAD:
            self._report(Signal.SLOW_ABORT, now)
            self._break(Fault.HEAD_TIMEOUT, now, self._heads.partial or b"")
        elif not self._late(now):
            self.transport.abort()
            self.watch.nothing()


def _is_foreign(head: bytes | bytearray) -> bool:
    """Whether a connection that begins so speaks another protocol. Pages can have a browser do that: TLS on the plain
    port, and STUN for WebRTC over TCP (RFC 8489, RFC 6544), whose first byte is below 4."""
    return len(head) > 0 and head[0] not in TCHARS


def _is_by_hand(head: bytes | bytearray, rule: Rule) -> bool:
    """Whether each line of a head ends with LF alone, as of a script with printf. Where CRLF stands beside it, the LF
    may hide what follows from others."""
    return rule is Rule.BARE_LF and b"\n" in head and b"\r" not in head


_WHOLE: Final = Seen.WHOLE
_STRANGERS: Final = Tier.T2
_AT_WORK: Final = frozenset({EXCHANGE, TUNNEL})
_INCOMPLETE: Final = frozenset({IDLE, HEAD, BODY, DISCARD})
_READING_BODY: Final = frozenset({BODY, DISCARD})
_MALFORMED_HEAD: Final = Fault.MALFORMED_HEAD
