"""The words of refusals, challenges and answers about passes. Faults have a table of their own (faults.py).

One row per reason or result. The rows are the whole of what is said; pages.py and rendering.py give it a form.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from shield.model import Action, Reason
from shield.replies.faults import FAULTS


class Wording(NamedTuple):
    """What is said of one kind of problem: in a problem document, and with a `hint` for people on a page."""

    kind: str  # names the kind's page below PROBLEMS (pages.py)
    status: int
    title: str
    detail: str
    hint: str = ""


LIMIT: Final = Wording(
    "limit",
    429,
    "Too many requests",
    "More requests came from here than this site allows at the moment.",
)
SHED: Final = Wording(
    "shed",
    503,
    "The site is very busy",
    "More is asked of the site than it can do at the moment.",
)
BAN: Final = Wording(
    "ban",
    403,
    "Access refused",
    "Requests from here are not accepted at the moment.",
    "If this seems wrong to you, please tell the people who run this site.",
)
CHALLENGE: Final = Wording(
    "challenge",
    503,
    "Proof of work required",
    "Solve the challenge, send the answer, and repeat the request with the pass.",
)

_BY_ACTION: Final = {Action.LIMIT: LIMIT, Action.SHED: SHED, Action.BAN: BAN}
CHALLENGES: Final = tuple(reason for reason in Reason if reason.action is Action.CHALLENGE)
REFUSALS: Final = {reason: _BY_ACTION[reason.action] for reason in Reason if reason.action in _BY_ACTION}
TURNED_AWAY: Final[Mapping[Reason, Wording]] = REFUSALS | dict.fromkeys(CHALLENGES, SHED)
"""What is said to those who get no challenge, too: who cannot answer one is told that the site is busy."""

ANSWERS: Final[Mapping[str, tuple[int, str]]] = {
    "accepted": (200, ""),
    "waiting": (202, ""),
    "malformed": (400, "This is not an answer, or has not as many nonces as the challenge asks for."),
    "forged": (400, "The token, or the ticket, was not issued by this site."),
    "foreign": (400, "The token was issued to another program, or to where it costs less. Ask for a new one."),
    "expired": (400, "The challenge has expired, or the place in the waiting room is lost. Ask for a new challenge."),
    "spent": (400, "The challenge has been answered before. Ask for a new one."),
    "wrong": (400, "At least one nonce does not meet the target."),
    "busy": (503, "Too many answers are being verified. Send the same answer again."),
}
"""The status of the reply to an answer, and why it was not accepted, by the value of `Redeemed`."""

ANSWER_KIND: Final = "answer"
ANSWER_TITLE: Final = "Answer not accepted"


def problem_kinds() -> list[tuple[str, str, str]]:
    """Kind, title and detail of every kind of problem: the page that a document's `type` leads to is made of them."""
    kinds = [(each.kind, each.title, each.detail) for each in (LIMIT, SHED, BAN, CHALLENGE)]
    kinds.append((ANSWER_KIND, ANSWER_TITLE, "The member `reason` of the document says why."))
    kinds += [(fault.value, told.title, told.detail) for fault, told in FAULTS.items()]
    return kinds
