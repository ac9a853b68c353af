"""What a window says of the upstream, and when it says nothing."""

from __future__ import annotations

import random

import pytest

from shield.policy.concurrency import MOST_SAMPLES, Concurrency


def window(
    concurrency: Concurrency, ratios: list[float], *, clients: int = 8, errors: int = 0, calm: bool = True
) -> None:
    for i, ratio in enumerate(ratios):
        concurrency.sample(bytes([i % clients]), 0.1 * ratio, 0.1, i < errors)
    concurrency.close_window(0.5, calm)


def test_saturated_is_when_in_flight_reached_the_limit() -> None:
    concurrency = Concurrency(2)
    for _ in range(2):
        concurrency.take()
    concurrency.give()
    concurrency.close_window(0.5, True)
    assert concurrency.saturated
    concurrency.close_window(0.5, True)
    assert not concurrency.saturated
    concurrency.take()
    concurrency.close_window(0.5, True)
    concurrency.close_window(0.5, True)  # it is reached all the time
    assert concurrency.saturated


@pytest.mark.parametrize(("samples", "clients"), [(7, 7), (50, 3), (0, 1)])
def test_too_few_samples_or_clients_say_nothing(samples: int, clients: int) -> None:
    concurrency = Concurrency(10)
    window(concurrency, [50.0] * samples, clients=clients, errors=samples)
    assert not concurrency.acted
    assert not concurrency.errors_act
    assert (concurrency.ratio, concurrency.baseline, concurrency.low) == (1.0, 1.0, 1.0)


def test_the_median_is_the_congestion() -> None:
    concurrency = Concurrency(10)
    window(concurrency, [1.0, 1.0, 1.0, 5.0, 6.0, 7.0, 90.0, 90.0, 90.0], calm=False)
    assert concurrency.ratio == pytest.approx(6.0)
    assert concurrency.congestion == pytest.approx(6.0)
    assert concurrency.excess == pytest.approx(0.5)


def test_the_baseline_follows_slowly_in_calm_weather_and_at_once_downwards() -> None:
    concurrency = Concurrency(10)
    window(concurrency, [2.0] * 20)
    assert concurrency.baseline == pytest.approx(1.02)
    window(concurrency, [0.5] * 20)
    assert concurrency.baseline == 0.5


def test_a_draining_flood_teaches_no_baseline() -> None:
    concurrency = Concurrency(10)
    window(concurrency, [80.0] * 20, calm=False)
    assert concurrency.baseline == 1.0


def test_a_saturated_window_teaches_no_baseline() -> None:
    concurrency = Concurrency(1)
    concurrency.take()
    window(concurrency, [80.0] * 20)
    assert concurrency.baseline == 1.0


def test_congestion_that_is_not_measured_anew_bills_nothing_and_fades() -> None:
    concurrency = Concurrency(10)
    window(concurrency, [11.0] * 20, calm=False)
    window(concurrency, [], calm=False)
    assert concurrency.congestion == 1.0
    assert 10.9 < concurrency.ratio < 11.0
    concurrency.close_window(60.0, False)
    assert concurrency.ratio == pytest.approx(1 + 10 * 0.99, rel=0.01)


@pytest.mark.parametrize(("n", "errors", "acts"), [(8, 1, False), (8, 2, True), (100, 9, False), (100, 10, True)])
def test_errors_act_beyond_chance(n: int, errors: int, acts: bool) -> None:
    concurrency = Concurrency(10)
    window(concurrency, [1.0] * n, errors=errors)
    assert concurrency.errors_act is acts


def test_noise_in_few_samples_hardly_ever_looks_like_overload() -> None:
    rng = random.Random(3)
    concurrency = Concurrency(10)
    above = 0
    for _ in range(2000):
        concurrency.baseline = 1.0
        window(concurrency, [rng.lognormvariate(0, 1.0) for _ in range(8)], calm=False)
        above += concurrency.low > 1.5
    assert above < 20


def test_samples_of_a_window_are_bounded() -> None:
    concurrency = Concurrency(10)
    for i in range(5 * MOST_SAMPLES):
        concurrency.sample(i.to_bytes(4, "big"), 1.0, 1.0, True)
    assert len(concurrency._ratios) == MOST_SAMPLES
    assert len(concurrency._clients) == 4
