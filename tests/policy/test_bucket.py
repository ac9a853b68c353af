"""GCRA is a token bucket."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.policy.bucket import Bucket, Rate, refused

START = 9_876.5


class PlainTokenBucket:
    """The textbook one: tokens that are refilled."""

    def __init__(self, rate: float, burst: float) -> None:
        self.rate, self.burst, self.tokens, self.at = rate, burst, burst, START

    def take(self, cost: float, now: float) -> bool:
        self.tokens = min(self.burst, self.tokens + (now - self.at) * self.rate)
        self.at = now
        if cost > self.tokens:
            return False
        self.tokens -= cost
        return True


# Eighths are exact in binary, so that the two cannot differ by rounding.
eighths = st.integers(0, 400).map(lambda n: n / 8)


@given(
    st.sampled_from([0.5, 1.0, 2.0, 8.0]),
    st.integers(1, 64).map(float),
    st.lists(st.tuples(eighths, eighths), max_size=200),
)
@pytest.mark.untraced
def test_gcra_admits_what_a_plain_token_bucket_admits(
    rate: float, burst: float, arrivals: list[tuple[float, float]]
) -> None:
    gcra, plain = Bucket(Rate(rate, burst)), PlainTokenBucket(rate, burst)
    now = START
    for wait, asked in arrivals:
        now += wait
        cost = min(asked, burst)  # no cost exceeds the burst
        assert gcra.take(cost, now) == plain.take(cost, now)
        assert gcra.level(now) == pytest.approx(plain.tokens)


def test_the_wait_is_the_time_until_the_bucket_admits() -> None:
    bucket = Bucket(Rate(2, 10))
    assert bucket.take(10, START)
    assert bucket.wait(4, START) == pytest.approx(2.0)
    assert not bucket.take(4, START + 1.99)
    assert bucket.take(4, START + 2.0)


def test_a_cost_above_the_burst_takes_the_burst() -> None:
    bucket = Bucket(Rate(1, 5))
    assert bucket.take(50, START)
    assert bucket.level(START) == pytest.approx(0)


def test_refused_attempts_never_wait_longer_than_an_empty_bucket_does() -> None:
    tat = 0.0
    for _ in range(10_000):
        tat = refused(tat, START, 0.02, 20)
    assert tat == pytest.approx(START + 20)


def test_a_refused_attempt_forgives_no_debt() -> None:
    assert refused(START + 30, START, 0.02, 20) == START + 30
