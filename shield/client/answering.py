"""What becomes of one request that was read: the policy is asked, and its verdict is carried out.

It is the same whatever the request came over: a connection of HTTP/1 serves one request after the other, and a stream
of HTTP/2 serves one. What differs is how a body is read and how an answer is written.

    Answering      asks the policy, begins the exchange, chooses the reply
    ClientConnection, h2.stream.Stream      read bodies and write answers
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final, cast

from shield.client.collecting import Collecting
from shield.client.routed import too_long
from shield.exchange.exchange import Exchange
from shield.http.rules import Rule
from shield.model import Action, Fault, Reason, Signal, Tier, Verdict
from shield.policy.request import Request
from shield.readers import READS_NOTHING, Reader
from shield.replies.pages import PREFIX
from shield.replies.reply import Reply

if TYPE_CHECKING:
    from shield.client.flow import Flow
    from shield.client.peer import Peer
    from shield.client.serving import Serving
    from shield.client.watch import Watch
    from shield.exchange.ports import Passage
    from shield.http.head import Head
    from shield.replies.redirect import Redirect
    from shield.replies.reply import BodyWanted
    from shield.wire.sideline import Lane

IDLE, HEAD, BODY, EXCHANGE, TUNNEL, DISCARD, LINGER, CLOSED = range(8)
PHASES: Final = ("idle", "head", "body", "exchange", "tunnel", "discard", "linger", "closed")


class Answering(ABC):
    """Serves requests of one `peer`, and is the end of the one that it serves (exchange.ports.ClientSide).

    `response` is NOT_YET until something is to be framed.
    """

    __slots__ = (
        "_exchange",
        "_phase",
        "_redirect",
        "_serving",
        "_tunnel",
        "flow",
        "ja4",
        "peer",
        "response",
        "secure",
        "watch",
    )

    _serving: Serving
    _redirect: Redirect | None
    _phase: int
    _exchange: Exchange | None
    _tunnel: Passage | None
    peer: Peer
    secure: bool
    ja4: str
    watch: Watch
    flow: Flow
    response: Any  # a ports.Response

    # what a subclass does in its own way

    @abstractmethod
    def _recognize(self, head: Head, now: float) -> None:
        """Find out who sent `head`, which was not seen before, over a connection of their own."""

    @abstractmethod
    def _make_response(self) -> None:
        """Something is about to be framed for the first time: `response` must be there."""

    @abstractmethod
    def _begin_body(self, head: Head, now: float, most: int, collecting: Collecting | None = None) -> None:
        """The body of a request follows, of `most` bytes at most; 0 is any number. It goes to `collecting`, or else to
        the exchange."""

    @abstractmethod
    def _rest(self, request: Request, head: Head, now: float) -> None:
        """A request was refused while Shield's own core is full."""

    @abstractmethod
    def _stand_aside(self, lane: Lane | None) -> None:
        """Have the connection read on the `lane` from now on, or, None, by the loop."""

    @abstractmethod
    def _server_name(self) -> str:
        """The host for which the connection was made, as the ClientHello says; empty where that says nothing."""

    @abstractmethod
    def _note_ban(self) -> None:
        """A request was refused because its address is banned."""

    @abstractmethod
    def answer(self, reply: Reply, head: Head, now: float, request_id: bytes = b"") -> None:
        """Send a reply of our own to a request whose body may not have been read, with the `request_id`."""

    @abstractmethod
    def _received(self) -> int:
        """bytes of the request's body that have come."""

    @abstractmethod
    def _break(self, fault: Fault, now: float, head: bytes | bytearray = b"", rule: Rule | None = None) -> None:
        """What the client has sent, or has not, is not HTTP as we read it: say so. `head` is what there is of one that
        was not understood, `rule` is the one that was broken, None where it was a deadline."""

    @abstractmethod
    def expect_progress(self, now: float) -> None:
        """From now on the client must move min_rate bytes a second, in whichever direction it is its turn."""

    # the same for all

    def _serve(self, head: Head, now: float) -> None:
        """One request: ask the policy, carry out the verdict."""
        if self._redirect is not None:
            reply = self._redirect.reply(head)
            if reply is not None:
                request_id = b""
                if reply.status == Fault.MISDIRECTED.status:
                    word, request_id = Fault.MISDIRECTED.value, self._id_to_quote(head, head.reader())
                    self._serving.log.fault(
                        now,
                        self.peer.address,
                        word,
                        reply.status,
                        ja4=self.ja4,
                        head=head,
                        request_id=request_id,
                    )
                self.answer(reply, head, now, request_id)
                return
        serving = self._serving
        if now >= self.watch.expires:
            head.close = True
            serving.connections.crowding.expired()
        peer = self.peer
        suffix = b""
        if peer.trusted:
            suffix = peer.recognize_behind(head, now)
        elif head is not peer.known_head:
            self._recognize(head, now)
        client = peer.client
        assert client is not None  # noqa: S101 - it has just been recognized, and cast() costs 50 ns
        shown_pass, has_body = peer.shown_pass, head.length != 0
        request = Request(client, head.method, head.path, head.headers, shown_pass, has_body, None, head.found_reader)
        if serving.hosting is not None:
            if not self._arrive(request, head, now):
                return
            serving = self._serving
        if head.path.startswith(PREFIX):
            self._serve_own(request, head, now)
            return
        verdict = serving.engine.decide(request, now)
        action = verdict.action
        # A request whose body is pending is counted when it enters.
        refused = action in ANSWERED
        if serving.sideline.open:
            self._take_place(request, verdict, now)
        if not request.body_pending or refused:
            serving.metrics.verdicts[action._value_][verdict.reason._value_] += 1
        if refused:
            self._refuse(request, head, verdict, now)
        else:
            self._send_on(request, head, action, suffix, now)

    def _take_place(self, request: Request, verdict: Verdict, now: float) -> None:
        """While Shield's own core is full, strangers are read after all others."""
        sideline = self._serving.sideline
        stranger = request.tier > _STRANGERS or verdict.action is Action.BAN
        if not stranger:
            sideline.known_at = now
        if not self.peer.trusted:
            self._stand_aside(self._serving.lane if stranger else None)

    def _arrive(self, request: Request, head: Head, now: float) -> bool:
        """Serve from now on what the site has that a request asks for; False when it is no site, and was answered.

        A connection over TLS was made for one site, that of the name in the hello. What asks over it for another one
        is misdirected (RFC 9110 section 7.4), unless a trusted proxy sends it, which has many clients' requests.
        """
        serving = self._serving
        hosting = serving.hosting
        found = None if hosting is None else hosting.of(head.host)
        if found is serving:
            return True
        if found is not None and (self.peer.trusted or not self._server_name()):
            self._serving = found
            return True
        verdict = serving.engine.toll(request, now)
        serving.metrics.decided(verdict)
        if verdict.action in ANSWERED:
            self._refuse(request, head, verdict, now)
            return False
        fault, reader = Fault.MISDIRECTED, head.reader()
        request_id = self._id_to_quote(head, reader)
        serving.metrics.faults[fault.value] += 1
        address = request.client.address
        serving.log.fault(now, address, fault.value, fault.status, ja4=self.ja4, head=head, request_id=request_id)
        self.answer(serving.replies.fault(fault, reader, head.language), head, now, request_id)
        return False

    def _serve_own(self, request: Request, head: Head, now: float) -> None:
        """A request for what Shield itself serves: it is charged, and neither challenged nor sent on."""
        serving = self._serving
        verdict = serving.engine.toll(request, now)
        serving.metrics.decided(verdict)
        if verdict.action in ANSWERED:
            self._refuse(request, head, verdict, now)
        else:
            secure = self.secure or head.secure
            request_id = self._id_to_quote(head, head.reader())
            reply = serving.own_pages.serve(request, head, self.peer.trusted, secure, now, request_id)
            self._say(reply, head, now, request_id)

    def serve_judged(self, request: Request, head: Head, verdict: Verdict, now: float) -> None:
        """Serve the first request, which was read and judged before there was a connection (accept/first_read.py)."""
        self.peer.take_over(request.client)
        hosting = self._serving.hosting
        if hosting is not None:
            self._serving = hosting.of(head.host) or self._serving
        if verdict.action in ANSWERED:
            self._refuse(request, head, verdict, now)
        else:
            self._send_on(request, head, verdict.action, b"", now)

    def _send_on(self, request: Request, head: Head, action: Action, suffix: bytes, now: float) -> None:
        """Send on a request that the policy lets through or has wait, with `suffix` if a trusted proxy brought it."""
        serving = self._serving
        peer = self.peer
        most_body = 0
        routed = serving.routed
        if routed is not None:
            terms = routed.of(request)
            routed.set_limits(self.watch, terms)
            most_body = routed.most_body(terms)
            if too_long(head.length, most_body):
                self._too_large(request, head, now)
                return
        if not suffix:  # made for what is forwarded only; a refusal needs none
            suffix = peer.forwarding_lines(head)
        if self.response is NOT_YET:
            self._make_response()
        forwarder = serving.forwarder
        request_id = head.request_id if peer.trusted and head.request_id else forwarder.request_ids()
        sent = head
        if serving.log.traces is not None:
            sent, line = serving.log.traces.begin(request, head, peer.trusted, now)
            suffix += line
        side: Any = self  # a subclass has the rest of exchange.ports.ClientSide
        request.owner = exchange = Exchange(forwarder, side, request, sent, suffix, request_id, now)
        self._exchange = exchange
        if head.length == 0:
            self._phase = EXCHANGE
            if action is _QUEUE:
                exchange.wait()
            else:
                exchange.start(now)
            return
        self._begin_body(head, now, serving.heads.examiner.max_body if routed is None else most_body)

    def _too_large(self, request: Request, head: Head, now: float) -> None:
        """Refuse a request that was let in for the length of its body, which is more than its route allows."""
        serving, rule = self._serving, Rule.BODY_SIZE
        serving.engine.cancel(request, now)
        reader = head.reader()
        reply = serving.replies.fault(rule.fault, reader, head.language)
        request_id = self._id_to_quote(head, reader)
        serving.metrics.faults[rule.fault.value] += 1
        serving.metrics.rules["request"][rule.value] += 1
        peer = self.peer
        serving.log.fault(
            now,
            peer.address,
            rule.fault.value,
            reply.status,
            ja4=peer.ja4,
            head=head,
            rule=rule.value,
            request_id=request_id,
        )
        self.answer(reply, head, now, request_id)

    def _refuse(self, request: Request, head: Head, verdict: Verdict, now: float) -> None:
        """Answer a request that the policy does not let through."""
        serving = self._serving
        peer = self.peer
        request.reader = reader = head.reader()
        if peer.trusted:
            request_id = self._id_to_quote(head, reader)
        else:  # the same, for a flood
            request_id = b"" if reader in READS_NOTHING else serving.forwarder.request_ids()
        if verdict.action is _CHALLENGE:
            serving.log.refused(now, request, 503, request_id, peer.ja4, head.http)
            self._say(serving.proof.ask(request, head, peer.scheme, now, request_id), head, now, request_id)
            if serving.resting.seconds:
                self._rest(request, head, now)
            return
        if verdict.reason is _ADDRESS_BANNED:
            self._note_ban()
        reply = serving.replies.refusal(verdict, reader, head.language)
        serving.log.refused(now, request, reply.status, request_id, peer.ja4, head.http)
        self.answer(reply, head, now, request_id)
        if serving.resting.seconds:
            self._rest(request, head, now)

    def _id_to_quote(self, head: Head, reader: Reader) -> bytes:
        """The id of a request that Shield answers itself: that of a trusted proxy, else a new one if `reader` could
        quote it."""
        if self.peer.trusted and head.request_id:
            return head.request_id
        return b"" if reader in READS_NOTHING else self._serving.forwarder.request_ids()

    def _say(self, reply: Reply | BodyWanted, head: Head, now: float, request_id: bytes = b"") -> None:
        """Send a reply, or first read the body that it depends on."""
        if isinstance(reply, Reply):
            self.answer(reply, head, now, request_id)
        elif head.length == 0:
            self.answer(reply.reply(b"", now), head, now, request_id)
        else:
            most = self._serving.heads.examiner.max_body
            self._begin_body(head, now, most, Collecting(reply, head, request_id))

    # waiting for the client

    def read_ahead(self, now: float) -> bool:
        """Whether there is room to read more from the upstream although the client is behind. It is watched then."""
        flow = self.flow
        begins = not flow.ahead
        exchange = self._exchange
        if exchange is None or not flow.read_ahead(exchange.request):
            return False
        if begins:
            self.expect_progress(now)
        return True

    def _late(self, now: float) -> bool:
        """Deal with a deadline that has passed. Whether there was a request under way that it was for."""
        phase, exchange = self._phase, self._exchange
        if phase == BODY:
            if self.flow.paused and exchange is not None:  # not the client's turn: the upstream takes no more
                exchange.on_deadline(now)
            else:
                self._slow_body(now)
        elif phase == TUNNEL:
            cast("Passage", self._tunnel).abandon(now)
        elif exchange is not None:
            exchange.on_deadline(now)
        else:
            return False
        return True

    def _slow_body(self, now: float) -> None:
        """The body of a request has not come as fast as it should."""
        received = self._received()
        if self.watch.kept_pace(received):
            self.expect_progress(now)
        elif not (received and self._may_rest(now)):
            if self._serving.engine.pressed and not self.watch.enough(received):
                self._report(Signal.SLOW_ABORT, now)
            self._break(Fault.BODY_TIMEOUT, now)

    def _may_rest(self, now: float) -> bool:
        """Whether a client that does not move is waited for a while longer: in calm weather everybody, as it holds
        nothing that somebody needs, and who is known always. It is watched on then."""
        return (self._deserves() or not self._serving.engine.pressed) and self.watch.pause(now)

    def _may_stay(self, now: float) -> bool:
        """Whether a client that has not read for so long may rest on: it has a history or a pass, or plays something in
        calm weather, it keeps the service from nothing, and nobody lacks what it holds. It is watched on then."""
        exchange = self._exchange
        free = exchange is None or (exchange.slot is not None and exchange.slot.returned)
        roomy = self._serving.forwarder.streams.roomy() and self.flow.roomy()
        return free and roomy and (self._deserves() or self._plays()) and self.watch.stay(now)

    def _plays(self) -> bool:
        """Whether a stranger may be a media player that has enough for now: it is calm weather, the connection has read
        WELL_BEGUN, and half of the places for slow strangers are free."""
        serving = self._serving
        streams, limit = serving.forwarder.streams, serving.forwarder.engine.concurrency_limit
        return not serving.engine.pressed and self.flow.taken() >= WELL_BEGUN and streams.patient(limit)

    def _deserves(self) -> bool:
        """Whether the client has a history or a pass."""
        peer = self.peer
        return peer.client is not None and self._serving.engine.deserves(peer.client, peer.shown_pass)

    def _report(self, signal: Signal, now: float, head: bytes | bytearray = b"") -> None:
        """Report who is at the other end, who has sent a `head` that could not be read."""
        peer = self.peer
        if not peer.trusted:  # else the connection is the proxy's; whose fault it is cannot be told
            self._serving.engine.report(peer.whose(head, now), signal, now)


NOT_YET: Final[Any] = None
WELL_BEGUN: Final = 256 * 1024
"""bytes that a stranger's connection must have read before it may rest as a player does: half a minute of speech, or a
second of film. So a client that asks for something and reads nothing of it may not."""
_ADDRESS_BANNED: Final = Reason.ADDRESS_BANNED
_QUEUE, _CHALLENGE = Action.QUEUE, Action.CHALLENGE  # looking one up costs 70 ns
_STRANGERS: Final = Tier.T2
ANSWERED: Final = frozenset({Action.CHALLENGE, Action.LIMIT, Action.SHED, Action.BAN})
"""Shield itself answers a request with such a verdict."""
