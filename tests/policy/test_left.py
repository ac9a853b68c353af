"""Requests whose clients hang up while the service works for them: they keep their slots for as long as that takes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shield.model import Action
from shield.policy.concurrency.settings import ConcurrencySettings
from shield.policy.long_requests import LEAST_LONG
from shield.policy.queue.settings import QueueSettings
from shield.policy.request import Request
from shield.policy.settings import EngineSettings
from tests.policy.conftest import CHEAP, World
from tests.policy.test_long_requests import QUICK, SLOW, attack, known, settle, sweep


def test_to_hang_up_is_no_way_past_the_limit(make: Any) -> None:
    """400 requests/s, each hung up after 5 ms, before a service of 200/s: it worked for all of them, and users waited
    for a second and a half."""
    world = make(4)
    settle(world)
    left = [world.ask(world.client(f"203.0.{i}.1"), QUICK) for i in range(4)]
    for request in left:
        assert not world.engine.cancel(request, world.now, at_work=True)
    assert world.engine.status(world.now).in_flight == 4
    user = world.ask(known(world, "198.51.100.1"), QUICK)
    assert user.verdict.action is Action.QUEUE
    assert world.pass_time(0.06, step=0.02) == [user]
    assert world.ask(world.client("203.0.113.9"), QUICK).has_slot, "the next one need not wait for the tick"


def test_nobody_need_wait_for_a_slot_that_is_free_by_now(make: Any) -> None:
    world = make(2)
    settle(world)
    for i in range(2):
        world.engine.cancel(world.ask(world.client(f"203.0.{i}.1"), QUICK), world.now, at_work=True)
    world.now += 0.1
    assert world.ask(world.client(), QUICK).has_slot


@pytest.mark.parametrize("path", [QUICK, SLOW])
def test_they_are_kept_for_as_long_as_answers_take_now_but_no_longer_than_what_is_long(make: Any, path: str) -> None:
    world = make(4)
    settle(world)
    for i in range(2):
        held = [world.ask(world.client(f"203.0.{i}.{j}"), QUICK) for j in range(4)]
        for request in held:
            world.end(request, rtt=1.0)
    left = world.ask(world.client(), path)
    others = [world.ask(world.client(f"203.0.9.{j}"), QUICK) for j in range(3)]
    world.end(others.pop(), rtt=1.0)
    world.engine.cancel(left, world.now, at_work=True)
    world.now += LEAST_LONG - 0.01
    world.engine.tick(world.now)
    assert world.engine.status(world.now).in_flight == 3
    world.now += 0.02
    world.engine.tick(world.now)
    assert world.engine.status(world.now).in_flight == 2


def test_what_is_answered_or_long_has_no_slot_any_more_when_its_client_leaves(make: Any) -> None:
    world = make(4)
    settle(world)
    world.engine.cancel(world.ask(world.client(), QUICK), world.now)
    assert world.engine.status(world.now).in_flight == 0
    held = attack(world, 5)
    sweep(world, held)
    assert world.engine.status(world.now).long == 4
    world.engine.cancel(held[0], world.now, at_work=True)
    assert world.engine.status(world.now).long == 3


def test_to_hang_up_is_no_way_past_the_limit_while_others_take_long(make: Any) -> None:
    """The last places beside slow requests were free again at once: known clients that hung up got ten times what the
    service does."""
    world = make(4)
    settle(world)
    sweep(world, attack(world, 5))
    let_in = 0
    for number in range(50):
        request = world.ask(known(world, f"198.51.100.{number + 1}"), QUICK)
        if request.has_slot:
            let_in += 1
            world.engine.cancel(request, world.now, at_work=True)
    status = world.engine.status(world.now)
    assert 0 < let_in == status.in_flight <= 4
    served = list(world.pass_time(0.3, step=0.02))  # those that waited, as the service gets done with the others
    for request in served:
        if request.has_slot:
            served += world.end(request)
    assert len(served) == 50 - let_in
    assert world.engine.status(world.now).in_flight == 0
    assert world.ask(known(world, "198.51.100.99"), QUICK).has_slot


_steps = st.one_of(
    st.tuples(st.just("ask"), st.integers(0, 5)),
    st.tuples(st.just("end"), st.integers(0, 9)),
    st.tuples(st.just("leave"), st.integers(0, 9)),
    st.tuples(st.just("time"), st.sampled_from([0.0, 0.01, 0.1, LEAST_LONG])),
)


@settings(max_examples=60, deadline=None)
@given(limit=st.integers(1, 4), steps=st.lists(_steps, max_size=40))
def test_whoever_hangs_up_no_slot_is_free_too_early_or_held_for_long(limit: int, steps: list[tuple[str, Any]]) -> None:
    """In any order of requests, answers and hang-ups: the service never has more to do than the limit says, a request
    that was hung up counts at first, and after LEAST_LONG no longer."""
    calm = QueueSettings(calm_patience=1e6)
    world = World(EngineSettings(challenge=CHEAP, concurrency=ConcurrencySettings(adaptive=False), queue=calm), limit)
    settle(world)
    asked: list[Request] = []
    left: list[float] = []  # when each hung up
    for what, value in steps:
        with_slots = [request for request in asked if request.has_slot]
        if what == "ask":
            asked.append(world.ask(world.client(f"203.0.{value}.1"), QUICK))
        elif what == "time":
            world.now += value
            world.engine.tick(world.now)
        elif value < len(with_slots):
            request = with_slots[value]
            asked.remove(request)
            if what == "end":
                world.end(request, rtt=0.02)
            else:
                world.engine.cancel(request, world.now, at_work=True)
                left.append(world.now)
        working = sum(request.has_slot for request in asked)
        just_left = sum(world.now == at for at in left)
        may_be_left = sum(world.now - at < LEAST_LONG for at in left)
        in_flight = world.engine.status(world.now).in_flight
        assert working + just_left <= in_flight <= min(working + may_be_left, limit)
