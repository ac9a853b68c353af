"""Requests that take long at one of several workers."""

from __future__ import annotations

import math
from random import Random
from typing import Any

import pytest

from shield.model import Outcome
from shield.policy.admission import HELD_UP
from shield.policy.board.memory import Cell
from shield.policy.history import Record
from tests.policy.test_long_requests import QUICK, SLOW, forwarded, settle


def test_those_that_wait_at_one_worker_keep_nobody_out_at_another(fleet: Any) -> None:
    world = fleet(concurrency=20, workers=2)
    zero, one = world.engine.engines
    settle(world)
    world.pass_time(0.1, step=0.02)
    clients = [world.client(f"203.0.{i}.1") for i in range(40)]
    there = [client for client in clients if world.engine.engine_of(client) == 0]
    held = [world.ask(client, SLOW) for client in there[:4] * 10]
    assert len(forwarded(held)) == 20
    people = [client for client in clients if world.engine.engine_of(client) == 1][:3]
    for person in people:
        record = Record(person.key, person.home, person.network, world.now - 999, world.now, 2, 50.0)
        person.entry.record = one._history.remember(record)
    user = [world.ask(person, QUICK) for person in people for _ in range(2)]
    assert sum(request.has_slot for request in user) == 2, "what is guaranteed to this worker"
    world.pass_time(HELD_UP + 0.02, step=0.02)
    world.engine.make_way(forwarded(held), world.now)
    world.pass_time(0.04, step=0.02)
    assert all(request.has_slot for request in user[:5])
    assert [engine._concurrency.slots.long for engine in (zero, one)] == [20, 20]
    assert [engine.status(world.now).long for engine in (zero, one)] == [20, 0]
    assert one._concurrency.slots.guarded
    for request in (*user[:5], *held[:20]):
        world.end(request, rtt=25.0)
    world.pass_time(0.04, step=0.02)
    assert not one._concurrency.slots.guarded
    world.engine.kill(0)
    zero._concurrency.slots.takes_long(stranger=True)
    world.pass_time(3.0)
    assert one._concurrency.slots.long == 0, "what a dead worker has is not at the service"


def test_clients_that_turn_bad_at_one_worker_are_strangers_to_the_others(fleet: Any) -> None:
    world = fleet(concurrency=20, workers=2)
    zero, one = world.engine.engines
    settle(world)
    world.pass_time(0.1, step=0.02)
    clients = [world.client(f"203.0.{i}.1") for i in range(40)]
    bad = [client for client in clients if world.engine.engine_of(client) == 0][:4]
    for client in bad:
        record = Record(client.key, client.home, client.network, world.now - 999, world.now, 2, 50.0)
        client.entry.record = zero._history.remember(record)
    held = [world.ask(client, QUICK) for client in bad * 5]
    for _ in range(2):
        world.pass_time(HELD_UP + 0.02, step=0.02)
        world.engine.make_way(forwarded(held), world.now)
    assert one._concurrency.slots.strange == zero._concurrency.slots.strange == 20
    for request in held:
        world.end(request, rtt=25.0)
    assert one._concurrency.slots.strange == one._concurrency.slots.long == 0


def test_a_worker_that_ends_leaves_nothing_that_others_wait_for(fleet: Any) -> None:
    world = fleet(concurrency=20, workers=2)
    zero, one = world.engine.engines
    settle(world)
    world.pass_time(0.1, step=0.02)
    clients = [world.client(f"203.0.{i}.1") for i in range(40)]
    there = [client for client in clients if world.engine.engine_of(client) == 0]
    before = one._concurrency.slots.in_flight
    left = [world.ask(client, QUICK) for client in there[:5]]
    for request in left:
        world.engine.cancel(request, world.now, at_work=True)
    assert one._concurrency.slots.in_flight == before + 5
    zero.end()
    assert one._concurrency.slots.in_flight == before


@pytest.mark.parametrize("seed", range(4))
def test_the_board_counts_what_is_at_the_service_however_clients_leave_and_configs_are_read(
    fleet: Any, seed: int
) -> None:
    """What nobody takes off the board would be held against everybody for good."""
    random = Random(seed)
    world = fleet(concurrency=6, workers=3)
    settle(world)
    world.pass_time(0.1, step=0.02)
    board, there = world.engine.board, []
    engines = list(world.engine.engines)
    clients = [world.client(f"203.0.{i}.1") for i in range(12)]
    for client in clients[:6]:
        engine = world.engine.engines[world.engine.engine_of(client)]
        record = Record(client.key, client.home, client.network, world.now - 999, world.now, 2, 50.0)
        client.entry.record = engine._history.remember(record)
    for _ in range(300):
        step = random.random()
        if step < 0.6:
            request = world.ask(random.choice(clients), random.choice([QUICK, SLOW]))
            there.append((request, world.engine._engine(request)))
        elif step < 0.9 and there:
            request, engine = there.pop(random.randrange(len(there)))
            at_work = request.has_slot and random.random() < 0.5
            if request.has_slot and not at_work:
                engine.learn(request, Outcome(200, random.choice([0.02, 25.0])), world.now)
            else:
                engine.cancel(request, world.now, at_work)
        elif step < 0.98:
            world.pass_time(0.14, step=0.02)
            for engine in engines:
                if engine.long_after(world.now) < math.inf:
                    engine.make_way([one for one, its in there if its is engine and one.has_slot], world.now)
        else:
            number = random.randrange(3)
            engines.append(world.engine.renew(number))
            world.engine._handles = {key: one for key, one in world.engine._handles.items() if key[1] != number}
        for kind, mine in ((Cell.LONG, "mine"), (Cell.STRANGE, "mine_strange")):
            assert sum(board.cells(kind)) == sum(getattr(one._concurrency.slots, mine) for one in engines)
        assert 0 <= sum(board.cells(Cell.STRANGE)) <= sum(board.cells(Cell.LONG))
    for request, engine in there:
        engine.cancel(request, world.now)
    for engine in engines:
        engine.end()
    for kind in (Cell.IN_FLIGHT, Cell.LONG, Cell.STRANGE):
        assert sum(board.cells(kind)) == 0
