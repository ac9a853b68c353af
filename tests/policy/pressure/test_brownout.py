"""A service that is ill by itself, told from one of which too much is asked."""

from __future__ import annotations

import pytest

from tests.policy.pressure.skies import Skies


def brownout(weather: Skies, units: float) -> float:
    """Seconds until newcomers are let in again while answers are ten times as slow, a minute at most three."""
    began = weather.now
    while not (weather.seen.attack.on and not weather.seen.pressed):
        weather.window(50, units, completed=units / 2, ratio=10.0)
        if weather.now - began > 200:
            break
    return weather.now - began


@pytest.mark.untraced
def test_a_service_that_becomes_slow_by_itself_locks_nobody_out_for_more_than_a_minute() -> None:
    weather = Skies()
    for _ in range(1200):
        weather.window(50, 2000, completed=2000)
    assert weather.seen.served == pytest.approx(2000, rel=0.01)
    assert brownout(weather, 2000) == pytest.approx(46, abs=1.5)
    assert weather.seen.brownout
    assert weather.seen.strictness == 0.0
    assert weather.seen.p > 0.3
    for _ in range(1200):  # ten more minutes of it
        weather.window(50, 2000, completed=1000, ratio=10.0)
        assert not weather.seen.pressed
    for _ in range(1200):  # people who were refused ask again
        weather.window(50, 2700, completed=1000, ratio=10.0)
        assert not weather.seen.pressed
        assert weather.seen.high
    for _ in range(16):  # and a flood comes
        weather.window(500, 20_000, completed=1000, ratio=10.0)
    assert weather.seen.pressed
    assert not weather.seen.brownout


def test_a_window_in_which_an_ill_service_looks_well_does_not_hide_its_illness() -> None:
    """Each began the search anew: of a service that was twice as slow nothing was found in ten minutes."""
    weather = Skies()
    for _ in range(1200):
        weather.window(50, 2000, completed=2000)
    for i in range(120):
        weather.window(50, 2700, completed=1000, ratio=1.0 if i % 8 == 0 else 10.0)
    assert weather.seen.brownout


def test_people_who_ask_again_do_not_hide_that_the_service_is_ill() -> None:
    weather = Skies()
    for _ in range(1200):
        weather.window(50, 2000, completed=2000)
    for _ in range(180):
        weather.window(50, 4500, completed=1000, ratio=10.0)
    assert weather.seen.brownout


def test_errors_with_most_of_the_capacity_to_spare_are_an_illness() -> None:
    weather = Skies()
    for _ in range(1200):
        weather.window(50, 2000, completed=2000)
    for _ in range(200):
        weather.window(50, 3200, completed=3200, shed=1)
    assert weather.seen.p > 0.3
    assert weather.seen.brownout


def test_a_probe_that_finds_an_ill_service_slow_undisturbed_does_not_hide_its_illness() -> None:
    weather = Skies()
    for _ in range(1200):
        weather.window(50, 2000, completed=2000)
    for _ in range(180):
        weather.concurrency._congestion.learn(10.0)  # as the probe found it
        weather.window(50, 4500, completed=1000, ratio=10.0, shed=1)
    assert weather.seen.brownout


def test_errors_of_a_service_that_could_do_what_is_asked_are_an_illness() -> None:
    """Also when they have brought its limit down, and when they do not show in every window."""
    weather = Skies()
    for _ in range(1200):
        weather.window(50, 2000, completed=2000)
    for i in range(200):
        weather.window(50, 4500, completed=1500, ratio=1.0 if i % 4 == 0 else 0.0, errors=20, shed=1)
    assert weather.seen.brownout


def test_a_brownout_does_not_end_in_a_burst_of_tries_when_the_service_is_well_again() -> None:
    weather = Skies()
    for _ in range(1200):
        weather.window(50, 2000, completed=2000)
    brownout(weather, 2000)
    for _ in range(240):
        weather.window(50, 4000, completed=1000, ratio=10.0)
    weather.window(50, 4000, completed=2000, ratio=1.0)
    for _ in range(12):
        weather.window(200, 7000, completed=7000)
        assert weather.seen.high
        assert not weather.seen.pressed
    assert weather.seen.demand > 3 * weather.seen.served


@pytest.mark.parametrize(("units", "completed", "ratio"), [(6500, 1000, 10.0), (9500, 9500, 1.0)])
@pytest.mark.untraced
def test_more_demand_than_the_service_has_served_is_no_brownout(units: float, completed: float, ratio: float) -> None:
    """Neither when it is slow, if people's tries do not explain so much, nor when it does more than before."""
    weather = Skies()
    for _ in range(1200):
        weather.window(50, 2000, completed=2000)
    for _ in range(400):
        weather.window(500, units, completed=completed, ratio=ratio)
    assert weather.seen.pressed
    assert not weather.seen.brownout


def test_a_service_that_does_all_it_ever_did_is_not_ill() -> None:
    """An attack that grew slowly was served for hours, and then taken for a brownout: nobody was challenged."""
    weather = Skies(limit=4)
    for _ in range(1200):
        weather.window(150, 330, completed=330)
    for _ in range(400):
        weather.window(160, 360, completed=290, shed=1)
    assert weather.seen.pressed
    assert not weather.seen.brownout


@pytest.mark.untraced
def test_what_a_service_has_served_is_forgotten_in_days() -> None:
    weather = Skies()
    for _ in range(1200):
        weather.window(50, 2000, completed=2000)
    for _ in range(2 * 3600):
        weather.window(50, 10, completed=10)
    assert weather.seen.served == pytest.approx(2000 * 0.9995**60, rel=0.01)


def test_a_service_that_becomes_a_little_slower_is_ill_where_no_more_come_than_usual() -> None:
    """One that was nine tenths used and became 1.3 times as slow was taken for a weak attack for as long as it was."""
    weather = Skies()
    for _ in range(4000):
        weather.window(50, 8000, completed=8000, came=20, saturated=True)
    for _ in range(300):  # what its routes cost is learned anew, so that units are what they were; and people ask again
        weather.window(60, 9500, completed=8000, usual_cost=6800, came=20, ratio=1.1, saturated=True, shed=1)
    assert weather.seen.brownout
    for _ in range(1200):
        weather.window(60, 20_000, completed=8000, usual_cost=6800, came=20, ratio=1.1, saturated=True, shed=1)
        assert not weather.seen.pressed
    for _ in range(300):  # and now a weak attack
        weather.window(80, 20_000, completed=8000, usual_cost=6800, came=40, ratio=1.1, saturated=True, shed=1)
    assert weather.seen.pressed


@pytest.mark.untraced
def test_tries_that_come_in_the_same_seconds_are_no_flood_where_no_more_come_than_usual() -> None:
    """A brownout ended twice in its middle, and programs were locked out for 142 s."""
    for came, found in ((20, True), (60, False)):
        weather = Skies()
        for _ in range(4000):
            weather.window(50, 2000, completed=2000, came=20)
        for _ in range(180):
            weather.window(50, 2700, completed=1000, came=20, ratio=10.0)
        assert weather.seen.brownout
        for _ in range(60):
            weather.window(50, 2700, completed=1000, came=came, ratio=10.0)
        for _ in range(20):
            weather.window(50, 6600, completed=1000, came=came, ratio=10.0)
        assert weather.seen.brownout is found
