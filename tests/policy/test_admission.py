"""Slots and the queue, as the engine's verbs use them."""

from __future__ import annotations

from typing import Any

import pytest

from shield.model import Action, Reason
from shield.policy.challenge.settings import ChallengeSettings
from shield.policy.queue.settings import QueueSettings

CHEAP = ChallengeSettings(least_hashes=64, most_hashes=256)


def test_a_held_request_takes_its_slot_when_its_body_is_there(make: Any, says: Any) -> None:
    world = make(1)
    client = world.client()
    held = world.ask(client, body_pending=True)
    assert says(held) == (Action.FORWARD, Reason.OK)
    assert world.engine.in_flight == 0
    other = world.ask(client)
    assert other.verdict.action is Action.FORWARD
    assert world.engine.enter(held, world.now).action is Action.QUEUE
    assert world.end(other) == [held]
    assert world.engine.in_flight == 1
    assert world.engine.concurrency_limit >= 1


def test_a_client_that_leaves_in_the_middle_of_its_body_pays_for_the_attempt_only(world: Any) -> None:
    client = world.client()
    held = world.ask(client, body_pending=True)
    assert world.engine.cancel(held, world.now) == ()
    assert client.entry.tat - world.now == pytest.approx(0.02)


def test_a_client_that_leaves_in_flight_pays_what_was_estimated_and_frees_its_slot(make: Any) -> None:
    world = make(1)
    client = world.client()
    request = world.ask(client)
    waiting = world.ask(world.client("192.0.2.2"))
    assert world.engine.cancel(request, world.now) == [waiting]
    assert client.entry.tat - world.now == pytest.approx(0.1)
    assert world.engine.cancel(request, world.now) == ()


def test_the_engine_names_who_goes_next(make: Any) -> None:
    world = make(1)
    world.ask(world.client())
    assert world.engine.next_waiting is None
    waiting = world.ask(world.client("192.0.2.2"))
    assert world.engine.next_waiting is waiting


def test_it_is_full_while_one_more_request_would_wait(make: Any) -> None:
    world = make(1)
    assert not world.engine.full
    first = world.ask(world.client())
    assert world.engine.full
    waiting = world.ask(world.client("192.0.2.2"))
    assert world.end(first) == [waiting]
    assert world.engine.full
    world.end(waiting)
    assert not world.engine.full


def test_in_a_dry_run_it_is_never_full(make: Any) -> None:
    world = make(1, queue=QueueSettings(dry_run=True))
    world.ask(world.client())
    assert not world.engine.full


def test_what_waits_unread_has_the_limit_rise_as_what_waits_in_the_queue_does(make: Any) -> None:
    world = make(1)
    world.ask(world.client())
    world.engine.awaits(5)
    assert world.engine._concurrency.slots.awaited == 5
    world.engine.awaits(0)
    assert world.engine._concurrency.slots.awaited == 0


def test_a_slot_is_given_back_once(make: Any) -> None:
    world = make(2)
    stream, other = world.ask(world.client()), world.ask(world.client())
    assert world.engine.release(stream, world.now) == ()
    assert world.engine.release(stream, world.now) == ()
    assert world.engine.in_flight == 1
    world.end(stream, 101, stream=True)
    assert world.engine.in_flight == 1
    world.end(other)
    assert world.engine.in_flight == 0


def test_a_request_at_the_service_may_ask_for_its_slot_again_or_end_without(make: Any) -> None:
    world = make(1)
    upload = world.ask(world.client())
    world.engine.release(upload, world.now)
    other = world.ask(world.client("192.0.2.2"))
    assert world.engine.enter(upload, world.now).action is Action.QUEUE
    assert world.end(other) == [upload]
    assert world.engine.in_flight == 1
    world.engine.release(upload, world.now)
    world.ask(world.client("192.0.2.3"))
    assert world.engine.enter(upload, world.now).action is Action.QUEUE
    world.engine.withdraw(upload)
    assert (world.engine.waiting, world.engine.in_flight) == (0, 1)


def test_a_request_that_was_shed_may_ask_again_and_pays_as_if_it_had_not_been(make: Any) -> None:
    world = make(1, queue=QueueSettings(length=50, least_length=0))
    one, another = world.client(), world.client("192.0.2.2")
    upload = world.ask(one)
    world.engine.release(upload, world.now)
    spared = world.ask(another)
    world.engine.release(spared, world.now)
    last = world.ask(world.client("192.0.2.3"))
    assert world.engine.enter(upload, world.now).action is Action.QUEUE
    world.now += 10
    assert list(world.engine.tick(world.now)) == [upload]
    assert upload.verdict.action is Action.SHED
    given_back = one.entry.shadow
    world.end(last)
    assert world.engine.enter_again(upload, world.now).action is Action.FORWARD
    assert world.engine.in_flight == 1
    for request in (spared, upload):
        world.end(request, rtt=2.0)
    assert one.entry.shadow == pytest.approx(another.entry.shadow, abs=0.001)
    assert one.entry.shadow > given_back


def test_a_late_tick_sheds_what_waited_meanwhile(make: Any) -> None:
    world = make(1, queue=QueueSettings(length=50, ahead=0, least_length=0))
    world.ask(world.client())
    waiting = [world.ask(world.client()) for _ in range(50)]
    world.now += 10
    assert sorted(map(id, world.engine.tick(world.now))) == sorted(map(id, waiting))
    assert {request.verdict.reason for request in waiting} == {Reason.QUEUE_TIMEOUT}
