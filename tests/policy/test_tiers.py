"""What its tier makes of a request under pressure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from shield.model import Action, Reason, Signal, Tier
from shield.policy.challenge.settings import ChallengeSettings
from shield.policy.history import Record
from shield.policy.identity import IdentitySettings
from shield.policy.limits.settings import LimitsSettings

CHEAP = ChallengeSettings(least_hashes=64, most_hashes=256)
FLAT = LimitsSettings(costs={"/": 1.0})


def known(world: Any, client: Any, units: float = 10.0) -> Any:
    client.entry.record = world.engine._history.remember(
        Record(client.key, client.home, client.network, world.now - 999, world.now, 2, units)
    )
    return client


def test_under_pressure_only_those_without_pass_and_history_are_challenged(world: Any, says: Any) -> None:
    user = world.client()
    world.settle_down(user)
    world.storm(0.9)
    assert says(world.visit(user)) == (Action.FORWARD, Reason.OK)
    challenged = world.ask(world.client("198.51.100.1"))
    assert says(challenged) == (Action.CHALLENGE, Reason.NEWCOMER)
    assert challenged.tier is Tier.T3
    assert 2 <= challenged.verdict.retry_after <= 6


def test_a_bad_score_is_challenged_for_it_even_with_a_history(world: Any, says: Any) -> None:
    client = known(world, world.client())
    world.storm(0.9)
    for _ in range(3):
        world.engine.report(client, Signal.MALFORMED, world.now)
    request = world.ask(client)
    assert says(request) == (Action.CHALLENGE, Reason.BAD_REPUTATION)
    assert request.tier is Tier.T4


def test_users_that_meet_many_missing_pages_under_attack_are_still_not_challenged(world: Any) -> None:
    user = known(world, world.client())
    world.storm(0.9)
    for _ in range(40):
        assert world.visit(user, status=404).verdict.action is Action.FORWARD


def test_always_means_everybody_without_a_pass(make: Any, says: Any) -> None:
    world = make(challenge=replace(CHEAP, mode="always"), identity=IdentitySettings(allow=("203.0.113.0/24",)))
    user = known(world, world.client())
    assert says(world.ask(user)) == (Action.CHALLENGE, Reason.CHALLENGE_ALWAYS)
    assert says(world.ask(world.client("203.0.113.1"))) == (Action.FORWARD, Reason.ALLOWLISTED)
    _, token = world.buy(user)
    assert says(world.visit(user, shown=token)) == (Action.FORWARD, Reason.OK)
    stranger = world.client("198.51.100.1")
    _, bought = world.buy(stranger)
    request = world.visit(stranger, shown=bought)
    assert (request.tier, request.verdict.action) == (Tier.T2, Action.FORWARD)
    world.settle_down(stranger, shown=bought)
    assert world.visit(stranger, shown=bought).tier is Tier.T0


def test_off_means_nobody(make: Any) -> None:
    world = make(challenge=replace(CHEAP, mode="off"))
    user = known(world, world.client())
    world.storm(0.9)
    world.see(cutoff=33.0)
    for client in (user, world.client("198.51.100.1")):
        assert world.visit(client).verdict.action is Action.FORWARD


def test_when_known_users_alone_ask_for_too_much_those_served_least_are_challenged(make: Any, says: Any) -> None:
    world = make(2, limits=FLAT, challenge=CHEAP)  # a capacity of 200 units/s
    regulars = [known(world, world.client(f"192.0.2.{i}"), 2000.0) for i in range(6)]
    sleepers = [known(world, world.client(f"198.51.{i // 200}.{i % 200}"), 0.5) for i in range(300)]
    served = {True: 0, False: 0}
    asked = {True: 0, False: 0}
    for n in range(6000):  # 50 requests/s of regulars, 300 of sleepers
        world.now += 0.01
        if n % 2 == 0:
            world.engine.tick(world.now)
        now_asking = [sleepers[(3 * n + k) % 300] for k in range(3)]
        if n % 2:
            now_asking.append(regulars[n // 2 % 6])
        for client in now_asking:
            request = world.ask(client)
            is_regular = client in regulars
            asked[is_regular] += 1
            if request.verdict.action is Action.FORWARD:
                served[is_regular] += 1
                world.end(request, rtt=0.010)
            else:
                assert request.verdict.reason is Reason.OVERSUBSCRIBED
    assert served[True] == asked[True]
    assert 0.3 * asked[False] < served[False] < 0.6 * asked[False]
    sleeper = next(c for c in sleepers if world.ask(c).verdict.action is Action.CHALLENGE)
    _, token = world.buy(sleeper)
    request = world.visit(sleeper, shown=token)
    assert (request.tier, says(request)) == (Tier.T2, (Action.FORWARD, Reason.OK))


def test_where_passes_ask_for_all_there_is_they_go_by_rank_among_those_without(world: Any, says: Any) -> None:
    """Attackers that had kept the cookie of two visits went before users of years that keep none."""
    visitor, user = world.client("192.0.2.1"), known(world, world.client("192.0.2.2"), 2000.0)
    world.settle_down(visitor)
    earned = world.engine.grant(world.visit(visitor), world.now)
    token = world.engine.present(earned, world.now)
    world.settle_down(visitor, shown=token)
    world.storm(0.9)
    assert world.visit(visitor, shown=token).tier is Tier.T0
    world.see(merged=True)
    request = world.visit(visitor, shown=token)
    assert (request.tier, says(request)) == (Tier.T1, (Action.FORWARD, Reason.OK))
    assert sum(world.engine._windows._tally.so_far().ranks) == request.cost
    world.see(cutoff=33.0)  # and is not challenged for it
    assert says(world.visit(visitor, shown=token)) == (Action.FORWARD, Reason.OK)
    assert says(world.visit(user)) == (Action.CHALLENGE, Reason.OVERSUBSCRIBED)


def test_a_limit_that_only_the_pressure_made_is_not_held_against_anybody(make: Any) -> None:
    world = make(limits=FLAT, challenge=replace(CHEAP, mode="off"))
    client = world.client()
    world.storm(1.0)
    reasons = [world.visit(client, status=500, rtt=0.010).verdict.reason for _ in range(100)]
    assert reasons[-1] is Reason.CLIENT_RATE
    assert client.entry.score == 0.0
    for _ in range(200):
        world.visit(client, status=500, rtt=0.010)
    assert client.entry.score > 0.0


def test_asking_too_often_for_challenges_is_held_against_who_does(make: Any) -> None:
    world = make(limits=FLAT)
    client = world.client()
    world.storm(1.0)
    for _ in range(1500):
        world.ask(client)
    assert client.entry.score > 0.0
    other = world.client("198.51.100.1")
    other.source.tat = world.now + 8.0  # its neighbours have used the address up
    assert world.ask(other).verdict.reason is Reason.ADDRESS_RATE
    assert other.entry.score == 0.0


# What Shield answers itself
