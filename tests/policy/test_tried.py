"""Measures that are tried: everybody is let through, and it is counted who would not have been."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from shield.model import Action, Reason, Signal
from shield.policy.challenge.settings import ChallengeSettings
from shield.policy.identity import IdentitySettings
from shield.policy.limits.settings import LimitsSettings
from shield.policy.per_route.settings import Allowance, RouteLimit, RouteSettings
from shield.policy.queue.settings import QueueSettings
from shield.policy.reputation import ReputationSettings
from shield.policy.rules.rule import Rule
from shield.policy.status import WouldStatus
from shield.policy.tried import MEASURES
from tests.policy.conftest import WALL, World

Make = Callable[..., World]


def would(world: World, what: str) -> tuple[int, int, int]:
    found: WouldStatus = getattr(world.engine.status(world.now).would, what)
    return found.requests, found.visitors, found.known


def follow(world: World, *rules: tuple[str, str]) -> None:
    made = [Rule(n, "dry_run", subject, value, "ann", "", WALL, 0.0) for n, (subject, value) in enumerate(rules, 1)]
    world.engine.follow(made, world.now)


def newcomers(world: World, number: int) -> list[Action]:
    return [world.ask(world.client(f"198.51.{i}.1")).verdict.action for i in range(number)]


def test_challenges_are_tried_alone_and_those_who_would_have_met_one_are_counted(make: Make) -> None:
    """The story: "would have challenged so many visitors, so many of them known", before it is switched on."""
    world = make(challenge=ChallengeSettings(dry_run=True, mode="always"))
    regulars = [world.client(f"192.0.2.{i}") for i in range(1, 5)]
    for wait in (0.0, 61.0):
        world.pass_time(wait)
        for client in regulars:
            request = world.ask(client)
            assert request.verdict.action is Action.CHALLENGE_DRY_RUN
            assert request.has_slot
            world.end(request)
    assert newcomers(world, 6) == [Action.CHALLENGE_DRY_RUN] * 6
    requests, visitors, known = would(world, "challenge")
    assert (requests, visitors) == (14, 10)
    assert known in (0, 4)  # known from the window on in which they have a history
    for client in regulars:
        world.end(world.ask(client))
    assert would(world, "challenge") == (18, 10, 4)
    assert would(world, "limit") == would(world, "ban") == would(world, "queue") == (0, 0, 0)
    assert world.engine.status(world.now).tried == ["challenge"]
    assert world.engine.status(world.now).would_seconds == pytest.approx(61.0, abs=1.0)


def test_what_is_not_tried_holds(make: Make) -> None:
    world = make(challenge=ChallengeSettings(dry_run=True), identity=IdentitySettings(deny=("192.0.2.0/24",)))
    assert world.ask(world.client()).verdict.action is Action.BAN
    client = world.client("198.51.100.1")
    actions = {world.ask(client).verdict.action for _ in range(400)}
    assert Action.LIMIT in actions


def test_limits_are_tried_alone(make: Make) -> None:
    world = make(1000, limits=LimitsSettings(dry_run=True), identity=IdentitySettings(deny=("192.0.2.9",)))
    actions = [world.ask(world.client()).verdict.action for _ in range(400)]
    assert set(actions) == {Action.FORWARD, Action.LIMIT_DRY_RUN}
    assert would(world, "limit") == (actions.count(Action.LIMIT_DRY_RUN), 1, 0)
    assert world.ask(world.client("192.0.2.9")).verdict.action is Action.BAN


def test_what_shield_answers_itself_is_limited_in_a_dry_run_too(make: Make) -> None:
    for tried in (False, True):
        world = make(limits=LimitsSettings(dry_run=tried))
        client = world.client()
        actions = {world.engine.toll(world.request(client), world.now).action for _ in range(2000)}
        assert (Action.LIMIT in actions, Action.LIMIT_DRY_RUN in actions) == (not tried, tried)


def test_bans_are_tried_alone_and_stay_in_sight(make: Make) -> None:
    settings = ReputationSettings(dry_run=True)
    world = make(reputation=settings, limits=LimitsSettings(honeypots=("/trap",)))
    client = world.client()
    assert world.ask(client, "/trap").verdict.action is Action.BAN_DRY_RUN
    verdict = world.ask(client).verdict
    assert (verdict.action, verdict.reason) == (Action.BAN_DRY_RUN, Reason.CLIENT_BANNED)
    assert [ban for ban in world.engine.bans(world.now) if ban is not None]
    assert would(world, "ban") == (2, 1, 0)
    world.engine.report(client, Signal.MALFORMED, world.now)
    assert not world.engine.drops.active


def test_an_address_that_is_only_tried_as_banned_is_read(make: Make) -> None:
    for tried in (False, True):
        world = make(reputation=ReputationSettings(dry_run=tried), challenge=ChallengeSettings(mode="off"))
        world.client()
        for _ in range(20):
            world.engine.report("192.0.2.1", Signal.MALFORMED, world.now)
        assert (world.engine.shut_out("192.0.2.1", world.now) is None) is tried


def test_the_queue_is_tried_alone(make: Make) -> None:
    world = make(concurrency=1, queue=QueueSettings(dry_run=True))
    requests = [world.ask(world.client(f"198.51.{i}.1")) for i in range(4)]
    assert [request.verdict.action for request in requests] == [Action.FORWARD] * 4
    assert all(request.has_slot for request in requests)
    assert would(world, "queue") == (3, 3, 0)
    assert not world.engine._concurrency._probe._allowed
    follow(world, ("queue", "off"))
    assert world.ask(world.client()).verdict.action is Action.QUEUE
    assert world.engine._concurrency._probe._allowed
    follow(world)
    assert world.ask(world.client("203.0.113.1")).verdict.action is Action.FORWARD


def test_a_rule_tries_a_measure_or_carries_out_what_the_config_only_tries(make: Make) -> None:
    world = make(challenge=ChallengeSettings(dry_run=True, mode="always"))
    follow(world, ("challenge", "off"), ("limits", "on"))
    assert world.engine.status(world.now).tried == ["limits"]
    assert newcomers(world, 1) == [Action.CHALLENGE]
    follow(world, ("", "on"), ("challenge", "off"))
    assert newcomers(world, 1) == [Action.CHALLENGE_DRY_RUN]
    follow(world, ("", "on"), ("queue", "on"))
    follow(world, ("queue", "on"))
    assert not world.engine.dry_run
    assert world.engine.status(world.now).tried == ["challenge", "queue"]
    follow(world)
    assert world.engine.status(world.now).tried == ["challenge"]


def test_from_the_onset_of_an_attack_on_it_is_counted_anew(make: Make) -> None:
    world = make(challenge=ChallengeSettings(dry_run=True, mode="always"))
    newcomers(world, 3)
    world.storm()
    world.pass_time(1.0)
    assert would(world, "challenge") == (0, 0, 0)
    newcomers(world, 2)
    assert would(world, "challenge") == (2, 2, 0)
    assert world.engine.status(world.now).would_seconds < 3.0
    world.pass_time(2.0)
    assert would(world, "challenge") == (2, 2, 0)


def test_the_dry_run_of_everything_and_of_a_route_are_counted_as_well(make: Make) -> None:
    route = RouteSettings("/login", limit=RouteLimit(client=Allowance(1, 1)), dry_run=True)
    for changes in ({"route": (route,)}, {"route": (replace(route, dry_run=False),), "dry_run": True}):
        world = make(**changes)
        actions = [world.ask(world.client(), "/login").verdict.action for _ in range(3)]
        assert actions == [Action.FORWARD, Action.LIMIT_DRY_RUN, Action.LIMIT_DRY_RUN]
        assert would(world, "limit") == (2, 1, 0)


def test_a_pass_is_known_when_it_was_earned(make: Make) -> None:
    world = make(challenge=ChallengeSettings(), limits=LimitsSettings(dry_run=True))
    client = world.client()
    world.settle_down(client)
    request = world.visit(client)
    token = world.engine.grant(request, world.now)
    assert token is not None
    shown = world.engine.present(token, world.now)
    elsewhere = world.client("203.0.113.9")
    while world.visit(elsewhere, shown=shown).verdict.action is Action.FORWARD:
        pass
    assert would(world, "limit") == (1, 1, 1)


def test_every_reason_to_refuse_is_of_one_measure_or_named_by_the_operator() -> None:
    named = {
        Reason.DENYLISTED,
        Reason.OPERATOR_BANNED,
        Reason.OPERATOR_DENIED,
        Reason.OPERATOR_LIMIT,
        Reason.ROUTE_RATE,
    }
    refusing = {each for each in Reason if each.action not in (Action.FORWARD, Action.QUEUE)}
    found: list[Any] = [reason for reasons in MEASURES.values() for reason in reasons]
    assert len(found) == len(set(found))
    assert set(found) == refusing - named
