"""Which buckets a request touches, and what it pays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shield.model import Action, Outcome, Reason, Signal
from shield.policy.bucket import Rate
from shield.policy.challenge.settings import ChallengeSettings
from shield.policy.limits.settings import LimitsSettings

FLAT = LimitsSettings(costs={"/": 1.0, "/dear": 50.0})
OFF = ChallengeSettings(mode="off")
CHEAP = ChallengeSettings(least_hashes=64, most_hashes=256)


def admitted(world: Any, client: Any, path: str = "/", most: int = 1000, **more: Any) -> int:
    """Requests forwarded before the first refusal."""
    for n in range(most):
        if world.visit(client, path, **more).verdict.action is not Action.FORWARD:
            return n
    return most


def test_a_client_has_a_burst_and_then_a_rate(make: Any) -> None:
    world = make(limits=FLAT)
    client = world.client()
    assert admitted(world, client) == 200
    refusal = world.ask(client).verdict
    assert (refusal.action, refusal.reason, refusal.limit) == (Action.LIMIT, Reason.CLIENT_RATE, (10, 200))
    assert refusal.retry_after == 1
    world.now += refusal.retry_after
    client.entry.score = 0.0
    assert world.ask(client).verdict.action is Action.FORWARD


def test_equal_refusals_are_one_verdict(make: Any) -> None:
    world = make(limits=FLAT)
    crowd = [world.client(f"192.0.2.{i}") for i in range(3)]
    for client in crowd:
        admitted(world, client)
    assert len({id(world.ask(client).verdict) for client in crowd}) == 1


def test_the_time_to_come_back_is_when_the_bucket_admits(make: Any) -> None:
    world = make(limits=FLAT)
    client = world.client()
    admitted(world, client, "/dear")
    client.entry.score = 0.0
    refusal = world.ask(client, "/dear").verdict
    assert refusal.retry_after == 5
    world.now += refusal.retry_after
    client.entry.score = client.source.score = 0.0
    assert world.ask(client, "/dear").verdict.action is Action.FORWARD


def test_an_address_has_one_bucket_for_all_its_programs(make: Any) -> None:
    world = make(limits=FLAT)
    assert sum(admitted(world, world.client(agent=f"User/{i}"), most=50) for i in range(16)) == 400


def test_who_is_refused_takes_nothing_from_the_neighbours(make: Any) -> None:
    """One at 500/s emptied the address's bucket with what it was refused."""
    world = make(limits=FLAT)
    greedy, other = world.client(agent="Greedy"), world.client(agent="Other")
    admitted(world, greedy)
    for _ in range(1000):
        world.ask(greedy)
    greedy.source.score = 0.0
    assert admitted(world, other) == 400 - 200


def test_an_attempt_that_the_address_refuses_is_charged_to_the_client_as_well(make: Any) -> None:
    world = make(limits=FLAT)
    for i in range(4):
        admitted(world, world.client(agent=f"User/{i}"), most=100)
    late = world.client(agent="Late")
    for _ in range(10):
        assert world.ask(late).verdict.reason is Reason.ADDRESS_RATE
    assert late.entry.tat - world.now == pytest.approx(10 * 0.2 / 10)


def test_a_pass_is_a_subject_and_its_neighbours_do_not_pay(make: Any) -> None:
    world = make(limits=FLAT)
    client = world.client()
    token = world.engine.present(world.engine._passes.earn(world.now), world.now)
    assert admitted(world, client, shown=token) == 300
    assert says_limit(world.ask(client, shown=token)) == (Reason.PASS_RATE, (20, 300))
    client.entry.score = 0.0
    assert admitted(world, client) == 200


def says_limit(request: Any) -> tuple[Reason, tuple[float, float] | None]:
    return request.verdict.reason, request.verdict.limit


def test_sharing_a_pass_shares_its_budget(make: Any) -> None:
    world = make(limits=FLAT)
    token = world.engine.present(world.engine._passes.earn(world.now), world.now)
    crowd = [world.client(f"192.0.2.{i}") for i in range(10)]
    assert sum(admitted(world, client, shown=token, most=100) for client in crowd) == 300


def test_a_score_slows_the_buckets_of_its_holder(make: Any) -> None:
    world = make(limits=FLAT)
    client = world.client()
    token = world.engine.present(world.engine._passes.earn(world.now), world.now)
    world.engine.report(client, Signal.MALFORMED, world.now)
    world.engine.report(client, Signal.MALFORMED, world.now)
    client.source.score = 4.0
    slowed = 2 ** (-6 / 4)
    assert admitted(world, client, status=500) == int(200 * slowed)
    assert admitted(world, client, shown=token, status=500) == pytest.approx(300 * slowed, abs=8)
    source = world.client("192.0.2.2", agent="A").source
    source.score, source.scored_at = 4.0, world.now
    total = sum(admitted(world, world.client("192.0.2.2", agent=f"{i}"), most=100, status=500) for i in range(10))
    assert total == 200


def test_a_page_of_eighty_parts_loads_for_everybody(world: Any) -> None:
    users = [world.client(f"192.0.2.{i}") for i in range(20)]
    for part in range(80):
        for user in users:
            assert world.visit(user, f"/static/part-{part}.css", rtt=0.015).verdict.action is Action.FORWARD
        world.pass_time(0.05, step=0.05)
    assert world.engine.pressure == 0.0


def test_a_request_pays_what_it_took_in_the_end(make: Any) -> None:
    world = make(limits=LimitsSettings(calm_cost=50))
    client = world.client()
    for _ in range(5):
        world.visit(client, rtt=0.100)
    assert client.entry.tat - world.now == pytest.approx(5 * 10 / 10)
    assert client.source.tat - world.now == pytest.approx(5 * 10 / 50)
    token = world.engine.present(world.engine._passes.earn(world.now), world.now)
    world.visit(client, shown=token, rtt=0.300)
    assert token.tat - world.now == pytest.approx(30 / 20)
    assert token.shadow == token.tat


@pytest.mark.parametrize("rtt", [0.02, 0.05, 0.1])
def test_a_page_of_eighty_parts_loads_from_a_slow_site(world: Any, rtt: float) -> None:
    client = world.client()
    for _ in range(3):
        world.visit(client, rtt=rtt)  # its route is known to be dear
    for _ in range(2):
        assert {world.visit(client, rtt=rtt).verdict.action for _ in range(81)} == {Action.FORWARD}
        world.pass_time(1.0)
    assert client.entry.tat - world.now < 20.0


@pytest.mark.parametrize("with_pass", [False, True])
def test_who_asks_for_dear_things_again_and_again_is_held_to_the_rate_in_calm_weather_too(
    world: Any, with_pass: bool
) -> None:
    client = world.client()
    token = world.engine.present(world.engine._passes.earn(world.now), world.now) if with_pass else None
    rate, burst = (20, 300) if with_pass else (10, 200)
    units, refused = 0.0, set()
    for _ in range(2000):
        world.now += 0.2
        request = world.visit(client, "/report", rtt=0.2, shown=token)
        if request.verdict.action is Action.FORWARD:
            units += 20
        else:
            refused.add(request.verdict.reason)
    assert refused == {Reason.PASS_RATE if with_pass else Reason.CLIENT_RATE}
    assert units <= 10 * burst + rate * 400 + 20
    assert units > 10 * burst


def test_an_address_is_held_to_its_rate_for_dear_things_too(world: Any) -> None:
    crowd = [world.client(agent=f"User/{i}") for i in range(16)]
    visits = [world.visit(client, "/report", rtt=0.2).verdict for _ in range(20) for client in crowd]
    assert {verdict.reason for verdict in visits} == {Reason.OK, Reason.ADDRESS_RATE}
    assert sum(verdict.reason is Reason.OK for verdict in visits) == 10 * 400 / 20


def test_an_operator_s_cost_is_not_corrected(make: Any) -> None:
    world = make(limits=FLAT)
    client = world.client()
    world.visit(client, "/dear", rtt=0.001)
    assert client.entry.tat - world.now == pytest.approx(5.0)


@pytest.mark.parametrize("outcome", [Outcome(504, -1.0), Outcome(0, -1.0), Outcome(200, 0.5, stream=True)])
def test_what_has_no_time_of_its_own_pays_the_estimate(world: Any, outcome: Outcome) -> None:
    client = world.client()
    world.engine.learn(world.ask(client), outcome, world.now)
    assert client.entry.tat - world.now == pytest.approx(0.1)


def test_a_cost_above_the_burst_takes_the_burst_and_passes(make: Any) -> None:
    limits = replace(FLAT, client=Rate(1, 10), address=Rate(1, 10), pass_=Rate(1, 10))
    world = make(limits=limits)
    client = world.client()
    assert world.ask(client, "/dear").verdict.action is Action.FORWARD
    token = world.engine.present(world.engine._passes.earn(world.now), world.now)
    assert world.ask(client, "/dear", shown=token).verdict.action is Action.FORWARD


def test_what_a_refused_attempt_costs_is_a_setting(make: Any) -> None:
    world = make(limits=replace(FLAT, refused_cost=2.0), challenge=CHEAP)
    world.storm(0.5)
    client = world.client()
    assert world.ask(client).verdict.action is Action.CHALLENGE
    assert client.entry.tat - world.now == pytest.approx(2.0 / 10)
    assert client.source.tat - world.now == pytest.approx(2.0 / 50)


def test_refused_attempts_may_be_free(make: Any) -> None:
    world = make(limits=replace(FLAT, refused_cost=0.0), challenge=CHEAP)
    client = world.client()
    admitted(world, client)
    empty = client.entry.tat
    for _ in range(100):
        assert world.ask(client).verdict.reason is Reason.CLIENT_RATE
    assert client.entry.tat == empty
    world.storm(0.5)
    assert {world.ask(world.client("198.51.100.1")).verdict.action for _ in range(1000)} == {Action.CHALLENGE}


@pytest.mark.parametrize("stormy", [False, True])
def test_the_least_factor_bounds_what_a_score_makes_of_a_request(make: Any, stormy: bool) -> None:
    world = make(limits=replace(FLAT, least_factor=0.5), challenge=OFF)
    if stormy:
        world.storm(0.9)
    client = world.client()
    client.entry.score = client.source.score = 7.9  # a quarter of the rate, and a tier that is slowed under pressure
    client.entry.scored_at = client.source.scored_at = world.now
    request = world.ask(client, body_pending=True)
    assert request.verdict.action is Action.FORWARD
    assert client.entry.tat - world.now == pytest.approx(2.0 / 10)
    assert client.source.tat - world.now == pytest.approx(2.0 / 50)
    if stormy:
        assert client.entry.shadow - world.now == pytest.approx(2.0 / 10)
    world.engine.cancel(request, world.now)
    assert client.entry.tat - world.now == pytest.approx(0.2 * 2.0 / 10)


def test_a_request_of_a_cost_that_the_operator_set_gives_all_of_it_back_when_its_client_leaves(make: Any) -> None:
    world = make(limits=LimitsSettings(costs={"/": 80.0}), challenge=OFF)
    world.storm(0.5)
    client = world.client()
    request = world.ask(client, body_pending=True)
    assert request.verdict.action is Action.FORWARD
    world.engine.cancel(request, world.now)
    assert client.entry.tat - world.now == pytest.approx(0.2 / (1 - 0.9 * world.engine.pressure) / 10)


@pytest.mark.parametrize("of_address", [0.0, 4.0])
def test_who_leaves_gives_its_address_back_what_it_took_and_no_more(make: Any, of_address: float) -> None:
    """With the client's own factor a bad score gave the address four times as much back."""
    world = make(limits=FLAT)
    client = world.client()
    client.entry.score, client.source.score = 8.0, of_address
    client.entry.scored_at = client.source.scored_at = world.now
    world.visit(client)
    before = client.source.tat
    for _ in range(5):
        request = world.ask(client, body_pending=True)
        assert request.verdict.action is Action.FORWARD
        world.engine.cancel(request, world.now)
    assert client.source.tat - before == pytest.approx(5 * 0.2 * 2 ** (of_address / 4) / 50)
