"""What is kept for those who bought a pass."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from shield.policy.queue.kept import Kept

NOW = 4321.0


def request(cost: float = 1.0, taken: int = 0) -> Any:
    """Of a pass that has taken 2 to that power."""
    return SimpleNamespace(cost=cost, shown_pass=SimpleNamespace(taken=2.0**taken))


@pytest.fixture
def kept() -> Kept:
    kept = Kept()
    kept.rate = 10.0
    return kept


def test_a_second_of_it_can_be_taken_at_once_and_then_what_is_kept_each_second(kept: Kept) -> None:
    assert [kept.take(request(), NOW) for _ in range(11)] == [True] * 10 + [False]
    assert [kept.take(request(), NOW + 0.5) for _ in range(6)] == [True] * 5 + [False]


@pytest.mark.parametrize(("taken", "served"), [(0, 10), (1, 8), (3, 4), (5, 0)])
def test_the_more_a_pass_has_taken_the_more_is_left_to_others(kept: Kept, taken: int, served: int) -> None:
    assert sum(kept.take(request(taken=taken), NOW) for _ in range(20)) == served


def test_a_request_that_costs_more_than_the_bucket_holds_takes_all_of_it_and_more(kept: Kept) -> None:
    assert kept.take(request(cost=20.0), NOW)
    assert not kept.take(request(), NOW + 1.0)
    assert kept.take(request(), NOW + 1.2)
