"""The order of those that wait."""

from __future__ import annotations

from math import inf
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.model import Tier
from shield.policy.queue.order import FIRST, Waiting, oldest_of_worst, promote_oldest
from shield.policy.queue.queue import Queue
from shield.policy.queue.settings import QueueSettings


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


_asked = st.one_of(st.none(), st.tuples(st.sampled_from(Tier), st.integers(0, 3), st.booleans()))


@pytest.mark.parametrize("pressed", [False, True], ids=["calm", "pressed"])
@given(steps=st.lists(_asked, max_size=60), most=st.integers(0, 6))
@pytest.mark.untraced
def test_whoever_is_turned_away_deserves_it_least_of_all_that_wait(
    pressed: bool, steps: list[tuple[Tier, int, bool] | None], most: int
) -> None:
    """The guarantee of the queue's places, whoever asks in whatever order: nobody is turned away from a full one while
    somebody of a worse tier, or under pressure a worse rank, waits, and nobody like that is served before. Parts of
    visits may make it twice as long."""
    queue = Queue(QueueSettings(length=1.0, least_length=0, ahead=0.0), most)
    queue.close_window(most, pressed, False, 0.0, 0.0)
    waiting: list[Any] = []

    def claim(request: Any) -> tuple[int, float]:
        return -request.tier, request.rank if pressed else 0.0

    for step in steps:
        if step is None:
            if waiting:
                served = queue.pop(0.0)
                waiting.remove(served)
                assert all(claim(served) >= claim(other) for other in waiting)
            continue
        tier, rank, part = step
        new: Any = SimpleNamespace(tier=tier, rank=float(rank), queued_at=0.0)
        waiting.append(new)
        out = queue.push(new, 0.0 if part else inf, 0.0)
        room = 2 * most if part and tier is not Tier.T4 else most
        if out is None:
            assert len(waiting) <= room
        else:
            waiting.remove(out)
            assert len(waiting) >= room
            assert all(claim(out) <= claim(other) for other in waiting)
        assert len(queue) == len(waiting)
