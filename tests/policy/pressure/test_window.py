"""The demand of the window that is open."""

from __future__ import annotations

from shield.model import Tier
from shield.policy.pressure.window import RANKS, Asked, Tally


def test_each_request_counts_for_everybody_and_for_its_tier() -> None:
    tally = Tally()
    tally.admitted(Tier.T0, 1.0)
    tally.admitted(Tier.T1, 2.0)
    tally.admitted(Tier.T3, 4.0)
    tally.asked(8.0)  # under pressure, of no known tier
    asked = tally.so_far()
    assert (asked.units, asked.known, asked.top) == (15.0, 3.0, 1.0)


def test_what_goes_by_rank_was_counted_already_and_the_last_rank_takes_all_above_it() -> None:
    tally = Tally()
    tally.ranked(3.7, 1.0)
    tally.ranked(99.0, 2.0)
    asked = tally.so_far()
    assert asked.units == 0.0
    assert (asked.ranks[3], asked.ranks[RANKS - 1], sum(asked.ranks)) == (1.0, 2.0, 3.0)


def test_a_window_that_is_closed_leaves_nothing_to_the_next() -> None:
    tally = Tally()
    tally.admitted(Tier.T0, 1.0)
    tally.ranked(3.0, 1.0)
    assert tally.close().units == 1.0
    assert tally.close() == Asked()
