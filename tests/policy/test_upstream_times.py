"""What is learned from the time that the service took."""

from __future__ import annotations

from typing import Any

import pytest

from shield.model import Action, Outcome
from shield.policy.challenge.settings import ChallengeSettings
from shield.policy.concurrency.settings import ConcurrencySettings
from shield.policy.limits.settings import LimitsSettings
from shield.policy.routes import Route, RoutesSettings

CHEAP = ChallengeSettings(least_hashes=64, most_hashes=256)


def test_streams_are_no_samples_of_the_upstream_s_time(make: Any) -> None:
    world = make(2)
    for _ in range(100):
        world.visit(world.client())
        request = world.ask(world.client())
        world.end(request, 200, rtt=60.0, stream=True)
    assert world.engine.status(world.now).median_rtt < 0.01 or world.engine._queue.length.median_rtt == 0.0


def test_noise_that_looks_like_congestion_does_not_make_a_route_cheaper(make: Any) -> None:
    """A service of 20 ms that was half busy was taken for one of 2 ms after minutes, and its floods for nothing."""
    world = make(concurrency=4)
    for i in range(300):
        world.engine._concurrency.congestion = 1.5
        world.visit(world.client(f"192.0.2.{i % 200}"), rtt=0.020)
        world.now += 1.0
    assert world.ask(world.client()).route.baseline == pytest.approx(0.020, rel=0.05)


def test_congestion_that_nobody_has_measured_yet_is_not_billed(make: Any) -> None:
    world = make(2)
    client = world.client()
    for _ in range(10):
        world.visit(client)
        world.pass_time(1)
    world.ask(world.client("192.0.2.9"))
    debt = client.entry.tat - world.now
    request = world.ask(client)
    world.end(request, rtt=5.0)
    assert client.entry.tat - max(world.now, world.now + debt) < RoutesSettings().most_cost / 10 / 4


def test_an_unknown_route_is_compared_with_what_is_typical(make: Any) -> None:
    """A flood of paths that nobody ever saw shows its slowness too."""
    world = make(8)
    clients = [world.client(f"192.0.2.{i}") for i in range(20)]
    for i in range(60):
        world.visit(clients[i % 20], rtt=0.020)
        world.pass_time(0.5)
    n = 0
    for _ in range(4):
        requests = []
        for _ in range(40):
            n += 1
            name = "".join("abcdefghij"[int(d)] for d in str(n))
            requests.append(world.ask(clients[n % 20], f"/never/{name}"))
        served = [request for request in requests if request.verdict.action is Action.FORWARD]
        for request in served:
            served.extend(world.end(request, rtt=0.400))
        world.pass_time(0.5, step=0.02)
    assert world.engine.pressure > 0.05


def test_a_path_that_a_flood_is_the_first_to_ask_for_is_not_taken_for_a_slow_one(make: Any) -> None:
    """Eight congested answers were its baseline, and a limit of 20 rose to 30 on a service of 4 slots."""
    world = make(8, limit=ConcurrencySettings())
    clients = [world.client(f"192.0.2.{i}") for i in range(20)]
    for i in range(60):
        world.visit(clients[i % 20], rtt=0.020)
        world.pass_time(0.5)

    def flood(rtt: float, left: int) -> Route:
        """40 are asked for at once, and all but `left` come back."""
        asked = [world.ask(clients[i % 20], "/abuse") for i in range(40)]
        served = [request for request in asked if request.verdict.action is Action.FORWARD]
        for i in range(40 - left):
            served.extend(world.end(served[i], rtt=rtt))
        world.pass_time(0.5, step=0.02)
        route: Route = asked[0].route
        return route

    concurrency = world.engine._concurrency
    assert flood(0.400, left=6).samples == 0
    assert concurrency.probing
    while concurrency.slots.in_flight:
        concurrency.slots.give()
    assert flood(0.030, left=0).samples > 0
    assert not concurrency.probing


def test_failures_of_an_idle_upstream_say_nothing_of_load(make: Any) -> None:
    world = make(100)
    for i in range(100):
        world.visit(world.client(f"192.0.2.{i}"), status=504, rtt=-1.0)
    world.pass_time(5)
    assert world.engine.pressure == 0.0


def test_what_a_slot_is_held_for_besides_is_charged_up_to_the_most_that_a_request_costs(make: Any) -> None:
    world = make(8)
    client = world.client()
    most = RoutesSettings().most_cost
    for seconds, units in ((0.1, 10.0), (60.0, most)):
        request = world.ask(client)
        before = client.entry.shadow
        world.engine.occupied(request, seconds, world.now)
        assert (client.entry.shadow - before) * LimitsSettings().client.rate == pytest.approx(units)
        world.end(request)


def test_a_cost_that_the_operator_has_set_covers_the_body_too(make: Any) -> None:
    world = make(8, limits=LimitsSettings(costs={"/up": 3.0}))
    client = world.client()
    request = world.ask(client, "/up")
    before = client.entry.shadow
    world.engine.occupied(request, 0.1, world.now)
    assert client.entry.shadow == before


@pytest.mark.parametrize(("often", "quick"), [(2, 0.002), (3, 0.0035)])
def test_quick_answers_do_not_make_the_longer_ones_of_their_route_look_slow(
    make: Any, often: int, quick: float
) -> None:
    """Hits of a cache shared the route of parts that take 20 ms, and were five times as many. So the parts seemed to
    take ten times as long as usual whenever a page was opened, and the limit fell from 20 to 4 before an idle service.
    """
    world = make(0, limit=ConcurrencySettings())
    people = [world.client(f"192.0.2.{i}") for i in range(20)]
    others = [world.client(f"198.51.{i}.1") for i in range(30)]
    for second in range(240):
        assert world.engine.status(world.now).concurrency == 20
        for i in range(5 * often if second > 20 else 0):
            world.visit(others[(second + i) % 30], "/part/2", rtt=quick)
        for i in range(often):
            world.visit(people[(second + i) % 20], "/part/1", rtt=0.020)
        if second % 3 == 0:  # somebody opens a page
            parts = [world.ask(person, "/part/3") for person in people[1:]]
            world.pass_time(0.02, step=0.02)
            world.visit(others[second % 30], "/part/2", rtt=quick)
            for part in parts:
                world.end(part, rtt=0.020)
        world.pass_time(1.0)
    assert world.ask(people[0], "/part/4").route.baseline < 2 * quick


def crowd(world: Any, seconds: float, unsure: float) -> None:
    """Half a second in which every slot is taken, and another request is there when one ends."""
    under_way: list[Any] = []
    for number in range(100 + world.engine.concurrency_limit):
        if len(under_way) == world.engine.concurrency_limit:
            world.engine.learn(under_way.pop(0), Outcome(200, seconds, unsure=unsure), world.now)
        under_way.append(world.ask(world.client(f"192.0.2.{number % 200}")))
        assert under_way[-1].verdict.action is Action.FORWARD
    world.pass_time(0.5)
    for request in under_way:
        world.engine.cancel(request, world.now)


def usual(world: Any, seconds: float) -> None:
    """Weather in which a request takes so long."""
    for _ in range(20):
        world.visit(world.client(), rtt=seconds)
        world.pass_time(1.0)


def test_what_an_answer_waited_for_in_shield_is_not_the_service_s_time(make: Any) -> None:
    """1,500 connections filled Shield's own core, a service of 0.4 ms looked slow, and the limit fell to 4."""
    world = make(0, limit=ConcurrencySettings())
    usual(world, 0.020)
    for _ in range(10):
        crowd(world, 0.150, unsure=0.140)
    status = world.engine.status(world.now)
    assert (status.congestion, status.concurrency, status.concurrency_found) == (1.0, 20, False)
    assert status.median_rtt == pytest.approx(0.020, rel=0.05)
    assert world.engine._routes["GET/"].baseline == pytest.approx(0.020, rel=0.05)


def test_a_service_that_is_slow_beyond_shield_s_own_time_is_seen_to_be(make: Any) -> None:
    world = make(0, limit=ConcurrencySettings())
    usual(world, 0.020)
    crowd(world, 0.300, unsure=0.100)
    status = world.engine.status(world.now)
    assert status.congestion == pytest.approx(10, rel=0.1)
    assert status.probing


def test_times_that_are_known_within_ten_milliseconds_raise_the_limit(make: Any) -> None:
    world = make(0, limit=ConcurrencySettings())
    usual(world, 0.020)
    for unsure, limit in ((0.011, 20), (0.009, 30)):
        crowd(world, 0.024, unsure=unsure)
        assert world.engine.status(world.now).concurrency == limit


def test_what_is_surely_quicker_than_usual_is_learned_however_busy_shield_is(make: Any) -> None:
    world = make(20)
    usual(world, 0.020)
    before = world.engine._routes["GET/"].baseline
    for _ in range(5):
        world.pass_time(1.0)
        world.engine.learn(world.ask(world.client()), Outcome(200, 0.010, unsure=0.009), world.now)
    assert world.engine._routes["GET/"].baseline < 0.95 * before
