"""A challenge as docs/protocol.md has it, what a caller will do for it, and what can go wrong.

What a site sends is not trusted: a challenge out of bounds, or one whose answer would go to another origin, is none.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

ALGORITHM: Final = "sha256"
PROBLEM: Final = "application/problem+json"
MOST_BODY: Final = 16_384
"""Bytes of a body that is read to see whether it is a challenge; one of Shield's has 800."""
MOST_PARTS: Final = 255
MOST_ADDRESS: Final = 2048

_TOKEN: Final = re.compile(r"[0-9A-Za-z_-]{1,128}")
_TARGET: Final = re.compile(r"[0-9A-Fa-f]{16}")
_PORTS: Final = {"http": 80, "https": 443}


class SolvingError(Exception):
    """No pass has been got. The subclasses say why."""


class TooExpensiveError(SolvingError):
    """The challenge asks for more than the budget has: work, or waiting."""


class NotUnderstoodError(SolvingError):
    """What the site sent is no challenge, or no answer, that this program knows."""


class TurnedDownError(SolvingError):
    """The site did not take the answer. `reason` is its word for why, as docs/protocol.md lists them."""

    def __init__(self, reason: str, status: int) -> None:
        super().__init__(f"the site did not take the answer: {reason or f'status {status}'}")
        self.reason = reason
        self.status = status


class NotReplayableError(SolvingError):
    """There is a pass now, but the request's body was a stream and is gone: send the request again."""


class StoppedError(SolvingError):
    """The caller stopped the search."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What a caller will do for one pass.

    seconds     of searching. A challenge that would take twice as long, by the speed measured, is refused at once.
    bits        at most 2^bits hashes, as expected; None: `seconds` alone decides. The lowest price is 20 bits
    wait        seconds of waiting, in all, where the site says Retry-After; 0: never wait
    processes   that search at the same time; None: one for each core that this process may use
    """

    seconds: float = 10.0
    bits: float | None = None
    wait: float = 60.0
    processes: int | None = None

    def check(self, challenge: Challenge) -> None:
        """Refuse a challenge that takes too many hashes. TooExpensiveError."""
        if self.bits is not None and challenge.bits > self.bits:
            raise TooExpensiveError(
                f"the challenge takes 2^{challenge.bits:.1f} hashes, and the budget is 2^{self.bits:g}"
            )


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a site asks for. `answer_to` is a whole address."""

    token: str
    k: int
    target: int
    answer_to: str

    @property
    def hashes(self) -> float:
        """How many hashes it takes on average."""
        return self.k * 2.0**64 / self.target

    @property
    def bits(self) -> float:
        """The same as a power of two."""
        return math.log2(self.hashes)


def read(problem: Any, url: str) -> Challenge | None:
    """The challenge in a problem document that came from `url`; None when there is none in it. NotUnderstoodError."""
    asked = problem.get("challenge") if isinstance(problem, dict) else None
    if asked is None:
        return None
    if not isinstance(asked, dict):
        raise NotUnderstoodError("challenge: no object")
    if asked.get("algorithm") != ALGORITHM:
        raise NotUnderstoodError(f"algorithm: {_short(asked.get('algorithm'))} is not {ALGORITHM}")
    token, k, target, answer_to = (asked.get(name) for name in ("token", "k", "target", "answer_to"))
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise NotUnderstoodError("token: not 1 to 128 letters, digits, - and _")
    if type(k) is not int or not 1 <= k <= MOST_PARTS:
        raise NotUnderstoodError(f"k: {_short(k)} is no whole number from 1 to {MOST_PARTS}")
    if not isinstance(target, str) or not _TARGET.fullmatch(target) or not int(target, 16):
        raise NotUnderstoodError(f"target: {_short(target)} is not 16 hexadecimal digits above zero")
    if not isinstance(answer_to, str) or len(answer_to) > MOST_ADDRESS:
        raise NotUnderstoodError("answer_to: no address")
    try:
        to = urljoin(url, answer_to)
        same = origin_of(to) == origin_of(url)
    except ValueError:
        raise NotUnderstoodError("answer_to: no address") from None
    if not same:
        raise NotUnderstoodError(f"answer_to: {_short(answer_to)} is at another origin than {origin_of(url)}")
    return Challenge(token, k, int(target, 16), to)


def document(body: bytes) -> Any:
    """A body as JSON; None when it is not."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def origin_of(url: str) -> str:
    """Scheme, host and port of an address, the port always written. ValueError for what has none."""
    parts = urlsplit(url)
    port = parts.port or _PORTS.get(parts.scheme)
    if not parts.hostname or port is None:
        raise ValueError("no http(s) address")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{port}"


def _short(value: Any) -> str:
    return repr(value)[:60]
