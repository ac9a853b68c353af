"""Proof of work over HTTP: the challenge that a request gets, and the answer that comes back.

The engine makes challenges and judges answers; here is decided what a request must be like for either, and what the
reply is. A form that a browser has posted is carried through the challenge page and sent on once it is solved.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shield.http.browser import MAX_ANSWER_BYTES, MAX_FORM_BYTES, cross_site, parse_answer, parse_form, same_origin
from shield.http.cookies import take_cookie
from shield.model import Fault, Reason
from shield.policy.challenge.challenge import Redeemed, Redemption
from shield.readers import MAY_ANSWER, PEOPLE, READS_NOTHING
from shield.replies.rendering import Spoken
from shield.replies.reply import BodyWanted, Reply

if TYPE_CHECKING:
    from shield.http.head import Head
    from shield.operator.log import AccessLog
    from shield.operator.metrics import Metrics
    from shield.policy.challenge.challenge import Challenge
    from shield.policy.engine import Engine
    from shield.policy.request import Request
    from shield.replies.rendering import Replies

ANSWER_REFUSED: Final = "answer_"
"""How the word for a refused answer begins in the log; the result follows. Metrics count all results by themselves."""

_WAITABLE: Final = frozenset({Reason.CHALLENGE_ALWAYS, Reason.NEWCOMER, Reason.BAD_REPUTATION})
"""Why somebody is challenged who may wait instead. Clients with a history, and neighbours of who is banned, may not."""
_FORM: Final = "application/x-www-form-urlencoded"
_UNREADABLE: Final = Redemption(Redeemed.MALFORMED)


class ProofOfWork:
    """Asks for proof of work and takes it. One for all connections."""

    __slots__ = ("_engine", "_log", "_metrics", "_replies")

    def __init__(self, engine: Engine, replies: Replies, metrics: Metrics, log: AccessLog) -> None:
        self._engine = engine
        self._replies = replies
        self._metrics = metrics
        self._log = log

    def ask(self, request: Request, head: Head, scheme: str, now: float, request_id: bytes = b"") -> Reply | BodyWanted:
        """The challenge for `request`, whose verdict is CHALLENGE; `scheme` is that of its connection. Who cannot read
        one gets none: an image or a preflight is turned away. A page shows the `request_id`."""
        reader, secure = head.reader(), scheme == "https" or head.secure
        if reader in READS_NOTHING:
            return self._replies.refusal(request.verdict, reader, head.language)
        content_type = request.headers.get("Content-Type", "")
        if not (
            reader in PEOPLE
            and head.length
            and head.method == "POST"
            and content_type[: len(_FORM)].lower() == _FORM
            and same_origin(request.headers, scheme)  # another site's form, sent on, would arrive as our own
        ):
            return self._challenge(request, head, None, secure, now, request_id)

        def then(body: bytes | None, later: float) -> Reply:
            form = parse_form(body, content_type) if body is not None else None
            return self._challenge(request, head, form, secure, later, request_id)

        return BodyWanted(MAX_FORM_BYTES, then)

    def _challenge(
        self,
        request: Request,
        head: Head,
        form: list[tuple[str, str]] | None,
        secure: bool,
        now: float,
        request_id: bytes,
    ) -> Reply:
        accepted = request.headers.get("Accept-Encoding", "")
        if not self._may_wait(request, head):
            spoken = Spoken(head.language, accepted, request_id)
            return self._ask(request, head, form, spoken, self._engine.mint(request, now))
        name = self._replies.ticket_cookie
        ticket = take_cookie(head.cookie, name)[0].decode("latin-1") if name in head.cookie else ""
        turn = self._engine.wait(request, ticket, now)
        if turn.result is Redeemed.ACCEPTED:
            self._metrics.passes_granted["waited"] += 1
            return self._replies.let_in(_same_place(head), turn, secure)
        challenge = self._engine.mint(request, now)
        fields = b""
        if turn.wait and turn.result is Redeemed.EXPIRED:  # else the older ticket is the better one
            fields = self._replies.set_ticket(challenge.token, challenge.expires_in, secure)
        spoken = Spoken(head.language, accepted, request_id, turn.wait, fields, _same_place(head))
        return self._ask(request, head, form, spoken, challenge)

    def _ask(
        self,
        request: Request,
        head: Head,
        form: list[tuple[str, str]] | None,
        spoken: Spoken,
        challenge: Challenge,
    ) -> Reply:
        self._metrics.challenges_minted += 1
        return self._replies.challenge(request.verdict, challenge, head.reader(), head.method, form, spoken)

    def _may_wait(self, request: Request, head: Head) -> bool:
        """Whether somebody may wait instead of solving: for what can be asked for again, where a pass that was waited
        for helps."""
        return (
            (head.method == "GET" or head.method == "HEAD")
            and request.verdict.reason in _WAITABLE
            and (head.reader() in MAY_ANSWER)
        )

    def take(
        self,
        request: Request,
        head: Head,
        trusted: bool,
        secure: bool,
        request_id: bytes = b"",
        readable: bytes = b"",
    ) -> Fault | BodyWanted:
        """What is to be read of an answer, or why it is none. `trusted`: a trusted proxy brings it; `secure`: the
        client speaks TLS; `request_id` is logged with a refusal. `readable`: field lines with which the page of another
        origin reads the reply, where it may bring an answer.

        Only JSON is taken: another site's page cannot send that without asking first (CORS).
        """
        if head.method != "POST":
            return Fault.POST_ONLY
        said = head.headers.getall("Content-Type", []) or [""]
        if len(said) > 1 or said[0].partition(";")[0].strip().lower() != "application/json":
            return Fault.UNSUPPORTED_MEDIA
        if not readable and cross_site(request.headers, trusted):
            return Fault.CROSS_SITE

        def then(body: bytes | None, now: float) -> Reply:
            redemption = self._redeem(request, body, now)
            self._metrics.redemptions[redemption.result.value] += 1
            if redemption.result is Redeemed.ACCEPTED:
                self._metrics.passes_granted["bought"] += 1
            reply = self._replies.redeemed(redemption, secure)
            if reply.status >= 400:
                word = ANSWER_REFUSED + redemption.result.value
                self._log.fault(now, request.client.address, word, reply.status, head=head, request_id=request_id)
            return reply.with_fields(readable)

        return BodyWanted(MAX_ANSWER_BYTES, then)

    def upkeep(self, request: Request, now: float) -> Reply:
        """What a page that stays open learns of its pass, and the challenge that buys the next one when it is time."""
        told = self._engine.upkeep(request, now)
        challenge = None
        if told.due:
            self._metrics.challenges_minted += 1
            challenge = self._engine.mint(request, now)
        return self._replies.upkeep(told, challenge)

    def _redeem(self, request: Request, body: bytes | None, now: float) -> Redemption:
        answer = parse_answer(body) if body is not None else None
        if answer is None:
            return _UNREADABLE
        if isinstance(answer, str):
            return self._engine.claim(request.client, answer, now)
        return self._engine.redeem(request.client, *answer, now)


def _same_place(head: Head) -> bytes:
    """The target of a request as a Location that leads to it, and to no other host: not "//host", nor "/\\host", which
    browsers take for the same."""
    target = head.target if head.target.startswith("/") else head.path
    return (b"/." if target.startswith(("//", "/\\")) else b"") + target.encode("latin-1")
