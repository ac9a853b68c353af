"""What is said to a site, and when: rules without I/O, for all clients.

    forward the request, with the pass of its origin
        challenged          buy a pass: solve, answer, wait in the room     } then forward it once more
        limited, shed       wait Retry-After                                }
    hand on the last response

`converse` and `buy` are generators: they yield what is to be done (`Forward`, `Buy`, `Solve`, `Send`, `Wait`), and are
sent what came of it. drive.py does it.

A request is forwarded again at most once after a pass was bought, once more when the answer came too late, and once
after a wait. What Shield refuses it does not pass on, so a POST that is sent again is not done twice.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from shield.solving.challenge import MOST_BODY, PROBLEM, Budget, Challenge, TooExpensiveError, TurnedDownError, read
from shield.solving.passes import Pass
from shield.solving.passes import read as read_pass

MOST_CHALLENGES: Final = 2
"""Of one request: the second when the first was answered too late. Who is challenged with a new pass stops."""
MOST_SENDS: Final = 100
"""Of one answer or ticket."""
LEAST_WAIT: Final = 0.2
USUAL_WAIT: Final = 2.0
"""Seconds where the site does not say how many."""
ANEW: Final = frozenset({"expired", "spent", "forged", "foreign"})
"""Why an answer is not taken where a new challenge may help."""
WAITING: Final = "/.well-known/shield/problems/"
"""What Shield's own problems begin with."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What matters of a response. `problem`: its body, where it is a problem document of a bearable size."""

    status: int
    retry_after: float | None
    problem: Any


@dataclass(frozen=True, slots=True)
class Forward:
    """Send the caller's request, with this pass. Gives a Reply."""

    shown: Pass | None


@dataclass(frozen=True, slots=True)
class Buy:
    """Get a pass for the origin, in place of the one shown: one that somebody has bought meanwhile, or a new one.
    Whether there is one: the answer may have come too late."""

    challenge: Challenge
    shown: Pass | None


@dataclass(frozen=True, slots=True)
class Solve:
    """Solve a challenge. Gives the nonces."""

    challenge: Challenge


@dataclass(frozen=True, slots=True)
class Send:
    """POST this JSON. Gives a Reply whose `problem` is the body in any case."""

    url: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait so many seconds."""

    seconds: float


class Patience:
    """The seconds of waiting that are left. One for a request."""

    def __init__(self, budget: Budget) -> None:
        self.left = budget.wait

    def spend(self, seconds: float | None) -> Wait:
        """Wait for as long as the site says. TooExpensiveError."""
        wanted = max(USUAL_WAIT if seconds is None else seconds, LEAST_WAIT)
        if wanted > self.left:
            raise TooExpensiveError(f"the site asks to wait {wanted:g} s, and {max(self.left, 0.0):g} s of budget left")
        self.left -= wanted
        return Wait(wanted)

    def enough(self, seconds: float | None) -> bool:
        """Whether there is enough left for that."""
        return seconds is not None and seconds <= self.left


Steps = Generator[Forward | Buy | Wait, Any, None]
Purchase = Generator[Solve | Send | Wait, Any, Pass | None]


def converse(url: str, budget: Budget, patience: Patience, shown: Pass | None) -> Steps:
    """Get one request through to the site, if it can be. `shown`: the pass to begin with. The last response that was
    forwarded is the caller's. SolvingError."""
    challenges, waited = 0, False
    while True:
        reply: Reply = yield Forward(shown)
        challenge = read(reply.problem, url) if reply.status == 503 else None
        if challenge is not None:
            challenges += 1
            if challenges > MOST_CHALLENGES:
                return
            before = shown
            shown = yield Buy(challenge, before)
            if shown is not None:
                challenges = MOST_CHALLENGES  # a challenge in spite of a new pass is the last
        elif refused(reply) and not waited and patience.enough(reply.retry_after):
            waited = True
            yield patience.spend(reply.retry_after)
        else:
            return


def refused(reply: Reply) -> bool:
    """Whether Shield has refused a request that may come again: by a limit, or for want of room."""
    if reply.status not in (429, 503) or not isinstance(reply.problem, dict):
        return False
    kind = reply.problem.get("type")
    return isinstance(kind, str) and kind in (f"{WAITING}limit", f"{WAITING}shed")


def buy(challenge: Challenge, budget: Budget, patience: Patience) -> Purchase:
    """Get a pass; None when a new challenge is needed. SolvingError."""
    budget.check(challenge)
    nonces = yield Solve(challenge)
    said: dict[str, Any] = {"token": challenge.token, "nonces": nonces}
    for _ in range(MOST_SENDS):
        reply: Reply = yield Send(challenge.answer_to, json.dumps(said).encode("ascii"))
        told = reply.problem if isinstance(reply.problem, dict) else {}
        if reply.status == 200:
            return read_pass(told)
        reason = told.get("reason")
        if reply.status == 202 and isinstance(told.get("ticket"), str):
            said = {"ticket": told["ticket"]}
        elif reply.status == 400 and reason in ANEW:
            return None
        elif reply.status not in (429, 503):
            raise TurnedDownError(reason if isinstance(reason, str) else "", reply.status)
        yield patience.spend(reply.retry_after)
    raise TooExpensiveError("the site keeps asking to wait")


def retry_after(value: str | None) -> float | None:
    """The seconds that Retry-After says; None for a date, which Shield does not send, and for nonsense."""
    if value is None or not (value.isascii() and value.isdecimal()) or len(value) > 9:
        return None
    return float(value)


def worth_reading(status: int, kind: str | None, length: str | None) -> bool:
    """Whether a response may be a refusal of Shield's, by its status, Content-Type and Content-Length: whoever reads
    its body keeps it for the caller."""
    return (
        status in (429, 503)
        and (kind or "").partition(";")[0].strip().lower() == PROBLEM
        and length is not None
        and length.isascii()
        and length.isdecimal()
        and int(length[:9]) <= MOST_BODY
    )


def like(fields: Mapping[str, str]) -> dict[str, str]:
    """The fields of an answer: of the request's own, those that tell which program it is."""
    found = {name: value for name, value in fields.items() if name.lower() in ("user-agent", "accept-language")}
    return found | {"Content-Type": "application/json", "Accept": "application/json"}
