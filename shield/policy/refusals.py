"""Verdicts that refuse. They are made once and shared, since refusing must be cheap."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from shield.model import Reason, Verdict
from shield.policy.bucket import SLACK
from shield.policy.keys import TAG_BYTES
from shield.policy.queue.settings import QueueSettings

KEPT: Final = 4096
"""Refusals kept, the latest. With the settings as shipped there are fewer: one for each second that one may wait."""

TIMED: Final = (
    Reason.CHALLENGE_ALWAYS,
    Reason.NEWCOMER,
    Reason.BAD_REPUTATION,
    Reason.OVERSUBSCRIBED,
    Reason.BAD_NEIGHBOUR,
    Reason.FINGERPRINT_RATE,
    Reason.QUEUE_FULL,
    Reason.OUTRANKED,
    Reason.QUEUE_TIMEOUT,
)
"""Reasons whose Retry-After differs by client: otherwise those that are turned away together come back together."""


EARLY: Final = 2 * SLACK
"""Seconds by which a wait may be beyond a whole number of them, and is told as that number."""


class LimitVerdicts(dict[int, Verdict]):
    """The verdicts of one kind of bucket, by the seconds until it admits the request. A flood is refused by few kinds,
    so each keeps its own."""

    __slots__ = ("_burst", "_rate", "_reason")

    def __init__(self, reason: Reason, rate: float, burst: float) -> None:
        """`rate` in units/s, `burst` in units."""
        self._reason = reason
        self._rate = rate
        self._burst = burst

    def __missing__(self, seconds: int) -> Verdict:
        if len(self) >= KEPT:
            self.clear()
        verdict = self[seconds] = _limited(self._reason, self._rate, self._burst, seconds)
        return verdict


def limited(reason: Reason, rate: float, burst: float, wait: float) -> Verdict:
    """The verdict of a bucket (units/s, units) that admits the request in `wait` seconds."""
    return _limited(reason, rate, burst, int(wait - EARLY) + 1)


@lru_cache(maxsize=KEPT)
def _limited(reason: Reason, rate: float, burst: float, seconds: int) -> Verdict:
    return Verdict(reason, seconds, (rate, burst), 0.0)


def limited_as(reason: Reason, verdict: Verdict) -> Verdict:
    """The verdict of a bucket under another reason."""
    rate, burst = verdict.limit or (0.0, 0.0)
    return _limited(reason, rate, burst, verdict.retry_after)


@lru_cache(maxsize=KEPT)
def banned(reason: Reason, seconds: int) -> Verdict:
    """The verdict of a ban that ends in so many seconds."""
    return Verdict(reason, seconds)


class TimedRefusals:
    """The verdicts of the `TIMED` reasons."""

    __slots__ = ("_choices", "_verdicts")

    def __init__(self, settings: QueueSettings) -> None:
        waits = range(settings.least_retry, settings.most_retry + 1)
        self._choices = len(waits)
        self._verdicts = {reason: tuple(Verdict(reason, seconds) for seconds in waits) for reason in TIMED}

    def of(self, reason: Reason, client: bytes, now: float) -> Verdict:
        """The verdict for a client, by its key.

        Retry-After comes from a different byte of the key each second, so that two clients never stay in step.
        """
        return self._verdicts[reason][client[int(now) % TAG_BYTES] % self._choices]
