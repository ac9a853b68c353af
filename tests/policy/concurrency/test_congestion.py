"""What a window says of the service, and when it says nothing."""

from __future__ import annotations

import random

import pytest

from shield.policy.concurrency.concurrency import Concurrency
from shield.policy.concurrency.congestion import Congestion
from shield.policy.concurrency.reading import Times
from shield.policy.concurrency.samples import Samples
from shield.policy.concurrency.settings import ConcurrencySettings
from tests.policy.concurrency.by_hand import START, WINDOW


def window(
    congestion: Congestion,
    ratios: list[float],
    *,
    clients: int = 8,
    errors: int = 0,
    drifts: bool = True,
    probing: bool = False,
    seconds: float = WINDOW,
) -> Times:
    samples = Samples(ConcurrencySettings().clients)
    for i, ratio in enumerate(ratios):
        samples.add(bytes([i % clients]), ratio, 0.1 * ratio - 0.1, i < errors)
    return congestion.read(samples, seconds, drifts=drifts, probing=probing)


@pytest.fixture
def congestion() -> Congestion:
    return Congestion(ConcurrencySettings())


@pytest.mark.parametrize(("samples", "clients"), [(7, 7), (50, 3), (0, 1)])
def test_too_few_samples_or_clients_say_nothing(congestion: Congestion, samples: int, clients: int) -> None:
    assert window(congestion, [50.0] * samples, clients=clients, errors=samples) == Times()
    assert congestion.baseline == 1.0


def test_the_median_is_the_congestion(congestion: Congestion) -> None:
    times = window(congestion, [1.0, 1.0, 1.0, 5.0, 6.0, 7.0, 90.0, 90.0, 90.0], drifts=False)
    assert times.acted
    assert times.ratio == pytest.approx(6.0)
    assert times.congestion == pytest.approx(6.0)
    assert times.excess == pytest.approx(0.5)


def test_the_baseline_follows_slowly_in_calm_weather_and_at_once_downwards(congestion: Congestion) -> None:
    window(congestion, [2.0] * 20)
    assert congestion.baseline == pytest.approx(1.02)
    window(congestion, [0.5] * 20)
    assert congestion.baseline == 0.5


def test_in_a_probe_the_baseline_is_left_to_it(congestion: Congestion) -> None:
    window(congestion, [0.5] * 20, probing=True)
    assert congestion.baseline == 1.0
    congestion.learn(0.7)
    assert congestion.baseline == 0.7


@pytest.mark.parametrize(("saturated", "calm"), [(False, False), (True, True)])
def test_a_draining_flood_and_a_saturated_window_teach_no_baseline(saturated: bool, calm: bool) -> None:
    concurrency = Concurrency(ConcurrencySettings(adaptive=False), 1)
    if saturated:
        concurrency.slots.take()
    for i in range(20):
        concurrency.sample(bytes([i]), 8.0, 0.1, False, concurrency.slots.epoch)
    reading = concurrency.close_window(WINDOW, calm, START)
    assert (reading.saturated, reading.baseline) == (saturated, 1.0)


def test_congestion_that_is_not_measured_anew_bills_nothing_and_fades(congestion: Congestion) -> None:
    window(congestion, [11.0] * 20, drifts=False)
    times = window(congestion, [], drifts=False)
    assert times.congestion == 1.0
    assert 10.9 < times.ratio < 11.0
    times = window(congestion, [], drifts=False, seconds=60.0)
    assert times.ratio == pytest.approx(1 + 10 * 0.99, rel=0.01)


def test_errors_act_beyond_chance(congestion: Congestion) -> None:
    assert not window(congestion, [1.0] * 100, errors=9).errors_act
    assert window(congestion, [1.0] * 100, errors=10).errors_act


def test_quick_errors_are_no_sign_of_a_quick_service(congestion: Congestion) -> None:
    times = window(congestion, [0.01] * 20, errors=20)
    assert times.errors_act
    assert (times.ratio, congestion.baseline) == (1.0, 1.0)


def test_noise_in_few_samples_hardly_ever_looks_like_overload() -> None:
    rng = random.Random(3)
    above = 0
    for _ in range(2000):
        times = window(Congestion(ConcurrencySettings()), [rng.lognormvariate(0, 1.0) for _ in range(8)], drifts=False)
        above += times.low > 1.5
    assert above < 20
