"""One client connection: bytes -> Request -> carry out the Verdict.

A connection serves one request at a time, so answers leave in the order of the requests whatever was refused in
between; what a client pipelines meanwhile waits unread, up to one head's size, then in the kernel.

              +------------------------------ answer sent ------------------------------+
              v                                                                         |
    IDLE -> HEAD -> (decide) -+-> forwarded ---> BODY -> EXCHANGE -> answered ----------+
                              +-> refused ------> DISCARD (small rest of a body) -------+
                              +-> broken -------> LINGER -> closed
                                                  TUNNEL (after 101) -> closed

aiohttp's C parser reads heads. It is fed exactly one head at a time, cut out at CRLF CRLF, so the position in the
stream is always ours: a bad request behind a good one loses nothing, and nothing of a message's body reaches the next
head.

Bytes pinned per connection: one head (`http.max_head_bytes`), one read (64 KiB; over TLS 256 KiB), what the transport's
high-water mark allows (`WRITE_HIGH`), and while idle the fields of the last request (`REPEATED_LIMIT`, and as much
again parsed).
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser
from aiohttp.http_exceptions import BadHttpMethod, HttpProcessingError

from shield.model import Action, Request, Signal, Verdict
from shield.proxy import wellknown
from shield.proxy.exchange import Exchange
from shield.proxy.faults import FAULTS, Fault
from shield.proxy.forwarded import forwarding_fields
from shield.proxy.framing import ChunkedBody, FramingError, LengthBody, TooLarge
from shield.proxy.headers import CHUNKED, Head, Refused, take_cookie
from shield.proxy.navigation import MAX_FORM_BYTES, parse_form, same_origin
from shield.proxy.replies import PREFIX

if TYPE_CHECKING:
    from shield.policy.challenge import Pass
    from shield.policy.identity import Client
    from shield.proxy.edge import Edge

IDLE, HEAD, BODY, EXCHANGE, TUNNEL, DISCARD, LINGER, CLOSED = range(8)
PHASES: Final = ("idle", "head", "body", "exchange", "tunnel", "discard", "linger", "closed")

WRITE_HIGH: Final = 256 * 1024
"""bytes. Unsent response at which reading from the upstream stops."""
DISCARD_LIMIT: Final = 64 * 1024
"""bytes. A longer rest of a refused request's body is not worth reading to keep the connection."""
LINGER_LIMIT: Final = 1024 * 1024
"""bytes. Read and dropped after an early answer, so that the answer is not lost to a reset (RFC 9112 section 9.6)."""
REPEATED_LIMIT: Final = 4096
"""bytes. Fields of a request that are remembered in case the next one repeats them; browsers send 500 to 2,000."""
PIPELINE_BURST: Final = 16
"""Requests served from one read before other connections get their turn."""

LAST_SECONDS: Final = 1.0
"""For the first request of a connection that was accepted in the moment in which Shield began to stop."""

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
NEVER: Final = float("inf")

_BARE_LF = re.compile(rb"(?<!\r)\n")
_METHOD = re.compile(rb"[A-Z][A-Z0-9_-]{0,31} ")
_TOKEN_START: Final = frozenset(b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")


class Gate(asyncio.Protocol):
    """One client's connection. `deadline` is watched by Deadlines; `blocked` is true while the client reads too
    slowly."""

    __slots__ = (
        "_agent",
        "_ahead",
        "_blank",
        "_body",
        "_client",
        "_collect_limit",
        "_collected",
        "_cookie",
        "_cookie_rest",
        "_cookie_token",
        "_edge",
        "_eof",
        "_exchange",
        "_head",
        "_host",
        "_language",
        "_last",
        "_line",
        "_linger_left",
        "_mark",
        "_parser",
        "_partial",
        "_pass",
        "_paused",
        "_peer",
        "_pending",
        "_phase",
        "_received",
        "_reply",
        "_scanned",
        "_settled",
        "_shard",
        "_suffix",
        "_then",
        "_token",
        "_trusted",
        "_written",
        "blocked",
        "deadline",
        "scheme",
        "transport",
    )

    def __init__(self, edge: Edge) -> None:
        # shared
        self._edge = edge
        # per connection
        self.transport: asyncio.Transport = cast("asyncio.Transport", None)
        self.scheme = "http"
        self._peer = ""
        self._trusted = False
        self._shard = 0
        self.deadline = NEVER
        self.blocked = False
        self._paused = False
        self._eof = False
        self._ahead = 0  # bytes read ahead of it
        self._written = 0
        self._mark = 0
        self._received = 0
        self._parser: Any = None
        # per connection, valid while the fields it was made from stay the same
        self._client: Client | None = None
        self._agent = b""
        self._language = b""
        self._cookie = b""
        self._cookie_token = b""
        self._cookie_rest = b""
        self._token = b""
        self._pass: Pass | None = None
        self._host: bytes | None = None
        self._last = b""  # the head before, if it was plain
        self._line = 0  # where its first line ends
        self._head: Head | None = None
        self._settled: Head | None = None  # the kept head that _client and _pass are of
        self._suffix = b""
        # per request
        self._phase = IDLE
        self._pending = b""
        self._partial: bytearray | None = None
        self._scanned = 0
        self._blank = False
        self._body: LengthBody | ChunkedBody | None = None
        self._exchange: Exchange | None = None
        self._collected: list[bytes] | None = None
        self._collect_limit = 0
        self._then: Callable[[bytes | None, float], None] | None = None
        self._reply: tuple[bytes, bool] | None = None
        self._linger_left = 0

    def __repr__(self) -> str:
        return f"<Gate {self._peer} {PHASES[self._phase]} {self._exchange!r}{' blocked' if self.blocked else ''}>"

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport = cast("asyncio.Transport", transport)
        transport.set_write_buffer_limits(high=WRITE_HIGH)
        edge = self._edge
        peer = transport.get_extra_info("peername")
        # Without the prefix of an IPv4 client on a dual-stack socket; else all of IPv4 would share one /64.
        self._peer = address = peer[0].removeprefix("::ffff:") if peer else ""
        self._trusted = edge.forwarding.trusts(address)
        if transport.get_extra_info("sslcontext") is not None:
            self.scheme = "https"
        self._shard = edge.deadlines.add(self)
        self.deadline = edge.clock() + (LAST_SECONDS if edge.draining else edge.timeouts.header)
        edge.metrics.connections_total += 1
        edge.metrics.connections_open += 1
        if not address:  # it was reset before it was accepted: nobody is left to answer, and nobody to charge
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        edge = self._edge
        self._phase = CLOSED
        edge.deadlines.remove(self, self._shard)
        edge.metrics.connections_open -= 1
        self._release_ahead()
        exchange = self._exchange
        if exchange is not None:
            self._exchange = None
            exchange.abandon(edge.clock())
        self._partial = self._then = self._collected = self._body = None
        self._pending = b""
        edge.on_close()

    def eof_received(self) -> bool:
        """A client may close its half and still wait for the answer (RFC 9112 section 9.6)."""
        self._eof = True
        phase = self._phase
        if phase == EXCHANGE or (phase == IDLE and self._pending):
            return self.scheme == "http"  # over TLS there is no half-close to keep
        if phase == TUNNEL:
            self.close_tunnel(self._edge.clock())
        return False

    def pause_writing(self) -> None:
        self.blocked = True

    def resume_writing(self) -> None:
        self.blocked = False
        self._release_ahead()
        now = self._edge.clock()
        if self._exchange is not None:
            self._exchange.client_drained(now)
        elif self._phase == IDLE:
            self.deadline = now + self._edge.timeouts.keep_alive
            if self._pending or self._eof:
                self._continue()

    def data_received(self, data: bytes) -> None:
        edge = self._edge
        now = edge.clock()
        edge.metrics.bytes_in += len(data)
        if self._pending:
            data = self._pending + data
            self._pending = b""
        elif data == self._last and self._phase == IDLE and not self.blocked:
            self._blank = False
            self._serve(cast("Head", self._head), now)  # the very same request again, as programs and floods send it
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
                if self.blocked or served == PIPELINE_BURST:
                    self._keep(data[at:])
                    if not self.blocked:
                        self._edge.loop.call_soon(self._continue)
                    return
                stop = data.find(b"\r\n\r\n", at)
                if stop < 0 or data[at] == 13:  # 13: CR, an empty line before the request
                    at = self._start_partial(data, at, now)
                    continue
                stop += 4
                served += 1
                self._read_head(data if stop - at == end else data[at:stop], now)
                at = stop
            elif phase == HEAD:
                at = self._extend_partial(data, at, now)
            elif phase in _READING_BODY:
                at = self._read_body(data, at, now)
            elif phase == EXCHANGE:
                self._keep(data[at:])
                return
            elif phase == TUNNEL:
                cast("Exchange", self._exchange).tunnel_up(data[at:] if at else data, now)
                return
            else:
                self._linger_left -= end - at
                if self._linger_left <= 0 and self._phase == LINGER:
                    self.transport.abort()
                return

    def _keep(self, rest: bytes) -> None:
        """Bytes of a later request: they wait here, and beyond one head's size in the kernel."""
        self._pending = rest
        if len(rest) >= self._edge.http.max_head_bytes:
            self.pause()

    def _continue(self) -> None:
        """Serve what was kept. Called when the connection is free for the next request."""
        if self._phase == IDLE and not self.blocked:
            data, self._pending = self._pending, b""
            self.resume()
            if data:
                self._consume(data, self._edge.clock())
            if self._eof and self._phase in _INCOMPLETE and not self._pending:
                self.transport.close()

    def _start_partial(self, data: bytes, at: int, now: float) -> int:
        """The head in data[at:] is not whole, or an empty line comes first (RFC 9112 section 2.2 allows for one)."""
        if data.startswith(b"\r\n", at):
            if self._blank:
                self._break(Fault.MALFORMED_HEAD, now)
            self._blank = True
            return at + 2
        if data[at] not in _TOKEN_START and data[at:] != b"\r":
            self._break(Fault.MALFORMED_HEAD, now)
            return len(data)
        self._phase = HEAD
        self._partial = bytearray()
        self._scanned = 0
        self.deadline = now + self._edge.timeouts.header
        return at

    def _extend_partial(self, data: bytes, at: int, now: float) -> int:
        """Collect a head that comes in pieces. The pieces are searched once, so a byte at a time costs no more."""
        partial = cast("bytearray", self._partial)
        room = self._edge.http.max_head_bytes - len(partial)
        partial += data[at : at + room + 1]
        if partial[:1] == b"\r" and len(partial) > 1:
            self._phase = IDLE
            self._partial = None
            self._consume(bytes(partial) + data[at + room + 1 :], now)
            return len(data)
        stop = partial.find(b"\r\n\r\n", max(0, self._scanned - 3))
        if stop < 0:
            if _BARE_LF.search(partial, self._scanned) is not None:
                self._break(Fault.MALFORMED_HEAD, now)
            elif len(partial) > self._edge.http.max_head_bytes:
                self._break(Fault.TARGET_TOO_LONG if b"\r\n" not in partial else Fault.HEAD_TOO_LARGE, now, partial)
            self._scanned = len(partial)
            return len(data)
        used = at + (stop + 4 - (len(partial) - min(len(data) - at, room + 1)))
        head = bytes(partial[: stop + 4])
        self._partial = None
        self._phase = IDLE
        self._read_head(head, now)
        return used

    def _read_body(self, data: bytes, at: int, now: float) -> int:
        """Payload for the exchange, for whoever collects it, or for nobody."""
        body = self._body
        if body is None:
            return len(data)
        try:
            pieces, stop = body.feed(data, at)
        except FramingError as error:
            self._break(Fault.BODY_TOO_LARGE if isinstance(error, TooLarge) else Fault.BAD_FRAMING, now)
            return len(data)
        for piece in pieces:
            self._received += len(piece)  # payload only: chunk framing is no progress
        done = body.done
        if done:
            self._body = None
        if self._exchange is not None:
            if done:
                self._phase = EXCHANGE
            self._exchange.send_body(pieces, done, now)
        elif self._collected is not None:
            self._collected += pieces
            self._collect_limit -= sum(map(len, pieces))
            if done or self._collect_limit < 0:
                then, collected = self._then, b"".join(self._collected)
                self._then = self._collected = None
                if then is not None:
                    then(collected if self._collect_limit >= 0 else None, now)
        elif self._phase == DISCARD:
            self._linger_left -= stop - at
            if done:
                self._phase = IDLE
                self._ready(now)
            elif self._linger_left < 0:
                self.transport.abort()
        return stop

    # one request

    def _read_head(self, data: bytes, now: float) -> None:
        """One whole head: understand it, and serve the request or say what is wrong with it."""
        self._blank = False
        try:
            head = self._understand(data)
        except BadHttpMethod:
            well_formed = _METHOD.match(data) is not None
            self._break(Fault.METHOD_UNKNOWN if well_formed else Fault.MALFORMED_HEAD, now, data)
        except HttpProcessingError:
            # llhttp turns the version away before we see it; say which of the two mistakes it was.
            line = data[: data.find(b"\r\n")]
            self._break(Fault.VERSION_UNSUPPORTED if _OTHER_VERSION.search(line) else Fault.MALFORMED_HEAD, now, data)
        except Refused as refused:
            self._break(refused.fault, now, data)
        else:
            self._serve(head, now)

    def _serve(self, head: Head, now: float) -> None:
        """One request: ask the policy, carry out the verdict."""
        edge = self._edge
        suffix = b""
        if self._trusted:
            client, suffix = self._from_trusted(head, now)
            held = self._present(head, now)
        elif head is self._settled:
            client = cast("Client", self._client)
            held = self._pass
        else:
            known = self._client
            if known is None or head.agent != self._agent or head.language != self._language:
                known = self._identify(self._peer, head, now)
            client = known
            held = self._present(head, now)
            self._settled = self._head
        request = Request(client, head.method, head.path, head.headers, held, head.length != 0, None)
        if head.path.startswith(PREFIX):
            wellknown.serve(self, edge, request, head, now)
            return
        verdict = edge.engine.decide(request, now)
        action = verdict.action
        if not request.held or action is not _FORWARD:  # a held request is counted when it is let in
            edge.metrics.verdicts[action._value_][verdict.reason._value_] += 1
        self.carry_out(request, head, verdict, suffix, now)

    def carry_out(self, request: Request, head: Head, verdict: Verdict, suffix: bytes, now: float) -> None:
        """Refuse a request or send it on, with `suffix` if it came from a trusted proxy."""
        edge = self._edge
        action = verdict.action
        self._client = request.client
        if action in _ANSWERED:
            self.refuse(request, head, verdict, now)
            return
        if not suffix:  # made for what is forwarded only; a refusal needs none
            if head.host != self._host:
                self._host = head.host
                self._suffix = forwarding_fields(head, self._peer, False, self.scheme, "")
            suffix = self._suffix
        request_id = head.request_id if self._trusted and head.request_id else edge.request_ids()
        request.owner = exchange = Exchange(edge, self, request, head, suffix, request_id, now)
        self._exchange = exchange
        if head.length == 0:
            self._phase = EXCHANGE
            if action is _QUEUE:
                exchange.wait()
            else:
                exchange.start(now)
            return
        self._begin_body(head, now)
        if head.expect:
            self.write(CONTINUE)

    def _understand(self, data: bytes) -> Head:
        """The head in `data`. Raises Refused, HttpProcessingError.

        A plain one is kept, and not read again when the next differs in nothing but its target: browsers, for the parts
        of a page, and programs repeat their fields to the letter.
        """
        edge = self._edge
        stop = data.find(b"\r\n")
        most = edge.http.max_head_bytes
        if len(data) > most:
            raise Refused(Fault.TARGET_TOO_LONG if stop > most else Fault.HEAD_TOO_LARGE)
        head = self._head
        if head is not None and data[stop:] == self._last[self._line :] and edge.plain.again(head, data, stop):
            self._last = data
            self._line = stop
            return head
        self._head = head = edge.plain.read(data, stop)
        if head is None:
            self._last = b""
            return self._parse(data, stop)
        if len(data) <= REPEATED_LIMIT:
            self._last = data
            self._line = stop
        else:
            self._head = None
            self._last = b""
        return head

    def _parse(self, data: bytes, stop: int) -> Head:
        """A head that is not plain; its first line ends at `stop`."""
        parser = self._parser
        if parser is None:
            parser = self._parser = _new_parser(self._edge)
        messages, _, _ = parser.feed_data(data)
        if len(messages) != 1:
            raise Refused(Fault.MALFORMED_HEAD)
        message = messages[0][0]
        # llhttp also takes ICE/1.0 and RTSP/1.0 for HTTP/1.0, several spaces for one, and a LF before the line.
        if stop != len(message.method) + len(message.path) + 10 or data[stop - 9 : stop - 3] != b" HTTP/":
            raise Refused(Fault.MALFORMED_HEAD)
        if message.upgrade or message.chunked:
            self._parser = None
        head = self._edge.examiner.examine(message)
        if head.length:
            self._parser = None  # it waits for a body that is framed here
        return head

    def _identify(self, address: str, head: Head, now: float) -> Client:
        self._agent = head.agent
        self._language = head.language
        edge = self._edge
        client = edge.engine.identify(address, head.agent.decode("latin-1"), head.language.decode("latin-1"), "", now)
        self._client = client
        if client.crawler is not None and client.unverified:
            edge.crawlers.check(client.address, client.crawler.domains)
        return client

    def _from_trusted(self, head: Head, now: float) -> tuple[Client, bytes]:
        """A request that a trusted proxy brings: client and scheme are what it says, and may change with each
        request."""
        edge = self._edge
        address, scheme, host = edge.forwarding.resolve(self._peer, self.scheme, head)
        client = self._client
        if client is None or client.address != address or head.agent != self._agent or head.language != self._language:
            client = self._identify(address, head, now)
        return client, forwarding_fields(head, self._peer, True, scheme, host)

    def _present(self, head: Head, now: float) -> Pass | None:
        """The pass of this request; remembered by its text, so that a kept connection verifies it once."""
        edge = self._edge
        if head.cookie != self._cookie:
            self._cookie = head.cookie
            self._cookie_token, self._cookie_rest = take_cookie(head.cookie, edge.cookie)
        head.kept_cookie = self._cookie_rest
        token = head.token or self._cookie_token
        if token != self._token:
            self._token = token
            self._pass = edge.engine.present(token.decode("latin-1"), now) if token else None
        return self._pass

    def _begin_body(self, head: Head, now: float) -> None:
        self._phase = BODY
        if head.length == CHUNKED:
            self._body = ChunkedBody(self._edge.http.max_body_bytes)
        else:
            self._body = LengthBody(head.length)
        self.expect_progress(now)

    def collect(self, head: Head, limit: int, then: Callable[[bytes | None, float], None], now: float) -> None:
        """Read the body, at most `limit` bytes, and call then(body, now); with None when it is longer."""
        if head.length == 0:
            then(b"", now)
            return
        self._begin_body(head, now)
        self._collected = []
        self._collect_limit = limit
        self._then = then
        if head.expect:
            self.write(CONTINUE)

    # answers of our own

    def count(self, verdict: Verdict) -> None:
        """Count a verdict that came after the head: of a request that was held or queued.

        Every request is counted once by how it was decided in the end; `queue` counts those that had to wait
        besides."""
        self._edge.metrics.verdicts[verdict.action._value_][verdict.reason._value_] += 1

    def refuse(self, request: Request, head: Head, verdict: Verdict, now: float) -> None:
        edge = self._edge
        page = head.page
        head_only = head.method == "HEAD"
        if verdict.action is _CHALLENGE:
            edge.log.refused(now, request, 503, self._told_id(head))
            content_type = request.headers.get("Content-Type", "")
            if (
                page
                and head.length
                and head.method == "POST"
                and content_type[:33].lower() == "application/x-www-form-urlencoded"
                and same_origin(request.headers, self.scheme)
            ):
                # The page sends the form on once it is solved. Never for another site's form: it would arrive as our
                # own.
                def then(body: bytes | None, later: float) -> None:
                    form = parse_form(body, content_type) if body is not None else None
                    self._send_challenge(request, head, verdict, page, form, later)

                self.collect(head, MAX_FORM_BYTES, then, now)
                return
            self._send_challenge(request, head, verdict, page, None, now)
            return
        status = _STATUS[verdict.action]
        edge.log.refused(now, request, status, self._told_id(head))
        close = self.must_close(head)
        self.answer(edge.replies.refusal(verdict, page, head_only, close), status, close, head, now)

    def _told_id(self, head: Head) -> str:
        """The request's id, if a trusted proxy has given it one; what is refused at once gets none from us."""
        return head.request_id.decode("ascii") if self._trusted else ""

    def _send_challenge(
        self, request: Request, head: Head, verdict: Verdict, page: bool, form: list[tuple[str, str]] | None, now: float
    ) -> None:
        edge = self._edge
        challenge = edge.engine.mint(request, now)
        edge.metrics.challenges_minted += 1
        close = self.must_close(head)
        reply = edge.replies.challenge(verdict, challenge, page, head.method == "HEAD", close, head.method, form)
        self.answer(reply, 503, close, head, now)

    def must_close(self, head: Head) -> bool:
        """Whether the connection ends with this answer: asked for, draining, or a body too long to read for nothing."""
        if head.close or self._edge.draining:
            return True
        body = self._body
        if self._phase == IDLE:  # nothing of the body was read yet
            if head.length == 0:
                return False
            return head.expect or head.length == CHUNKED or head.length > DISCARD_LIMIT
        return body is not None and (isinstance(body, ChunkedBody) or body.left > DISCARD_LIMIT)

    def answer(self, reply: bytes, status: int, close: bool, head: Head, now: float) -> None:
        """Send an answer of our own to a request whose body may not have been read."""
        self._edge.metrics.own_responses[status // 100] += 1
        self.write(reply)
        if close:
            self.end(now, linger=head.length != 0 and self._phase == IDLE)
            return
        if self._phase == IDLE and head.length:
            self._body = LengthBody(head.length)
        if self._body is not None:
            self._phase = DISCARD
            self.resume()
            self._linger_left = DISCARD_LIMIT + 1
            self.deadline = now + self._edge.timeouts.progress
            return
        if self._phase == IDLE:  # still inside _consume(), which goes on by itself
            self.deadline = now + self._edge.timeouts.keep_alive
        else:
            self._phase = IDLE
            self._ready(now)

    def refused_late(self, exchange: Exchange, now: float) -> None:
        """A queued request was shed."""
        self._exchange = None
        request = exchange.request
        self._edge.log.refused(now, request, 503, exchange.request_id.decode("ascii"))
        close = self.must_close(exchange.head)
        page = exchange.head.page
        reply = self._edge.replies.refusal(request.verdict, page, exchange.head.method == "HEAD", close)
        self.answer(reply, 503, close, exchange.head, now)

    def fail_exchange(self, fault: Fault, now: float) -> None:
        """The upstream gave no answer: give one in its place."""
        exchange = cast("Exchange", self._exchange)
        self._exchange = None
        head = exchange.head
        close = self.must_close(head) or FAULTS[fault].closes
        page = exchange.head.page
        self.answer(
            self._edge.replies.fault(fault, page, head.method == "HEAD", close), FAULTS[fault].status, close, head, now
        )

    def _break(self, fault: Fault, now: float, head: bytes | bytearray = b"") -> None:
        """The client's bytes are not HTTP as we read it: answer, and never read another request from them.

        `head` is what there is of a head, as far as it tells whom the answer is for."""
        edge = self._edge
        edge.metrics.faults[fault.value] += 1
        status = FAULTS[fault].status
        edge.log.fault(now, self._peer, fault.value, status)
        exchange = self._exchange
        if exchange is not None:
            self._exchange = None
            exchange.abandon(now)
            if exchange.responding:  # its response is on the way already: a second answer would be read as part of it
                self.reset()
                return
        if fault in _MALFORMED and not self._trusted:
            edge.engine.report(self._client or self._peer, Signal.MALFORMED, now)
        edge.metrics.own_responses[status // 100] += 1
        page, head_only = b"text/html" in head, head.startswith(b"HEAD ")
        if exchange is not None:  # it was understood; its body is what went wrong
            page, head_only = exchange.head.page, exchange.head.method == "HEAD"
        self.write(edge.replies.fault(fault, page, head_only, True))
        self.end(now, linger=True)

    # the exchange's half of the connection

    def write(self, data: bytes) -> None:
        """Send to the client."""
        if not self.transport.is_closing():
            self._written += len(data)
            self._edge.metrics.bytes_out += len(data)
            self.transport.write(data)

    def exchange_done(self, close: bool, now: float) -> None:
        """The response has been handed to the transport."""
        self._exchange = None
        if self._phase == CLOSED:
            return
        if close or self._phase != EXCHANGE:
            self.end(now)
            return
        self._phase = IDLE
        self._ready(now)

    def _ready(self, now: float) -> None:
        """Wait for the next request, or serve the one that waits."""
        if self._edge.draining and not self._pending:
            self.end(now)
            return
        if self.blocked:  # the rest of the response was read ahead: the client has to keep moving
            self.expect_progress(now)
        else:
            self.deadline = now + self._edge.timeouts.keep_alive
            self._mark = self._written
        if self._pending or self._eof:
            # From a fresh stack: a client that pipelines must not make us recurse, and one that has closed its half may
            # have sent another request before.
            self._edge.loop.call_soon(self._continue)
        elif self._paused:
            self.resume()

    def end(self, now: float, linger: bool = False) -> None:
        """Close once the answer is out. What the client still sends is read for a while, else a reset could overtake
        the answer; `linger`: it may be sending although nothing of that has been read yet."""
        transport = self.transport
        self._exchange = None
        clean = (
            not linger
            and self._body is None
            and not self._pending
            and not self._paused
            and self._phase in (IDLE, EXCHANGE, TUNNEL)
        )
        self._phase = LINGER
        self._partial = self._then = self._collected = self._body = None
        self._pending = b""
        self._linger_left = LINGER_LIMIT
        self.deadline = now + self._edge.timeouts.linger
        if transport.is_closing():
            return
        if self._eof or clean:
            transport.close()
            self.deadline = now + self._edge.timeouts.progress
        else:
            if self.scheme == "http":  # TLS has no half-close; the answer's Connection: close has to do
                transport.write_eof()
            self.resume()

    def reset(self) -> None:
        """Cut the connection so that the client sees an error, whatever framing the response had."""
        self._exchange = None
        self._phase = CLOSED
        self.deadline = NEVER
        sock = self.transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def pause(self) -> None:
        """Read no more from the client until resume()."""
        if not self._paused and not self.transport.is_closing():
            self._paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._paused:
            self._paused = False
            if not self.transport.is_closing():
                self.transport.resume_reading()
            if self._phase == BODY:
                self.expect_progress(self._edge.clock())

    def expect_progress(self, now: float) -> None:
        """From now on the client must move min_rate bytes a second, in whichever direction it is its turn."""
        self._mark = self._received if self._phase == BODY else self._written - self._unsent()
        self.deadline = now + self._edge.timeouts.progress

    def read_ahead(self, now: float) -> bool:
        """Whether there is room to read more from the upstream although the client is behind. It is watched then."""
        edge = self._edge
        unsent = self._unsent()
        more = unsent - self._ahead
        if unsent > edge.http.response_buffer_bytes or edge.ahead + more > edge.http.response_buffers_bytes:
            return False
        if not self._ahead:
            self.expect_progress(now)
        edge.ahead += more
        self._ahead = unsent
        return True

    def _release_ahead(self) -> None:
        self._edge.ahead -= self._ahead
        self._ahead = 0

    def _unsent(self) -> int:
        return self.transport.get_write_buffer_size()

    def open_tunnel(self, now: float) -> None:
        """101 was sent: pass bytes on."""
        self._phase = TUNNEL
        self.deadline = now + self._edge.upstream.tunnel_idle_timeout
        rest, self._pending = self._pending, b""
        self.resume()
        if rest:
            cast("Exchange", self._exchange).tunnel_up(rest, now)

    def close_tunnel(self, now: float) -> None:
        """One end is gone or silent: close both."""
        exchange = self._exchange
        self._exchange = None
        if exchange is not None:
            exchange.abandon(now)
        self.end(now)

    def drain(self, now: float) -> None:
        """Shield is stopping: close if nothing is in flight; what is in flight ends with Connection: close."""
        if self._phase == IDLE and not self._pending:
            self.end(now)

    def on_deadline(self, now: float) -> None:
        """`deadline` has passed."""
        edge = self._edge
        phase = self._phase
        exchange = self._exchange
        if self.blocked or (phase in (IDLE, LINGER) and self._unsent()):
            # The client does not read. It may be slow, but not slower than min_rate.
            moved = self._written - self._unsent() - self._mark
            if moved < 0 or moved >= edge.timeouts.min_rate * edge.timeouts.progress:
                self.expect_progress(now)  # below 0: nobody has measured it since the response was handed over
                return
            edge.metrics.faults["read_timeout"] += 1
            self._report_slow(now)
            self.reset()
            if exchange is not None:
                exchange.abandon(now)
        elif phase == IDLE:
            self.end(now)
        elif phase == HEAD:
            self._report_slow(now)
            self._break(Fault.HEAD_TIMEOUT, now, self._partial or b"")
        elif phase == BODY:
            moved = self._received - self._mark
            if self._paused and exchange is not None:  # not the client's turn: the upstream takes no more
                exchange.on_deadline(now)
                return
            if moved >= edge.timeouts.min_rate * edge.timeouts.progress:
                self.expect_progress(now)
                return
            self._report_slow(now)
            self._break(Fault.BODY_TIMEOUT, now)
        elif exchange is not None:
            exchange.on_deadline(now)
        else:
            self.transport.abort()
            self.deadline = NEVER

    def _report_slow(self, now: float) -> None:
        if self._trusted:
            return  # the connection is the proxy's; whose fault it is cannot be told
        self._edge.engine.report(self._client or self._peer, Signal.SLOW_ABORT, now)


_FORWARD, _QUEUE, _CHALLENGE = Action.FORWARD, Action.QUEUE, Action.CHALLENGE  # looking one up costs 70 ns
_ANSWERED: Final = frozenset({Action.CHALLENGE, Action.LIMIT, Action.SHED, Action.BAN})
_STATUS: Final = {Action.LIMIT: 429, Action.BAN: 403, Action.SHED: 503}
_INCOMPLETE: Final = frozenset({IDLE, HEAD, BODY, DISCARD})
_READING_BODY: Final = frozenset({BODY, DISCARD})
_MALFORMED: Final = frozenset({Fault.MALFORMED_HEAD, Fault.BAD_HOST, Fault.BAD_TARGET, Fault.BAD_FRAMING})
_OTHER_VERSION = re.compile(rb" HTTP/(?!1\.[01]$)[0-9]\.[0-9]$")


class _NoProtocol(BaseProtocol):
    """What the parser pauses and resumes when it buffers a body. It is fed no body, so nothing is ever called."""


def _new_parser(edge: Edge) -> Any:
    limit = edge.http.max_head_bytes
    return HttpRequestParser(
        _NoProtocol(edge.loop),
        edge.loop,
        65536,
        max_line_size=limit,
        max_field_size=limit,
        max_headers=1 << 16,  # counted by the examiner, which answers 431
        auto_decompress=False,
    )
