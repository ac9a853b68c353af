"""When an attack begins, when it ends, and what is told of it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.policy.pressure.skies import Skies


def test_an_attack_begins_with_pressure_and_ends_ten_minutes_after_it() -> None:
    weather = Skies()
    while not weather.seen.attack.on:
        weather.window(2000, 40_000)
    assert weather.seen.p > 0.05
    assert weather.seen.attack.since == weather.now
    weather.pressure._demand.units = 0.0
    while weather.seen.p >= 0.05:
        weather.window()
    since = weather.now
    while weather.seen.attack.on:
        weather.window()
    assert weather.now - since == pytest.approx(600, abs=1)


def test_an_onset_says_what_caused_it() -> None:
    def onset(**window: Any) -> str:
        weather = Skies()
        for _ in range(200):
            if weather.seen.attack.on:
                break
            weather.window(**({"requests": 20, "units": 40} | window))
        assert weather.seen.attack.on
        return str(weather.seen.attack.cause)

    assert onset(units=40_000) == "demand"
    assert onset(ratio=5.0) == "latency"
    assert onset(units=5000, ratio=1.0, errors=20) == "errors"
    assert onset(shed=3) == "shedding"
    assert onset(oldest_wait=1.0) == "waiting"
    assert onset(ratio=5.0, units=40_000) == "demand"  # the stronger of the two
    calm = Skies()
    for _ in range(200):
        calm.window(20, 40)
    while not calm.seen.attack.on:
        calm.window(600, 900)
    assert calm.seen.attack.cause == "rate"
    assert calm.seen.target == 0.0


def test_an_attack_keeps_its_peak() -> None:
    weather = Skies()
    while not weather.seen.attack.on:
        weather.window(2000, 40_000)
    for _ in range(6):
        weather.window(2000, 40_000)
    high, rate = weather.seen.p, weather.seen.rate
    weather.pressure._demand.units = 0.0
    for _ in range(100):
        weather.window()
    assert weather.seen.p < high
    assert weather.seen.attack.peak == high
    assert weather.seen.attack.peak_rate == rate


@pytest.mark.untraced
def test_a_relapse_starts_the_ten_minutes_anew() -> None:
    weather = Skies()
    while not weather.seen.attack.on:
        weather.window(2000, 40_000)
    for _ in range(5):
        weather.pressure._level.p = weather.pressure._demand.units = 0.0
        for _ in range(1100):
            weather.window()
        weather.pressure._level.p = 0.2
        weather.window()
        assert weather.seen.attack.on
