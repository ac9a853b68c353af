"""Waiting instead of solving, before several workers: a ticket is good at one of them, and once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from shield.model import Tier
from shield.policy.challenge.challenge import Redeemed
from shield.policy.challenge.settings import ChallengeSettings
from shield.policy.request import Request

ALWAYS = ChallengeSettings(least_hashes=64, most_hashes=256, mode="always")


def asked(engine: Any, now: float) -> Request:
    made = Request(engine.identify("192.0.2.1", "Browser/1.0", "en", "", now), "GET", "/", {}, None, False, None)
    made.tier = Tier.T3
    return made


def test_a_ticket_of_another_worker_is_good_and_spent_once(fleet: Any) -> None:
    world = fleet(challenge=ALWAYS)
    one, other, _ = world.engines
    world.pass_time(1.0)
    token = one.mint(asked(one, world.now), world.now).token
    world.pass_time(6.0)
    assert other.wait(asked(other, world.now), token, world.now).result is Redeemed.ACCEPTED
    assert one.wait(asked(one, world.now), token, world.now).result is Redeemed.EXPIRED


def test_two_workers_at_the_same_moment_let_one_in(fleet: Any, monkeypatch: Any) -> None:
    world = fleet(challenge=ALWAYS)
    one, other, _ = world.engines
    world.pass_time(1.0)
    token = one.mint(asked(one, world.now), world.now).token
    world.pass_time(6.0)
    challenger = one.clients.challenger
    age = challenger.age

    def late(*arguments: Any) -> float | None:
        """The other worker lets it in between the look and the claim."""
        found: float | None = age(*arguments)
        assert other.wait(asked(other, world.now), token, world.now).result is Redeemed.ACCEPTED
        return found

    monkeypatch.setattr(
        type(challenger), "age", lambda self, *a: late(*a) if self is challenger else type_age(self, *a)
    )
    type_age = age.__func__
    assert one.wait(asked(one, world.now), token, world.now).result is Redeemed.EXPIRED


def test_workers_share_the_passes_of_those_who_wait(fleet: Any) -> None:
    world = fleet(challenge=replace(ALWAYS, mode="auto"))
    world.storm(0.5)
    world.pass_time(5.0)
    for engine in world.engines:
        waiting = engine._pricing.waiting
        assert waiting._saved < 1000
