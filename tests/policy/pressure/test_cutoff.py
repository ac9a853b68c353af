"""Who is challenged where the known alone ask for too much."""

from __future__ import annotations

import pytest

from tests.policy.pressure.skies import Skies


def test_below_the_cutoff_is_who_was_served_least() -> None:
    weather = Skies(limit=1)  # 100 units/s
    for _ in range(100):
        weather.window(top=20, ranks={8: 50, 3: 50})
    assert 3.4 < weather.seen.cutoff < 3.7  # 90 - 20 - 50 = 20 of the 50 are served
    for _ in range(100):
        weather.window(top=120, ranks={8: 50})
    assert weather.seen.cutoff == 9.0  # nothing is left
    for _ in range(100):
        weather.window()
    assert weather.seen.cutoff == 0.0


def test_where_passes_alone_ask_for_all_there_is_they_are_cut_off_by_rank_too() -> None:
    weather = Skies(limit=1)  # 100 units/s
    for _ in range(100):
        weather.window(300, 400, top=120, ranks={8: 120, 3: 50}, saturated=True)  # rank 8 is T0
    assert weather.seen.merged
    assert weather.seen.cutoff == pytest.approx(9 - 90 / 120, abs=0.01)
    for _ in range(30):
        weather.window(300, 400, top=50)
    assert not weather.seen.merged
