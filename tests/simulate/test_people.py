"""When a population comes: Poisson, with ramps, growth and pulses."""

from __future__ import annotations

from math import inf
from random import Random
from typing import Any

import pytest

from shield.simulate.calendar import Calendar
from shield.simulate.origin import Origin
from shield.simulate.people import Crowd
from shield.simulate.population import ALWAYS, Population, Pulse
from shield.simulate.result import Tally
from shield.simulate.scene import Service

BEGINS = 1000.0


def crowd(**more: Any) -> Crowd:
    model = Population(**{"kind": "people", "rate": 50.0, **more})
    origin = Origin(Service(), Calendar(0.0), Random(1), 0.0, lambda *_: None)
    return Crowd("they", model, None, origin, Tally("people", 10.0, 0.0), BEGINS, "1/they")  # type: ignore[arg-type]


def times(they: Crowd, seconds: float) -> list[float]:
    """Of visits, on the clock of the story."""
    found = []
    now = they.start(BEGINS - 60.0)
    while now < BEGINS + seconds:
        found.append(now - BEGINS)
        now = they.after(now)
    return found


def rate(found: list[float], start: float, end: float) -> float:
    return sum(start <= at < end for at in found) / (end - start)


def test_they_come_at_their_rate_from_the_beginning_of_the_calm() -> None:
    found = times(crowd(), 100.0)
    assert rate(found, -60.0, 0.0) == pytest.approx(50.0, rel=0.1)
    assert rate(found, 0.0, 100.0) == pytest.approx(50.0, rel=0.1)


def test_they_come_from_then_until_then() -> None:
    they = crowd(from_=10.0, until=20.0)
    found = times(they, 100.0)
    assert min(found) > 10.0
    assert max(found) < 20.0
    assert they.after(BEGINS + 19.999999) == inf


def test_they_grow_in_number() -> None:
    found = times(crowd(growth=1.0), 240.0)
    assert rate(found, -60.0, 0.0) == pytest.approx(50.0, rel=0.1)
    assert rate(found, 55.0, 65.0) == pytest.approx(100.0, rel=0.15)
    assert rate(found, 235.0, 240.0) == pytest.approx(50.0 * 2 ** (237.5 / 60), rel=0.1)


def test_they_come_up_slowly() -> None:
    found = times(crowd(from_=10.0, ramp=40.0), 100.0)
    assert rate(found, 25.0, 35.0) == pytest.approx(25.0, rel=0.2)
    assert rate(found, 50.0, 100.0) == pytest.approx(50.0, rel=0.1)


def test_they_come_in_pulses() -> None:
    found = times(crowd(from_=5.0, pulse=Pulse(10.0, 20.0)), 95.0)
    assert all((at - 5.0) % 30.0 < 10.0 for at in found)
    assert rate(found, 35.0, 45.0) == pytest.approx(50.0, rel=0.2)


def test_a_slow_growth_of_a_few_is_not_lost_between_minutes() -> None:
    found = times(crowd(rate=0.01, growth=0.02), 7200.0)
    assert len(found) == pytest.approx(0.01 * 60 / 0.0198 * (1.02**120 - 1), rel=0.35)


def test_who_is_fresh_comes_in_turn() -> None:
    they = crowd(members=3, fresh=True)
    assert [they.pick() for _ in range(5)] == [0, 1, 2, 0, 1]
    assert {crowd(members=3).pick() for _ in range(1)} <= {0, 1, 2}


def test_paths_go_by_weight_and_stars_are_filled_in() -> None:
    they = crowd(paths={"/a": 3.0, "/b/*/c": 1.0}, until=ALWAYS)
    texts = [they.path().text(they.random) for _ in range(2000)]
    assert texts.count("/a") == pytest.approx(1500, rel=0.1)
    others = {text for text in texts if text != "/a"}
    assert len(others) > 450
    assert all(text.startswith("/b/") and text.endswith("/c") and text[3:-2].isdigit() for text in others)


def test_each_may_have_a_user_agent_of_its_own() -> None:
    few, own = crowd(agent="X", agents=2), crowd(agent="X", agents=0)
    assert [few.agent(i) for i in range(3)] == ["X/0", "X/1", "X/0"]
    assert [own.agent(i) for i in range(3)] == ["X/0", "X/1", "X/2"]


def test_solving_takes_as_long_as_the_hashes_and_seldom_much_longer() -> None:
    they = crowd(hash_rate=1e6)
    found = sorted(they.solving_time(16, 1 << 20) for _ in range(4000))
    mean = sum(found) / len(found)
    assert mean == pytest.approx(1.05, rel=0.03)
    assert found[int(0.99 * len(found))] / mean == pytest.approx(1.67, rel=0.07)  # as policy/challenge.py says
