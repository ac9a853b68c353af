"""What the config says of addresses: networks, files, autonomous systems, countries; and rules about the last two."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest

from shield.model import Action, Reason, Signal
from shield.policy.explain.questions import questions
from shield.policy.identity import IdentitySettings
from shield.policy.intervals import Intervals
from shield.policy.limits.settings import LimitsSettings
from shield.policy.per_route.settings import Allowance, RouteLimit, RouteSettings
from shield.policy.rules.rule import SPARE, Rule, checked
from shield.policy.sites import Sites
from shield.policy.standing import Listed, Standing
from shield.policy.whereabouts import NOWHERE, Whereabouts
from tests.policy.conftest import OFFSET, WALL, World

EXAMPLE = Whereabouts(64500, "XX", "Example Net")
KNOWN = {
    "192.0.2.1": EXAMPLE,
    "192.0.2.9": EXAMPLE,
    "198.51.100.1": Whereabouts(64501, "XX"),
    "203.0.113.1": Whereabouts(64502, "YY"),
    "2001:db8:1:2::1": EXAMPLE,
    "2001:db8:1:2::": EXAMPLE,
}
BOTH = {"asn": "asn.mmdb", "country": "country.mmdb"}


def where(address: str) -> Whereabouts:
    return KNOWN.get(address, NOWHERE)


def listed(name: str, *texts: str) -> Listed:
    networks = [ip_network(text) for text in texts]
    return Listed(name, Intervals([(int(each[0]), int(each[-1])) for each in networks]))


def standing(allow: Any = (), deny: Any = (), **more: Any) -> Standing:
    return Standing(allow, deny, where, **more)


def know(world: World, **said: Any) -> World:
    world.engine.know(standing(**said), world.now)
    return world


def rule(kind: str, subject: str, value: str = "", number: int = 1) -> Rule:
    return Rule(number, *checked(kind, subject, value), "ann", "", WALL, 0.0)


def reason(world: World, address: str, **more: Any) -> Reason:
    return world.ask(world.client(address), **more).verdict.reason


def test_without_any_of_it_the_judge_itself_is_asked(world: World) -> None:
    judge = world.engine._asked
    know(world)
    assert world.engine._asked is judge
    know(world, denied=[listed("drop.txt", "192.0.2.0/24")])
    assert world.engine._asked is not judge
    know(world)
    assert world.engine._asked is judge


def test_a_file_denies_and_another_one_allows_part_of_it(world: World) -> None:
    know(world, allowed=[listed("ours.txt", "192.0.2.9/32")], denied=[listed("drop.txt", "192.0.2.0/24")])
    assert reason(world, "192.0.2.1") is Reason.DENYLISTED
    assert reason(world, "192.0.2.9") is Reason.ALLOWLISTED
    assert reason(world, "203.0.113.1") is Reason.OK


def test_a_file_that_has_changed_holds_at_once_for_clients_that_are_connected(world: World) -> None:
    know(world, denied=[listed("drop.txt", "192.0.2.0/24")])
    client = world.client("192.0.2.1")
    assert world.ask(client).verdict.reason is Reason.DENYLISTED
    know(world, denied=[listed("drop.txt", "198.51.100.0/24")])
    assert world.ask(client).verdict.reason is Reason.OK


def test_what_is_refused_by_a_file_need_not_be_read_and_what_is_allowed_is_never_dropped(world: World) -> None:
    know(world, allowed=[listed("ours.txt", "192.0.2.9/32")], denied=[listed("drop.txt", "192.0.2.0/24")])
    unread = world.engine.shut_out("192.0.2.1", world.now)
    assert unread is not None
    assert (unread.reason, unread.action) == (Reason.DENYLISTED, Action.BAN)
    assert world.engine.shut_out("192.0.2.9", world.now) is None
    assert (world.engine.allows("192.0.2.9"), world.engine.allows("203.0.113.1")) == (True, False)


@pytest.mark.parametrize(
    ("config", "rules", "verdict"),
    [
        ({"deny": ["AS64500"]}, [], Reason.DENYLISTED),
        ({"deny": ["AS64501", "country:YY"]}, [], Reason.OK),
        ({"deny": ["country:XX"]}, [], Reason.DENYLISTED),
        ({"allow": ["country:XX"], "deny": ["AS64500"]}, [], Reason.DENYLISTED),
        ({"allow": ["AS64500"], "deny": ["country:XX"]}, [], Reason.ALLOWLISTED),
        ({"allow": ["AS64500"], "denied": [listed("drop.txt", "192.0.2.0/24")]}, [], Reason.DENYLISTED),
        ({"allow": ["192.0.2.0/28"], "deny": ["AS64500"]}, [], Reason.ALLOWLISTED),
        ({"allow": ["192.0.2.0/28"], "denied": [listed("drop.txt", "192.0.2.0/24")]}, [], Reason.ALLOWLISTED),
        ({"deny": ["192.0.2.0/28"], "allow": ["AS64500"]}, [], Reason.DENYLISTED),
        ({}, [("deny", "AS64500")], Reason.OPERATOR_DENIED),
        ({}, [("ban", "country:XX")], Reason.OPERATOR_BANNED),
        ({}, [("deny", "country:XX"), ("allow", "AS64500")], Reason.OPERATOR_ALLOWED),
        ({}, [("deny", "AS64500"), ("allow", "192.0.2.0/28")], Reason.OPERATOR_ALLOWED),
        ({"allow": ["192.0.2.0/28"]}, [("deny", "AS64500")], Reason.ALLOWLISTED),
        ({"deny": ["AS64500"]}, [("allow", "AS64500")], Reason.OPERATOR_ALLOWED),
        ({"deny": ["AS64500"]}, [("allow", "country:XX")], Reason.DENYLISTED),
        ({"denied": [listed("drop.txt", "192.0.2.0/24")]}, [("allow", "192.0.2.1")], Reason.OPERATOR_ALLOWED),
    ],
)
def test_who_is_named_more_precisely_goes_first(make: Any, config: Any, rules: Any, verdict: Reason) -> None:
    settings = IdentitySettings(allow=tuple(config.get("allow", ())), deny=tuple(config.get("deny", ())), **BOTH)
    world = know(make(identity=settings), **config)
    world.engine.follow([rule(*each, number=number) for number, each in enumerate(rules, 1)], world.now)
    assert reason(world, "192.0.2.1") is verdict
    assert world.engine.toll(world.request(world.client("192.0.2.1")), world.now).reason is verdict


def test_a_limit_for_an_as_is_one_bucket_for_all_there(make: Any) -> None:
    world = know(make(limits=LimitsSettings(costs={"/": 1.0})))
    world.engine.follow([rule("limit", "AS64500", "1/3", 1), rule("limit", "country:XX", "1/2", 2)], world.now)
    asked = [reason(world, f"192.0.2.{last}") for last in (1, 9, 1, 9)]
    assert asked == [Reason.OK, Reason.OK, Reason.OK, Reason.OPERATOR_LIMIT]
    assert [reason(world, "198.51.100.1") for _ in range(3)] == [Reason.OK, Reason.OK, Reason.OPERATOR_LIMIT]
    assert reason(world, "203.0.113.1") is Reason.OK


def test_a_pardon_for_an_as_or_a_country(world: World) -> None:
    for address in ("192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8:1:2::1"):
        for _ in range(6):
            world.engine.report(world.client(address), Signal.MALFORMED, world.now)
    know(world)
    assert sum(world.engine.pardon("AS64500", world.now)) == 2
    assert sum(world.engine.pardon("country:XX", world.now)) == 1
    assert sum(world.engine.pardon("country:XX", world.now)) == 0
    assert world.engine.status(world.now).active_bans["clients"] == 1


def test_ipv6_by_the_whereabouts_of_its_64(world: World) -> None:
    know(world, deny=["AS64500"])
    assert reason(world, "2001:db8:1:2::1") is Reason.DENYLISTED
    assert reason(world, "2001:db8:9::1") is Reason.OK


def test_why(world: World) -> None:
    know(world, deny=["AS64500"], denied=[listed("drop.txt", "203.0.113.0/24")])

    def said(address: str) -> list[Any]:
        picture = world.engine.explainer.of_address(address, world.now)[-1][1]
        return questions(picture, WALL - OFFSET)

    first, last = said("192.0.2.1")
    assert (first["question"], first["answer"]) == ("Where is it?", "in AS64500 Example Net, XX")
    assert last["answer"] == "no, but the config names AS64500 (identity.deny): it is refused"
    assert last["decides"]
    assert (
        said("203.0.113.1")[-1]["answer"]
        == "no, but the config names it (identity.deny_files: drop.txt): it is refused"
    )
    know(world, allow=["country:YY"])
    assert said("203.0.113.1")[-1]["answer"].endswith("it is never limited or challenged")
    assert said("203.0.113.99")[0]["question"] == "Is there a rule of yours?"


def test_a_route_for_an_as_and_for_a_country(make: Any) -> None:
    limit = RouteLimit(address=Allowance(60.0, 1.0))
    world = know(
        make(
            route=(
                RouteSettings(path="/", asn=(64500,), country=("XX",), limit=limit),
                RouteSettings(path="/", country=("YY",), challenge="always"),
            )
        )
    )
    assert [reason(world, "192.0.2.1") for _ in range(2)] == [Reason.OK, Reason.ROUTE_RATE]
    assert [reason(world, "198.51.100.1") for _ in range(2)] == [Reason.OK, Reason.OK]
    assert reason(world, "203.0.113.1") is Reason.CHALLENGE_ALWAYS
    assert world.engine.routing is not None
    assert [one.settings.label for one in world.engine.routing.routes] == ["/ AS64500 XX", "/ YY"]


def test_routes_that_cover_each_other_and_wrong_ones() -> None:
    every, one, other = (
        RouteSettings(path="/", **more) for more in ({}, {"asn": (1,)}, {"asn": (1,), "country": ("XX",)})
    )
    assert (every.covers(one), one.covers(every), one.covers(other), other.covers(one)) == (True, False, True, False)
    wrong = RouteSettings(path="/", asn=(0, 1 << 32, 7), country=("xx", "XX", "XXX"))
    assert [at for at, _ in wrong.complaints()] == [("asn", 0), ("asn", 1), ("country", 0), ("country", 2)]


@pytest.mark.parametrize(
    ("settings", "at", "allowed"),
    [
        ({"deny": ("AS64500",)}, ("deny", 0), "name a database in identity.asn"),
        ({"allow": ("country:XX",), "asn": "asn.mmdb"}, ("allow", 0), "name a database in identity.country"),
        ({"deny": ("AS0",)}, ("deny", 0), '"AS64500" or "country:XX"'),
        ({"deny": ("192.0.2.1/24",)}, ("deny", 0), "did you mean 192.0.2.0/24?"),
        ({"allow_files": ("a.txt",), "deny_files": ("b.txt", "a.txt")}, ("deny_files", 1), "identity.allow_files too"),
        ({"allow": ("AS1",), "deny": ("AS1",), **BOTH}, ("deny", 0), "identity.allow too"),
    ],
)
def test_wrong_settings(settings: Any, at: Any, allowed: str) -> None:
    ((found, why),) = IdentitySettings(**settings).complaints()
    assert found == at
    assert why.endswith(allowed)


def test_all_sites_know(make: Any) -> None:
    engines = [make().engine, make().engine]
    Sites(engines).know(standing(deny=["AS64500"]), OFFSET)
    for engine in engines:
        assert engine.shut_out("192.0.2.1", OFFSET) is not None


def test_whom_no_file_as_or_country_concerns(world: World) -> None:
    know(world, deny=["AS64500"], denied=[listed("drop.txt", "203.0.113.0/24")], spared=["192.0.2.9/32"])
    spare = Rule(0, SPARE, "203.0.113.1/32", "", "", "", WALL, WALL + 60.0)
    world.engine.follow([spare, rule("deny", "country:XX")], world.now)
    assert [reason(world, f"192.0.2.{last}") for last in (1, 9)] == [Reason.DENYLISTED, Reason.OK]
    assert [reason(world, f"203.0.113.{last}") for last in (1, 2)] == [Reason.OK, Reason.DENYLISTED]
    world.pass_time(61.0)
    assert reason(world, "203.0.113.1") is Reason.DENYLISTED
