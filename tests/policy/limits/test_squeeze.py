"""Which buckets a request touches under pressure, and what it would get without."""

from __future__ import annotations

from typing import Any

import pytest

from shield.model import Action, Reason, Signal, Tier
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


def says_limit(request: Any) -> tuple[Reason, tuple[float, float] | None]:
    return request.verdict.reason, request.verdict.limit


def test_under_pressure_who_is_refused_takes_nothing_from_the_neighbours_either(make: Any) -> None:
    world = make(limits=FLAT, challenge=OFF)
    world.storm(0.5)
    greedy, other = world.client("192.0.2.1"), world.client("192.0.2.2")
    admitted(world, greedy)
    before = greedy.source.tat, greedy.source.network.tat
    for _ in range(1000):
        assert world.ask(greedy).verdict.reason is Reason.CLIENT_RATE
    assert (greedy.source.tat, greedy.source.network.tat) == before
    assert world.ask(other).verdict.action is Action.FORWARD


def test_what_is_dear_counts_in_full_under_pressure(make: Any) -> None:
    world = make(challenge=ChallengeSettings(mode="off"))
    client = world.client()
    world.visit(client, rtt=0.1)
    world.storm(0.5)
    client.entry.tat = client.source.tat = 0.0
    request = world.ask(client)
    assert request.verdict.action is Action.FORWARD
    assert client.entry.tat - world.now == pytest.approx(
        request.cost / (1 - 0.9 * world.engine.pressure) / 10, rel=0.01
    )
    assert request.cost > 5


@pytest.mark.parametrize(
    ("address", "limit"),
    [("198.51.100.{}", (80, 320)), ("2001:db8:0:{:x}::1", (40, 160)), ("2001:db8:0:{:x}00::1", (160, 640))],
)
@pytest.mark.untraced
def test_the_network_binds_those_without_history_under_pressure(
    make: Any, says: Any, address: str, limit: tuple[float, float]
) -> None:
    world = make(10_000, limits=FLAT, challenge=OFF)
    newcomers = [world.client(address.format(i)) for i in range(1, 150)]
    known = world.client(address.format(0))
    world.settle_down(known)
    for _ in range(8):
        assert {says(world.visit(client)) for client in newcomers} == {(Action.FORWARD, Reason.OK)}
    world.pass_time(60)
    world.storm(0.06)
    world.pass_time(30)
    world.storm(0.06)
    refused = [r for c in newcomers * 10 if (r := world.ask(c)).verdict.action is Action.LIMIT]
    assert says_limit(refused[0]) == (Reason.NETWORK_RATE, limit)
    assert says(world.visit(known)) == (Action.FORWARD, Reason.OK)


def test_with_challenges_off_newcomers_are_slowed_by_the_pressure(make: Any) -> None:
    world = make(limits=FLAT, challenge=OFF)
    client = world.client()
    world.storm(0.5)
    request = world.ask(client)
    assert request.tier is Tier.T3
    assert client.entry.tat - world.now == pytest.approx(0.1 / 0.55, rel=1e-3)
    world.end(request)
    assert admitted(world, client) == int(200 * 0.55) - 1
    assert says_limit(world.ask(client))[0] is Reason.CLIENT_RATE


def test_a_change_of_pressure_turns_no_old_debt_into_a_lockout(make: Any) -> None:
    world = make(limits=FLAT, challenge=OFF)
    client = world.client()
    admitted(world, client, most=100)
    debt = client.entry.tat
    world.storm(1.0)
    assert client.entry.tat == debt
    assert world.ask(client).verdict.action is Action.FORWARD


def test_a_very_bad_score_slows_in_calm_weather_too(make: Any) -> None:
    world = make(limits=FLAT)
    client = world.client()
    for _ in range(3):
        world.engine.report(client, Signal.MALFORMED, world.now)
    request = world.ask(client)
    assert request.tier is Tier.T4
    assert request.verdict.action is Action.FORWARD
    assert client.entry.tat - world.now == pytest.approx(0.1 / 0.05)  # no more than twenty times
    assert admitted(world, client) == 9


def test_a_challenged_client_counts_as_demand_for_its_nominal_rate_and_no_more(make: Any) -> None:
    world = make(limits=FLAT)
    client = world.client()
    world.storm(0.9)
    world.engine._windows._tally.close()
    for _ in range(900):
        world.now += 0.005
        world.ask(client)
    assert world.engine._windows._tally.so_far().units == pytest.approx(200 + 4.5 * 10, abs=2)


def test_a_bought_pass_counts_as_demand_for_its_nominal_rate(make: Any) -> None:
    world = make(limits=FLAT)
    client = world.client()
    world.storm(0.9)
    _, token = world.buy(client)
    world.engine._windows._tally.close()
    world.engine._judge._tiers._bought_factor = 0.05
    world.engine._passes.burst = 60.0
    for _ in range(100):
        world.now += 0.010
        world.ask(client, shown=token)
    assert 65 < world.engine._windows._tally.so_far().units <= 60 + 10


def test_asking_for_challenges_is_limited_too(make: Any) -> None:
    world = make(limits=FLAT)
    client = world.client()
    world.storm(0.9)
    actions = [world.ask(client).verdict.action for _ in range(1100)]
    assert actions[:1000] == [Action.CHALLENGE] * 1000
    assert set(actions[1001:]) == {Action.LIMIT}
