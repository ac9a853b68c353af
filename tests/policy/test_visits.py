"""Whoever has begun to load a page gets all of it, though pressure begins meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from shield.model import Action, Reason, Tier
from shield.policy.challenge.settings import ChallengeSettings
from shield.policy.identity import IdentitySettings
from shield.policy.limits.settings import LimitsSettings
from shield.policy.visits import AGAIN, PAUSE, VISIT

CHEAP = ChallengeSettings(least_hashes=64, most_hashes=256)
PAGE = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate"}
PART = {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}


def test_the_parts_of_a_page_that_came_in_calm_weather_are_not_challenged(make: Any, says: Any) -> None:
    """Of 42 people who opened a page of 61 parts within a second before four slots of 20 ms, one got all of it: after
    seven seconds their parts, of which none can show a challenge, were challenged."""
    world = make(challenge=CHEAP)
    early, late = world.client("198.51.100.1"), world.client("198.51.100.2")
    world.visit(early, headers=PAGE)
    world.storm(0.9)
    part = world.visit(early, "/style.css", headers=PART)
    assert (*says(part), part.tier) == (Action.FORWARD, Reason.OK, Tier.T2)
    assert says(world.visit(early, "/next", headers=PAGE))[1] is Reason.NEWCOMER, "who could answer has to"
    assert says(world.visit(early, "/api"))[1] is Reason.NEWCOMER, "a program, too"
    assert says(world.visit(late, "/style.css", headers=PART))[1] is Reason.NEWCOMER, "of a page that never came"


def test_a_visit_is_over_after_a_while_and_the_next_begins_later(make: Any, says: Any) -> None:
    world = make()
    client = world.client()
    began = world.now
    world.visit(client, headers=PAGE)
    for at in (VISIT - 0.1, VISIT + 0.1, AGAIN - 2.0):
        world.pass_time(began + at - world.now)
        world.visit(client, headers=PART)
        assert client.entry.begun == began
    world.storm(0.9)
    assert says(world.visit(client, headers=PART))[1] is Reason.NEWCOMER, "whoever asks all the time"
    world.lull()
    world.pass_time(2.0)
    world.visit(client, headers=PAGE)
    assert client.entry.begun == world.now


def test_who_asks_now_and_then_loads_no_page(make: Any, says: Any) -> None:
    """A botnet of which each address asked once in forty seconds went on for twenty."""
    world = make()
    client = world.client()
    world.visit(client, headers=PAGE)
    world.storm(0.9)
    world.pass_time(PAUSE - 1.0)
    assert says(world.visit(client, headers=PART))[1] is Reason.OK
    world.pass_time(PAUSE - 1.0)
    world.storm(0.9)
    assert says(world.visit(client, headers=PART))[1] is Reason.OK
    world.pass_time(PAUSE)
    world.storm(0.9)
    assert says(world.visit(client, headers=PART))[1] is Reason.NEWCOMER


@pytest.mark.parametrize("status", [404, 503])
def test_what_was_no_good_answer_begins_no_visit(make: Any, says: Any, status: int) -> None:
    world = make()
    client = world.client()
    world.visit(client, status=status, headers=PAGE)
    world.storm(0.9)
    assert says(world.visit(client, headers=PART))[1] is Reason.NEWCOMER


def test_strangers_that_share_an_entry_have_no_visit_together(make: Any, says: Any) -> None:
    world = make(identity=IdentitySettings(clients_per_address=1))
    world.visit(world.client(agent="Browser/1"), headers=PAGE)
    other = world.client(agent="Browser/2")
    world.visit(other, headers=PAGE)
    assert other.entry.rare.overflow
    world.storm(0.9)
    assert says(world.visit(other, headers=PART))[1] is Reason.NEWCOMER


def test_a_visit_goes_on_under_the_limits_of_calm_weather(make: Any, says: Any) -> None:
    """A flood that says of itself that it is parts of pages gets no more than it would get in calm weather."""
    world = make(limits=LimitsSettings(costs={"/": 1.0}))
    client = world.client()
    burst = int(LimitsSettings().client.burst)
    world.visit(client, headers=PAGE)
    world.storm(0.9)
    said = [says(world.visit(client, headers=PART))[1] for _ in range(burst + 10)]
    assert burst - 2 <= said.count(Reason.OK) <= burst
    assert said[-1] is Reason.CLIENT_RATE


def test_who_had_queued_before_the_pressure_goes_on_in_the_order_of_the_visits(make: Any) -> None:
    world = make(1)
    people = [world.client(f"198.51.{i}.1") for i in range(3)]
    for client in people:
        world.visit(client, headers=PAGE)
        world.now += 0.1
    occupant = world.ask(world.client("203.0.113.1"))
    program = world.ask(people[0], "/api")
    parts = [world.ask(client, headers=PART) for client in reversed(people)]
    world.storm(0.9)
    for wanted in (*reversed(parts), program):
        (occupant,) = world.end(occupant)
        assert occupant is wanted
    assert [request.tier for request in (*parts, program)] == [Tier.T2] * 3 + [Tier.T3]


def test_what_is_part_of_a_visit_waits_as_long_as_a_page_may_take(make: Any, says: Any) -> None:
    world = make(1)
    client = world.client()
    world.visit(client, headers=PAGE)
    world.ask(world.client("203.0.113.1"))
    part, program = world.ask(client, headers=PART), world.ask(client, "/api")
    world.storm(0.9)
    began = world.now
    while says(part)[0] is Action.QUEUE:
        world.storm(0.9)
        if world.now > began + 3.0:
            assert says(program) == (Action.SHED, Reason.QUEUE_TIMEOUT)
    assert says(part) == (Action.SHED, Reason.QUEUE_TIMEOUT)
    assert world.now - began == pytest.approx(VISIT, abs=1.0)
