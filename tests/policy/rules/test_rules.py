"""The operator's rules in the engine: who may come, who pays what, and what holds for everybody."""

from __future__ import annotations

from typing import Any

import pytest

from shield.model import Action, Reason, Signal, Tier, Verdict
from shield.policy.entries import PassKind
from shield.policy.identity import IdentitySettings
from shield.policy.limits.settings import LimitsSettings
from shield.policy.rules.matching import MOST_KEPT, Matching
from shield.policy.rules.rule import Rule, checked
from shield.policy.settings import EngineSettings
from tests.policy.conftest import WALL, World

FLAT = LimitsSettings(costs={"/": 1.0})


def rule(kind: str, subject: str = "", value: str = "", number: int = 1, seconds: float = 0.0) -> Rule:
    return Rule(number, *checked(kind, subject, value), "ann", "", WALL, WALL + seconds if seconds else 0.0)


def follow(world: World, *rules: Rule) -> None:
    world.engine.follow(rules, world.now)


def verdict(world: World, address: str = "192.0.2.1", **more: Any) -> Verdict:
    return world.ask(world.client(address), **more).verdict


def ban(world: World, client: Any) -> None:
    for _ in range(6):
        world.engine.report(client, Signal.MALFORMED, world.now)


def test_without_rules_the_judge_itself_is_asked(world: World) -> None:
    assert world.engine._asked is world.engine._judge
    follow(world, rule("ban", "192.0.2.0/24"))
    assert world.engine._asked is not world.engine._judge
    follow(world)
    assert world.engine._asked is world.engine._judge
    follow(world, rule("pressure", "", "0.5"), rule("limit", "client", "20/400"))
    assert world.engine._asked is world.engine._judge


def test_a_ban_says_when_it_ends_and_a_denial_does_not(world: World) -> None:
    follow(
        world,
        rule("ban", "192.0.2.0/24", number=1, seconds=60),
        rule("deny", "198.51.100.0/24", number=2),
        rule("ban", "203.0.113.0/24", number=3),
    )
    banned, denied = verdict(world), verdict(world, "198.51.100.1")
    assert (banned.reason, banned.action, banned.retry_after) == (Reason.OPERATOR_BANNED, Action.BAN, 61)
    assert (denied.reason, denied.action, denied.retry_after) == (Reason.OPERATOR_DENIED, Action.BAN, 0)
    assert verdict(world, "203.0.113.1").retry_after == 86_400
    assert verdict(world, "192.0.3.1").reason is Reason.OK


def test_a_rule_that_has_ended_vanishes(world: World) -> None:
    follow(world, rule("ban", "192.0.2.0/24", seconds=60))
    world.pass_time(59)
    assert verdict(world).retry_after == 2
    world.pass_time(2)
    assert verdict(world).reason is Reason.OK
    assert world.engine._asked is world.engine._judge


def test_the_smallest_network_counts_and_a_client_before_it_and_a_pass_before_all(world: World) -> None:
    client, other = world.client("192.0.2.1"), world.client("192.0.2.2")
    world.storm(0.9)
    _, bought = world.buy(world.client("203.0.113.1"))
    follow(
        world,
        rule("deny", "192.0.0.0/16", number=1),
        rule("allow", "192.0.2.0/24", number=2),
        rule("ban", client.key.hex(), number=3),
        rule("allow", f"pass:{bought.key.hex()}", number=4),
    )
    assert verdict(world, "192.0.3.1").reason is Reason.OPERATOR_DENIED
    assert world.ask(other).verdict.reason is Reason.OPERATOR_ALLOWED
    assert world.ask(other, shown=world.buy(world.client("203.0.113.2"))[1]).verdict.reason is Reason.OPERATOR_ALLOWED
    assert world.ask(client).verdict.reason is Reason.OPERATOR_BANNED
    assert world.ask(client, shown=bought).verdict.reason is Reason.OPERATOR_ALLOWED


def test_a_rule_for_an_ipv6_network_and_one_for_a_mapped_address(world: World) -> None:
    follow(world, rule("ban", "2001:db8::/32", number=1), rule("ban", "192.0.2.1", number=2))
    assert verdict(world, "2001:db8:7::1").reason is Reason.OPERATOR_BANNED
    assert verdict(world, "::ffff:192.0.2.1").reason is Reason.OPERATOR_BANNED
    assert verdict(world, "2001:db9::1").reason is Reason.OK


def test_the_allowed_are_neither_limited_nor_challenged(make: Any) -> None:
    world = make(limits=FLAT)
    client = world.client()
    ban(world, client)
    assert world.ask(client).verdict.action is Action.BAN
    follow(world, rule("allow", "192.0.2.1"))
    world.storm(0.9)
    asked = [world.visit(client, rtt=0.01) for _ in range(500)]
    assert {request.verdict.reason for request in asked} == {Reason.OPERATOR_ALLOWED}
    assert {request.tier for request in asked} == {Tier.T0}


def test_the_operator_s_last_word_goes_before_the_config(make: Any) -> None:
    world = make(identity=IdentitySettings(allow=("192.0.2.1",), deny=("192.0.2.2",)))
    follow(world, rule("ban", "192.0.2.1", number=1), rule("allow", "192.0.2.2", number=2))
    assert verdict(world, "192.0.2.1").reason is Reason.OPERATOR_BANNED
    assert verdict(world, "192.0.2.2").reason is Reason.OPERATOR_ALLOWED


def test_what_shield_answers_itself_goes_by_rules_too(world: World) -> None:
    follow(world, rule("ban", "192.0.2.1", number=1), rule("allow", "192.0.2.2", number=2))
    reasons = [world.engine.toll(world.request(world.client(f"192.0.2.{i}")), world.now).reason for i in (1, 2, 3)]
    assert reasons == [Reason.OPERATOR_BANNED, Reason.OPERATOR_ALLOWED, Reason.OK]


def test_a_limit_is_one_bucket_for_all_there(make: Any) -> None:
    world = make(limits=FLAT)
    follow(world, rule("limit", "192.0.2.0/24", "2/10"))
    asked = [verdict(world, f"192.0.2.{i}") for i in range(20)]
    assert [each.reason for each in asked] == [Reason.OK] * 10 + [Reason.OPERATOR_LIMIT] * 10
    assert (asked[-1].action, asked[-1].limit, asked[-1].retry_after) == (Action.LIMIT, (2.0, 10.0), 1)
    assert verdict(world, "192.0.3.1").reason is Reason.OK


def test_a_limit_of_the_operator_s_is_held_against_nobody(make: Any) -> None:
    world = make(limits=FLAT)
    follow(world, rule("limit", "192.0.2.0/24", "2/10"))
    client = world.client()
    for _ in range(30):
        world.ask(client)
    assert client.entry.score == 0.0
    assert client.source.tat == 0.0


def test_a_limit_can_give_more_than_the_config(make: Any) -> None:
    world = make(limits=FLAT)
    client = world.client()
    follow(world, rule("limit", client.key.hex(), "100/1000"))
    assert {world.visit(client, rtt=0.01).verdict.reason for _ in range(500)} == {Reason.OK}


def test_the_bucket_of_a_limit_stays_as_full_as_it_is_when_other_rules_change(make: Any) -> None:
    world = make(limits=FLAT)
    limit = rule("limit", "192.0.2.0/24", "2/10")
    follow(world, limit)
    for _ in range(10):
        verdict(world)
    follow(world, limit, rule("ban", "198.51.100.1", number=2))
    assert verdict(world).reason is Reason.OPERATOR_LIMIT
    follow(world, rule("limit", "192.0.2.0/24", "2/10", number=3))
    assert verdict(world).reason is Reason.OK


def test_who_shows_a_pass_is_limited_by_a_rule_for_the_pass_alone(make: Any) -> None:
    world = make(limits=FLAT)
    client = world.client()
    world.storm(0.9)
    _, bought = world.buy(client)
    follow(world, rule("limit", "192.0.2.0/24", "1/1", number=1))
    assert world.visit(client, shown=bought, rtt=0.01).verdict.reason is Reason.OK
    follow(world, rule("limit", f"pass:{bought.key.hex()}", "1/1", number=2))
    asked = [world.visit(client, shown=bought, rtt=0.01).verdict.reason for _ in range(3)]
    assert asked == [Reason.OK, Reason.OPERATOR_LIMIT, Reason.OPERATOR_LIMIT]


def test_who_is_limited_is_challenged_as_ever(world: World) -> None:
    follow(world, rule("limit", "192.0.2.0/24", "100/1000"))
    world.storm(0.9)
    assert verdict(world).reason is Reason.NEWCOMER


@pytest.mark.parametrize(("subject", "count"), [("client", 20), ("address", 30)])
def test_the_limits_of_everybody(make: Any, subject: str, count: int) -> None:
    world = make(limits=FLAT)
    follow(world, rule("limit", subject, f"10/{count}", seconds=60))
    clients = [world.client(agent=f"Browser/{i}") for i in range(10 if subject == "address" else 1)]
    asked = [world.ask(clients[i % len(clients)]).verdict.action for i in range(100)]
    assert asked.count(Action.FORWARD) == count
    world.pass_time(61)
    other = world.client("192.0.2.77")
    assert [world.visit(other, rtt=0.01).verdict.action for _ in range(250)].count(Action.FORWARD) == 200


@pytest.mark.untraced
def test_pressure_is_held_where_the_operator_wants_it(world: World) -> None:
    follow(world, rule("pressure", "", "0.5", seconds=60))
    world.pass_time(5)
    assert (world.engine.pressure, world.engine.attack) == (0.5, True)
    assert world.engine.status(world.now).attack_cause == "held"
    assert verdict(world).reason is Reason.NEWCOMER
    world.pass_time(700)
    assert (world.engine.pressure < 0.01, world.engine.attack) == (True, False)


def test_a_path_is_spared_while_the_rule_holds(world: World) -> None:
    follow(world, rule("challenge", "/feed", "never"), rule("pressure", "", "1", number=2))
    world.pass_time(5)
    client = world.client()
    assert world.ask(client, "/feed/new").verdict.action is Action.FORWARD
    assert world.ask(client, "/feeds").verdict.reason is Reason.NEWCOMER
    follow(world, rule("pressure", "", "1", number=2))
    assert world.ask(client, "/feed/new").verdict.reason is Reason.NEWCOMER


def test_dry_run_goes_on_and_off(make: Any) -> None:
    world = make(identity=IdentitySettings(deny=("192.0.2.1",)))
    follow(world, rule("dry_run", "", "on", seconds=60))
    assert world.engine.dry_run
    assert verdict(world).action is Action.BAN_DRY_RUN
    world.pass_time(61)
    assert verdict(world).action is Action.BAN
    tried = make(identity=IdentitySettings(deny=("192.0.2.1",)), dry_run=True)
    assert verdict(tried).action is Action.BAN_DRY_RUN
    follow(tried, rule("dry_run", "", "off"))
    assert (verdict(tried).action, tried.engine.dry_run) == (Action.BAN, False)


def test_a_dry_run_neither_queues_nor_probes(make: Any) -> None:
    world = make(concurrency=1)
    first, second = world.ask(world.client()), world.ask(world.client())
    assert (first.verdict.action, second.verdict.action) == (Action.FORWARD, Action.QUEUE)
    follow(world, rule("dry_run", "", "on"))
    assert verdict(world).action is Action.FORWARD
    assert not world.engine._concurrency._probe._allowed


def test_a_banned_network_need_not_be_read(world: World) -> None:
    shut_out = world.engine.shut_out
    assert shut_out("192.0.2.1", world.now) is None
    follow(world, rule("ban", "192.0.2.0/24", number=1), rule("allow", "192.0.2.9", number=2))
    found = shut_out("192.0.2.1", world.now)
    assert found is not None
    assert found.reason is Reason.OPERATOR_BANNED
    assert shut_out("192.0.2.9", world.now) is None
    assert shut_out("198.51.100.1", world.now) is None
    assert shut_out("", world.now) is None
    follow(world, rule("ban", "192.0.2.0/24", number=1), rule("allow", "ab" * 16, number=2))
    assert shut_out("192.0.2.1", world.now) is None
    follow(world, rule("ban", "192.0.2.0/24", number=1), rule("dry_run", "", "on", number=2))
    assert shut_out("192.0.2.1", world.now) is None


def test_connections_of_the_allowed_are_kept(world: World) -> None:
    client = world.client()
    assert not world.engine.allows("192.0.2.1")
    assert not world.engine.deserves(client, None)
    follow(world, rule("allow", "192.0.2.0/24", number=1), rule("ban", "192.0.2.9", number=2))
    assert world.engine.allows("192.0.2.1")
    assert not world.engine.allows("192.0.2.9")
    assert not world.engine.allows("198.51.100.1")
    assert world.engine.deserves(client, None)
    assert not world.engine.deserves(world.client("198.51.100.1"), None)


def test_a_pardon_lifts_what_shield_did_by_itself(world: World) -> None:
    client, neighbour, away = (world.client(f"{address}.1") for address in ("192.0.2", "192.0.3", "198.51.100"))
    for each in (client, neighbour, away):
        ban(world, each)
    assert world.engine.status(world.now).active_bans["clients"] == 3
    assert sum(world.engine.pardon("192.0.0.0/16", world.now)) == 2
    assert sum(world.engine.pardon("192.0.0.0/16", world.now)) == 0
    assert world.engine.status(world.now).active_bans == {"clients": 1, "addresses": 0}
    assert world.ask(client).verdict.reason is Reason.OK
    assert sum(world.engine.pardon(away.key.hex(), world.now)) == 1
    assert sum(world.engine.pardon("ab" * 16, world.now)) == 0
    assert sum(world.engine.pardon(f"pass:{'00' * 8}", world.now)) == 0
    assert world.ask(away).verdict.reason is Reason.OK


def test_a_pardon_of_a_banned_address(world: World) -> None:
    for i in range(6):
        world.engine.report("192.0.2.1", Signal.MALFORMED, world.now + i * 0.01)
    assert world.engine.status(world.now).active_bans["addresses"] == 1
    assert sum(world.engine.pardon("192.0.2.1/32", world.now)) == 1
    assert world.engine.status(world.now).active_bans["addresses"] == 0


def test_a_pardon_of_a_ban_that_a_file_made_longer(world: World) -> None:
    client = world.client()
    ban(world, client)
    world.engine._reputation.restore_ban(client.entry, world.now + 500, 1, world.now)
    assert sum(world.engine.pardon("192.0.2.1/32", world.now)) == 1
    assert world.ask(client).verdict.reason is Reason.OK
    world.pass_time(61)
    assert world.engine.status(world.now).active_bans["clients"] == 0


def dropped(world: World, address: str) -> None:
    client = world.client(address)
    ban(world, client)
    for _ in range(700):
        world.ask(client)
    assert address in world.engine.drops.active


def test_nobody_stays_dropped_who_is_allowed_pardoned_or_no_longer_banned(world: World) -> None:
    for number, address in enumerate(("192.0.2.1", "192.0.2.2", "192.0.2.3")):
        dropped(world, address)
        version = world.engine.drops.version
        match number:
            case 0:
                follow(world, rule("allow", address))
            case 1:
                assert sum(world.engine.pardon(f"{address}/32", world.now)) == 1
            case _:
                follow(world, rule("ban", address))
                assert address in world.engine.drops.active
                follow(world)
        assert address not in world.engine.drops.active
        assert world.engine.drops.version > version
    dropped(world, "198.51.100.1")
    follow(world, rule("allow", "192.0.2.1"))
    assert "198.51.100.1" in world.engine.drops.active


def test_an_address_of_ipv6_is_dropped_and_let_go_by_the_name_of_its_64(world: World) -> None:
    matching = Matching([rule("ban", "2001:db8::/32")])
    access, limit, _ = matching.of_address("2001:db8:0:7::/64")
    assert (access is not None, limit) == (True, None)
    assert Matching([rule("ban", "192.0.2.1")]).of_address("::ffff:192.0.2.1")[0] is not None


def test_memory_of_addresses_is_bounded() -> None:
    matching = Matching([rule("ban", "10.0.0.0/9")])
    for i in range(MOST_KEPT + 10):
        matching.of_address(f"10.0.{i >> 8}.{i & 255}")
    assert len(matching._addresses) == 10


def test_a_bucket_of_a_rule_is_no_pass() -> None:
    limit = rule("limit", "192.0.2.0/24", "2/10")
    (budget,) = Matching([limit])._budgets.values()
    assert (budget.kind, budget.rate, budget.burst) == (PassKind.RULE, 2.0, 10.0)
    assert Matching([rule("limit", "ab" * 16, "1/1")]).of_client(b"\xab" * 16)[1] is not None
    assert Matching([rule("limit", f"pass:{'ab' * 8}", "1/1")]).of_pass(b"\xab" * 8)[1] is not None


def test_settings_of_a_new_engine_hold_where_there_is_no_rule() -> None:
    world = World(EngineSettings(dry_run=True), 0)
    follow(world, rule("ban", "192.0.2.1"))
    assert world.engine.dry_run
