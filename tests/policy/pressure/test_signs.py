"""What shows overload besides demand, and what does not."""

from __future__ import annotations

import pytest

from shield.policy.pressure.window import OwnLoad
from tests.policy.pressure.skies import Skies


def test_slow_answers_are_pressure_when_they_last_and_hurt() -> None:
    weather = Skies()
    assert weather.window(50, 500, ratio=3.0) == 0.0  # once may be a page of many parts
    assert weather.window(50, 500, ratio=3.0) > 0.05
    for _ in range(20):
        weather.window(50, 500, ratio=3.0)
    assert weather.seen.p == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("ratio", [1.4, 1.9])
def test_slowness_that_nobody_feels_is_none(ratio: float) -> None:
    """1.4 times the baseline is none; 1.9 times is 90 ms more, which people do not notice."""
    weather = Skies()
    for _ in range(20):
        assert weather.window(50, 500, ratio=ratio) == 0.0


def test_errors_are_pressure() -> None:
    weather = Skies()
    for _ in range(8):
        weather.window(50, 5000, ratio=1.0, errors=10)
    assert weather.seen.p > 0.05
    assert weather.seen.overload.signs == ("errors",)


def test_errors_of_a_service_that_is_hardly_asked_are_no_overload() -> None:
    """Five requests a second that always fail, while others' come in bursts, were a twentieth of them twice running."""
    weather = Skies()
    for _ in range(20):
        assert weather.window(50, 3000, ratio=1.0, errors=10) == 0.0


def test_who_is_turned_away_by_the_queue_is_pressure_when_it_lasts() -> None:
    weather = Skies()
    for shed in (1, 0, 1, 0):
        assert weather.window(50, 500, shed=shed) == 0.0
    for _ in range(2):
        weather.window(50, 500, shed=1)
    assert weather.seen.p > 0.05
    assert weather.seen.overload.signs == ("shedding",)


@pytest.mark.parametrize(("wait", "seconds"), [(0.3, None), (0.5, 40.0), (0.9, 8.0), (2.0, 2.5)])
def test_a_queue_that_does_not_move_on_is_pressure_the_sooner_the_longer_it_takes(
    wait: float, seconds: float | None
) -> None:
    weather = Skies()
    began = weather.now
    while weather.seen.p == 0.0 and weather.now < began + 60:
        weather.window(50, 500, oldest_wait=wait)
        assert weather.seen.overload.crowded
    assert weather.seen.overload.signs == (("waiting",) if seconds else ())
    if seconds:
        assert weather.now - began == pytest.approx(seconds + 1.0, abs=0.6)
    weather.window(50, 500)
    assert not weather.seen.overload.crowded
    assert weather.seen.overload.signs == ()


def test_shields_own_load_is_pressure_when_it_is_late_and_busy() -> None:
    def overload(lag: float, busy: float) -> tuple[tuple[str, ...], str]:
        weather = Skies()
        for _ in range(4):
            weather.window(50, 500, own=OwnLoad(lag, busy))
        assert weather.seen.attack.on is bool(weather.seen.overload.signs)
        return weather.seen.overload.signs, weather.seen.attack.cause

    assert overload(0.2, 1.0) == (("self",), "self")
    assert overload(0.2, 0.5) == ((), "")  # something else held it up
    assert overload(0.02, 1.0) == ((), "")  # busy, and in time


LATE, IN_TIME = OwnLoad(0.3, 1.0, 1.0), OwnLoad(0.0, 0.5, 0.01)


def test_a_machine_that_stands_still_for_a_second_is_no_attack() -> None:
    """23 requests/s of 20 users: the machine stalled for a second, and everybody was challenged for 45 s."""
    weather = Skies(limit=20)
    weather.window(23, 30, ratio=1.0)
    for own in (LATE, IN_TIME, IN_TIME, IN_TIME):
        weather.window(23, 30, ratio=1.0 if own is IN_TIME and weather.seen.own is IN_TIME else 17.0, own=own)
        assert "latency" not in weather.seen.overload.signs
        assert weather.seen.capacity >= 2000 * 0.99
        assert weather.seen.p == 0.0
    assert not weather.seen.attack.on


def test_latency_without_a_late_loop_is_the_service_s() -> None:
    weather = Skies(limit=20)
    for own in (LATE, IN_TIME, IN_TIME, IN_TIME):
        weather.window(23, 30, ratio=17.0, own=own)
    assert weather.seen.overload.signs == ("latency",)
    assert weather.seen.attack.cause == "latency"


def test_a_loop_that_stays_late_hides_latency_and_not_the_capacity() -> None:
    weather = Skies(limit=20)
    for _ in range(4):
        weather.window(23, 30, ratio=17.0, own=LATE)
    assert weather.seen.overload.signs == ("self",)
    assert weather.seen.capacity < 200
