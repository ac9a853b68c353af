"""Half an hour of twice what the service can do; then half the service, the whole again, and thrice as slow.

The same body is run with Netflix's Gradient2 in the place of Shield's limiter, and has to fail there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from statistics import median

import pytest

from shield.policy.concurrency.concurrency import Concurrency
from shield.policy.concurrency.reading import Reading
from shield.policy.concurrency.settings import ConcurrencySettings
from shield.policy.engine import Engine
from shield.simulate.result import Result
from shield.simulate.scene import load
from shield.simulate.world import run

SERVICE_SECONDS = 0.08
IDEAL = 16.0  # slots of the service


class Gradient2(Concurrency):
    """com.netflix.concurrency.limits.limit.Gradient2Limit with its defaults, over the readings of Shield's own.

    The long-term latency is an average over 600 windows of what is measured, overload or not.
    """

    def __init__(self) -> None:
        super().__init__(ConcurrencySettings(adaptive=False))
        self._estimate = 20.0
        self._long: float | None = None

    def close_window(self, seconds: float, calm: bool, now: float) -> Reading:
        reading = super().close_window(seconds, calm, now)
        if not reading.times.acted:
            return reading
        short = reading.times.ratio
        long = self._long = short if self._long is None else self._long + (short - self._long) * 2 / 601
        if long / short > 2.0:
            self._long = long * 0.95
        gradient = max(0.5, min(1.0, 1.5 * long / short))
        wanted = self._estimate * gradient + 4.0
        self._estimate = max(20.0, min(1000.0, 0.8 * self._estimate + 0.2 * wanted))
        limit = int(self._estimate)
        self._limit.move(limit)
        self.slots.resize(limit, now)
        return replace(reading, limit=limit)


def gradient2(engine: Engine) -> None:
    """Put it in the place of the engine's own, wherever that is used."""
    instead = Gradient2()
    engine._concurrency = engine._windows._concurrency = engine._times._concurrency = instead
    engine._admission._slots = engine._times._slots = instead.slots


Prepare = Callable[[Engine], None]


def smooth(values: Sequence[float], width: int = 10) -> list[float]:
    """Medians over ten seconds: a limit that is found by trying goes up and down."""
    return [median(values[i : i + width]) for i in range(len(values) - width + 1)]


def check(result: Result, start: float, end: float, ideal: float = IDEAL, slower: float = 1.0) -> None:
    """The limit stays near the ideal, nobody waits long in the service, and it gets done what it can."""
    limits = smooth(result.values("concurrency", start, end))
    assert 0.7 * ideal <= min(limits)
    assert max(limits) <= 1.6 * ideal
    assert result.upstream.quantile(0.99, start, end) <= 5 * SERVICE_SECONDS * slower
    assert result.goodput(start, end) >= 0.9 * ideal / SERVICE_SECONDS / slower


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.scene)])
def test_the_limit_is_found_within_a_minute(seed: int) -> None:
    result = run(replace(load("overload"), seconds=120, calm=30), seed)
    check(result, 60, 119)
    assert result.population("people").share >= 0.99


@lru_cache(maxsize=2)
def overload(seed: int, prepare: Prepare | None) -> Result:
    return run("overload", seed, prepare=prepare)


SPANS = [
    pytest.param((60, 1800, IDEAL, 1.0), id="half an hour"),
    pytest.param((1860, 2100, IDEAL / 2, 1.0), id="half the capacity"),
    pytest.param((2160, 2400, IDEAL, 1.0), id="twice that"),
    pytest.param((2460, 2699, IDEAL, 3.0), id="thrice as slow"),
]


@pytest.mark.scene
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("span", SPANS)
def test_the_limit_does_not_drift_and_finds_back_within_a_minute(
    span: tuple[float, float, float, float], seed: int
) -> None:
    result = overload(seed, None)
    check(result, *span)
    assert result.population("people").share_between(*map(int, span[:2])) >= 0.99


@pytest.mark.scene
@pytest.mark.parametrize("seed", [1, 2])
def test_a_baseline_that_is_learned_from_the_flood_drifts(seed: int) -> None:
    result = overload(seed, gradient2)
    for span in SPANS:
        with pytest.raises(AssertionError):
            check(result, *span.values[0])
    assert result.value("concurrency", 1799) > 10 * IDEAL
