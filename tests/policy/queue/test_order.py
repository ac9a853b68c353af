"""The order of those that wait."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from shield.policy.queue.order import FIRST, Waiting, oldest_of_worst, promote_oldest


def place(tier: int, arrival: int, *, rank: float = 0.0, since: float = 0.0, home: str = "192.0.2.1") -> Waiting:
    request: Any = SimpleNamespace(queued_at=since, client=SimpleNamespace(home=home))
    return Waiting((-tier, rank, -arrival), request)


def test_tier_goes_before_rank_and_rank_before_arrival() -> None:
    wanted = [place(0, 9), place(3, 8, rank=2.0), place(3, 1, rank=1.0), place(3, 2, rank=1.0)]
    assert sorted((wanted[i] for i in (2, 0, 3, 1)), reverse=True) == wanted


def test_the_oldest_of_the_worst_is_given_up_first() -> None:
    waiting = sorted([place(3, 1), place(3, 2), place(3, 3), place(2, 4)])
    assert -waiting[oldest_of_worst(waiting)].order[2] == 1
    assert oldest_of_worst([place(3, 1)]) == 0


def test_of_those_who_waited_too_long_one_of_each_address_goes_before_all_tiers() -> None:
    late = [place(3, 1, since=1.0), place(3, 2, since=2.0), place(4, 3, since=3.0, home="192.0.2.2")]
    waiting = sorted([*late, place(0, 4, since=9.0)])
    promote_oldest(waiting, before=5.0)
    assert [-each.order[2] for each in reversed(waiting)] == [1, 3, 4, 2]
    assert [each.order[0] == FIRST for each in late] == [True, False, True]
    promote_oldest(waiting, before=5.0)  # who is ahead already is the one of its address
    assert late[1].order[0] != FIRST


def test_while_nobody_waited_too_long_the_order_stays() -> None:
    waiting = sorted([place(3, 1, since=8.0), place(0, 2, since=9.0)])
    before = list(waiting)
    promote_oldest(waiting, before=5.0)
    assert waiting == before
