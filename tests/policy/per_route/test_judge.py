"""The routes of the operator, as requests meet them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from shield.model import Action, Reason, Signal, Tier
from shield.policy.entries import PassKind
from shield.policy.identity import IdentitySettings
from shield.policy.limits.settings import LimitsSettings
from shield.policy.per_route import brake as module
from shield.policy.per_route.brake import IDLE, LEAST_ENTRIES, Level
from shield.policy.per_route.settings import Allowance, RouteLimit, RouteSettings
from shield.policy.per_route.terms import per_route
from shield.policy.rules.rule import Rule, checked
from shield.policy.table import TableSettings
from tests.policy.conftest import CHEAP, WALL, Make, World, nonces

FEW = Allowance(5, 10)
LOGIN = RouteSettings("/login", methods=("POST",), limit=RouteLimit(client=FEW))


def routes(*settings: RouteSettings) -> dict[str, Any]:
    return {"route": settings}


def post(world: World, client: Any, path: str = "/login", **more: Any) -> Any:
    return world.visit(client, path, method="POST", **more).verdict


def test_a_login_brake_lets_few_attempts_through_and_leaves_the_site_alone(make: Make) -> None:
    """1,058 attempts from one address in 1.6 s were all let through."""
    world = make(**routes(LOGIN))
    client = world.client()
    reasons = []
    for _ in range(1058):
        reasons.append(post(world, client).reason)
        world.now += 1.6 / 1058
    assert reasons == [Reason.OK] * 10 + [Reason.ROUTE_RATE] * 1048
    assert world.visit(client, "/login").verdict.reason is Reason.OK  # to look at the form is no attempt
    assert world.visit(client, "/").verdict.reason is Reason.OK
    assert client.entry.score <= 0.0  # nothing is held against who is refused so


def test_a_refusal_says_when_to_come_back_and_then_there_is_one(make: Make) -> None:
    world = make(**routes(LOGIN))
    client = world.client()
    for _ in range(10):
        post(world, client)
    verdict = post(world, client)
    assert (verdict.action, verdict.retry_after, verdict.limit) == (Action.LIMIT, 12, (5 / 60, 10))
    world.pass_time(12 + 0.2 * 12)  # and a fifth for the attempt that was refused
    assert post(world, client).reason is Reason.OK
    assert post(world, client).reason is Reason.ROUTE_RATE


def test_who_hammers_keeps_its_bucket_empty_and_digs_no_hole(make: Make) -> None:
    world = make(**routes(LOGIN))
    client = world.client()
    for _ in range(1000):
        post(world, client)
        world.now += 1.0
    world.pass_time(13)
    assert post(world, client).reason is Reason.OK


def test_an_address_and_a_network_are_limited_whoever_asks_there(make: Make) -> None:
    limit = RouteLimit(client=FEW, address=Allowance(10, 20), network=Allowance(20, 40))
    world = make(**routes(replace(LOGIN, limit=limit)))
    by_client = [post(world, world.client(agent=f"A/{n % 5}")).reason for n in range(50)]
    assert by_client.count(Reason.OK) == 20
    elsewhere = [post(world, world.client(f"192.0.2.{2 + n % 9}")).reason for n in range(50)]
    assert elsewhere.count(Reason.OK) == 20
    assert post(world, world.client("192.0.3.1")).reason is Reason.OK
    assert post(world, world.client("2001:db8::1")).reason is Reason.OK


def test_a_refused_attempt_costs_the_client_and_its_neighbours_nothing(make: Make) -> None:
    world = make(**routes(replace(LOGIN, limit=RouteLimit(client=FEW, address=Allowance(6, 11)))))
    bad, good = world.client(), world.client(agent="Other/1.0")
    for _ in range(10):
        post(world, bad)
    before = bad.entry.tat, bad.source.tat
    for _ in range(100):
        assert post(world, bad).reason is Reason.ROUTE_RATE
    assert (bad.entry.tat, bad.source.tat) == before
    assert post(world, good).reason is Reason.OK


def test_a_pass_is_limited_wherever_it_is_shown(make: Make) -> None:
    world = make(**routes(LOGIN))
    first = world.client()
    world.settle_down(first)
    request = world.ask(first, "/")
    assert request.grant
    token = world.engine.grant(request, world.now)
    assert token is not None
    shown = world.engine.present(token, world.now)
    here = [post(world, first, shown=shown).reason for _ in range(10)]
    assert here == [Reason.OK] * 10
    refused = world.ask(world.client("198.51.100.7"), "/login", method="POST", shown=shown)
    assert refused.verdict.reason is Reason.ROUTE_RATE
    assert refused.tier is Tier.T1
    known = world.ask(
        first, "/login", method="POST"
    )  # without it, it is a client like others, with a bucket of its own
    assert (known.verdict.reason, known.tier) == (Reason.OK, Tier.T1)
    for _ in range(10):
        known = world.ask(first, "/login", method="POST")
    assert (known.verdict.reason, known.tier) == (Reason.ROUTE_RATE, Tier.T1)


KEY = "k" * 20
KEYS = IdentitySettings(api_key_header="X-Key", api_keys=(sha256(KEY.encode()).hexdigest(),))


def test_one_dear_route_does_not_drain_an_api_keys_budget(make: Make) -> None:
    export = RouteSettings("/export", limit=RouteLimit(client=Allowance(6, 3), address=Allowance(1, 1)), cost=50)
    world = make(**routes(export), identity=KEYS)
    client = world.client()
    asked = [world.visit(client, "/export", headers={"X-Key": KEY}).verdict.reason for _ in range(50)]
    assert asked == [Reason.API_KEY] * 3 + [Reason.ROUTE_RATE] * 47  # its address is not asked for
    assert [world.visit(client, "/small", headers={"X-Key": KEY}).verdict.reason for _ in range(100)] == [
        Reason.API_KEY
    ] * 100
    stranger = [world.visit(client, "/export", headers={"X-Key": "wrong"}).verdict.reason for _ in range(2)]
    assert stranger == [Reason.OK, Reason.ROUTE_RATE]
    assert world.visit(client, "/export").verdict.reason is Reason.ROUTE_RATE


def test_who_is_allowed_denied_or_banned_is_that_on_every_route(make: Make) -> None:
    identity = IdentitySettings(allow=("203.0.113.1",), deny=("203.0.113.2",))
    world = make(**routes(replace(LOGIN, cost=50)), identity=identity)
    allowed, denied, banned = (world.client(f"203.0.113.{n}") for n in (1, 2, 3))
    assert {post(world, allowed).reason for _ in range(20)} == {Reason.ALLOWLISTED}
    assert post(world, denied).reason is Reason.DENYLISTED
    for _ in range(10):
        post(world, banned)
    for _ in range(6):
        world.engine.report(banned, Signal.MALFORMED, world.now)
    assert post(world, banned).reason is Reason.CLIENT_BANNED


def test_a_rule_of_the_operator_goes_before_the_routes(make: Make) -> None:
    world = make(**routes(LOGIN))
    made = [
        Rule(n, *checked(kind, where, ""), "ann", "", WALL, 0.0)
        for n, (kind, where) in enumerate((("allow", "192.0.2.1"), ("deny", "192.0.2.2")), 1)
    ]
    world.engine.follow(made, world.now)
    assert {post(world, world.client()).reason for _ in range(20)} == {Reason.OPERATOR_ALLOWED}
    assert post(world, world.client("192.0.2.2")).reason is Reason.OPERATOR_DENIED
    assert [post(world, world.client("192.0.2.3")).reason for _ in range(11)][-1] is Reason.ROUTE_RATE
    world.engine.follow([Rule(3, "challenge", "/login", "never", "ann", "", WALL, 0.0)], world.now)
    assert post(world, world.client()).reason is Reason.OK


def test_a_dry_run_reports_and_refuses_nobody(make: Make) -> None:
    world = make(**routes(replace(LOGIN, dry_run=True, challenge="always")))
    client = world.client()
    said = [post(world, client) for _ in range(30)]
    assert {verdict.action for verdict in said[:10]} == {Action.CHALLENGE_DRY_RUN}
    assert {(verdict.action, verdict.reason) for verdict in said[10:]} == {(Action.LIMIT_DRY_RUN, Reason.ROUTE_RATE)}
    request = world.ask(client, "/login", method="POST")
    assert request.has_slot  # it is at the service
    world.end(request)
    assert world.visit(client, "/").verdict.action is Action.FORWARD


def test_where_all_is_tried_so_are_the_routes(make: Make) -> None:
    world = make(**routes(LOGIN), dry_run=True)
    assert [post(world, world.client()).action for _ in range(11)] == [Action.FORWARD] * 10 + [Action.LIMIT_DRY_RUN]


def test_a_route_where_everybody_is_challenged_in_calm_weather(make: Make) -> None:
    world = make(**routes(RouteSettings("/wp-login.php", challenge="always"), RouteSettings("/x", challenge="auto")))
    client = world.client()
    refused = world.ask(client, "/wp-login.php")
    assert (refused.verdict.action, refused.verdict.reason) == (Action.CHALLENGE, Reason.CHALLENGE_ALWAYS)
    assert world.visit(client, "/").verdict.reason is Reason.OK
    challenge = world.engine.mint(refused, world.now)
    bought = world.engine.redeem(client, challenge.token, nonces(challenge), world.now)
    shown = world.engine.present(bought.pass_token, world.now)
    assert shown is not None
    assert shown.kind is PassKind.BOUGHT
    assert world.visit(client, "/wp-login.php", shown=shown).verdict.reason is Reason.OK


def test_under_pressure_nobody_is_challenged_where_programs_ask(make: Make) -> None:
    world = make(**routes(RouteSettings("/feed", challenge="never")))
    world.storm()
    stranger = world.client()
    assert world.ask(stranger, "/").verdict.reason is Reason.NEWCOMER
    assert world.visit(stranger, "/feed/atom.xml").verdict.reason is Reason.OK
    assert world.ask(stranger, "/FEED").verdict.reason is Reason.NEWCOMER
    world.engine.tick(world.now + 1.0)


def test_auto_on_a_site_that_challenges_everybody(make: Make) -> None:
    world = make(**routes(RouteSettings("/open", challenge="auto")), challenge=replace(CHEAP, mode="always"))
    assert world.ask(world.client(), "/").verdict.reason is Reason.CHALLENGE_ALWAYS
    assert world.visit(world.client(), "/open").verdict.reason is Reason.OK


def test_a_cost_holds_for_the_route_whatever_is_measured(make: Make) -> None:
    world = make(**routes(RouteSettings("/search", cost=20), RouteSettings("/v1", cost=2.0)))
    client = world.client()
    request = world.visit(client, "/search/all", rtt=0.002)
    assert (request.cost, request.route.fixed) == (20.0, True)
    assert client.entry.tat - world.now == pytest.approx(2.0)  # 20 units at 10/s
    asked = [world.visit(client, "/search/all").verdict.reason for _ in range(20)]
    assert asked.count(Reason.OK) == 9
    other = world.client("198.51.100.1")
    assert world.visit(other, "/v1/x").cost == 2.0
    assert world.visit(other, "/v2/x").cost != 2.0  # its template is the same
    assert world.visit(other, "/%73earch").cost == 20.0


def test_a_cost_that_differs_from_limits_costs_goes_before(make: Make) -> None:
    world = make(**routes(RouteSettings("/a", cost=3)), limits=LimitsSettings(costs={"/a": 9}))
    assert [world.visit(world.client(), "/a").cost for _ in range(2)] == [3, 3]


def test_a_route_with_a_cost_may_leave_the_table_of_routes_as_others(make: Make) -> None:
    world = make(**routes(RouteSettings("/a", cost=3)), tables=TableSettings(routes=8))
    client = world.client()
    before = world.visit(client, "/a").route
    for n in range(100):
        world.visit(world.client(f"198.51.100.{n}"), f"/page-{'abcdefghij'[n % 10]}-{'abcdefghij'[n // 10]}")
    assert not before.live
    again = world.visit(client, "/a")
    assert (again.route.live, again.cost) == (True, 3)


def test_what_shield_answers_itself_is_under_no_route(make: Make) -> None:
    world = make(**routes(replace(LOGIN, path="/", methods=())))
    client = world.client()
    for _ in range(20):
        request = world.request(client, "/.well-known/shield/x")
        assert world.engine.toll(request, world.now).action is Action.FORWARD


def test_what_is_tried_at_run_time_reaches_every_judge(make: Make) -> None:
    world = make(**routes(RouteSettings("/a", challenge="always")))
    assert world.ask(world.client(), "/a").verdict.action is Action.CHALLENGE
    world.engine.follow([Rule(1, "dry_run", "", "on", "ann", "", WALL, 0.0)], world.now)
    assert world.ask(world.client(), "/a").verdict.action is Action.CHALLENGE_DRY_RUN


def test_other_routes_ask_nothing(make: Make) -> None:
    world = make()
    assert world.engine.routing is None
    with_routes = make(**routes(LOGIN))
    assert with_routes.engine.routing is not None


# The tables


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Level]:
    return lambda: Level("client", FEW, 16)


def test_a_full_table_makes_newcomers_share_a_bucket_and_frees_nobody(small: Callable[[], Level]) -> None:
    level = small()
    for n in range(16):
        for _ in range(10):
            level.take(bytes([n]), False, 100.0)
    assert level.refusal(b"\x00", False, 100.0) is not None
    assert level.refusal(b"new", False, 100.0) is None
    for n in range(10):
        level.take(b"new%d" % n, False, 100.0)
    assert level.refusal(b"another", False, 100.0) is not None
    assert level.refusal(b"known", True, 100.0) is None  # who has a history gets a bucket all the same
    level.take(b"known", True, 100.0)
    assert level.left(b"known", 100.0) == 9
    assert level.left(b"nobody", 100.0) == 10
    assert len(level._table) == 16


def test_a_bucket_is_forgotten_once_it_has_been_full_for_long(small: Callable[[], Level]) -> None:
    level = small()
    level.take(b"a", False, 100.0)
    level.expire(100.0 + 11.0)
    assert len(level._table) == 1
    level.expire(100.0 + 12.0 + 2 * IDLE)
    assert len(level._table) == 0


def test_all_routes_share_a_bound() -> None:
    limit = RouteLimit(client=FEW, address=FEW, network=FEW)
    (one,) = per_route([replace(LOGIN, limit=limit)])
    assert one.brake is not None
    assert [level._table.maxsize for level in one.brake.levels.values()] == [module.ENTRIES // 3] * 3
    many = per_route([replace(LOGIN, limit=limit)] * 64)
    assert many[0].brake is not None
    assert many[0].brake.levels["client"]._table.maxsize == max(LEAST_ENTRIES, module.ENTRIES // 192)


def test_levels_that_are_not_asked_for_are_left_out(make: Make) -> None:
    only = replace(LOGIN, limit=RouteLimit(network=FEW))
    world = make(**routes(only), identity=KEYS)
    assert {post(world, world.client(), headers={"X-Key": KEY}).reason for _ in range(20)} == {Reason.API_KEY}
    assert [post(world, world.client(f"192.0.2.{n}")).reason for n in range(1, 12)].count(Reason.OK) == 10
