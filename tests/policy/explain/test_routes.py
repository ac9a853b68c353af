"""What is said of the rules of a request's route."""

from __future__ import annotations

from typing import Any

from shield.model import Action, Signal
from shield.policy.explain.questions import questions
from shield.policy.per_route.settings import Allowance, RouteLimit, RouteSettings
from tests.policy.conftest import OFFSET, WALL, Make, World

LOGIN = RouteSettings("/login", name="logins", limit=RouteLimit(client=Allowance(5, 10), address=Allowance(30, 60)))
QUESTION = "Does its route have rules of its own?"


def of(world: World, request: Any) -> list[dict[str, Any]]:
    return questions(world.engine.explainer.of_request(request, world.now), WALL - OFFSET)


def routed(world: World, request: Any) -> dict[str, Any]:
    (found,) = [each for each in of(world, request) if each["question"] == QUESTION]
    return found


def test_who_is_over_the_limit_of_a_route_hears_which_and_until_when(make: Make) -> None:
    world = make(route=(LOGIN,))
    client = world.client()
    first = world.visit(client, "/login")
    assert routed(world, first)["answer"] == "yes, logins"
    for _ in range(10):
        request = world.visit(client, "/login")
    last = of(world, request)[-1]
    assert last["answer"] == "yes, logins; the limit of logins has no request left"
    assert last["decides"]
    assert last["numbers"]["client_left"] < 1.0
    assert last["numbers"]["client_limit"] == "5/min, 10 at once"
    assert last["numbers"]["address_left"] == 50
    assert last["until"] == round(world.now + 12 + WALL - OFFSET, 3)


def test_a_route_that_is_tried_decides_nothing(make: Make) -> None:
    world = make(route=(RouteSettings("/a", limit=RouteLimit(client=Allowance(1, 1)), dry_run=True),))
    client = world.client()
    world.visit(client, "/a")
    request = world.visit(client, "/a")
    assert request.verdict.action is Action.LIMIT_DRY_RUN
    found = routed(world, request)
    assert found["answer"] == "yes, /a; which is tried and holds for nobody; the limit of /a has no request left"
    assert not found["decides"]


def test_a_spelling_that_a_service_may_read_as_another_path_is_said_to_be_one(make: Make) -> None:
    never = RouteSettings("/x", challenge="never", limit=RouteLimit(network=Allowance(5, 5)))
    world = make(route=(never, LOGIN))
    assert routed(world, world.visit(world.client(), "/x/y"))["answer"] == "yes, /x; challenge: never"
    found = routed(world, world.visit(world.client(), "/x/..%2flogin"))
    assert "as far as it restricts" in found["answer"]
    assert {"client_left", "address_left", "/x network_left"} <= found["numbers"].keys() or {
        "network_left",
        "logins client_left",
    } <= found["numbers"].keys()
    world.storm()
    (pressed,) = [
        each
        for each in of(world, world.visit(world.client("198.51.100.1"), "/x/y"))
        if each["question"] == "Is it challenged?"
    ]
    assert pressed["answer"].startswith("no: nobody is, there")


def test_other_paths_are_not_asked_for_it_and_the_banned_are_banned(make: Make) -> None:
    world = make(route=(LOGIN,))
    client = world.client()
    assert QUESTION not in {each["question"] for each in of(world, world.visit(client, "/"))}
    for _ in range(6):
        world.engine.report(client, Signal.MALFORMED, world.now)
    said = of(world, world.visit(client, "/login"))
    assert [each["question"] for each in said[-2:]] == [QUESTION, "Is it banned?"]
    assert said[-1]["decides"]
