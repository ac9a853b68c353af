"""One connection of another proxy that asks about the requests which it carries itself (forward-auth, docs/gate.md).

A question gets the verdict that its request would get if Shield carried it: by the same policy, with the same log line,
counters, challenge and passes. "Yes" is 200, and everything else is the answer for the client. Nothing is forwarded.

    /shield-gate/PROXY                  a question (http/questions.py)
    below /.well-known/shield/          Shield's own pages, which the proxy passes on: the answer to a challenge
    with X-Shield-Verdict               nginx asks for the answer to a request whose verdict it was told
    everything else                     is no question: `gate_question`

How long the service takes, and what it answers, is not known here. So a request takes no slot and waits in no queue,
and one that is let through counts as one that went well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shield.client.answering import ANSWERED
from shield.client.connection import ClientConnection
from shield.http.questions import (
    SAID,
    NoQuestionError,
    Proxy,
    asked_about,
    proxy_of,
    said_of,
    verdict_said,
)
from shield.http.rules import Broken
from shield.model import Action, Fault, Outcome
from shield.policy.per_route.readings import ambiguous
from shield.policy.request import Request
from shield.readers import Reader
from shield.replies.pages import PREFIX
from shield.replies.reply import Reply

if TYPE_CHECKING:
    from shield.http.head import Head
    from shield.model import Verdict
    from shield.policy.identity import Client

LET_THROUGH: Final = 200
"""Envoy takes no other status for a yes."""
_UNSAID: Final = 401
_BANNED: Final = 403
_IN_PLACE: Final = 429
"""What stands for a status that the proxy would take for a failure of the gate."""


class GateConnection(ClientConnection):
    """Serves questions. `_question`: who asks the one that is being answered, and its head; the head that everything
    else goes by is that of the request which it is about."""

    __slots__ = ("_question",)

    _question: tuple[Proxy, Head] | None

    def connection_made(self, transport: object) -> None:
        self._question = None
        super().connection_made(transport)

    def _serve(self, head: Head, now: float) -> None:
        if not self.peer.trusted:
            self._turn_away(Fault.GATE_PEER, "listen.trusted_proxies does not name this address", head, now)
            return
        if head.path.startswith(PREFIX):
            super()._serve(head, now)
            return
        if now >= self.watch.expires:
            head.close = True
            self._serving.connections.crowding.expired()
        proxy = proxy_of(head)
        try:
            if proxy is not None:
                self._judge(proxy, asked_about(proxy, head), head, now)
            else:
                self._answer_again(head, now)
        except NoQuestionError as error:
            self._turn_away(Fault.GATE_QUESTION, str(error), head, now)

    def _turn_away(self, fault: Fault, why: str, head: Head, now: float) -> None:
        """Tell whoever asks, and the operator, that this is no question for us. The client is told nothing else."""
        serving, reader = self._serving, head.reader()
        request_id = self._id_to_quote(head, reader)
        serving.metrics.faults[fault.value] += 1
        address = self.peer.address
        serving.log.fault(now, address, fault.value, fault.status, why, head=head, request_id=request_id)
        self.answer(serving.replies.fault(fault, reader, head.language), head, now, request_id)

    def _recognize_asker(self, head: Head, now: float) -> Client:
        """Find out for whom the proxy asks. Raises NoQuestionError: without that all would be one client."""
        peer = self.peer
        peer.recognize_behind(head, now)
        client = peer.client
        told = head.chain + head.forwarded
        if client is None or (client.address == peer.address and peer.address.encode("ascii") not in told):
            raise NoQuestionError("no field names the client: X-Forwarded-For is needed, as listen.forwarded_from says")
        return client

    def _judge(self, proxy: Proxy, text: bytes, head: Head, now: float) -> None:
        """Ask the policy about the request whose head is `text`, and answer the question that came with `head`."""
        serving, peer = self._serving, self.peer
        client = self._recognize_asker(head, now)
        self._question = proxy, head
        try:
            asked = serving.heads.read(text, text.find(b"\r\n")) or serving.heads.examiner.examine(
                text, text.find(b"\r\n")
            )
        except Broken as broken:
            self._refuse_broken(broken, text, now)
        else:
            asked.secure = head.secure
            request = Request(client, asked.method, asked.path, asked.headers, peer.shown_pass, True, None)
            # Will be passed on to us: nobody could solve a challenge otherwise. The proxy resolves dot segments before
            # it looks, so it would send "/.well-known/shield/../admin" to the service.
            ours = asked.path.startswith(PREFIX) and not ambiguous(asked.path)
            engine = serving.engine
            verdict = engine.toll(request, now) if ours else engine.decide(request, now)
            serving.metrics.decided(verdict)
            if verdict.action in ANSWERED:
                self._refuse(request, asked, verdict, now)
            else:
                request.body_pending = False
                if not ours:
                    engine.learn(request, Outcome(LET_THROUGH, -1.0, stream=True), now)
                self._let_through(request, asked, verdict, now)
        self._question = None

    def _refuse_broken(self, broken: Broken, text: bytes, now: float) -> None:
        """The request breaks a rule, and must not pass. It came well-formed enough for the proxy, so nobody is blamed:
        the proxy may have written it so."""
        serving, rule = self._serving, broken.rule
        fault, reader = rule.fault, Reader(b"text/html" in text)
        request_id = serving.forwarder.request_ids()
        serving.metrics.faults[fault.value] += 1
        serving.metrics.rules["request"][rule.value] += 1
        client = self.peer.client
        address = self.peer.address if client is None else client.address
        serving.log.fault(now, address, fault.value, fault.status, head=text, rule=rule.value, request_id=request_id)
        assert self._question is not None  # noqa: S101 - it is what is being answered
        self.answer(serving.replies.fault(fault, reader), self._question[1], now, request_id)

    def _let_through(self, request: Request, asked: Head, verdict: Verdict, now: float) -> None:
        """Say yes: the proxy passes the request on."""
        request_id = self._id_of(asked)
        self._serving.log.request(
            now, request, LET_THROUGH, 0.0, 0, "", request_id.decode("ascii"), "", "", "", asked.http
        )
        self.answer(_yes(verdict, request, request_id), asked, now)

    def _refuse(self, request: Request, head: Head, verdict: Verdict, now: float) -> None:
        question = self._question
        if question is None or not question[0].twice:
            super()._refuse(request, head, verdict, now)
            return
        serving = self._serving
        request.reader = reader = head.reader()
        request_id = self._id_of(head)
        status = serving.replies.refusal(verdict, reader, head.language).status
        serving.log.refused(now, request, status, request_id, "", head.http)
        self.answer(_no(verdict, request, request_id), head, now)

    def _answer_again(self, head: Head, now: float) -> None:
        """The answer to a request whose verdict a proxy was told, which sends it for the answer's sake. It was decided,
        charged and logged before."""
        values = head.headers.getall(SAID) or []
        if len(values) != 1:
            raise NoQuestionError(f"ask below /shield-gate/, or bring the field {SAID}")
        verdict, tier, request_id = verdict_said(values[0])
        serving, peer = self._serving, self.peer
        peer.client = None  # it may have been forgotten since its last request
        client = self._recognize_asker(head, now)
        request = Request(client, head.method, head.path, head.headers, None, head.length != 0, None)
        request.verdict, request.tier = verdict, tier
        request.reader = reader = head.reader()
        if verdict.action is Action.CHALLENGE:
            scheme = "https" if head.secure else peer.scheme
            self._say(serving.proof.ask(request, head, scheme, now, request_id), head, now, request_id)
        else:
            self.answer(serving.replies.refusal(verdict, reader, head.language), head, now, request_id)

    def answer(self, reply: Reply, head: Head, now: float, request_id: bytes = b"") -> None:
        question = self._question
        if question is not None:
            proxy, head = question
            reply = _carried(reply, proxy)
        super().answer(reply, head, now, request_id)

    def _id_of(self, asked: Head) -> bytes:
        """The id of a request: that of the proxy, else a new one."""
        return asked.request_id or self._serving.forwarder.request_ids()


def _yes(verdict: Verdict, request: Request, request_id: bytes) -> Reply:
    fields = b"Content-Length: 0\r\nX-Shield-Action: %b\r\nX-Shield-Reason: %b\r\nX-Shield-Tier: %d\r\nX-Request-Id: %b"
    said = verdict.action.value.encode("ascii"), verdict.reason.value.encode("ascii")
    return Reply(LET_THROUGH, fields % (*said, request.tier, request_id) + b"\r\n", b"")


def _no(verdict: Verdict, request: Request, request_id: bytes) -> Reply:
    status = _BANNED if verdict.action is Action.BAN else _UNSAID
    said = SAID.encode("ascii"), said_of(verdict, request.tier, request_id)
    return Reply(status, b"Content-Length: 0\r\nCache-Control: no-store\r\n%b: %b\r\n" % said, b"")


def _carried(reply: Reply, proxy: Proxy) -> Reply:
    """A reply as a proxy can carry it."""
    status = reply.status
    if proxy.twice:
        if status in (LET_THROUGH, _UNSAID, _BANNED):
            return reply
        return Reply(_BANNED, b"Content-Length: 0\r\n", b"", reply.closes)
    if status > proxy.most_status:
        said, instead = b'"status":%d' % status, b'"status":%d' % _IN_PLACE
        return Reply(_IN_PLACE, reply.fields, reply.body.replace(said, instead, 1), reply.closes)
    return reply
