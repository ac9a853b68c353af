"""What Shield itself serves below /.well-known/shield/: answers to challenges, and the files of the challenge page.

These requests never reach the upstream and never wait, but they are charged: bans and rate limits hold here too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shield.client import answers
from shield.http.browser import MAX_ANSWER_BYTES, cross_site, parse_answer, wants_page
from shield.http.head import Head
from shield.model import Action, Fault
from shield.policy.challenge import Redeemed, Redemption
from shield.policy.request import Request
from shield.replies.faults import FAULTS
from shield.replies.wording import ANSWER_TO, ANSWERS

if TYPE_CHECKING:
    from shield.client.connection import ClientConnection
    from shield.client.edge import Edge

_UNREADABLE: Final = Redemption(Redeemed.MALFORMED)


def serve(gate: ClientConnection, edge: Edge, request: Request, head: Head, now: float) -> None:
    """Answer a request below PREFIX."""
    verdict = edge.engine.toll(request, now)
    edge.metrics.verdicts[verdict.action._value_][verdict.reason._value_] += 1
    if verdict.action is Action.LIMIT or verdict.action is Action.BAN:
        answers.refuse(gate, request, head, verdict, now)
    elif head.path == ANSWER_TO:
        _answer(gate, edge, request, head, now)
    elif head.method != "GET" and head.method != "HEAD":
        _fault(gate, edge, request, head, Fault.GET_ONLY, now)
    else:
        query = head.target[len(head.path) + 1 :]
        close = gate.must_close(head)
        reply = edge.replies.static(
            head.path, head.method == "HEAD", close, request.headers.get("If-None-Match"), query
        )
        if reply is None:
            _fault(gate, edge, request, head, Fault.NOT_FOUND, now)
        else:
            gate.answer(reply, 200, close, head, now)


def _fault(gate: ClientConnection, edge: Edge, request: Request, head: Head, fault: Fault, now: float) -> None:
    edge.metrics.faults[fault.value] += 1
    close = gate.must_close(head)
    reply = edge.replies.fault(fault, wants_page(request.headers), head.method == "HEAD", close)
    gate.answer(reply, FAULTS[fault].status, close, head, now)


def _answer(gate: ClientConnection, edge: Edge, request: Request, head: Head, now: float) -> None:
    """POST of an answer. Only JSON: another site's page cannot send that without asking first (CORS)."""
    media = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if head.method != "POST":
        _fault(gate, edge, request, head, Fault.POST_ONLY, now)
    elif media != "application/json":
        _fault(gate, edge, request, head, Fault.UNSUPPORTED_MEDIA, now)
    elif cross_site(request.headers, gate.caller.trusted):
        _fault(gate, edge, request, head, Fault.CROSS_SITE, now)
    else:

        def then(body: bytes | None, later: float) -> None:
            answer = parse_answer(body) if body is not None else None
            if isinstance(answer, str):
                redemption = edge.engine.claim(request.client, answer, later)
            else:
                redemption = edge.engine.redeem(request.client, *answer, later) if answer else _UNREADABLE
            result = redemption.result
            edge.metrics.redemptions[result.value] += 1
            if result is Redeemed.ACCEPTED:
                edge.metrics.passes_granted["bought"] += 1
            close = gate.must_close(head)
            reply = edge.replies.redeemed(redemption, gate.scheme == "https" or head.secure, False, close)
            gate.answer(reply, ANSWERS[result.value][0], close, head, later)

        gate.collect(head, MAX_ANSWER_BYTES, then, now)
