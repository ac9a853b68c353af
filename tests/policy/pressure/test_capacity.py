"""What the service can do."""

from __future__ import annotations

import pytest

from tests.policy.pressure.skies import Skies


def test_the_capacity_is_what_the_slots_can_do() -> None:
    weather = Skies(limit=7)
    weather.window()
    assert weather.seen.capacity == 700


def test_congestion_lowers_the_capacity() -> None:
    weather = Skies()
    for _ in range(4):
        weather.window(100, 500, ratio=10.0, saturated=True)
    assert weather.seen.capacity == pytest.approx(1000)


def test_what_was_completed_while_saturated_is_capacity_and_fades_by_one_percent_a_minute() -> None:
    weather = Skies(limit=1)
    for _ in range(60):
        weather.window(completed=500.0, saturated=True)
    assert weather.seen.capacity == pytest.approx(500, rel=0.01)
    before = weather.seen.capacity
    for _ in range(120):
        weather.window()
    assert weather.seen.capacity == pytest.approx(before * 0.99, rel=0.001)


def test_a_service_that_is_faster_than_what_its_routes_count_for_can_do_more() -> None:
    """Both demand and capacity are in the routes' units: where those are too high, they are so in both."""
    weather = Skies()
    weather.window(100, 500, ratio=0.8)
    assert weather.seen.capacity == pytest.approx(12_500)


def test_what_was_completed_at_leisure_is_no_capacity() -> None:
    weather = Skies(limit=1)
    for _ in range(60):
        weather.window(completed=500.0)
    assert weather.seen.capacity == 100


def test_what_nobody_has_seen_is_not_sold() -> None:
    """In a flood from the first second on a service of 4 slots was taken for one of 20, and passes issued for that."""
    weather = Skies(limit=20)
    limit = weather.concurrency._limit
    limit.found = False
    shown = []
    for completed in (0.0, 0.0, *[400.0] * 40):
        weather.window(completed=completed)
        shown.append(weather.seen.shown)
    assert weather.seen.capacity == 2000
    assert shown[:2] == [100, 100]
    assert shown == sorted(shown)
    assert shown[-1] == pytest.approx(800, rel=0.01)
    limit.found = True
    weather.window(completed=400.0)
    assert weather.seen.shown == 2000
