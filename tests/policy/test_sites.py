"""What concerns the engines of all sites: their rows, the bans before anything is read, the operator's rules."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shield.model import Action, Reason
from shield.policy.engine import Engine
from shield.policy.keys import Keys
from shield.policy.request import Request
from shield.policy.rules.rule import Rule
from shield.policy.settings import EngineSettings
from shield.policy.sites import Sites, kind_of
from tests.policy.conftest import CHEAP, FIXED, OFFSET, WALL

NOW = OFFSET
ALL = ("default", "shop", "blog")


def sites(*names: str, **settings: Any) -> Sites:
    made = replace(EngineSettings(challenge=CHEAP, concurrency=FIXED, sites=len(names)), **settings)
    engines: list[Engine] = []
    for name in names:
        first = engines[0] if engines else None
        engines.append(
            Engine(made, Keys(b"\x01" * 32), bytes, WALL - OFFSET, 100, site=name, beside=first),
        )
        engines[-1].tick(NOW)
    return Sites(engines)


def rule(kind: str, subject: str, value: str, number: int = 1) -> Rule:
    return Rule(number, kind, subject, value, "me", "", WALL, 0.0)


def learned(of: Sites) -> list[Any]:
    return [row for row in of.export_learned(NOW) if row is not None]


def ban(of: Sites, address: str = "192.0.2.66") -> None:
    client = of.first.identify(address, "bot", "", "", NOW)
    of.first._reputation.hard(client.source, client.entry, 100.0, "honeypot", NOW)


def test_what_was_learned_of_each_site_goes_to_the_site_of_that_name() -> None:
    before = sites(*ALL)
    ban(before)
    for engine, cost in zip(before, (1, 2, 3), strict=True):
        engine._concurrency.restore([10.0 * cost, *engine._concurrency.row()[1:]], NOW)
    rows = learned(before)
    assert [row[:2] for row in rows if kind_of(row) == "limit"][1:] == [["at", "shop"], ["at", "blog"]]
    assert sum(kind_of(row) == "client" for row in rows) == 1
    after = sites("default", "blog", "new")
    after.import_learned(rows, NOW, {"default", "blog", "new"})
    assert sum(each is not None for each in after.bans(NOW)) == sum(each is not None for each in before.bans(NOW)) >= 1
    limits = {engine.site: engine._concurrency.row()[0] for engine in after}
    wanted = {engine.site: engine._concurrency.row()[0] for engine in before}
    assert (limits["default"], limits["blog"]) == (wanted["default"], wanted["blog"])
    assert after.at("shop") is None


def test_what_was_learned_of_another_service_is_left_out() -> None:
    before = sites("default", "shop")
    rows = [row for row in learned(before) if kind_of(row) == "limit"]
    after = sites("default", "shop")
    assert after.import_learned(rows, NOW, {"shop"}) <= 1
    assert after.import_learned(rows, NOW, ()) == 0


def test_rows_of_a_shield_without_sites_are_those_of_the_default() -> None:
    alone = sites("default")
    rows = learned(alone)
    assert not [row for row in rows if row[0] == "at"]
    several = sites("default", "shop")
    assert several.import_learned(rows, NOW, {"default"}) > 0
    assert sites("shop").import_learned([row for row in rows if row[0] == "weather"], NOW, {"shop"}) == 0


@pytest.mark.parametrize("row", [None, [], "at", ["at"], ["at", 1, "limit"], ["at", "nix", "limit", 1], ["at", "shop"]])
def test_rows_that_make_no_sense_are_left_out(row: Any) -> None:
    assert sites("default", "shop").import_learned([row], NOW, {"default", "shop"}) == 0


def test_a_banned_address_is_turned_away_unread_unless_a_site_would_let_it_in() -> None:
    several = sites(*ALL, challenge=replace(CHEAP, mode="off"))
    source = several.first._identity.source("192.0.2.66", NOW)
    several.first._reputation.hard_of(source, 100.0, "honeypot", NOW)
    verdict = several.shut_out("192.0.2.66", NOW)
    assert verdict is not None
    assert verdict.action is Action.BAN
    several.refused_unread("192.0.2.66", NOW)
    several.follow([rule("dry_run", "blog", "on")], NOW)
    assert several.shut_out("192.0.2.66", NOW) is None  # it may be for that site


def test_who_may_pay_a_way_out_of_a_ban_at_one_site_is_read() -> None:
    made = EngineSettings(challenge=replace(CHEAP, mode="off"), concurrency=FIXED)
    first = Engine(made, Keys(b"\x01" * 32), bytes, WALL - OFFSET, 100)
    other = Engine(
        replace(made, challenge=CHEAP), Keys(b"\x01" * 32), bytes, WALL - OFFSET, 100, site="shop", beside=first
    )
    several = Sites([first, other])
    source = first._identity.source("192.0.2.66", NOW)
    first._reputation.hard_of(source, 100.0, "honeypot", NOW)
    assert first.shut_out("192.0.2.66", NOW) is not None
    assert several.shut_out("192.0.2.66", NOW) is None


def test_what_the_operator_says_of_a_site_goes_before_what_is_said_of_all() -> None:
    several = sites(*ALL)
    default, shop, blog = several
    several.follow(
        [rule("pressure", "", "0.9"), rule("pressure", "shop", "0.2", 2), rule("dry_run", "blog", "on", 3)], NOW
    )
    for engine in several:
        engine.tick(NOW + 0.5)
    assert [engine.pressure for engine in several] == [0.9, 0.2, 0.9]
    assert [engine.dry_run for engine in several] == [False, False, True]
    several.follow([rule("dry_run", "", "on"), rule("dry_run", "shop", "off", 2)], NOW)
    assert [default.dry_run, shop.dry_run, blog.dry_run] == [True, False, True]


def test_a_limit_that_the_operator_makes_is_one_bucket_for_all_sites() -> None:
    several = sites("default", "shop")
    several.follow([rule("limit", "192.0.2.0/24", "1/4")], NOW)
    let_in = 0
    for number in range(20):
        engine = several.engines[number % 2]
        client = engine.identify("192.0.2.9", "x", "", "", NOW)
        request = Request(client, "GET", "/", {}, None, False, None)
        let_in += engine.decide(request, NOW).action is Action.FORWARD
    assert 1 <= let_in <= 4
    assert request.verdict.reason is not Reason.OK


def test_there_is_an_attack_where_one_site_has_one() -> None:
    several = sites("default", "shop")
    assert not several.attack
    several.follow([rule("pressure", "shop", "0.9")], NOW)
    several.engines[1].tick(NOW + 0.5)
    assert several.attack
    assert [each.attack for each in several] == [False, True]


def test_the_rest_is_that_of_the_first(world: Any) -> None:
    several = sites("default", "shop")
    ban(several)
    several.journal.on = True
    client = several.first.identify("192.0.2.67", "bot", "", "", NOW)
    several.first._reputation.hard(client.source, client.entry, 100.0, "honeypot", NOW)
    assert several.bans_made == several.first.bans_made >= 2
    assert [row[0] for row in several.export_journal()]
    assert list(several.export_history(NOW)) == []
    assert several.import_history([], NOW) == 0
    assert sum(several.pardon("192.0.2.0/24", NOW)) >= 2
    while several.let_go(10):
        pass


def test_tables_of_sites_are_parts_of_what_is_configured() -> None:
    made = EngineSettings(sites=4)
    assert (made.part(512), made.part(20), EngineSettings().part(512)) == (128, 16, 512)
