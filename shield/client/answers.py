"""The answers that Shield gives itself: refusals, challenges, and errors in the upstream's place.

What is said is decided here, the bytes come from replies.py, and the gate sends them and sees to the connection:
whether it ends, and what becomes of a body that was not read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shield.http.browser import MAX_FORM_BYTES, parse_form, same_origin
from shield.model import Action
from shield.replies.faults import FAULTS

if TYPE_CHECKING:
    from shield.client.connection import ClientConnection
    from shield.exchange.exchange import Exchange
    from shield.http.head import Head
    from shield.model import Fault, Verdict
    from shield.policy.request import Request

STATUS: Final = {Action.LIMIT: 429, Action.BAN: 403, Action.SHED: 503}
"""Of a refusal. A challenge is a 503."""
_CHALLENGE: Final = Action.CHALLENGE  # looking one up costs 70 ns
_FORM: Final = "application/x-www-form-urlencoded"


def refuse(gate: ClientConnection, request: Request, head: Head, verdict: Verdict, now: float) -> None:
    """Answer a request that the policy does not let through."""
    if verdict.action is _CHALLENGE:
        _ask_for_proof(gate, request, head, verdict, now)
        return
    edge = gate.edge
    status = STATUS[verdict.action]
    edge.log.refused(now, request, status, _told_id(gate, head), gate.caller.ja4)
    close = gate.must_close(head)
    gate.answer(edge.replies.refusal(verdict, head.page, head.method == "HEAD", close), status, close, head, now)


def _told_id(gate: ClientConnection, head: Head) -> str:
    """The request's id, if a trusted proxy has given it one; what is refused at once gets none from us."""
    return head.request_id.decode("ascii") if gate.caller.trusted else ""


def _ask_for_proof(gate: ClientConnection, request: Request, head: Head, verdict: Verdict, now: float) -> None:
    gate.edge.log.refused(now, request, 503, _told_id(gate, head), gate.caller.ja4)
    content_type = request.headers.get("Content-Type", "")
    if not (
        head.page
        and head.length
        and head.method == "POST"
        and content_type[: len(_FORM)].lower() == _FORM
        and same_origin(request.headers, gate.scheme)
    ):
        _challenge(gate, request, head, verdict, None, now)
        return

    # The page sends the form on once it is solved. Never for another site's form: it would arrive as our own.
    def then(body: bytes | None, later: float) -> None:
        form = parse_form(body, content_type) if body is not None else None
        _challenge(gate, request, head, verdict, form, later)

    gate.collect(head, MAX_FORM_BYTES, then, now)


def _challenge(
    gate: ClientConnection,
    request: Request,
    head: Head,
    verdict: Verdict,
    form: list[tuple[str, str]] | None,
    now: float,
) -> None:
    edge = gate.edge
    challenge = edge.engine.mint(request, now)
    edge.metrics.challenges_minted += 1
    close = gate.must_close(head)
    reply = edge.replies.challenge(verdict, challenge, head.page, head.method == "HEAD", close, head.method, form)
    gate.answer(reply, 503, close, head, now)


def shed(gate: ClientConnection, exchange: Exchange, now: float) -> None:
    """Answer a request that has waited in the queue for nothing."""
    edge, head, request = gate.edge, exchange.head, exchange.request
    edge.log.refused(now, request, 503, exchange.request_id.decode("ascii"), gate.caller.ja4)
    close = gate.must_close(head)
    gate.answer(edge.replies.refusal(request.verdict, head.page, head.method == "HEAD", close), 503, close, head, now)


def stand_in(gate: ClientConnection, exchange: Exchange, fault: Fault, now: float) -> None:
    """Answer a request to which the upstream gave no answer."""
    head, means = exchange.head, FAULTS[fault]
    close = gate.must_close(head) or means.closes
    reply = gate.edge.replies.fault(fault, head.page, head.method == "HEAD", close)
    gate.answer(reply, means.status, close, head, now)
