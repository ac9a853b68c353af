"""The turns of the tiers."""

from __future__ import annotations

from collections import Counter
from typing import Any

from shield.policy.queue.order import FIRST, Waiting
from shield.policy.queue.turns import Turns

WEIGHTS = (8, 4, 2, 1, 1)


def places(*tiers: int) -> list[Waiting]:
    """One of each of these tiers, the best last."""
    nobody: Any = None
    return sorted(Waiting((-tier, 0.0, -i), nobody) for i, tier in enumerate(tiers))


def test_each_tier_gets_its_weight_of_the_turns_and_they_are_spread() -> None:
    turns, waiting = Turns(WEIGHTS), places(0, 1, 2, 3, 4)
    order = [-waiting[turns.take(waiting)].order[0] for _ in range(16)]
    assert Counter(order) == dict(enumerate(WEIGHTS))
    assert [order[i] for i in (0, 2, 4)] == [0, 0, 0]  # every other turn


def test_those_who_do_not_wait_get_no_credit() -> None:
    turns = Turns(WEIGHTS)
    alone = places(4)
    for _ in range(100):
        assert turns.take(alone) == 0
    waiting = places(0, 4)
    order = [-waiting[turns.take(waiting)].order[0] for _ in range(9)]
    assert Counter(order) == {0: 8, 4: 1}


def test_those_who_are_known_go_first_if_they_are_to() -> None:
    turns = Turns(WEIGHTS)
    for waiting in (places(0, 1, 3), places(1, 3)):
        assert all(turns.take(waiting, known_first=True) == len(waiting) - 1 for _ in range(30))
    waiting = places(2, 3)
    assert Counter(turns.take(waiting, known_first=True) for _ in range(30)) == {1: 20, 0: 10}


def test_whoever_has_most_places_for_its_weight_gives_one_up() -> None:
    turns = Turns(WEIGHTS)
    assert turns.out(places(*[0] * 9, 3)) == 1, "nine of T0 are more than one of T3"
    assert turns.out(places(*[0] * 8, 3, 3)) == 0
    assert turns.out(places(1, 1, 1, 1, 1, 0, 4)) == 1
    ahead: Any = Waiting((FIRST, 0.0, 0), None)  # type: ignore[arg-type]
    assert turns.out([ahead]) == 0


def test_of_a_tier_the_best_goes() -> None:
    waiting = places(3, 3, 3)
    assert Turns(WEIGHTS).take(waiting) == 2
    assert waiting[2].order[2] == 0


def test_who_is_before_all_tiers_goes_first() -> None:
    waiting = places(0, 3)
    waiting[0].promote()
    waiting.sort()
    taken = waiting[Turns(WEIGHTS).take(waiting)]
    assert taken.order[0] == FIRST
