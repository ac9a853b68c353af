"""What a page that stays open is told of its pass, and when it is to buy the next one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shield.policy.challenge.settings import ChallengeSettings
from shield.policy.per_route.settings import RouteSettings
from shield.policy.upkeep import CALM, TENSE, Upkeep
from tests.policy.conftest import nonces
from tests.policy.test_passes import earn

CHEAP = ChallengeSettings(least_hashes=64, most_hashes=256)
ALWAYS = replace(CHEAP, mode="always")
DAY = 86_400


def asks(world: Any, client: Any, shown: Any = None) -> Upkeep:
    request = world.request(client, "/.well-known/shield/pass", shown=shown)
    world.engine.toll(request, world.now)
    told: Upkeep = world.engine.upkeep(request, world.now)
    return told


def test_a_page_that_is_used_keeps_its_scarce_pass_to_the_end_and_is_offered_the_next_before_it(make: Any) -> None:
    """A bought pass lapsed two minutes after its last request, and after ten in any case: the page's next call got a
    challenge, which nobody saw."""
    world = make(challenge=CHEAP)
    world.storm()
    client = world.client()
    _, bought = world.buy(client)
    assert asks(world, client, bought) == Upkeep(True, 600, 60, False)
    for _ in range(9):
        world.pass_time(59.9)
        world.storm()
        told = asks(world, client, bought)
        assert told.has_pass
    assert (told.ends_in < 60, told.due) == (True, True)
    challenge = world.engine.mint(world.ask(client, shown=bought), world.now)
    redemption = world.engine.redeem(client, challenge.token, nonces(challenge), world.now)
    following = world.engine.present(redemption.pass_token, world.now)
    assert asks(world, client, following) == Upkeep(True, 600, 60, False)
    world.pass_time(60)
    world.storm()
    assert asks(world, client, bought) == Upkeep(False, 0, 60, True), "nothing keeps it beyond what was paid for"


def test_who_has_no_pass_is_offered_a_challenge_where_newcomers_get_one(make: Any) -> None:
    world = make(challenge=CHEAP)
    client, known = world.client(), world.client("192.0.2.2")
    world.settle_down(known)
    assert asks(world, client) == Upkeep(False, 0, int(CALM), False)
    world.storm()
    assert asks(world, client) == Upkeep(False, 0, int(TENSE), True)
    assert not asks(world, known).due


def test_where_everybody_is_challenged_an_ordinary_pass_is_renewed_too(make: Any) -> None:
    world = make(challenge=replace(ALWAYS, pass_lifetime=DAY))
    client = world.client()
    _, bought = world.buy(client)
    assert asks(world, client, bought) == Upkeep(True, DAY, 60, False)
    world.now += DAY - 70
    assert asks(world, client, bought) == Upkeep(True, 70, 10, False)
    world.now += 10.5
    assert asks(world, client, bought) == Upkeep(True, 59, 60, True)


def test_an_earned_pass_is_left_to_end_in_calm_weather(world: Any) -> None:
    client = world.client()
    token = world.engine.present(earn(world, client), world.now)
    told = asks(world, client, token)
    assert (told.has_pass, told.again_in, told.due) == (True, int(CALM), False)


@pytest.mark.parametrize(
    ("more", "due"),
    [
        ({"challenge": replace(CHEAP, mode="off")}, False),
        ({"challenge": ALWAYS}, True),
        ({"route": (RouteSettings(path="/app", challenge="always"),)}, True),
        ({"route": (RouteSettings(path="/app", challenge="never"),)}, False),
    ],
)
def test_the_config_says_whether_anybody_is_challenged(make: Any, more: Any, due: bool) -> None:
    world = make(**{"challenge": CHEAP} | more)
    assert asks(world, world.client()).due is due


def test_who_is_named_by_the_operator_needs_none(make: Any) -> None:
    world = make(challenge=ALWAYS)
    client = world.client()
    client.named = world.client  # anything but None
    request = world.request(client)
    assert not world.engine.upkeep(request, world.now).due
