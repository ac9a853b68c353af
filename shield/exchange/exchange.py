"""The forwarder: one request on its way to an upstream server, and the response on its way back.

There is only this one, for GETs, uploads, event streams and WebSockets alike. It is synchronous until it must wait:
a request that finds an idle connection is sent in the same wake-up in which it was read, and its response is written
in the wake-up that brought it. Only opening a connection is a coroutine.

    waiting (body being buffered, or queued) -> connecting -> sent -> responding -> finished
                                                                 \\-> tunnel (after 101)

An exchange that waits for somebody for long gives its concurrency slot back: a WebSocket and an event stream with
their head, any response when its client is slow and there is no room to read ahead of it, and any body, up or down,
that moves more slowly than LEAST_PACE. There are at most `upstream.max_streams` of these.

What is kept: at most `http.body_buffer_bytes` of the request's body plus one read, and of the response what one read
brought; the transports' own buffers are bounded by backpressure, at `http.response_buffer_bytes` for a slow client and
`http.response_buffers_bytes` for all of them.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from typing import TYPE_CHECKING, Final, cast

from shield.errors import out_of_files
from shield.exchange.tunnel import Tunnel
from shield.http.fields import without_named
from shield.http.framing import CHUNKED, LAST_CHUNK, encode_chunk
from shield.http.head import Head
from shield.http.response_head import STATUS_LINES
from shield.model import Action, Fault, Outcome, Tier
from shield.policy.request import Request
from shield.replies.faults import FAULTS
from shield.upstream.dial import CONNECT_ERRORS
from shield.wire.proxy_protocol import write

if TYPE_CHECKING:
    from shield.client.connection import ClientConnection
    from shield.client.edge import Edge
    from shield.upstream.connection import UpstreamConnection
    from shield.upstream.server import Server

IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PROPFIND", "REPORT", "SEARCH"})
"""Methods that RFC 9110 section 9.2.2 and the WebDAV registry call idempotent, of those that are common."""

LEAST_PACE: Final = 16 * 1024
"""bytes/s of a body, in both directions together, below which a request has no claim to a concurrency slot. Slow lines
of phones carry several times that; what a service writes more slowly it makes as it goes."""
PACE_SECONDS: Final = 1.0
"""Over which the pace is measured: a slot that is held for nothing is held so long. Who waits for it waits for twice as
long before being sent away (queue.calm_patience)."""

_METHOD_BYTES: dict[str, bytes] = {}
NO_RTT: Final = -1.0
NEVER: Final = float("inf")


class Exchange:
    """One admitted request. Its gate calls send_body(), abandon(), on_deadline(); its connection the on_*() verbs."""

    __slots__ = (
        "_attempts",
        "_body",
        "_body_bytes",
        "_body_done",
        "_close",
        "_connection",
        "_edge",
        "_finished",
        "_gate",
        "_lagging",
        "_no_room",
        "_out",
        "_pace_mark",
        "_prefix",
        "_replayable",
        "_reused",
        "_sent_at",
        "_server",
        "_server_name",
        "_slotless",
        "_status",
        "_stream",
        "_suffix",
        "_task",
        "_tried",
        "_waiting",
        "body_sent",
        "chunked",
        "head",
        "head_only",
        "pace_at",
        "request",
        "request_id",
        "responding",
        "rtt",
        "started",
        "wants_upgrade",
    )

    def __init__(
        self,
        edge: Edge,
        gate: ClientConnection,
        request: Request,
        head: Head,
        suffix: bytes,
        request_id: bytes,
        now: float,
    ) -> None:
        """`suffix` are the forwarding fields for the upstream, each with its CRLF."""
        self._edge = edge
        self._gate = gate
        self.request = request
        self.head = head
        self.started = now
        self._suffix = suffix
        self.request_id = request_id
        self.head_only = head.method == "HEAD"
        self.wants_upgrade = head.websocket
        # body
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._body_done = head.length == 0
        self._replayable = True
        # upstream
        self._waiting = False
        self._connection: UpstreamConnection | None = None
        self._server: Server | None = None
        self._server_name = ""
        self._task: asyncio.Task[None] | None = None
        self._attempts = 0
        self._tried: tuple[Server, ...] = ()
        self._reused = False
        self._sent_at = 0.0
        # response
        self._out: list[bytes] = []
        self._prefix = 0
        self.responding = False
        self.chunked = False  # the response goes to the client in chunks
        self._close = False
        self._stream = False
        self._status = 0
        self.rtt = NO_RTT
        self.body_sent = 0
        self.pace_at = 0.0  # when its pace is looked at; 0: no body is under way
        self._pace_mark: int  # bytes that had moved when the measurement began
        self._no_room = False
        self._slotless = False
        self._lagging = False
        self._finished = False

    def __repr__(self) -> str:
        state = "responding" if self.responding else "sent" if self._connection else "waiting"
        return f"<Exchange {self.head.method} {self.head.path!r} {state} {self._server!r}>"

    def _end(self) -> None:
        """Finished. The request no longer leads back here: a cycle per request would be work for the collector."""
        self._finished = True
        self.request.owner = None
        if self.pace_at:
            self._stop_pacing()
        if self._slotless:
            self._slotless = False
            self._edge.metrics.streams_open -= 1
        if self._lagging:
            self._lagging = False
            self._edge.laggards -= 1

    # from the gate: before it is sent

    def wait(self) -> None:
        """The policy has queued the request: resume() follows, or abandon()."""
        self._waiting = True
        self._gate.deadline = NEVER

    def resume(self, now: float) -> None:
        """The policy has decided about a queued request: its verdict is FORWARD or SHED."""
        if not self._waiting or self._finished:
            return
        self._waiting = False
        self._gate.count(self.request.verdict)
        if self.request.verdict.action is Action.SHED:
            self._end()
            self._gate.refused_late(self, now)
        else:
            self.start(now)

    def send_body(self, pieces: list[bytes], done: bool, now: float) -> None:
        """Payload from the client. Pauses the client when it comes faster than it can leave."""
        self._body_done = done
        connection = self._connection
        if connection is not None:
            if self._replayable and (pieces or not done):
                self._replayable = False
                self._body.clear()
            self._body_bytes += sum(map(len, pieces))
            self._write_body(connection, pieces, done)
            if done:
                self._mark_sent(now)
                if self.pace_at and not self.responding:
                    self._stop_pacing()  # it is the service's turn
            return
        self._body += pieces
        self._body_bytes += sum(map(len, pieces))
        full = self._body_bytes >= self._edge.http.body_buffer_bytes
        if self.request.body_pending and (done or full):
            self.request.body_pending = False
            verdict = self._edge.engine.enter(self.request, now)
            self._gate.count(verdict)
            if verdict.action is Action.QUEUE:
                self.wait()
            elif verdict.action is Action.SHED:
                self._end()
                self._gate.refused_late(self, now)
                return
            else:
                self.start(now)
        if full and not done and self._connection is None and not self._finished:
            self._gate.pause()

    def start(self, now: float) -> None:
        """Send the request: at once over an idle connection, else as soon as one is open."""
        edge = self._edge
        if self.wants_upgrade and self._streams_full():
            self._fail(Fault.STREAMS_FULL, now)
            return
        server = edge.pool.choose(now, self._tried)
        if server is None:
            self._fail(Fault.UPSTREAM_REFUSED if self._tried else Fault.UPSTREAM_UNAVAILABLE, now)
            return
        self._server = server
        self._server_name = server.name
        server.outstanding += 1
        # A second attempt opens a connection of its own: after a restart of the server all that were kept are stale.
        connection = None
        if not self._attempts:
            connection = edge.pool.take(server, now, fresh=self.head.method not in IDEMPOTENT)
        if connection is not None:
            self._reused = True
            self._send(connection, now)
            return
        self._gate.deadline = NEVER  # connecting has its own limit
        self._task = edge.loop.create_task(self._connect(server))

    def _preamble(self) -> bytes:
        version = self._edge.upstream.proxy_protocol
        return b"" if version == "off" else write(version, self._gate.ends_of(self.request.client.address))

    async def _connect(self, server: Server) -> None:
        edge = self._edge
        try:
            connection = await edge.pool.connect(server, self._preamble())
        except CONNECT_ERRORS as error:
            self._task = None
            now = edge.clock()
            if out_of_files(error):
                edge.pool.no_files(server)
                self._fail(Fault.OUT_OF_FILES, now)
                return
            fault = Fault.UPSTREAM_TIMEOUT if isinstance(error, TimeoutError) else Fault.UPSTREAM_REFUSED
            edge.pool.failed(server, fault, now)
            edge.log.event(
                "upstream_connect_failed", "warning", server=server.name, error=str(error) or type(error).__name__
            )
            self._leave_server()
            if self._attempts < max(1, edge.upstream.retries) and len(edge.pool.servers) > 1:
                self._attempts += 1
                self._tried = (*self._tried, server)
                server.counters.retries += 1
                self.start(now)
            else:
                self._fail(fault, now)
            return
        except Exception:
            # A bug. The loop's handler tells of it; the client must not wait for ever meanwhile.
            self._task = None
            self._fail(Fault.INTERNAL, edge.clock())
            raise
        self._task = None
        if self._finished:
            edge.pool.give_back(connection, edge.clock())
            return
        self._reused = False
        if not connection.usable():  # it was closed again, or spoke before it was asked
            self._connection = connection
            self.upstream_failed(Fault.UPSTREAM_CLOSED)
            return
        self._send(connection, edge.clock())

    def _send(self, connection: UpstreamConnection, now: float) -> None:
        self._connection = connection
        server = connection.server
        server.counters.requests += 1
        connection.begin(self)
        head = self.head
        method = _METHOD_BYTES.get(head.method)
        if method is None:  # the parser knows a few dozen methods, so this dict is bounded
            method = _METHOD_BYTES[head.method] = head.method.encode("ascii")
        host = head.host if self._edge.http.preserve_host and head.host else server.authority
        fields = head.fields
        if len(fields) > 1:
            head.fields = fields = [b"".join(fields)]  # a head that comes again is joined once
        parts = [method, b" ", head.target.encode("ascii"), b" HTTP/1.1\r\nHost: ", host, b"\r\n", *fields]
        if head.kept_cookie:
            parts += (b"Cookie: ", head.kept_cookie, b"\r\n")
        if head.length > 0:
            parts.append(b"Content-Length: %d\r\n" % head.length)
        elif head.length == CHUNKED:
            parts.append(b"Transfer-Encoding: chunked\r\n")
        elif head.method in _BODY_EXPECTED:
            parts.append(b"Content-Length: 0\r\n")  # RFC 9110 section 8.6
        if self.wants_upgrade:
            parts.append(b"Connection: Upgrade\r\nUpgrade: websocket\r\n")
        elif head.doubtful or not self._edge.pool.shared:
            parts.append(b"Connection: close\r\n")
        parts += (self._suffix, b"X-Request-Id: ", self.request_id, b"\r\n\r\n")
        if head.length == 0:
            connection.transport.write(b"".join(parts))
            self._mark_sent(now)
            return
        if not self._body_done:  # before the write, which may fill the transport and pause the client again
            self._gate.resume()
            self._gate.expect_progress(now)
            self._pace(now)
        if len(self._body) == 1 and head.length > 0 and self._body_bytes <= 16384:
            parts.append(self._body[0])
            connection.transport.write(b"".join(parts))
        else:
            connection.transport.write(b"".join(parts))
            self._write_body(connection, self._body, self._body_done)
        if self._body_done:
            self._mark_sent(now)
        else:
            self._replayable = False
            self._body.clear()

    def _write_body(self, connection: UpstreamConnection, pieces: list[bytes], done: bool) -> None:
        transport = connection.transport
        if transport.is_closing():
            return
        body = b"".join(pieces) if len(pieces) != 1 else pieces[0]
        if self.head.length == CHUNKED:
            body = encode_chunk(body)  # one, however many the client has made of it
            if done:
                body += LAST_CHUNK
        if body:
            transport.write(body)

    def _mark_sent(self, now: float) -> None:
        self._sent_at = now
        if not self.responding:
            self._gate.deadline = now + self._edge.upstream.first_byte_timeout

    # from the connection: the upstream takes or refuses our bytes

    def upstream_full(self) -> None:
        """The upstream reads slower than the client sends."""
        if not self._body_done:
            self._gate.pause()
            self._gate.deadline = self._edge.clock() + self._edge.upstream.first_byte_timeout

    def upstream_drained(self) -> None:
        """The upstream has caught up."""
        if not self._body_done:
            self._gate.resume()

    # from the connection: the response

    def on_interim(self, status: int, fields: list[bytes]) -> None:
        """1xx: passed on to clients that may understand it; 100 is ours to say, and was said."""
        self._replayable = False
        if status != 100 and not self.head.old:
            self._out += (STATUS_LINES[status], *fields, b"\r\n")

    def on_head(self, status: int, fields: list[bytes], length: int, declared: int, stream: bool) -> None:
        """The head of the final response. `length` frames its body; `declared` is a Content-Length that frames
        nothing, or -1."""
        edge = self._edge
        now = edge.clock()
        if stream and self._streams_full():
            self._no_room = True  # and on with the read: flush() or finish() says so
            return
        self._status = status
        self.responding = True
        self._stream = stream
        # A response may come before the request has been sent whole; then there is nothing to measure.
        self.rtt = now - self._sent_at if self._sent_at else NO_RTT
        head = self.head
        out = self._out
        out.append(STATUS_LINES[status])
        if self._gate.hsts:
            out.append(self._gate.hsts)
            fields = without_named(fields, _HSTS)  # one field, and that one ours (RFC 6797 section 7.1)
        out += fields
        close = head.close or edge.draining or not self._body_done
        if length > 0 or (length == 0 and declared < 0 and status != 204 and status != 304 and not self.head_only):
            out.append(b"Content-Length: %d\r\n" % length)
        elif length == 0:
            if declared >= 0 and status != 204:
                out.append(b"Content-Length: %d\r\n" % declared)
        elif head.old:
            close = True
        else:
            self.chunked = True
            out.append(b"Transfer-Encoding: chunked\r\n")
        if self.request.grant and status < 400:
            self._grant(fields, now)
        if close:
            out.append(b"Connection: close\r\n\r\n")
        elif head.old:
            out.append(b"Connection: keep-alive\r\n\r\n")
        else:
            out.append(b"\r\n")
        self._close = close
        self._prefix = len(out)
        if stream:
            self._give_slot_back(now)

    def _grant(self, fields: list[bytes], now: float) -> None:
        """Hand out an earned pass with a document that no shared cache will keep."""
        document, private = _document(fields)
        if self.head.method != "GET" or not document or not (private or self._edge.cookie_anywhere):
            return
        token = self._edge.engine.grant(self.request, now)
        if token is not None:
            if not private:
                self._out.append(b"Cache-Control: private\r\n")
            secure = self._gate.scheme == "https" or self.head.secure
            cookie = self._edge.replies.set_cookie(token, self._edge.pass_lifetime, secure)
            self._out += (b"Set-Cookie: ", cookie, b"\r\n")
            self._edge.metrics.passes_granted["earned"] += 1

    def on_body(self, piece: bytes) -> None:
        """Payload of the response."""
        self.body_sent += len(piece)
        if self.chunked:
            self._out += (b"%x\r\n" % len(piece), piece, b"\r\n")
        else:
            self._out.append(piece)

    def on_chunks(self, chunks: list[bytes], payload: int) -> None:
        """The same for a `chunked` response, in chunks with `payload` bytes in all."""
        self.body_sent += payload
        self._out += chunks

    def _streams_full(self) -> bool:
        return self._edge.metrics.streams_open >= self._edge.max_streams

    def _give_slot_back(self, now: float) -> bool:
        """Go on without a concurrency slot, as one of the streams; when these are full, with it. Whether it does."""
        if self._slotless or self._streams_full():
            return self._slotless
        edge = self._edge
        self._slotless = True
        edge.metrics.streams_open += 1
        edge.resume(edge.engine.release(self.request, now), now)
        return True

    def _turn_away(self) -> None:
        """A stream or WebSocket for which there is no room. The server has done its part."""
        connection = self._connection
        if connection is not None:
            self._connection = None
            connection.close()
        self.body_sent = 0
        self._fail(Fault.STREAMS_FULL, self._edge.clock())

    def flush(self) -> None:
        """Hand what one read brought to the client; when the client is slow, read ahead as far as there is room."""
        if self._no_room:
            self._turn_away()
            return
        out = self._out
        gate = self._gate
        if out:
            gate.write(b"".join(out) if len(out) > 1 else out[0])
            out.clear()
        if self.responding:
            now = self._edge.clock()
            if not self.pace_at and not self._slotless:
                self._pace(now)
            if not gate.blocked or self._connection is None:
                gate.deadline = now + self._edge.upstream.idle_timeout
            elif not gate.read_ahead(now):
                self._lag(now)

    def _lag(self, now: float) -> None:
        """The client is slow, and there is no room to read ahead of it: stop reading, and give the slot back.

        The upstream is not free by that: a service with a thread for each request is held by slow readers as by
        requests. So there are at most as many of these as there are slots; beyond, those without a history are cut.
        """
        edge = self._edge
        gate = self._gate
        if not self._slotless and edge.laggards >= edge.engine.concurrency_limit and self.request.tier >= Tier.T2:
            edge.metrics.faults["slow_reader"] += 1
            gate.reset()
            self.abandon(now)
            return
        cast("UpstreamConnection", self._connection).pause()
        gate.expect_progress(now)
        self._step_aside(now)

    def _step_aside(self, now: float) -> bool:
        """Go on without a slot, as one of those that are slow, if streams have room. Whether it does."""
        if not self._slotless and self._give_slot_back(now):
            self._lagging = True
            self._edge.laggards += 1
        return self._slotless

    def _pace(self, now: float) -> None:
        """A body is under way, for which a slot is held: measure from now on how fast."""
        if not self.pace_at:
            self._edge.deadlines.paced.add(self)
        self.pace_at = now + PACE_SECONDS
        self._pace_mark = self.body_sent + self._body_bytes

    def _stop_pacing(self) -> None:
        self.pace_at = 0.0
        self._edge.deadlines.paced.discard(self)

    def on_pace(self, now: float) -> None:
        """`pace_at` has passed: a body that has moved too slowly since then loses its slot.

        Else as many trickles as there are slots would keep everybody out, for as long as they like. Who is slow for
        good reason does not notice: there is room for as many beside the slots, and what has no room keeps its slot in
        calm weather. Under pressure it is ended while others wait.
        """
        edge = self._edge
        moved = self.body_sent + self._body_bytes - self._pace_mark
        if self._slotless:
            self._stop_pacing()
        elif moved >= LEAST_PACE * (now - self.pace_at + PACE_SECONDS):
            self._pace(now)
        elif (edge.laggards < edge.engine.concurrency_limit or self.request.tier < Tier.T2) and self._step_aside(now):
            self._stop_pacing()
        elif edge.engine.pressed and edge.engine.waiting:
            self._make_way(now)
        else:
            self._pace(now)

    def _make_way(self, now: float) -> None:
        """End a trickle for the sake of those who wait."""
        if self.responding:
            self._edge.metrics.faults[Fault.STREAMS_FULL.value] += 1
            self._gate.reset()
            self.abandon(now)
            return
        connection = self._connection
        if connection is not None:
            self._connection = None
            connection.close()
        self._fail(Fault.BODY_TIMEOUT, now)

    def client_drained(self, now: float) -> None:
        """The client has caught up: read on."""
        if self._connection is not None:
            self._connection.resume()
            self._gate.deadline = now + self._edge.upstream.idle_timeout

    def finish(self) -> None:
        """The response is complete."""
        if self._finished:
            return
        if self._no_room:
            self._turn_away()
            return
        self._end()
        edge = self._edge
        gate = self._gate
        out = self._out
        if self.chunked:
            out.append(LAST_CHUNK)
        if out:
            gate.write(b"".join(out) if len(out) > 1 else out[0])
        now = edge.clock()
        connection = self._connection
        if connection is not None:
            connection.detach()
            if self._body_done and not self.head.doubtful and not connection.transport.get_write_buffer_size():
                edge.pool.give_back(connection, now)
            else:
                connection.close()
            self._connection = None
        server = self._server
        if server is not None:
            server.outstanding -= 1
            if 502 <= self._status <= 504:
                edge.pool.failed(server, Fault.UPSTREAM_UNAVAILABLE, now)
            else:
                server.failures = 0
        self._account(self._status, now)
        gate.exchange_done(self._close, now)

    def _account(self, status: int, now: float) -> None:
        """Tell the policy, the metrics and the log how it ended."""
        edge = self._edge
        metrics = edge.metrics
        metrics.upstream_responses[status // 100] += 1
        metrics.request_seconds.observe(now - self.started)
        if self.rtt >= 0.0:
            metrics.upstream_seconds.observe(self.rtt)
        released = edge.engine.learn(self.request, Outcome(status, self.rtt, self._stream), now)
        self._log(status, now)
        if released:
            edge.resume(released, now)

    def _log(self, status: int, now: float, fault: str = "") -> None:
        """The request's line; it names the server tried last, whether or not that was the one to blame."""
        self._edge.log.request(
            now,
            self.request,
            status,
            now - self.started,
            self.body_sent,
            self._server_name,
            self.request_id.decode("ascii"),
            fault,
            self._gate.caller.ja4,
        )

    # failures

    def upstream_failed(self, fault: Fault) -> None:
        """The connection broke, or what came is no response."""
        if self._finished:
            return
        now = self._edge.clock()
        connection = self._connection
        untouched = not self.responding and self._replayable and not self._out
        if connection is not None:
            untouched = untouched and connection.silent()
            connection.exchange = None
            connection.close()
            self._connection = None
        server = self._server
        # A kept connection that the server has closed in the meantime says nothing about the server.
        stale = fault is Fault.UPSTREAM_CLOSED and self._reused and untouched
        if server is not None and not stale:
            self._edge.pool.failed(server, fault, now)
        self._leave_server()
        if untouched and self.head.method in IDEMPOTENT and fault is Fault.UPSTREAM_CLOSED:
            if stale and self._attempts < 1 + self._edge.upstream.retries:
                self._retry(server, now)
                return
            if self._attempts < self._edge.upstream.retries:
                if server is not None and len(self._edge.pool.servers) > 1:
                    self._tried = (*self._tried, server)
                self._retry(server, now)
                return
        if self.responding:
            self._cut(fault, now)
        else:
            self._fail(fault, now)

    def _retry(self, server: Server | None, now: float) -> None:
        self._attempts += 1
        if server is not None:
            server.counters.retries += 1
        self.start(now)

    def _leave_server(self) -> None:
        if self._server is not None:
            self._server.outstanding -= 1
            self._server = None

    def _fail(self, fault: Fault, now: float) -> None:
        """No response came: answer in the upstream's place."""
        self._end()
        self._leave_server()
        status = FAULTS[fault].status
        edge = self._edge
        request = self.request
        edge.metrics.faults[fault.value] += 1
        if fault is Fault.STREAMS_FULL or fault is Fault.OUT_OF_FILES:  # nothing to learn: not the upstream's failure
            request.body_pending = not self._sent_at  # one that was not sent costs no more than an attempt
            edge.resume(edge.engine.cancel(request, now), now)
        else:
            edge.resume(edge.engine.learn(request, Outcome(status, NO_RTT, False), now), now)
        self._log(status, now, fault.value)
        self._gate.fail_exchange(fault, now)

    def _cut(self, fault: Fault, now: float) -> None:
        """The response broke off: make sure that the client cannot take the part for the whole."""
        self._end()
        edge = self._edge
        edge.metrics.faults[fault.value] += 1
        edge.resume(edge.engine.learn(self.request, Outcome(502, self.rtt, self._stream), now), now)
        self._log(self._status, now, fault.value)
        self._gate.reset()

    def abandon(self, now: float) -> None:
        """The client has left, or was sent away: stop wherever it is and free everything."""
        if self._finished:
            return
        self._end()
        if self._task is not None:
            self._task.cancel()
            self._task = None
        connection = self._connection
        if connection is not None:
            self._connection = None
            connection.exchange = None
            connection.close()
        self._leave_server()
        edge = self._edge
        edge.resume(edge.engine.cancel(self.request, now), now)
        self._log(499, now)

    def on_deadline(self, now: float) -> None:
        """The gate's deadline has passed while this exchange was what it waited for."""
        connection = self._connection
        if connection is None:
            return
        self._connection = None
        connection.close()
        if self._server is not None:
            self._edge.pool.failed(self._server, Fault.UPSTREAM_TIMEOUT, now)
        self._leave_server()
        if self.responding:
            self._cut(Fault.UPSTREAM_TIMEOUT, now)
        else:
            self._fail(Fault.UPSTREAM_TIMEOUT, now)

    # tunnels

    def switch(self, fields: list[bytes], tail: bytes) -> None:
        """101: from here on bytes pass unread in both directions, `tail` first.

        Only if the server proves that it speaks WebSocket (RFC 6455 section 4.2.2): a client may know a page that
        answers 101 to anything, and would have a way past every rule here.
        """
        connection = self._connection
        if connection is None:
            return
        if not _accepted(self.head.headers["Sec-WebSocket-Key"], fields):
            self.upstream_failed(Fault.UPSTREAM_GARBAGE)
            return
        if self._streams_full():
            self._turn_away()
            return
        now = self._edge.clock()
        self._connection = None
        self._stream = True
        self.rtt = now - self._sent_at
        tunnel = Tunnel(self, self._gate, connection)
        upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        self._gate.write(b"".join((*self._out, STATUS_LINES[101], *fields, upgrade, tail)))
        self._out.clear()
        self._give_slot_back(now)
        self._gate.open_tunnel(tunnel, now)

    def tunnel_closed(self, now: float) -> None:
        """The tunnel that came of this request has ended."""
        self._end()
        self._leave_server()
        self._account(101, now)


def _accepted(key: str, fields: list[bytes]) -> bool:
    proof = hashlib.sha1(key.encode("utf-8", "surrogateescape") + _WEBSOCKET, usedforsecurity=False).digest()
    answers = [line.partition(b":")[2].strip() for line in fields if line[:21].lower() == b"sec-websocket-accept:"]
    return answers == [base64.b64encode(proof)]


_WEBSOCKET: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
_HSTS: Final = frozenset({b"strict-transport-security"})
_BODY_EXPECTED: Final = frozenset({"POST", "PUT", "PATCH"})


def _document(fields: list[bytes]) -> tuple[bool, bool]:
    """(is it HTML, does the origin itself keep it from shared caches or set a cookie with it). Design, section 7."""
    document = private = False
    for line in fields:
        name, _, value = line.lower().partition(b":")
        if name == b"content-type":
            document = value.startswith(b" text/html")
        elif name == b"set-cookie":
            private = True
        elif name == b"cache-control":
            private = private or b"private" in value or b"no-store" in value or b"no-cache" in value
    return document, private
