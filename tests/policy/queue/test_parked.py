"""Those that wait apart, while long requests are at the service."""

from __future__ import annotations

from math import inf
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.model import Tier
from shield.policy.queue.order import FIRST
from shield.policy.queue.parked import LOOKS
from shield.policy.queue.queue import Queue
from shield.policy.queue.settings import QueueSettings


def request(tier: Tier, name: str = "") -> Any:
    return SimpleNamespace(
        tier=tier, rank=0.0, queued_at=0.0, name=name, client=SimpleNamespace(home=name, key=name), route=None
    )


def queue(most: int = 100) -> Queue:
    made = Queue(QueueSettings(length=1.0, least_length=0, ahead=0.0), most)
    made.close_window(most, False, False, 0.0, 0.0)
    return made


def anybody(request: Any) -> bool:
    return True


def nobody(request: Any) -> bool:
    return False


def test_they_keep_nobody_waiting() -> None:
    waits = queue()
    parked, other = request(Tier.T0), request(Tier.T3)
    waits.push_parked(parked, inf, 1.0)
    waits.push(other, inf, 2.0)
    assert len(waits) == 2
    assert waits.oldest_wait(5.0) == 3.0, "it says nothing of the service"
    assert waits.pop_one(anybody, 5.0) is other
    assert waits.pop_one(anybody, 5.0) is parked
    assert waits.pop_one(anybody, 5.0) is None


def test_the_best_that_may_go_goes() -> None:
    waits = queue()
    stranger, user = request(Tier.T3), request(Tier.T1)
    waits.push(stranger, inf, 1.0)
    waits.push(user, inf, 2.0)
    waits.waiting[0].promote()  # it has waited for long
    waits.waiting.sort()
    assert waits.pop_one(lambda asked: asked is user, 3.0) is user
    assert waits.pop_one(nobody, 3.0) is None
    parked = [request(tier) for tier in (Tier.T3, Tier.T1, Tier.T0)]
    for each in parked:
        waits.push_parked(each, inf, 4.0)
    assert waits.pop_one(lambda asked: asked.tier is Tier.T3 and asked is not stranger, 5.0) is parked[0]
    assert waits.pop_one(lambda asked: asked is not stranger, 5.0) is parked[2]


def test_from_a_full_queue_they_go_first_unless_their_tier_is_better() -> None:
    waits = queue(2)
    parked, user = request(Tier.T3), request(Tier.T1)
    waits.push_parked(parked, inf, 1.0)
    waits.push_parked(user, inf, 1.0)
    newcomer = request(Tier.T3)
    assert waits.push(newcomer, inf, 2.0) is parked
    assert waits.push(request(Tier.T3), inf, 2.0) is not user
    assert waits.push_parked(request(Tier.T3), inf, 2.0) is not None
    assert waits.push_parked(request(Tier.T0), inf, 2.0) is newcomer
    assert waits.push_parked(request(Tier.T0), inf, 2.0) is user
    waits = queue(1)
    waits.push(newcomer, inf, 1.0)
    assert waits.push_parked(user, inf, 2.0) is newcomer
    assert waits.push_parked(newcomer, inf, 3.0) is newcomer


_steps = st.one_of(st.tuples(st.sampled_from(Tier), st.booleans()), st.none())


@given(steps=st.lists(_steps, max_size=60), most=st.integers(0, 6))
@pytest.mark.untraced
def test_nobody_is_turned_away_for_somebody_of_a_worse_tier(steps: list[tuple[Tier, bool] | None], most: int) -> None:
    """The guarantee of the queue's places, whoever waits apart or not."""
    waits = queue(most)
    there: list[Any] = []
    for step in steps:
        if step is None:
            gone = waits.pop_one(anybody, 1.0)
            assert (gone is None) == (not there)
            there = [other for other in there if other is not gone]
            continue
        tier, parks = step
        new = request(tier)
        there.append(new)
        out = waits.push_parked(new, inf, 1.0) if parks else waits.push(new, inf, 1.0)
        assert (out is None) == (len(there) <= most)
        if out is not None:
            assert out.tier >= max(other.tier for other in there)
            there = [other for other in there if other is not out]
        assert len(waits) == len(there)


def test_who_is_doubtful_is_parked_and_goes_back_when_nobody_is() -> None:
    waits = queue()
    doubtful, other = request(Tier.T3, "a"), request(Tier.T3, "b")
    for each in (doubtful, other):
        waits.push(each, inf, 1.0)
    waits.waiting[1].promote()
    waits.park(lambda asked: asked.name == "a")
    assert [one.request for one in waits.waiting] == [other]
    assert waits.parked.waiting[0].order[0] != FIRST, "nobody goes before all tiers from there"
    waits.pop(2.0)
    waits.unpark(3.0)
    assert [one.request for one in waits.waiting] == [doubtful]
    waits.park(anybody)
    waits.push(other, inf, 4.0)
    waits.unpark(4.0)
    assert len(waits.waiting) == 2
    waits.unpark(4.0)
    assert waits.remove(doubtful)
    waits.park(anybody)
    assert waits.remove(other)
    assert not waits.remove(other)


def test_they_are_turned_away_after_the_patience_of_the_queue() -> None:
    waits = queue()
    old, young = request(Tier.T1), request(Tier.T3)
    waits.push_parked(old, inf, 1.0)
    waits.push_parked(young, inf, 2.0)
    assert waits.tick_parked(3.5) == [old]
    assert waits.tick_parked(3.5) == []


@pytest.mark.parametrize("apart", [True, False])
def test_whoever_may_not_go_is_in_nobody_s_way(apart: bool) -> None:
    """The requests of one client that might not go were at the head, and those behind it waited until they were sent
    away."""
    waits = queue(LOOKS + 10)
    push = waits.push_parked if apart else waits.push
    bad = [request(Tier.T1, "bad") for _ in range(LOOKS - 1)]
    user = request(Tier.T1, "user")
    for each in (*bad, user):
        push(each, 1.0, 1.0)
    asked: list[str] = []

    def lets_in(request: Any) -> bool:
        asked.append(request.name)
        return bool(request.name == "user")

    assert waits.pop_one(lets_in, 2.0) is user
    assert asked.count("bad") <= 2, "it is asked once about each client, beside whoever goes next"
    push(request(Tier.T1, "bad"), 1.0, 3.0)
    push(user, 1.0, 3.0)
    assert waits.pop_one(lets_in, 4.0) is None, "so many are looked at, and no more"
