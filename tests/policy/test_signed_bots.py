"""Bots that sign their requests, to the policy: a name, or nothing."""

from __future__ import annotations

from typing import Any

import pytest

from shield.model import Action, Reason, Tier
from shield.policy.challenge.settings import ChallengeSettings
from shield.policy.identity import IdentitySettings
from shield.policy.limits.settings import LimitsSettings
from shield.policy.signed_bots import MOST_BOTS

CHEAP = ChallengeSettings(least_hashes=64, most_hashes=256)
FLAT = LimitsSettings(costs={"/": 1.0})
SIGNED = {"Signature-Input": "sig", "Signature": "sig"}


@pytest.fixture
def world(make: Any) -> Any:
    made = make(challenge=CHEAP, identity=IdentitySettings(bot_keys="/keys"), limits=FLAT)
    made.names = iter(())
    made.engine.clients.bots.verify = lambda request, now: next(made.names, "")
    return made


def test_who_signed_goes_first_wherever_it_asks_from_and_has_one_budget(world: Any) -> None:
    world.storm(0.9)
    world.names = iter(["examplebot"] * 10_000)
    reasons = []
    for number in range(900):
        request = world.visit(world.client(f"10.0.{number // 250}.{number % 250}"), headers=SIGNED)
        reasons.append(request.verdict.reason)
        if request.verdict.action is Action.FORWARD:
            assert (request.tier, request.bot) == (Tier.T0, "examplebot")
    assert reasons[0] is Reason.CRAWLER
    assert reasons[-1] is Reason.PASS_RATE, "its budget is that of a pass, for all its addresses together"
    world.names = iter(["otherbot"])
    assert world.ask(world.client(), headers=SIGNED).verdict.reason is Reason.CRAWLER


def test_a_signature_that_does_not_hold_is_nothing(world: Any) -> None:
    world.storm(0.9)
    client = world.client()
    for _ in range(20):
        assert world.ask(client, headers=SIGNED).verdict.reason is Reason.NEWCOMER
    assert client.entry.score < 8.0, "no signal but that of challenges which are left open"
    world.names = iter(["examplebot"])
    assert world.ask(client).verdict.reason is Reason.NEWCOMER, "without a signature nobody is asked"


def test_bans_and_traps_hold_for_bots_that_sign(world: Any) -> None:
    world.names = iter(["examplebot"] * 2)
    client = world.client()
    client.entry.banned_until = world.now + 100
    assert world.ask(client, headers=SIGNED).verdict.reason is Reason.CLIENT_BANNED


def test_without_somebody_who_verifies_nobody_is_believed(make: Any) -> None:
    for keys in ("", "/keys"):
        world = make(challenge=CHEAP, identity=IdentitySettings(bot_keys=keys))
        world.storm(0.9)
        assert world.ask(world.client(), headers=SIGNED).verdict.reason is Reason.NEWCOMER


def test_what_is_kept_of_bots_is_bounded(world: Any) -> None:
    world.names = iter([f"bot{number}" for number in range(MOST_BOTS + 1)])
    for number in range(MOST_BOTS + 1):
        assert world.visit(world.client(f"10.1.{number // 250}.{number % 250}"), headers=SIGNED).bot == f"bot{number}"
    assert len(world.engine.clients.bots._budgets) == 1
