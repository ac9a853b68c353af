"""What few samples prove, and what they do not."""

from __future__ import annotations

import random

import pytest

from shield.policy.concurrency.evidence import SURE, VERY_SURE, median, too_many


def test_the_median_lies_between_its_bounds_which_are_the_samples_at_some_rank() -> None:
    ordered = [float(i) for i in range(1, 101)]
    assert median(ordered, SURE) == (41.0, 51.0, 61.0)
    assert median(ordered, VERY_SURE) == (36.0, 51.0, 66.0)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_of_very_few_samples_the_bounds_are_the_least_and_the_greatest(n: int) -> None:
    ordered = [float(i) for i in range(n)]
    low, _, high = median(ordered, VERY_SURE)
    assert (low, high) == (0.0, n - 1.0)


def test_those_under_way_raise_the_median_and_at_most_to_the_slowest() -> None:
    ordered = [float(i) for i in range(100)]
    assert median(ordered, SURE, late=0)[1] == 50.0
    assert median(ordered, SURE, late=40)[1] == 60.0  # three quarters of them above it
    assert median(ordered, SURE, late=4000) == (89.0, 99.0, 99.0)


def test_the_bounds_hold_the_true_median_nearly_always() -> None:
    rng = random.Random(5)
    missed = 0
    for _ in range(2000):
        low, _, high = median(sorted(rng.lognormvariate(0, 0.6) for _ in range(32)), SURE)
        missed += not low <= 1.0 <= high
    assert missed < 2000 * 0.06


@pytest.mark.parametrize(("n", "errors", "many"), [(8, 1, False), (8, 2, True), (100, 9, False), (100, 10, True)])
def test_errors_are_too_many_beyond_chance(n: int, errors: int, many: bool) -> None:
    assert too_many(errors, n, 0.05) is many
