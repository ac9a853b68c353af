"""Quantiles, ratios of rounds, and when users were back."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from bench.common.stats import Sample, median, quantile, ratio_of_rounds, recovery, sliding_p95, spread


class TestStatistics:
    def test_quantile_is_the_nearest_rank(self) -> None:
        values = list(range(100, 0, -1))
        assert [quantile(values, q) for q in (0.0, 0.5, 0.95, 1.0)] == [1, 50, 95, 100]
        assert quantile([7.0], 0.99) == 7.0
        assert math.isnan(quantile([], 0.5))

    def test_rounds_are_compared_in_pairs(self) -> None:
        # The machine halves its speed in the second round: the ratio does not see it.
        assert ratio_of_rounds([200.0, 100.0, 220.0], [100.0, 50.0, 100.0]) == 2.0
        assert spread([90.0, 100.0, 110.0]) == pytest.approx(0.2)
        assert median([]) != median([])  # NaN

    def test_p95_slides_and_counts_failures_as_patience(self) -> None:
        good = [Sample(t / 10, 0.1, True) for t in range(100)]
        assert {p95 for _, p95 in sliding_p95(good, 0.0, 10.0, 10.0)} == {0.1}
        # Refused at once, between seconds 4 and 5: fast, and as bad as an answer that never came.
        refused = [Sample(s.meant, 0.001, False) if 4 <= s.meant < 5 else s for s in good]
        points = dict(sliding_p95(refused, 0.0, 10.0, 10.0))
        assert points[4.5] == points[5.0] == points[6.75] == 10.0
        assert points[3.75] == points[7.0] == 0.1

    def test_p95_says_nothing_of_few_samples(self) -> None:
        assert sliding_p95([Sample(1.0, 0.1, True)] * 4, 0.0, 3.0, 10.0) == []

    def recovered(self, latency: Callable[[float], float], bound: float = 0.5) -> float | None:
        """When users are back whose requests at second t of a 30 s attack take latency(t); calm ones take 0.1 s."""
        samples = [Sample(t / 10, latency(t / 10) if t >= 0 else 0.1, True) for t in range(-50, 300)]
        points = sliding_p95(samples, 0.0, 30.0, 10.0)
        return recovery(points, samples, 0.0, 30.0, bound, 10.0).seconds

    def test_recovery_is_when_the_windows_after_the_onset_are_below_the_bound_again(self) -> None:
        assert self.recovered(lambda t: 0.1) == 0.0
        assert self.recovered(lambda t: 3.0) is None
        # Slow until second 3; the last slow request leaves the 2 s window at 4.9 less what a p95 forgives.
        assert self.recovered(lambda t: 3.0 if t < 3 else 0.1) == pytest.approx(5.0, abs=0.25)
        assert self.recovered(lambda t: 3.0 if 1 <= t < 3 else 0.1) == pytest.approx(5.0, abs=0.25)

    def test_a_late_bunch_of_clicks_is_no_onset_but_a_late_collapse_is_no_recovery(self) -> None:
        assert self.recovered(lambda t: 3.0 if 12 <= t < 12.5 else 0.1) == 0.0
        assert self.recovered(lambda t: 3.0 if 12 <= t < 20 else 0.1) == pytest.approx(22.0, abs=0.25)
        assert self.recovered(lambda t: 3.0 if t < 3 or t > 20 else 0.1) is None
