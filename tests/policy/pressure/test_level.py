"""How p rises and falls, and when it acts."""

from __future__ import annotations

import pytest

from tests.policy.pressure.skies import Skies


def test_pressure_rises_in_seconds_and_falls_in_minutes() -> None:
    weather = Skies()
    while weather.seen.demand < 15_000:
        weather.window(2000, 30_000)
    for _ in range(4):
        weather.window(2000, 30_000)
    assert weather.seen.p > 0.6
    weather.pressure._demand.units = 0.0
    high = weather.seen.p
    for _ in range(20):
        weather.window()
    assert weather.seen.p == pytest.approx(high * 0.82, rel=0.01)


def test_demand_below_the_capacity_is_no_pressure() -> None:
    weather = Skies()
    for _ in range(600):
        assert weather.window(500, 8900) == 0.0


def test_where_pressure_begins_and_what_overload_is_worth_are_settings() -> None:
    demand = Skies(used=0.5, span=1.0)
    for _ in range(100):
        demand.window(500, 10_000)
    assert demand.seen.p == pytest.approx(0.5, abs=0.01)
    slow = Skies(overload=0.2, slow_ratio=1.2, slow_excess=0.01)
    for _ in range(100):
        slow.window(50, 500, ratio=1.4)
    assert slow.seen.p == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize("demand", [9600, 10_500, 40_000])
@pytest.mark.untraced
def test_a_flood_that_pulses_does_not_make_the_defence_flap(demand: float) -> None:
    """30 s on, 30 s off, twenty minutes long, from just above what is pressure at all to four times the capacity."""
    weather = Skies()
    for _ in range(120):
        weather.window(50, 500)
    turns = 0
    for _ in range(20):
        for asked in (demand, 500):
            for _ in range(60):
                pressed = weather.seen.pressed
                weather.window(1000, asked, completed=min(asked, 10_000))
                turns += weather.seen.pressed != pressed
    assert turns == 1
    assert not weather.seen.brownout


@pytest.mark.parametrize("demand", [10_500, 40_000, 400_000])
def test_a_flood_is_over_within_a_minute_of_its_end(demand: float) -> None:
    weather = Skies()
    for _ in range(120):
        weather.window(50, 500)
    for _ in range(120):
        weather.window(1000, demand, completed=min(demand, 10_000))
    assert weather.seen.pressed
    for _ in range(80):
        weather.window(50, 500)
    assert weather.seen.high  # the pause of a flood that pulses may be as long
    for _ in range(40):
        weather.window(50, 500)
    assert not weather.seen.high


def test_pressure_falls_fast_to_what_a_weaker_flood_that_goes_on_is_worth() -> None:
    weather = Skies()
    for _ in range(120):
        weather.window(1000, 40_000, completed=10_000)
    for _ in range(120):
        weather.window(50, 9600, completed=9600)
    assert 0.1 < weather.seen.p < 0.21  # fast to twice of that, and then as slowly as before
    for _ in range(60):  # and a pause of this one is one again
        weather.window(50, 500)
    assert weather.seen.pressed
