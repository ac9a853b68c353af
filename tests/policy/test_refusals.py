"""Verdicts that refuse: shared, and each client is told a time of its own."""

from __future__ import annotations

import random

from shield.model import Reason
from shield.policy.queue.settings import QueueSettings
from shield.policy.refusals import KEPT, TIMED, LimitVerdicts, TimedRefusals, banned, limited


def test_a_limit_is_told_in_whole_seconds_and_made_once() -> None:
    verdict = limited(Reason.CLIENT_RATE, 10.0, 200.0, 2.4)
    assert (verdict.retry_after, verdict.limit) == (3, (10.0, 200.0))
    assert limited(Reason.CLIENT_RATE, 10.0, 200.0, 2.3) is verdict
    assert banned(Reason.CLIENT_BANNED, 60) is banned(Reason.CLIENT_BANNED, 60)


def test_retry_after_differs_by_client_and_by_second_within_its_bounds() -> None:
    refusals = TimedRefusals(QueueSettings(least_retry=2, most_retry=6))
    rng = random.Random(1)
    keys = [rng.randbytes(16) for _ in range(200)]
    at_once = [refusals.of(Reason.QUEUE_FULL, key, 5_000.0).retry_after for key in keys]
    later = [refusals.of(Reason.QUEUE_FULL, key, 5_001.0).retry_after for key in keys]
    assert set(at_once) == {2, 3, 4, 5, 6}
    assert sum(a == b for a, b in zip(at_once, later, strict=True)) < 100  # two of a kind part


def test_every_timed_reason_has_its_verdicts() -> None:
    refusals = TimedRefusals(QueueSettings())
    assert [refusals.of(reason, bytes(16), 0.0).reason for reason in TIMED] == list(TIMED)


def test_the_verdicts_of_a_bucket_are_those_of_limited_and_bounded() -> None:
    verdicts = LimitVerdicts(Reason.CLIENT_RATE, 10.0, 200.0)
    assert verdicts[3] is limited(Reason.CLIENT_RATE, 10.0, 200.0, 2.4)
    assert verdicts[3] is verdicts[3]
    for seconds in range(2 * KEPT):
        assert verdicts[seconds].retry_after == seconds
        assert len(verdicts) <= KEPT
