"""Demand, smoothed over seconds and over a minute."""

from __future__ import annotations

import math

import pytest

from shield.policy.pressure.demand import Demand
from shield.policy.pressure.settings import PressureSettings
from shield.policy.pressure.window import Asked, Window

WINDOW = Window(now=1000.0, seconds=0.5, requests=50, asked=Asked(units=100.0, known=60.0, top=20.0), completed=80.0)


def test_it_is_per_second_and_goes_to_what_is_asked_for_within_seconds() -> None:
    demand = Demand(PressureSettings())
    for _ in range(6):
        demand.add(WINDOW)
    reached = 1.0 - math.exp(-1.0)  # after the three seconds of `smoothing`
    seen = (demand.rate, demand.units, demand.known, demand.top, demand.completed)
    assert seen == pytest.approx(tuple(reached * each for each in (100.0, 200.0, 120.0, 40.0, 160.0)))


def test_the_steady_demand_takes_a_minute() -> None:
    demand = Demand(PressureSettings())
    for _ in range(120):
        demand.add(WINDOW)
    reached = 1.0 - math.exp(-1.0)
    assert (demand.steady, demand.steady_completed) == pytest.approx((reached * 200.0, reached * 160.0))


def test_the_length_of_the_windows_does_not_matter() -> None:
    one, many = Demand(PressureSettings()), Demand(PressureSettings())
    one.add(Window(now=1000.0, seconds=2.0, asked=Asked(units=400.0)))
    for _ in range(4):
        many.add(WINDOW)
    assert one.units == pytest.approx(many.units)
