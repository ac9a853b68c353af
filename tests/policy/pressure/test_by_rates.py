"""Pressure where nothing is known of the service."""

from __future__ import annotations

from shield.policy.pressure.by_rates import TIMES
from shield.policy.pressure.pressure import Pressure
from tests.policy.pressure.skies import Skies

WINDOWS = 2  # a second


def gate(**settings: float) -> Skies:
    made = Skies(**settings)
    made.pressure = Pressure(made.pressure._settings, 100, by_rates=True)
    return made


def play(weather: Skies, seconds: float, rate: float) -> float:
    for _ in range(int(seconds * WINDOWS)):
        weather.window(rate, rate)
    return weather.seen.p


def test_a_flood_is_met_by_its_rate_alone_and_ends() -> None:
    weather = gate()
    assert play(weather, 600, 100) == 0.0
    assert 3.9 * 100 < weather.seen.capacity < 4.1 * 100
    assert play(weather, 30, 250) == 0.0, "the day's rush hour"
    assert play(weather, 10, 2000) > 0.9
    assert weather.seen.pressed
    assert weather.seen.capacity < 5 * 100, "the flood does not become what is usual"
    assert play(weather, 300, 100) < 0.05
    assert weather.seen.capacity == weather.seen.shown


def test_a_quiet_site_bears_what_a_page_needs_and_the_first_minute_is_no_flood() -> None:
    weather = gate(cusum_floor=10.0)
    assert play(weather, 10, 0) == 0.0
    assert weather.seen.capacity == TIMES * 10.0
    assert play(weather, 20, 300) == 0.0, "everybody comes back after a restart"
    assert play(weather, 600, 2) == 0.0
    assert play(weather, 2, 60) == 0.0, "a page of many parts"


def test_the_operator_knows_better() -> None:
    weather = gate(capacity=500.0)
    assert play(weather, 60, 400) == 0.0
    assert weather.seen.capacity == 500.0
    assert play(weather, 20, 800) > 0.5
    usual = Skies(capacity=500.0)  # where Shield carries the requests, too
    assert play(usual, 60, 400) == 0.0
    assert play(usual, 20, 800) > 0.5
