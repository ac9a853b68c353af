"""How far the limit goes, and when it counts as found."""

from __future__ import annotations

import pytest

from shield.policy.concurrency.concurrency import Concurrency
from shield.policy.concurrency.limit import FLOOR_ROUNDS, FORGOTTEN, QUIET, Limit
from shield.policy.concurrency.round import Finding
from shield.policy.concurrency.settings import ConcurrencySettings

DOWN = Finding(x=2.0, gradient=0.9, errors=False, sure=True, in_the_way=True, down=True, up=False, congested=True)
UP = Finding(x=1.0, gradient=1.4, errors=False, sure=True, in_the_way=True, down=False, up=True, congested=False)
KEPT = Finding(x=1.3, gradient=1.05, errors=False, sure=True, in_the_way=True, down=False, up=False, congested=True)


@pytest.mark.parametrize(
    ("settings", "ceiling", "limit"),
    [
        (ConcurrencySettings(), 0, 20),
        (ConcurrencySettings(), 16, 16),
        (ConcurrencySettings(), 2, 2),
        (ConcurrencySettings(start=3, least=5), 0, 5),
        (ConcurrencySettings(adaptive=False), 0, 20),
        (ConcurrencySettings(adaptive=False), 700, 700),
    ],
)
def test_the_limit_begins_within_its_bounds(settings: ConcurrencySettings, ceiling: int, limit: int) -> None:
    concurrency = Concurrency(settings, ceiling)
    assert concurrency.limit == concurrency.slots.size == limit
    assert concurrency.found is not settings.adaptive


def limit(value: int = 100) -> Limit:
    return Limit(ConcurrencySettings(start=value), 0)


def test_it_falls_by_what_the_congestion_calls_for_and_never_far_at_once() -> None:
    hundred = limit()
    assert hundred.lower(DOWN) == 90
    assert hundred.lower(Finding(9.0, 0.1, False, True, True, True, False, True)) == 70
    assert limit(4).lower(DOWN) == 4  # the least


def test_it_rises_by_half_until_it_held_once_and_then_by_half_of_its_root() -> None:
    hundred = limit()
    assert hundred.higher() == 150
    hundred.heed(KEPT)
    assert hundred.found
    assert hundred.higher() == 105
    hundred.move(1000)
    assert hundred.higher() == 1000  # the most


def test_a_rise_does_not_say_that_it_was_found() -> None:
    hundred = limit()
    assert not hundred.heed(UP)
    assert not hundred.found


def test_at_the_floor_and_still_too_slow_the_baseline_is_in_doubt() -> None:
    four = limit(4)
    doubts = [four.heed(DOWN) for _ in range(FLOOR_ROUNDS)]
    assert doubts == [False] * (FLOOR_ROUNDS - 1) + [True]
    four.begin_probe()
    assert not four.heed(DOWN)


def test_a_limit_that_fell_far_since_the_last_probe_puts_the_baseline_in_doubt() -> None:
    hundred = limit()
    hundred.end_probe(100)
    assert not hundred.heed(DOWN)
    hundred.move(66)
    assert hundred.heed(DOWN)  # 59
    assert not hundred.heed(Finding(1.0, 0.8, True, True, True, True, False, False))  # for errors it is not in doubt


def test_while_it_is_not_reached_it_goes_back_to_what_was_taken_well_of_late() -> None:
    hundred = limit()
    hundred.taken_well()
    hundred.move(90)
    assert hundred.back() == 90
    hundred.close_window(QUIET + 0.5, saturated=False, calm=False)
    assert hundred.back() == 94
    hundred.close_window(0.5, saturated=True, calm=False)
    assert hundred.back() == 90
    for _ in range(3):
        hundred.close_window(60.0, saturated=False, calm=False)
    assert hundred.back() == 90  # 100 is forgotten


def test_after_a_minute_of_calm_below_it_it_is_a_lower_bound_again() -> None:
    hundred = limit()
    hundred.heed(KEPT)
    hundred.close_window(FORGOTTEN, saturated=False, calm=True)
    hundred.close_window(FORGOTTEN, saturated=False, calm=False)  # an attack that the defence holds is no calm
    assert hundred.found
    hundred.close_window(0.5, saturated=False, calm=True)
    assert not hundred.found
