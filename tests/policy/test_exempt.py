"""Whom the operator never wants challenged."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shield.model import Action, Reason
from shield.policy.challenge.settings import ChallengeSettings
from shield.policy.limits.settings import LimitsSettings

NEVER = ("/feed", "/.well-known/hooks", "/hooks/", "203.0.113.0/24", "2001:db8::/32")
CHEAP = ChallengeSettings(least_hashes=64, most_hashes=256, never=NEVER)
HOME = "198.51.100.7"


@pytest.mark.parametrize("mode", ["auto", "always"])
@pytest.mark.parametrize(
    ("address", "path", "action"),
    [
        (HOME, "/feed", Action.FORWARD),
        (HOME, "/feed/", Action.FORWARD),
        (HOME, "/feed/2026/a%20b.xml", Action.FORWARD),
        (HOME, "/hooks", Action.FORWARD),
        (HOME, "/hooks/paid", Action.FORWARD),
        (HOME, "/feed/.hidden", Action.FORWARD),
        (HOME, "/.well-known/hooks/paid", Action.FORWARD),
        ("203.0.113.9", "/", Action.FORWARD),
        ("::ffff:203.0.113.9", "/", Action.FORWARD),
        ("2001:db8:1::9", "/", Action.FORWARD),
        (HOME, "/", Action.CHALLENGE),
        (HOME, "/feeds", Action.CHALLENGE),
        (HOME, "/feed/../search", Action.CHALLENGE),
        (HOME, "/feed/./x", Action.CHALLENGE),
        (HOME, "/feed/..;/search", Action.CHALLENGE),
        (HOME, "/feed/..", Action.CHALLENGE),
        (HOME, "/.well-known/hooks/../../search", Action.CHALLENGE),
        (HOME, "/feed//search", Action.CHALLENGE),
        (HOME, "/feed/%2e%2E/search", Action.CHALLENGE),
        (HOME, "/feed%2F..", Action.CHALLENGE),
        (HOME, "/feed/..%2Fsearch", Action.CHALLENGE),
        (HOME, "/feed/%5c../search", Action.CHALLENGE),
        (HOME, "/feed/%252e%252e/search", Action.CHALLENGE),
        (HOME, "/feed/..\\search", Action.CHALLENGE),
        ("2001:db9::9", "/", Action.CHALLENGE),
    ],
)
def test_exempt_requests_are_only_limited(make: Any, mode: Any, address: str, path: str, action: Action) -> None:
    world = make(challenge=replace(CHEAP, mode=mode))
    world.storm(0.5)
    assert world.ask(world.client(address), path).verdict.action is action


def test_what_is_exempt_is_slowed_under_pressure_like_everybody_without_history(make: Any, says: Any) -> None:
    world = make(challenge=CHEAP, limits=LimitsSettings(costs={"/feed": 1.0}))
    client = world.client()
    world.storm(1.0)
    served = 0
    while says(world.visit(client, "/feed")) == (Action.FORWARD, Reason.OK):
        served += 1
    assert served == 20  # of a burst of 200


def test_the_front_page_as_a_prefix_is_the_whole_site(make: Any) -> None:
    world = make(challenge=replace(CHEAP, never=("/",)))
    world.storm(1.0)
    assert world.ask(world.client(), "/any/thing").verdict.action is Action.FORWARD


def test_the_least_served_are_not_challenged_there_either(make: Any) -> None:
    world = make(challenge=CHEAP)
    user = world.client()
    world.settle_down(user)
    world.storm(0.9)
    world.see(cutoff=20.0)
    assert world.ask(user).verdict.reason is Reason.OVERSUBSCRIBED
    assert world.ask(user, "/feed").verdict.action is Action.FORWARD
