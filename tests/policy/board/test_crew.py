"""Three workers are one: pressure, attack, price and limit are everybody's, whoever of them leads and dies."""

from __future__ import annotations

import struct
from typing import Any

import orjson
import pytest

from shield.model import Outcome, Reason
from shield.policy.board.memory import Time
from shield.policy.pressure.window import OwnLoad
from tests.policy.conftest import World, untraced


def flood(world: World, seconds: float, networks: int = 30, rate: int = 20) -> None:
    """Strangers of so many networks, who come to all workers, each with so many requests a window."""
    with untraced():
        for _ in range(int(seconds * 2)):
            for network in range(networks):
                for host in range(rate):
                    world.visit(world.client(f"127.{network}.0.{host}"), rtt=0.05)
            world.pass_time(0.5)


def seen(engine: Any, now: float) -> Any:
    status = engine.status(now)
    return (
        (status.pressure, status.strictness, status.attack, status.attack_cause, status.attack_peak),
        (status.demand, status.known_demand, status.capacity, status.requests_per_second, status.cutoff),
        (status.price, status.bought_rate, status.concurrency, status.concurrency_found, status.congestion),
        (status.overload, status.brownout, status.market.passes_per_second),
    )


def test_the_pressure_is_everybodys_and_that_of_one_engine(make: Any, fleet: Any) -> None:
    alone, three = make(4), fleet(concurrency=4)
    for world in (alone, three):
        flood(world, 4.0)
    zero, one, two = (seen(engine, three.now) for engine in three.engine.engines)
    assert zero == one == two
    assert three.engine.pressed
    assert three.engine.pressure == pytest.approx(alone.engine.pressure, abs=0.05)
    together, single = three.engine.status(three.now), alone.engine.status(alone.now)
    assert together.demand == pytest.approx(single.demand, rel=0.1)
    assert together.capacity == pytest.approx(single.capacity, rel=0.1)
    assert [name for name, _ in three.engine.events() if name == "attack_onset"] == ["attack_onset"]
    boards = [engine.status(three.now).board for engine in three.engine.engines]
    assert [(board.workers, board.leads, board.missed, board.lost) for board in boards] == [
        (3, True, 0, 0),
        (3, False, 0, 0),
        (3, False, 0, 0),
    ]


def test_a_flood_that_meets_one_worker_is_pressure_for_all(fleet: Any) -> None:
    world = fleet(concurrency=4)
    follower = world.engine.engines[2]
    for _ in range(8):
        for network in range(60):
            for host in range(10):
                client = follower.identify(f"127.{network}.0.{host}", "", "", "", world.now)
                request = world.request(client)
                follower.decide(request, world.now)
                follower.cancel(request, world.now)
        world.pass_time(0.5)
    assert world.engine.pressed
    assert world.ask(world.client("192.0.2.1")).verdict.reason is Reason.NEWCOMER


def test_when_who_leads_dies_the_next_goes_on_from_there(fleet: Any) -> None:
    world = fleet(concurrency=4)
    flood(world, 4.0)
    world.engine.events()
    before, price = world.engine.pressure, world.engine.status(world.now).price
    world.engine.kill(0)
    flood(world, 2.0)
    one = world.engine.engines[1].status(world.now)
    assert (one.board.workers, one.board.leads) == (2, True)
    assert world.engine.pressed
    assert world.engine.pressure >= 0.8 * before
    assert world.engine.status(world.now).price >= price
    assert world.engine.attack
    assert world.engine.events() == [], "it is the same attack"
    world.engine.replace(0)
    flood(world, 1.0)
    zero = world.engine.engines[0].status(world.now)
    assert (zero.board.workers, zero.board.leads, zero.attack) == (3, True, True)
    assert zero.pressure >= 0.8 * before
    assert not world.engine.engines[1].status(world.now).board.leads
    assert world.engine.events() == []


@pytest.mark.untraced
def test_an_attack_ends_for_all(fleet: Any) -> None:
    world = fleet(concurrency=4)
    flood(world, 4.0)
    assert world.engine.attack
    world.pass_time(700.0, step=1.0)
    assert not world.engine.attack
    assert world.engine.pressure < 0.01
    assert [name for name, _ in world.engine.events()] == ["attack_onset", "attack_end"]


@pytest.mark.untraced
def test_an_attack_ends_in_its_time_where_the_machine_stood_still(fleet: Any) -> None:
    """After seconds without a beat each worker takes the lead for a moment, and the calm began anew each time."""
    world = fleet(concurrency=4)
    flood(world, 4.0)
    for _ in range(70):
        world.pass_time(5.0, step=1.0)
        world.now += 5.0
    assert not world.engine.attack


def test_who_is_late_alone_is_no_overload_and_who_is_late_and_busy_is(fleet: Any) -> None:
    world = fleet(concurrency=100)
    late, busy = OwnLoad(lag=0.5, busy=0.1, worst=0.6), OwnLoad(lag=0.001, busy=1.0, worst=0.002)
    both = OwnLoad(lag=0.5, busy=1.0, worst=0.6)
    for loads, shown in (((busy, late, busy), []), ((busy, late, both), ["self"])):
        for _ in range(4):
            world.now += 0.5
            for _ in range(2):
                for engine, load in zip(reversed(world.engine.engines), loads, strict=True):
                    engine.tick(world.now, load)
        assert world.engine.status(world.now).overload == shown


def test_orders_that_make_no_sense_are_not_followed(fleet: Any) -> None:
    world = fleet(concurrency=4)
    flood(world, 1.0)
    board, one = world.engine.board, world.engine.engines[1]
    before = one.pressure
    for nonsense in (b"{", b"[]", orjson.dumps([1, 2, 3, 4, 5])):
        world.now += 0.1
        board.orders[0].write(nonsense)
        board.times(Time.ORDERED)[0] = world.now
        one.tick(world.now)
        assert one.pressure == before
    assert one.status(world.now).board.lost >= 3


def test_orders_of_the_future_are_not_followed(fleet: Any) -> None:
    world = fleet(concurrency=4)
    flood(world, 1.0)
    board, one = world.engine.board, world.engine.engines[1]
    lost = one.status(world.now).board.lost
    board.orders[0].write(b"{")
    board.times(Time.ORDERED)[0] = world.now + 60.0
    one.tick(world.now)
    assert one.status(world.now).board.lost == lost


def test_orders_and_rows_that_are_too_long_are_not_sent(fleet: Any) -> None:
    world = fleet(concurrency=4)
    crew = world.engine.engines[0]._several._crew
    crew.order(["x" * 5000], world.now)
    crew.tell(["x" * 500])
    assert crew.lost == 2


def test_news_and_samples_that_make_no_sense_are_left_out(fleet: Any) -> None:
    world = fleet(concurrency=4)
    world.pass_time(0.5)
    board, zero = world.engine.board, world.engine.engines[0]
    board.news[1].write(b"{")
    board.news[1].write(b'["unknown"]')
    sample = struct.Struct("<8sddIHH")
    board.samples[1].write(sample.pack(b"client", float("nan"), 1.0, 0, 0, 0) + sample.pack(b"c", 1.0, -1.0, 0, 0, 0))
    zero.tick(world.now)
    assert zero.status(world.now).board.lost == 3


def test_a_later_engine_of_the_same_process_speaks_for_the_worker(fleet: Any) -> None:
    """When its config is read again, a worker has two engines for a while. What the old one has in flight counts."""
    world = fleet(concurrency=2)
    world.pass_time(0.5)
    old = world.engine.engines[0]
    request = world.request(old.identify("192.0.2.1", "", "", "", world.now))
    old.decide(request, world.now)
    new = world.engine.renew(0)
    world.pass_time(1.0)
    assert new.status(world.now).board.leads
    reported = world.engine.board.orders[0].read()
    world.now += 5.0
    old.tick(world.now)
    assert world.engine.board.orders[0].read() == reported, "it does not speak any more"
    assert world.engine.board.times(Time.BEAT)[0] < world.now
    world.engine.tick(world.now)
    assert world.engine.engines[1]._concurrency.slots.in_flight == 1
    old.learn(request, Outcome(200, 0.01), world.now)
    assert world.engine.engines[1]._concurrency.slots.in_flight == 0
