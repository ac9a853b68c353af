"""The order of the questions."""

from __future__ import annotations

from typing import Any

import pytest

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


def test_in_calm_weather_nobody_is_challenged(world: Any, says: Any) -> None:
    for i in range(250):
        assert says(world.visit(world.client(f"192.0.2.{i}"))) == (Action.FORWARD, Reason.OK)
    client = world.client()
    for _ in range(5):
        world.engine.report(client, Signal.MALFORMED, world.now)
    assert world.ask(client).verdict.action is Action.FORWARD


def test_a_pass_lifts_a_bad_score_because_the_better_of_the_two_counts(world: Any) -> None:
    client = world.client()
    world.storm(0.9)
    for _ in range(3):
        world.engine.report(client, Signal.MALFORMED, world.now)
    _, token = world.buy(client)
    request = world.ask(client, shown=token)
    assert (request.tier, request.verdict.action) == (Tier.T2, Action.FORWARD)


def test_a_known_user_under_attack_still_has_limits(make: Any) -> None:
    world = make(limits=FLAT)
    user = known(world, world.client())
    world.storm(0.9)
    actions = [world.visit(user, rtt=0.010).verdict.action for _ in range(250)]
    assert actions == [Action.FORWARD] * 200 + [Action.LIMIT] * 50
    assert user.entry.score > 0.0


def test_the_challenge_s_own_files_are_charged_like_an_attempt(world: Any, says: Any) -> None:
    client = world.client()
    world.storm(0.9)
    verdicts = [world.engine.toll(world.request(client), world.now) for _ in range(1100)]
    assert {verdict.action for verdict in verdicts[:1000]} == {Action.FORWARD}
    assert verdicts[-1].reason is Reason.CLIENT_RATE
    assert world.engine.in_flight == 0


def test_bans_and_lists_hold_for_what_shield_answers_itself(make: Any) -> None:
    world = make(identity=IdentitySettings(allow=("192.0.2.1",), deny=("192.0.2.2",)))
    banned = world.client("192.0.2.3")
    for _ in range(6):
        world.engine.report(banned, Signal.MALFORMED, world.now)
    clients = [world.client(f"192.0.2.{i}") for i in (1, 2, 3)]
    reasons = [world.engine.toll(world.request(client), world.now).reason for client in clients]
    assert reasons == [Reason.ALLOWLISTED, Reason.DENYLISTED, Reason.CLIENT_BANNED]


@pytest.mark.parametrize("pressed", [False, True])
def test_the_allowlisted_are_part_of_the_demand(make: Any, pressed: bool) -> None:
    world = make(limits=FLAT, identity=IdentitySettings(allow=("192.0.2.0/24",)))
    if pressed:
        world.storm(0.5)
    world.visit(world.client())
    asked = world.engine._windows._tally.so_far()
    assert asked.units == asked.top == asked.known == 1.0
