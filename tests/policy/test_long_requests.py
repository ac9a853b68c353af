"""Requests that the service is silent about for long, and those who wait for their slots."""

from __future__ import annotations

from collections import Counter
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.model import Action, Reason, Tier
from shield.policy.admission import HELD_UP
from shield.policy.concurrency.headroom import MOST_DOUBLINGS
from shield.policy.concurrency.settings import ConcurrencySettings
from shield.policy.history import Record
from shield.policy.limits.settings import LimitsSettings
from shield.policy.long_requests import FEW, LEAST_LONG, MANY, MOST_LONG, TIMES
from shield.policy.queue.settings import QueueSettings
from shield.policy.request import Request
from shield.policy.routes import RoutesSettings
from shield.policy.settings import EngineSettings
from tests.policy.conftest import CHEAP, World

QUICK = "/page"  # a route that is known to be quick
SLOW = "/events"  # one of which nothing is known
SETTLED = RoutesSettings().settled


def known(world: World, address: str) -> Any:
    """A client with a history."""
    client = world.client(address)
    record = Record(client.key, client.home, client.network, world.now - 999, world.now, 2, 50.0)
    client.entry.record = world.engine._history.remember(record)
    return client


def settle(world: World, path: str = QUICK, rtt: float = 0.02) -> None:
    """Let the route of a path be known."""
    for i in range(SETTLED):
        world.visit(world.client(f"192.0.2.{i}"), path, rtt=rtt)


def sweep(world: World, at_service: list[Request]) -> list[Request]:
    """Let a tenth of a second pass and more, and what is at the service make way; who goes on."""
    world.pass_time(HELD_UP + 0.02, step=0.02)
    if world.engine.long_after(world.now) == inf:
        return []
    return list(world.engine.make_way([request for request in at_service if request.has_slot], world.now))


def attack(world: World, number: int = 40, addresses: int = 4, path: str = SLOW) -> list[Request]:
    """So many requests from a few addresses, of networks of their own."""
    return [world.ask(world.client(f"203.0.{i % addresses}.1"), path) for i in range(number)]


def forwarded(requests: list[Request]) -> list[Request]:
    return [request for request in requests if request.has_slot]


def test_forty_requests_that_wait_at_the_service_keep_nobody_out(make: Any) -> None:
    """They held all 20 slots for 25 s, and users with a history got none of their answers meanwhile."""
    world = make(20)
    settle(world)
    held = attack(world)
    users = [world.ask(known(world, f"198.51.{i}.1"), QUICK) for i in range(5)]
    assert [request.verdict.action for request in users] == [Action.QUEUE] * 5
    assert sweep(world, held) == users
    status = world.engine.status(world.now)
    assert (status.in_flight, status.long, status.waiting) == (5, 20, 20)
    for request in users:
        world.end(request, rtt=0.02)
    later = world.ask(known(world, "198.51.0.1"), QUICK)
    assert later.verdict.action is Action.FORWARD, "nobody need wait for the next sweep"


def test_a_newcomer_waits_only_until_the_service_has_shown_that_it_can_take_more(make: Any) -> None:
    world = make(20)
    settle(world)
    held = attack(world)
    newcomer = world.ask(world.client("198.51.100.1"), QUICK)
    assert sweep(world, held) == [], "the service may be working on all of them"
    for i in range(8):
        world.end(world.ask(known(world, f"198.51.{i}.1"), QUICK), rtt=0.02)
    assert newcomer.has_slot
    assert world.ask(world.client("198.51.100.2"), QUICK).has_slot


def test_who_is_overtaken_is_not_ended_and_does_not_notice(make: Any) -> None:
    world = make(20)
    settle(world)
    held = attack(world, 20)
    world.ask(known(world, "198.51.100.1"), QUICK)
    sweep(world, held)
    assert len(forwarded(held)) == 20
    for request in held:
        world.end(request, rtt=25.0)
    status = world.engine.status(world.now)
    assert (status.in_flight, status.long) == (1, 0)


def test_those_of_the_same_kind_wait_apart_and_no_longer_than_others(make: Any, says: Any) -> None:
    world = make(20)
    settle(world)
    held = attack(world)
    sweep(world, held)
    behind = [request for request in held if request.queued_at]
    assert len(behind) == 20
    assert world.engine.next_waiting is None, "nobody waits for them"
    world.pass_time(2.1, step=0.02)
    assert [says(request) for request in behind] == [(Action.SHED, Reason.QUEUE_TIMEOUT)] * 20
    world.pass_time(0.5)
    assert world.engine.status(world.now).overload == [], "it says nothing of the service"


def test_who_waits_apart_goes_when_a_long_one_has_ended(make: Any) -> None:
    world = make(20)
    settle(world)
    held = attack(world)
    sweep(world, held)
    assert list(world.end(held[0], rtt=25.0)) == [held[20]]
    world.engine.cancel(held[21], world.now)
    assert list(world.end(held[1], rtt=25.0)) == [held[22]], "in order, but for who has left"


def test_slots_are_for_everybody_again_when_nothing_takes_long_any_more(make: Any) -> None:
    world = make(4)
    settle(world)
    held = attack(world, 6)
    sweep(world, held)
    assert world.engine._concurrency.slots.guarded
    for request in held[:4]:
        world.end(request, rtt=25.0)
    assert [request.has_slot for request in held[4:]] == [True, True]
    assert not world.engine._concurrency.slots.guarded


def test_those_who_waited_apart_wait_among_the_others_when_all_long_ones_have_ended(make: Any) -> None:
    world = make(4)
    settle(world)
    held = attack(world, 4)
    sweep(world, held)
    quick = [world.ask(known(world, f"198.51.{i}.1"), QUICK) for i in range(2)]
    parked = attack(world, 8)
    assert [request.has_slot for request in quick] == [True, False]
    for request in held:
        world.end(request, rtt=25.0)
    status = world.engine.status(world.now)
    assert (status.long, status.in_flight) == (0, 4)
    assert len(forwarded(parked)) == 2


def test_a_known_client_s_page_that_is_not_known_to_be_quick_is_not_kept_out_by_strangers(make: Any) -> None:
    world = make(20)
    settle(world)
    held = attack(world)
    page = world.ask(known(world, "198.51.100.1"), "/rare")
    assert sweep(world, held) == [page]
    assert world.ask(known(world, "198.51.100.2"), "/rarer").has_slot


def test_long_requests_of_known_clients_are_no_more_than_the_limit(make: Any) -> None:
    world = make(8)
    settle(world)
    held = [world.ask(known(world, f"198.51.{i}.1"), SLOW) for i in range(20)]
    assert len(forwarded(held)) == 8
    waiting = world.ask(known(world, "198.51.100.1"), QUICK)
    assert sweep(world, held) == [waiting]
    assert len(forwarded(held)) == 8
    assert not world.end(waiting, rtt=0.02)
    assert list(world.end(held[0], rtt=25.0)) == [held[8]]


def test_a_stranger_whose_address_has_more_of_them_than_its_share_waits_apart(make: Any) -> None:
    """It asks for a page that is quick for others."""
    world = make(20)
    settle(world)
    held = attack(world, 20, path=QUICK)
    world.ask(known(world, "198.51.100.1"), QUICK)
    sweep(world, held)
    world.engine._concurrency.slots.prove(MOST_DOUBLINGS)
    assert not world.ask(world.client("203.0.0.1"), QUICK).has_slot
    assert world.ask(world.client("203.0.9.1"), QUICK).has_slot


@pytest.mark.parametrize("clients", [1, 4])
def test_a_client_with_a_history_that_turns_bad_keeps_nobody_out(make: Any, clients: int) -> None:
    """It asked for a page that is quick for others in such a way that the answer came late: 25 of these held all that
    there is, the part of the others with a history too."""
    world = make(20)
    settle(world)
    bad = [known(world, f"203.0.{i}.1") for i in range(clients)]
    held = [world.ask(bad[i % clients], QUICK) for i in range(80)]
    for _ in range(20):
        sweep(world, held)
        users = [world.ask(known(world, f"198.51.{i}.1"), QUICK) for i in range(5)]
        assert all(request.has_slot for request in users)
        for request in users:
            world.end(request, rtt=0.02)
    status = world.engine.status(world.now)
    assert status.long <= 20 + 20 - 5, "what strangers may have"


def test_one_client_with_a_history_gets_three_of_the_last_five_places_and_no_more(make: Any) -> None:
    """It has none at the service yet, and all five at once would be too long: then it is too late."""
    world = make(20)
    settle(world)
    sweep(world, attack(world))
    asked = [world.ask(known(world, "198.51.100.1"), QUICK) for _ in range(6)]
    assert len(forwarded(asked)) == 3
    assert list(world.end(asked[0], rtt=0.02)) == [asked[3]], "the next one comes when one is done"
    assert world.ask(known(world, "198.51.100.2"), QUICK).has_slot
    sweep(world, asked)
    for request in asked:
        if request.has_slot:
            world.end(request, rtt=25.0)
    assert not world.engine._admission._long._of_client.get(asked[0].client.key)


def test_twelve_clients_that_turn_bad_lose_what_their_history_gave_them(make: Any) -> None:
    """They kept half of those out who wait for something for good reason, and some of those who browse."""
    world = make(20)
    settle(world)
    bad = [known(world, f"203.0.{i}.1") for i in range(12)]
    held = [world.ask(bad[i % 12], QUICK) for i in range(40)]
    slots = world.engine._concurrency.slots
    for turn in range(8):
        sweep(world, held)
        for i in range(5):
            user = world.ask(known(world, f"198.51.{i}.1"), QUICK)
            assert user.has_slot
            world.end(user, rtt=0.02)
        slots.prove(min(turn, MOST_DOUBLINGS))
        held += [world.ask(bad[i % 12], QUICK) for i in range(12)]
    readers = [world.ask(known(world, f"198.51.{i}.1"), SLOW) for i in range(8)]
    assert all(request.has_slot for request in readers), "they wait for something for good reason"
    assert all(world.ask(world.client(f"192.0.2.{i}"), QUICK).has_slot for i in range(4)), "newcomers find some, too"
    assert slots.strange <= 20 + 20 - 5, "as many as strangers may have"
    for request in held:
        if request.has_slot:
            world.end(request, rtt=25.0)
        else:
            world.engine.cancel(request, world.now)
    long = world.engine._admission._long
    assert (long._odd, long._bad, slots.strange) == ({}, 0, 0)


def test_one_long_request_of_a_quick_route_leaves_a_client_one_thing_more_at_a_time(make: Any) -> None:
    """A route may be quick for most, and let people wait who have seen everything: each of them has one of it."""
    world = make(20)
    settle(world)
    person = known(world, "198.51.100.1")
    held = [world.ask(person, QUICK), *attack(world, 19)]
    waiting = world.ask(known(world, "198.51.100.2"), QUICK)
    sweep(world, held)
    world.end(waiting, rtt=0.02)
    slots = world.engine._concurrency.slots
    assert slots.strange == 19, "it has one only"
    first, second = world.ask(person, QUICK), world.ask(person, QUICK)
    assert (first.has_slot, second.has_slot) == (True, False)
    world.end(first, rtt=0.02)
    assert second.has_slot
    world.pass_time(0.3, step=0.02)
    sweep(world, [second])
    sweep(world, [second])
    assert slots.strange == 20, "it has two, and they count as a stranger's, as far as those may have so many"


def test_what_many_clients_do_is_not_odd(make: Any) -> None:
    """A route that is quick for most, and lets some wait: where everybody has one or two such requests, people had to
    wait for each other."""
    world = make(20)
    settle(world)
    people = [known(world, f"198.51.{i}.1") for i in range(MANY + 1)]
    held = [world.ask(person, QUICK) for person in people[:8] * 2]
    slots = world.engine._concurrency.slots
    sweep(world, held)
    sweep(world, held)
    assert slots.strange == 16
    held += [world.ask(person, QUICK) for person in people[8:]]
    assert all(request.has_slot for request in held)
    sweep(world, held)
    assert slots.strange == 0
    slots.prove(MOST_DOUBLINGS)
    more = [world.ask(people[-1], QUICK) for _ in range(3)]
    assert all(request.has_slot for request in more)
    for request in (*held, *more):
        world.end(request, rtt=25.0)
    assert not world.engine._admission._long.counted


def test_a_request_is_odd_when_it_is_slow_for_its_own_route(make: Any) -> None:
    world = make(4)
    settle(world)
    settle(world, "/list", rtt=0.15)
    person = known(world, "198.51.100.1")
    held = [world.ask(person, path) for path in (QUICK, "/list", SLOW, "/list")]
    world.ask(known(world, "198.51.100.2"), QUICK)
    odd = world.engine._admission._long._odd
    sweep(world, held)
    assert odd == {person.key: 1}
    for _ in range(4):
        sweep(world, held)
    assert odd == {person.key: 3}, "what is not known to be quick is never odd"


def test_the_limit_may_fall_below_what_takes_long_and_the_known_are_served(make: Any) -> None:
    world = make(20)
    settle(world)
    held = attack(world, 20)
    sweep(world, held)
    world.ask(known(world, "198.51.100.1"), QUICK)
    world.engine._concurrency.slots.resize(4, world.now)
    got = [world.ask(known(world, f"198.51.{i}.1"), QUICK).has_slot for i in range(6)]
    assert got == [True, True, True, False, False, False]


def test_whoever_goes_next_within_a_moment_needs_nobody_to_make_way(make: Any) -> None:
    world = make(3)
    settle(world, rtt=0.5)
    settle(world, "/quicker")
    world.ask(world.client(), QUICK)
    assert world.engine.long_after(world.now) == inf
    for _ in range(2):
        world.ask(world.client(), QUICK)
    most = world.engine.long_after(world.now)
    assert most > LEAST_LONG, "half of the slots are taken, and what is long goes by most requests"
    world.ask(world.client("198.51.100.1"), "/quicker")
    assert world.engine.long_after(world.now) == most
    world.pass_time(HELD_UP + 0.02, step=0.02)
    assert world.engine.long_after(world.now) == LEAST_LONG


@pytest.mark.parametrize(
    ("path", "rtt", "after"),
    [(QUICK, 0.02, LEAST_LONG), ("/report", 1.5, TIMES * 1.5), ("/new", 0.0, MOST_LONG)],
    ids=["quick", "slow", "not known"],
)
def test_what_is_long_depends_on_what_waits(make: Any, path: str, rtt: float, after: float) -> None:
    world = make(3)
    settle(world, "/usual", 0.9)
    if rtt:
        settle(world, path, rtt)
    for _ in range(3):
        world.ask(world.client(), "/usual")
    world.ask(world.client("198.51.100.1"), path)
    world.pass_time(HELD_UP + 0.02, step=0.02)
    assert world.engine.long_after(world.now) == pytest.approx(after, rel=0.3)


def test_where_nothing_takes_long_nobody_makes_way(make: Any) -> None:
    world = make(4)
    settle(world)
    attack(world, 8)
    assert world.engine.make_way([], world.now) == ()
    assert len(world.engine._queue.waiting) == 4


def test_in_a_brownout_and_in_a_dry_run_nobody_makes_way(make: Any) -> None:
    world = make(4, dry_run=True)
    attack(world, 8)
    assert world.engine.long_after(world.now) == inf
    world = make(4)
    settle(world)
    held = attack(world, 8)
    sweep(world, held)
    assert world.engine._concurrency.slots.guarded
    world.engine._queue.brownout = True
    assert world.engine.long_after(world.now) == inf
    world.engine._admission.shed_late(world.now)
    assert not world.engine._concurrency.slots.guarded
    assert len(world.engine._queue.waiting) == 4, "all wait in one queue"


def test_the_limit_does_not_rise_because_others_are_quick_beside_strangers(make: Any) -> None:
    """Twenty idle requests had it rise until the service had no thread left."""
    world = make(0, limit=ConcurrencySettings())
    settle(world)
    limit = world.engine.concurrency_limit
    held = attack(world, limit)
    sweep(world, held)
    slots, people = world.engine._concurrency.slots, [known(world, f"198.51.{i}.1") for i in range(40)]
    slots.prove(MOST_DOUBLINGS)
    asked = [world.ask(person, QUICK) for person in people[:limit]]
    for number in range(400):
        world.end(asked.pop(0), rtt=0.02)
        asked.append(world.ask(people[number % 40], QUICK))
        if number % 100 == 99:
            world.pass_time(0.5)
    assert slots.reached
    assert world.engine.concurrency_limit == limit
    for request in held:
        world.end(request, rtt=25.0)
    for number in range(400):
        world.end(asked.pop(0), rtt=0.02)
        asked.append(world.ask(people[number % 40], QUICK))
        if number % 100 == 99:
            world.pass_time(0.5)
    assert world.engine.concurrency_limit > limit, "without them it rises"


def test_the_limit_rises_for_known_clients_who_wait_at_the_service(make: Any) -> None:
    """People with a chat open: each has one request there all the time."""
    world = make(0, limit=ConcurrencySettings())
    settle(world)
    limit = world.engine.concurrency_limit
    people = [known(world, f"198.51.{i}.1") for i in range(3 * limit)]
    held = [world.ask(person, SLOW) for person in people]
    for _ in range(8):
        sweep(world, held)
        for i in range(60):
            world.end(world.ask(people[i], QUICK), rtt=0.02)
        world.pass_time(0.5)
    assert world.engine.concurrency_limit > limit


def test_an_answer_that_took_long_beside_quick_ones_says_what_its_route_takes(make: Any) -> None:
    world = make(20)
    settle(world)
    held = attack(world, 20)
    client = held[0].client
    sweep(world, held)
    world.end(held[0], rtt=25.0)
    assert held[0].route.samples == 0, "the service may have worked on it"
    world.engine._concurrency.slots.prove(1)
    world.end(held[4], rtt=25.0)
    assert held[4].route.samples == 1
    assert client.entry.shadow - world.now > 5.0, "it is charged for what it took"
    world.end(held[5], rtt=-1.0)
    assert held[4].route.samples == 1


def test_what_an_operator_said_of_a_route_stays(make: Any) -> None:
    world = make(20, limits=LimitsSettings(costs={SLOW: 1.0}))
    settle(world)
    held = attack(world, 20)
    sweep(world, held)
    world.engine._concurrency.slots.prove(1)
    world.end(held[0], rtt=25.0)
    assert held[0].cost == 1.0


_asks = st.tuples(
    st.sampled_from([Tier.T1, Tier.T3]),
    st.integers(0, 4),  # network
    st.integers(0, 2),  # address
    st.sampled_from([QUICK, SLOW, "/other"]),
)
_steps = st.one_of(_asks, st.integers(0, 40), st.just("sweep"))


@pytest.mark.parametrize("doublings", range(MOST_DOUBLINGS + 1))
@given(limit=st.integers(1, 12), steps=st.lists(_steps, max_size=80))
@pytest.mark.untraced
def test_whatever_takes_long_the_known_find_a_part_of_the_service(doublings: int, limit: int, steps: list[Any]) -> None:
    """The guarantee, whoever asks for what, and however long it takes: a request of a known client, of a route that is
    quick, never waits while less than the headroom is at the service besides strangers' long requests, but where its
    client has as many there as are left, or FEW; odd ones count for two. And there are never more there than
    long_requests.py says."""
    settings = EngineSettings(
        challenge=CHEAP, concurrency=ConcurrencySettings(adaptive=False), queue=QueueSettings(calm_patience=1e6)
    )
    world = World(settings, limit)
    settle(world)
    slots = world.engine._concurrency.slots
    asked: list[Request] = []
    for step in steps:
        if step == "sweep":
            world.now += 1.0
            if world.engine.long_after(world.now) < inf:
                world.engine.make_way(forwarded(asked), world.now)
                slots.prove(doublings if slots.guarded else 0)
                world.engine.tick(world.now)
        elif isinstance(step, int):
            if step < len(asked) and asked[step].has_slot:
                world.engine.cancel(asked.pop(step), world.now)
        else:
            tier, network, address, path = step
            home = f"198.51.{network}.{address}"
            asked.append(
                world.ask(known(world, home) if tier is Tier.T1 else world.client(f"203.0.{network}.{address}"), path)
            )
        there = forwarded(asked)
        assert slots.in_flight + slots.long == len(there)
        least = max(1, limit // 4)
        most = min(least << doublings, limit)
        bad = sum(number >= FEW for number in Counter(r.client.key for r in there if r.tier is Tier.T1).values())
        assert len(there) <= limit + 3 * most - 2 * least + FEW * bad
        if slots.guarded:
            others = len(there) - slots.strange
            left = slots.headroom - others
            has = world.engine._admission._long._of_client
            waits = [r for r in asked if r.queued_at and r.tier is Tier.T1 and r.path == QUICK]
            assert all(has.get(request.client.key, 0) >= min(left, FEW) for request in waits)


def test_work_takes_three_times_what_is_usual_and_no_longer_than_what_is_long(make: Any) -> None:
    world = make(4)
    settle(world)
    request = world.ask(world.client(), QUICK)
    assert world.engine.work_takes(request) == pytest.approx(3 * 0.02, rel=0.2)
    settle(world, SLOW, rtt=2.0)
    assert world.engine.work_takes(world.ask(world.client(), SLOW)) == LEAST_LONG
