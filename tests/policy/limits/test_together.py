"""What those who insist may have at the service between them: half of the slots, and one request of unknown cost."""

from __future__ import annotations

from typing import Any

import pytest

from shield.model import Action, Reason
from shield.policy.challenge.settings import ChallengeSettings
from shield.policy.limits.settings import LimitsSettings

KNOWN = LimitsSettings(costs={"/": 1.0})


def insisting(world: Any, number: int = 100) -> list[Any]:
    """So many clients that left their challenges unanswered, in as many networks; the pressure is over."""
    clients = [world.client(f"192.0.{n}.1", f"Bot/{n}") for n in range(number)]
    for _ in range(15):
        world.storm(0.9)
        for client in clients:
            request = world.ask(client)
            if request.verdict.action is Action.CHALLENGE:
                world.engine.mint(request, world.now)
        world.pass_time(1.0)
    world.lull()
    return clients


def forwarded(requests: list[Any]) -> list[Any]:
    return [request for request in requests if request.verdict.action is Action.FORWARD]


def test_they_get_half_of_the_slots_between_them(make: Any) -> None:
    world = make(20, limits=KNOWN)
    clients = insisting(world)
    asked = [world.ask(client) for client in clients]
    assert len(forwarded(asked)) == 10
    assert {request.verdict.reason for request in asked[10:]} == {Reason.NEWCOMER}
    assert world.ask(world.client("203.0.113.1")).verdict.action is Action.FORWARD
    world.end(asked[0], rtt=0.02)
    again = [world.ask(client) for client in clients[10:]]
    assert len(forwarded(again)) == 1


def test_of_a_route_whose_cost_is_unknown_they_get_one_request_at_a_time(make: Any) -> None:
    world = make(20)
    clients = insisting(world)
    for first, last in ((0, 4), (4, 8)):
        for client in clients[first:last]:
            asked = [world.ask(one, "/new") for one in (client, *clients[50:])]
            assert forwarded(asked) == [asked[0]]
            world.pass_time(0.5)
            world.end(asked[0], rtt=0.02)
    asked = [world.ask(client, "/new") for client in clients[8:50]]
    assert asked[0].cost == pytest.approx(2.0, rel=0.05)  # it is known now
    assert len(forwarded(asked)) == 10


def test_one_of_unknown_cost_leaves_room_for_what_is_known(make: Any) -> None:
    world = make(20, limits=KNOWN)
    clients = insisting(world)
    asked = [world.ask(clients[0], "/new"), world.ask(clients[1]), world.ask(clients[2], "/newer")]
    assert forwarded(asked) == asked[:2]


def test_one_of_them_at_a_time_gets_the_only_slot(make: Any) -> None:
    world = make(1, limits=KNOWN)
    clients = insisting(world)
    asked = [world.ask(client) for client in clients[:3]]
    assert forwarded(asked) == asked[:1]
    world.end(asked[0], rtt=0.02)
    assert forwarded([world.ask(clients[3])])


def test_bodies_that_trickle_keep_the_others_out_for_seconds(make: Any) -> None:
    world = make(20, limits=KNOWN)
    clients = insisting(world)
    for client in clients[:20]:
        world.ask(client, body_pending=True, method="POST")
    assert not forwarded([world.ask(clients[20])])
    world.pass_time(5.0)
    assert forwarded([world.ask(clients[21])])


def test_in_a_brownout_nothing_is_bounded(make: Any) -> None:
    world = make(20, limits=KNOWN)
    clients = insisting(world)
    world.see(brownout=True)
    asked = [world.ask(client) for client in clients[:30]]
    assert len([one for one in asked if one.verdict.action in {Action.FORWARD, Action.QUEUE}]) == 30


@pytest.mark.untraced
def test_where_nobody_is_challenged_they_are_shed(make: Any) -> None:
    world = make(20, limits=KNOWN, challenge=ChallengeSettings(mode="off"))
    clients = [world.client(f"192.0.{n}.1", f"Bot/{n}") for n in range(30)]
    world.storm(0.9)
    for client in clients:
        for _ in range(300):
            world.visit(client)
    world.lull()
    world.pass_time(25.0)
    asked = [world.ask(client) for client in clients]
    assert len(forwarded(asked)) == 10
    assert {request.verdict.reason for request in asked[10:]} == {Reason.QUEUE_FULL}
