"""Rules that are tried: nobody is refused, and it is counted whom each would have refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from shield.model import Action, Reason, Tier
from shield.policy.explain.questions import questions
from shield.policy.identity import IdentitySettings
from shield.policy.limits.settings import LimitsSettings
from shield.policy.per_route.settings import Allowance, RouteLimit, RouteSettings
from shield.policy.rules.rule import SPARE, Rule, checked
from shield.policy.standing import Standing
from shield.policy.whereabouts import NOWHERE, Whereabouts
from tests.policy.conftest import WALL, World

Make = Callable[..., World]
FLAT = LimitsSettings(costs={"/": 1.0})
LET_IN = Action.FORWARD, Reason.OK


def rule(number: int, kind: str, subject: str, value: str = "", dry_run: bool = True, seconds: float = 0.0) -> Rule:
    expires = WALL + seconds if seconds else 0.0
    return Rule(number, *checked(kind, subject, value), "ann", "", WALL, expires, dry_run)


def follow(world: World, *rules: Rule) -> None:
    world.engine.follow(rules, world.now)


def ask(world: World, address: str = "192.0.2.1", **more: Any) -> tuple[Action, Reason]:
    request = world.ask(world.client(address), **more)
    world.end(request)
    return request.verdict.action, request.verdict.reason


def met(world: World, number: int) -> tuple[int, int, int]:
    found = world.engine.rules_tried()[number]
    return found.requests, found.visitors, found.known


def know(world: World, **where: Whereabouts) -> None:
    there = {name.replace("_", "."): place for name, place in where.items()}
    world.engine.know(Standing(where=lambda address: there.get(f"at.{address}", NOWHERE)), world.now)


def explain(world: World, address: str) -> dict[str, list[dict[str, Any]]]:
    found = world.engine.explainer.of_address(address, world.now)
    return {who: questions(picture, WALL) for who, picture in found}


def test_a_ban_that_is_tried_refuses_nobody_and_says_whom_it_would_have_refused(make: Make) -> None:
    """The story: is it only scrapers in that network? Two of its visitors are regulars."""
    world = make(limits=FLAT)
    regulars = ["192.0.2.1", "192.0.2.2"]
    for _ in range(3):
        world.pass_time(61.0)
        for address in regulars:
            ask(world, address)
    follow(world, rule(7, "ban", "192.0.2.0/24", seconds=3600))
    for address in (*regulars, "192.0.2.3", "192.0.2.3"):
        assert ask(world, address) == (Action.BAN_DRY_RUN, Reason.OPERATOR_BANNED)
    assert ask(world, "198.51.100.1") == LET_IN
    assert met(world, 7) == (4, 3, 2)
    would = world.engine.status(world.now).would.ban
    assert (would.requests, would.visitors, would.known) == (4, 3, 2)
    assert world.engine.shut_out("192.0.2.1", world.now) is None
    assert not world.engine.allows("192.0.2.1")
    follow(world, rule(8, "ban", "192.0.2.0/24", dry_run=False))
    assert ask(world)[0] is Action.BAN
    assert not world.engine.rules_tried()


def test_without_one_nobody_asks_whether_there_is_one(make: Make) -> None:
    world = make()
    follow(world, rule(7, "deny", "192.0.2.0/24", seconds=60))
    assert world.engine._asked is world.engine._operator.effects.trial
    assert ask(world)[1] is Reason.OPERATOR_DENIED
    world.pass_time(62.0)
    assert ask(world) == LET_IN
    assert world.engine._asked is world.engine._judge


def test_rules_that_hold_go_before_less_precise_ones_that_are_tried(make: Make) -> None:
    world = make()
    tried = rule(7, "deny", "192.0.2.0/24")
    follow(world, tried, rule(8, "allow", "192.0.2.7", dry_run=False), rule(9, "ban", "192.0.2.9", dry_run=False))
    assert ask(world, "192.0.2.7")[1] is Reason.OPERATOR_ALLOWED
    assert ask(world, "192.0.2.9") == (Action.BAN, Reason.OPERATOR_BANNED)  # refused anyway
    assert met(world, 7) == (0, 0, 0)
    follow(world, rule(8, "allow", "192.0.2.0/24", dry_run=False), tried)  # tried in its place
    assert ask(world) == (Action.BAN_DRY_RUN, Reason.OPERATOR_DENIED)
    assert met(world, 7) == (1, 1, 0)


def test_a_limit_that_is_tried_has_a_bucket_of_its_own(make: Make) -> None:
    world = make(limits=FLAT)
    limit, tried = rule(1, "limit", "192.0.2.0/24", "1/10", dry_run=False), rule(7, "limit", "192.0.2.0/24", "1/3")
    follow(world, limit, tried)
    verdicts = [ask(world) for _ in range(12)]
    assert verdicts[:3] == [LET_IN] * 3
    assert verdicts[3:10] == [(Action.LIMIT_DRY_RUN, Reason.OPERATOR_LIMIT)] * 7
    assert verdicts[10:] == [(Action.LIMIT, Reason.OPERATOR_LIMIT)] * 2
    assert met(world, 7) == (7, 1, 0)
    follow(world, limit, tried, rule(8, "ban", "203.0.113.0/24"))
    assert ask(world, "192.0.2.2")[0] is Action.LIMIT  # both buckets are as empty as they were
    world.pass_time(1.0)
    assert ask(world) == LET_IN


def test_who_is_welcome_is_under_no_limit_and_no_challenge_that_is_tried(make: Make) -> None:
    world = make(identity=IdentitySettings(allow=("192.0.2.0/24",)))
    follow(world, rule(7, "challenge", "192.0.0.0/16", "always"), rule(8, "limit", "192.0.0.0/16", "1/1"))
    assert {ask(world) for _ in range(3)} == {(Action.FORWARD, Reason.ALLOWLISTED)}
    assert met(world, 7) == met(world, 8) == (0, 0, 0)


def test_who_would_be_challenged_always(make: Make) -> None:
    """Not a browser that asks for permission first, whose program never sees an answer."""
    world = make()
    tried = rule(7, "challenge", "192.0.2.0/24", "always")
    follow(world, tried)
    assert ask(world) == (Action.CHALLENGE_DRY_RUN, Reason.CHALLENGE_ALWAYS)
    headers = {"Origin": "https://a.example", "Access-Control-Request-Method": "PUT"}
    assert ask(world, method="OPTIONS", headers=headers) == LET_IN
    assert ask(world, "198.51.100.1") == LET_IN
    assert met(world, 7) == (1, 1, 0)
    follow(world, tried, rule(9, "challenge", "192.0.2.1", "never", dry_run=False))
    assert ask(world) == LET_IN
    assert ask(world, "192.0.2.2") == (Action.CHALLENGE_DRY_RUN, Reason.CHALLENGE_ALWAYS)


def test_in_a_dry_run_of_everything_each_rule_is_counted_still(make: Make) -> None:
    world = make(dry_run=True, limits=replace(FLAT, client=replace(FLAT.client, rate=1.0, burst=2.0)))
    follow(world, rule(7, "ban", "192.0.2.0/24"))
    verdicts = [ask(world) for _ in range(4)]
    assert verdicts[0] == (Action.BAN_DRY_RUN, Reason.OPERATOR_BANNED)
    assert verdicts[3] == (Action.LIMIT_DRY_RUN, Reason.CLIENT_RATE)
    assert met(world, 7)[0] == 4


@pytest.mark.parametrize(("dry_run", "counted"), [(False, 1), (True, 3)])
def test_what_a_route_refuses_is_not_counted_and_what_it_only_reports_is(
    make: Make, dry_run: bool, counted: int
) -> None:
    limit = RouteLimit(client=Allowance(per_minute=1.0, burst=1.0))
    world = make(route=(RouteSettings(path="/login", limit=limit, dry_run=dry_run),), limits=FLAT)
    follow(world, rule(7, "ban", "192.0.2.0/24"))
    for _ in range(3):
        ask(world, path="/login")
    assert met(world, 7)[0] == counted


def test_what_shield_answers_itself_is_not_tried(make: Make) -> None:
    world = make()
    follow(world, rule(7, "ban", "192.0.2.0/24"))
    request = world.request(world.client("192.0.2.1"))
    assert world.engine.toll(request, world.now).action is Action.FORWARD
    assert met(world, 7) == (0, 0, 0)


def test_an_as_a_country_a_client_and_a_pass_can_be_tried_and_are_explained(make: Make) -> None:
    world = make()
    know(world, at_192_0_2_1=Whereabouts(64500, "XX"), at_192_0_2_2=Whereabouts(64501, "XX"))
    key = world.client("192.0.2.3").key.hex()
    follow(
        world,
        rule(1, "ban", "AS64500"),
        rule(2, "deny", "country:XX"),
        rule(3, "ban", key),
        rule(4, "ban", "pass:" + "ab" * 8),
        Rule(0, SPARE, "198.51.100.0/24", "", "", "", WALL, WALL + 60),
    )
    actions = [ask(world, f"192.0.2.{i}")[0] for i in (1, 2, 3, 4)]
    assert actions == [Action.BAN_DRY_RUN] * 3 + [Action.FORWARD]
    assert [met(world, number)[0] for number in (1, 2, 3, 4)] == [1, 1, 1, 0]
    asked = "Is a rule of yours tried on it?"
    tried = {
        who: [each for each in said if each["question"] == asked] for who, said in explain(world, "192.0.2.3").items()
    }
    assert tried[""] == []
    (told,) = tried[key]
    assert told["numbers"] == {"rule": 3, "requests": 1, "visitors": 1, "known": 0}
    assert "it would have been refused; nobody is" in told["answer"]
    (told,) = [each for each in explain(world, "192.0.2.1")[""] if each["question"] == asked]
    assert told["numbers"]["rule"] == 1
    trial = world.engine._operator.effects.trial
    assert [each.rule.number for each in trial.about_pass(b"\xab" * 8)] == [4]
    follow(world)
    assert trial.about_pass(b"\xab" * 8) == trial.about("192.0.2.1") == []


@pytest.mark.parametrize(("value", "calm"), [("always", Action.CHALLENGE), ("never", Action.FORWARD)])
@pytest.mark.parametrize("routes", [(), (RouteSettings(path="/search", challenge="auto"),)])
def test_somebody_is_challenged_always_or_never(
    make: Make, value: str, calm: Action, routes: tuple[RouteSettings, ...]
) -> None:
    """The story: a network of rented servers gets no page without a pass, whatever the weather; a partner gets each."""
    world = make(route=routes)
    know(world, at_192_0_2_1=Whereabouts(64500, "XX"))
    key = world.client("192.0.2.1").key.hex()
    for subject in ("192.0.2.0/24", "AS64500", "country:XX", key):
        follow(world, rule(1, "challenge", subject, value, dry_run=False))
        for path in ("/", "/search"):
            assert ask(world, path=path)[0] is calm, subject
        assert ask(world, "198.51.100.1") == LET_IN
        asked = {answer["question"]: answer["answer"] for answer in explain(world, "192.0.2.1")[key]}
        assert asked["Is it challenged?"].startswith(f"{'yes' if value == 'always' else 'no'}: rule 1, challenge ")
    follow(world, rule(2, "pressure", "", "1", dry_run=False), rule(1, "challenge", "AS64500", value, dry_run=False))
    world.pass_time(1.1)
    stranger = world.ask(world.client("198.51.100.2")).verdict
    assert (stranger.action, stranger.reason) == (Action.CHALLENGE, Reason.NEWCOMER)
    request = world.ask(world.client("192.0.2.1"))
    assert (request.verdict.action, request.tier) == (calm, Tier.T3)
    follow(
        world,
        rule(1, "challenge", "AS64500", value, dry_run=False),
        rule(3, "challenge", "/feed", "never", dry_run=False),
    )
    assert ask(world, path="/feed")[0] is Action.FORWARD


def test_a_refused_request_says_which_rule_had_it_challenged(make: Make) -> None:
    world = make()
    follow(world, rule(1, "challenge", "192.0.2.0/24", "always", dry_run=False), rule(2, "ban", "192.0.0.0/16"))
    request = world.ask(world.client("192.0.2.1"))
    asked = questions(world.engine.explainer.of_request(request, world.now), WALL)
    assert asked[-1]["answer"].startswith("yes: rule 1, challenge 192.0.2.0/24 always")
    assert asked[-1]["decides"]
    (tried,) = [each for each in asked if each["question"] == "Is a rule of yours tried on it?"]
    assert tried["numbers"] == {"rule": 2, "requests": 0, "visitors": 0, "known": 0}
