"""Why: the questions that were asked, in order, to the one that decided."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shield.model import Reason, Signal, Verdict
from shield.policy.challenge.settings import ChallengeSettings
from shield.policy.drops import DropsSettings
from shield.policy.explain.explainer import MOST_CLIENTS
from shield.policy.explain.picture import Picture
from shield.policy.explain.questions import BUCKETS, CHALLENGES, questions
from shield.policy.history import Record
from shield.policy.identity import CrawlerSettings, IdentitySettings
from shield.policy.limits.settings import LimitsSettings
from shield.policy.reputation import ReputationSettings
from shield.policy.rules.rule import Rule, checked
from tests.policy.conftest import OFFSET, WALL, World

SHIFT = WALL - OFFSET
FLAT = LimitsSettings(costs={"/": 1.0}, honeypots=("/trap",))


def of(world: World, request: Any) -> list[dict[str, Any]]:
    """What is said of a request that was judged just now."""
    return questions(world.engine.explainer.of_request(request, world.now), SHIFT)


def at(world: World, address: str = "192.0.2.1") -> dict[str, list[dict[str, Any]]]:
    found = world.engine.explainer.of_address(address, world.now)
    return {name: questions(picture, SHIFT) for name, picture in found}


def decided(said: list[dict[str, Any]]) -> dict[str, Any]:
    """The last question, which is the only one that decides."""
    assert [each["decides"] for each in said] == [False] * (len(said) - 1) + [True]
    return said[-1]


def follow(world: World, *rules: tuple[str, str, str]) -> None:
    made = [
        Rule(number, *checked(*rule), "ann", "a note" if number == 1 else "", WALL, WALL + 600 if number == 1 else 0.0)
        for number, rule in enumerate(rules, 1)
    ]
    world.engine.follow(made, world.now)


def known(world: World, client: Any) -> Any:
    client.entry.record = world.engine._history.remember(
        Record(client.key, client.home, client.network, world.now - 999, world.now, 2, 10.0)
    )
    return client


def ban(world: World, client: Any) -> None:
    for _ in range(6):
        world.engine.report(client, Signal.MALFORMED, world.now)


def test_a_rule_of_the_operator_s_decides_first(world: World) -> None:
    client = world.client()
    ban(world, client)
    follow(world, ("deny", "192.0.2.0/24", ""))
    said = decided(of(world, world.ask(client)))
    assert said["question"] == "Is there a rule of yours?"
    assert said["answer"] == "yes: rule 1, deny 192.0.2.0/24, by ann (a note)"
    assert (said["change"], said["since"], said["until"]) == ("shield lift 1", WALL, WALL + 600)


def test_a_rule_without_an_end_and_without_an_author(world: World) -> None:
    world.engine.follow([Rule(3, "ban", "192.0.2.0/24", "", "", "", WALL, 0.0)], world.now)
    said = decided(at(world)[""])
    assert "until" not in said
    assert said["answer"].endswith("by nobody in particular")


@pytest.mark.parametrize(("setting", "answer"), [("allow", "never limited"), ("deny", "is refused")])
def test_the_config_names_it(make: Any, setting: str, answer: str) -> None:
    world = make(identity=IdentitySettings(**{setting: ("192.0.2.0/24",)}))
    assert answer in decided(of(world, world.ask(world.client())))["answer"]


def test_who_is_banned_is_told_until_when(world: World) -> None:
    client = world.client()
    ban(world, client)
    said = decided(of(world, world.ask(client)))
    assert said["answer"].startswith("yes, this client")
    assert said["until"] == round(client.entry.banned_until + SHIFT, 3)
    assert (said["numbers"]["score"], said["numbers"]["relapses"]) == (18.0, 1)


def test_who_is_at_a_banned_address(make: Any) -> None:
    world = make()
    for i in range(6):
        world.engine.report("192.0.2.1", Signal.MALFORMED, world.now + i * 0.01)
    stranger = world.ask(world.client())
    assert stranger.verdict.reason is Reason.BAD_NEIGHBOUR
    assert "it was challenged" in decided(of(world, stranger))["answer"]
    assert "it may pay its way out" in decided(at(world)[""])["answer"]
    user = known(world, world.client(agent="Other"))
    said = of(world, world.ask(user))
    assert "who is known there is served" in next(
        each["answer"] for each in said if each["question"] == "Is it banned?"
    )


def test_a_trap(make: Any) -> None:
    world = make(limits=FLAT)
    said = decided(of(world, world.ask(world.client(agent="Tool/1.0"), "/trap")))
    assert (said["question"], "for /trap" in said["answer"]) == ("Did it ask for a trap?", True)


def test_who_goes_on_against_refusals(make: Any) -> None:
    world = make(drops=DropsSettings(refusals=16))
    client = world.client()
    ban(world, client)
    for _ in range(64):
        request = world.ask(client)
    assert world.engine.drops.active
    said = of(world, request)
    assert next(each for each in said if "against refusals" in each["question"])["answer"].startswith("yes")
    assert decided(said)["question"] == "Is it banned?"
    assert decided(at(world)[""])["question"] == "Does it go on against refusals?"


def test_newcomers_under_pressure(world: World) -> None:
    client = world.client()
    world.storm(0.9)
    request = world.ask(client)
    said = decided(of(world, request))
    assert said["answer"] == f"yes: {CHALLENGES[Reason.NEWCOMER]}"
    assert said["numbers"]["pressure"] > 0.8
    stranger = at(world)[""]
    pressed = next(each for each in stranger if each["question"] == "Is it challenged?")
    assert pressed["answer"].startswith("yes: there is pressure")
    assert pressed["since"] > WALL - 1
    world.lull()
    world.see(pressed=True, attack=replace(world.engine._windows.weather.attack, on=False))
    pressed = next(each for each in at(world)[""] if each["question"] == "Is it challenged?")
    assert ("since" in pressed, pressed["answer"]) == (False, "yes: there is pressure, and it is a newcomer")


def test_where_nobody_is_challenged(make: Any) -> None:
    world = make(challenge=ChallengeSettings(never=("/feed",)))
    world.storm(0.9)
    said = of(world, world.ask(world.client(), "/feed"))
    assert "nobody is, there" in next(each["answer"] for each in said if each["question"] == "Is it challenged?")
    assert decided(said)["answer"] == "yes"


def test_who_is_known_and_who_has_a_pass(world: World) -> None:
    user = known(world, world.client())
    world.storm(0.9)
    said = of(world, world.ask(user))
    assert next(each for each in said if each["question"] == "Who is it?")["answer"].startswith("T1: a history")
    token, bought = world.buy(world.client("203.0.113.1"))
    said = of(world, world.ask(world.client("203.0.113.1"), shown=bought))
    identity = next(each for each in said if each["question"] == "Who is it?")
    assert identity["answer"].startswith("T2")
    assert identity["numbers"]["pass_kind"] == "bought"
    picture = world.engine.explainer.of_pass(token, world.now)
    assert picture is not None
    assert picture.shown is not None
    assert (picture.shown.kind, picture.shown.scarce) == ("bought", True)
    by_id = world.engine.explainer.of_pass(f"pass:{bought.key.hex()}", world.now)
    assert by_id == picture
    follow(world, ("ban", f"pass:{bought.key.hex()}", ""))
    picture = world.engine.explainer.of_pass(token, world.now)
    assert picture is not None
    assert decided(questions(picture, SHIFT))["question"] == "Is there a rule of yours?"


def test_a_pass_that_is_not_in_use(world: World) -> None:
    token = world.engine._passes.earn(world.now)
    picture = world.engine.explainer.of_pass(token, world.now)
    assert picture is not None
    assert picture.shown is not None
    assert picture.shown.kind == "earned"
    assert not world.engine._passes.table
    assert world.engine.explainer.of_pass(f"pass:{'00' * 8}", world.now) is None
    assert world.engine.explainer.of_pass("A" * 42, world.now) is None
    world.pass_time(1, step=1)
    world.now += world.engine._challenge.pass_lifetime
    assert world.engine.explainer.of_pass(token, world.now) is None


@pytest.mark.parametrize("shown", [False, True])
def test_who_is_beyond_a_limit(make: Any, shown: bool) -> None:
    world = make(limits=FLAT)
    client = world.client()
    more = {"shown": world.engine.present(world.engine._passes.earn(world.now), world.now)} if shown else {}
    for _ in range(400):
        request = world.visit(client, rtt=0.01, **more)
    said = decided(of(world, request))
    whose = "the pass's" if shown else "the client's"
    assert said["answer"] == f"no: the bucket that was empty was {whose}"
    assert said["numbers"]["limit"] == ("20/300" if shown else "10/200")
    assert said["until"] > WALL
    limited = next(each for each in at(world)[client.key.hex()] if each["question"] == "Is it within its limits?")
    assert limited["answer"] == ("yes" if shown else "no: client")


def test_a_limit_of_the_operator_s(make: Any) -> None:
    world = make(limits=FLAT)
    follow(world, ("limit", "192.0.2.0/24", "1/1"), ("limit", "client", "30/500"))
    requests = [world.visit(world.client(), rtt=0.01) for _ in range(3)]
    said = of(world, requests[-1])
    assert said[0]["answer"] == "yes, a limit: rule 1, limit 192.0.2.0/24 1/1, by ann (a note)"
    assert decided(said)["answer"].endswith(BUCKETS[Reason.OPERATOR_LIMIT])
    assert decided(said)["numbers"]["client_limit"] == "30/500"


def test_who_found_no_room(make: Any) -> None:
    world = make(concurrency=1)
    request = world.ask(world.client())
    assert decided(of(world, request))["answer"] == "yes"
    picture = world.engine.explainer.of_request(request, world.now)
    full = replace(picture, verdict=Verdict(Reason.QUEUE_FULL, 3))
    assert decided(questions(full, SHIFT))["answer"].startswith("no (queue_full)")
    unnumbered = replace(picture, verdict=Verdict(Reason.FINGERPRINT_RATE, 3))
    assert decided(questions(unnumbered, SHIFT))["numbers"]["limit"] == "0/0"


def test_crawlers(make: Any) -> None:
    world = make(identity=IdentitySettings(crawlers=(CrawlerSettings("Findbot", ("find.example",)),)))
    client = world.client(agent="Findbot/2.0")
    answers = []
    for ok in (None, True, False):
        if ok is not None:
            world.engine.vouch("192.0.2.1", ok, world.now)
        said = of(world, world.ask(client))
        answers += [each["answer"] for each in said if each["question"] == "Is it Findbot, as it says?"]
    assert answers == ["DNS has not answered yet", "yes, DNS confirms it", "no, DNS does not confirm it"]


def test_the_clients_at_an_address_the_worst_first(make: Any) -> None:
    world = make(identity=IdentitySettings(clients_per_address=100))
    clients = [world.client(agent=f"Browser/{i}") for i in range(MOST_CLIENTS + 5)]
    for client in clients:
        world.visit(client)
    ban(world, clients[3])
    names = list(at(world))
    assert (names[0], names[-1], len(names)) == (clients[3].key.hex(), "", MOST_CLIENTS + 1)
    follow(world, ("allow", clients[3].key.hex(), ""))
    assert decided(at(world)[clients[3].key.hex()])["answer"].startswith("yes: rule 1, allow")


def test_an_address_that_nobody_has_come_from(world: World) -> None:
    said = at(world, "2001:db8::7")
    assert list(said) == [""]
    assert [each["answer"] for each in said[""]][:2] == ["no", "no"]
    with pytest.raises(ValueError, match="values to unpack"):
        at(world, "nowhere")


def test_a_request_that_was_not_read(world: World) -> None:
    follow(world, ("ban", "192.0.2.0/24", ""))
    verdict = world.engine.shut_out("192.0.2.1", world.now)
    assert verdict is not None
    picture: Picture = world.engine.explainer.of_unread("192.0.2.1", verdict, world.now)
    assert picture.verdict is verdict
    assert decided(questions(picture, SHIFT))["question"] == "Is there a rule of yours?"


def test_a_bad_score(world: World) -> None:
    client = world.client()
    for _ in range(4):
        world.engine.report(client, Signal.MALFORMED, world.now)
    world.ask(client)
    said = at(world)[client.key.hex()]
    assert next(each for each in said if each["question"] == "Who is it?")["answer"] == "T4: a bad score"


def test_every_reason_has_a_question_that_decides(world: World) -> None:
    picture = world.engine.explainer.of_request(world.ask(world.client()), world.now)
    rule = Rule(1, "ban", "192.0.2.0/24", "", "", "", WALL, 0.0)
    soon = world.now + 9
    more: dict[Reason, dict[str, Any]] = {
        Reason.OPERATOR_BANNED: {"rule": rule},
        Reason.OPERATOR_DENIED: {"rule": rule},
        Reason.OPERATOR_ALLOWED: {"rule": rule},
        Reason.ALLOWLISTED: {"named": Reason.ALLOWLISTED},
        Reason.DENYLISTED: {"named": Reason.DENYLISTED},
        Reason.CLIENT_BANNED: {"client_banned": soon},
        Reason.ADDRESS_BANNED: {"address_banned": soon},
        Reason.BAD_NEIGHBOUR: {"address_banned": soon},
    }
    for reason in Reason:
        said = questions(replace(picture, verdict=Verdict(reason, 3, (1.0, 1.0)), **more.get(reason, {})), SHIFT)
        assert decided(said), reason


def test_what_is_tried_only_is_marked_and_decides_nothing(make: Any) -> None:
    world = make(reputation=ReputationSettings(dry_run=True))
    client = world.client()
    ban(world, client)
    request = world.ask(client)
    assert request.verdict.reason is Reason.CLIENT_BANNED
    said = {each["question"]: each for each in of(world, request)}
    assert said["Is it banned?"]["answer"].endswith("or a trap; this is tried only")
    assert not said["Is it banned?"]["decides"]
    assert "tried" not in said["Is it within its limits?"]["answer"]


def test_in_a_dry_run_everything_is_tried_but_who_is_let_in(make: Any) -> None:
    world = make(dry_run=True)
    follow(world, ("deny", "192.0.2.0/24", ""))
    said = of(world, world.ask(world.client()))
    assert said[0]["answer"].endswith("; in a dry run everything is tried only")
    assert decided(said)["question"] == "Was there room at the service?"
    follow(world, ("allow", "192.0.2.0/24", ""))
    assert "tried" not in decided(of(world, world.ask(world.client())))["answer"]
    world = make(dry_run=True, identity=IdentitySettings(allow=("192.0.2.0/24",)))
    assert "tried" not in decided(of(world, world.ask(world.client())))["answer"]
