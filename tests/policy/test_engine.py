"""The verbs, and whole stories told through them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from shield.model import Action, Outcome, Reason, Signal, Tier
from shield.policy.challenge.settings import ChallengeSettings
from shield.policy.identity import IdentitySettings
from shield.policy.limits.settings import LimitsSettings
from shield.policy.request import Request
from shield.policy.settings import EngineSettings
from shield.policy.table import TableSettings

CHEAP = ChallengeSettings(least_hashes=64, most_hashes=256)


def test_its_attributes_are_few_enough_to_share_their_names(make: Any) -> None:
    """CPython keeps at most 29 beside the object; one that has more has a table of its own, which is slower to read."""
    engines = getattr(make(1).engine, "engines", None) or [make(1).engine]
    assert {len(vars(engine)) for engine in engines} <= set(range(30))


def test_a_dry_run_reports_and_changes_nothing(make: Any, says: Any) -> None:
    world = make(
        1,
        dry_run=True,
        limits=LimitsSettings(costs={"/": 1.0}, honeypots=("/trap",)),
        identity=IdentitySettings(deny=("198.51.100.0/24",)),
    )
    user, greedy = world.client(), world.client("192.0.2.2")
    world.settle_down(user)
    assert not world.ask(user).grant
    assert {world.ask(greedy).verdict.action for _ in range(205)} == {Action.FORWARD, Action.LIMIT_DRY_RUN}
    assert says(world.ask(world.client("198.51.100.1"))) == (Action.BAN_DRY_RUN, Reason.DENYLISTED)
    trapped = world.ask(world.client("203.0.113.1"), "/trap")
    assert says(trapped) == (Action.BAN_DRY_RUN, Reason.HONEYPOT)
    assert world.engine.in_flight > 100  # more than there are slots: nobody waits
    assert world.engine.waiting == 0
    in_flight = world.engine.in_flight
    world.storm(0.5)
    held = world.ask(world.client("203.0.113.9"), body_pending=True)
    assert says(held) == (Action.CHALLENGE_DRY_RUN, Reason.NEWCOMER)
    assert world.engine.enter(held, world.now).action is Action.CHALLENGE_DRY_RUN
    assert world.engine.in_flight == in_flight + 1
    assert world.end(held) == ()
    toll = world.request(world.client("198.51.100.1"))
    assert world.engine.toll(toll, world.now).action is Action.BAN_DRY_RUN
    assert world.engine.toll(world.request(user), world.now).action is Action.FORWARD


def test_a_route_that_has_left_the_sketch_is_found_again(make: Any) -> None:
    world = make(tables=TableSettings(routes=8))
    client = world.client()
    for name in "abcdefghijklmnop":
        world.visit(client, f"/{name}")
        world.visit(client, f"/{name}")
    assert world.visit(client, "/a").route.live
    assert world.engine.status(world.now).tables.routes.entries == 8


def test_a_long_path_pins_no_more_than_its_beginning(world: Any) -> None:
    client = world.client()
    first = world.visit(client, "/x" * 4000)
    assert world.visit(client, "/x" * 4000 + "y").route is first.route
    assert max(map(len, world.engine._routes)) == 256 + len("GET")


@pytest.mark.parametrize("rtt", [-1.0, 0.001])
def test_an_upstream_that_fails_is_pressure(make: Any, rtt: float) -> None:
    world = make(2)
    clients = [world.client(f"192.0.2.{i}") for i in range(8)]
    for _ in range(4):
        for client in clients * 8:
            one, two = world.ask(client), world.ask(client)
            world.end(one, 504, rtt=rtt)
            world.end(two, 504, rtt=rtt)
        world.pass_time(0.5)
    assert world.engine.pressure > 0.05


def test_the_status_says_what_the_policy_sees(world: Any) -> None:
    world.visit(world.client())
    world.pass_time(1)
    status = world.engine.status(world.now)
    assert status.attack_seconds == 0.0
    for table in (getattr(status.tables, name) for name in status.tables.__slots__):
        assert 0 <= table.entries <= table.max
        assert table.bytes_per_entry > 50
    world.storm()
    world.pass_time(2)
    assert world.engine.status(world.now).attack_seconds >= 2.0
    assert 0.0 < world.engine.pressure <= 1.0


def test_settings_have_defaults_for_everything() -> None:
    assert EngineSettings().challenge.mode == "auto"
    assert replace(EngineSettings(), dry_run=True).dry_run


class Origin:
    """An upstream that works on everything at once, `rate` requests/s in all, each for `alone` seconds at least."""

    def __init__(self, world: Any, rate: float, alone: float) -> None:
        self.world, self.rate, self.alone = world, rate, alone
        self.work: dict[Request, list[float]] = {}
        self.origin_requests = 0

    def start(self, request: Request) -> None:
        self.origin_requests += 1
        self.work[request] = [1.0, self.world.now]

    def run(self, seconds: float) -> Iterator[Request]:
        share = min(1 / self.alone, self.rate / max(len(self.work), 1)) * seconds
        for item in self.work.values():
            item[0] -= share * self.world.random.uniform(0.5, 1.5)
        for request in [request for request, (left, _) in self.work.items() if left <= 0]:
            began = self.work.pop(request)[1]
            yield request
            for changed in self.world.engine.learn(request, Outcome(200, self.world.now - began), self.world.now):
                if changed.verdict.action is Action.FORWARD:
                    self.start(changed)


@pytest.mark.untraced
@pytest.mark.parametrize("random_paths", [False, True])
def test_a_flood_hits_a_site_and_its_users_do_not_notice(make: Any, random_paths: bool) -> None:
    """Ten times what the origin can do, from 500 addresses; twenty users who were here before, ten to a /24."""
    world = make(100, challenge=ChallengeSettings())
    origin = Origin(world, rate=200, alone=0.02)
    users = [world.client(f"127.2.{i // 10}.{i % 10}") for i in range(20)]
    attackers = [world.client(f"127.1.{i // 250}.{i % 250}", agent="Flood/1") for i in range(500)]
    began: dict[Request, float] = {}
    waits: list[tuple[float, float]] = []
    lost = 0
    step, calm, attack = 0.004, 90.0, 20.0
    start = world.now
    tick = world.now
    while world.now < start + calm + attack:
        world.now += step
        now = world.now
        arrivals = [users[world.random.randrange(20)]] if world.random.random() < 20 * step else []
        if now > start + calm:
            arrivals += world.random.choices(attackers, k=int(2000 * step))
        for client in arrivals:
            path = "/page/" + (
                world.random.randbytes(4).hex().translate(str.maketrans("0123456789", "ghijklmnop"))
                if random_paths and client not in users
                else str(world.random.randrange(99))
            )
            request = world.ask(client, path)
            if client in users:
                began[request] = now
            if request.verdict.action is Action.FORWARD:
                origin.start(request)
            elif request.verdict.action is not Action.QUEUE and client in users:
                lost += 1
        users_done = [request for request in origin.run(step) if request in began]
        waits += [(began[request] - start - calm, now - began[request]) for request in users_done]
        if now >= tick:
            tick = now + (0.02 if world.engine.waiting else 0.5)
            for request in world.engine.tick(now):
                if request.verdict.action is Action.FORWARD:
                    origin.start(request)
                elif request in began:
                    lost += 1

    def p95(low: float, high: float) -> float:
        times = sorted(wait for at, wait in waits if low <= at < high)
        return times[int(len(times) * 0.95)]

    assert lost == 0
    assert world.engine.attack
    assert p95(3.0, attack) < 2 * p95(-calm, 0.0)
    assert len(waits) > 0.99 * len(began) - 5  # the last few are under way
    reached = origin.origin_requests - len(waits)
    assert reached < 600  # of 40,000


def test_before_the_first_visitor_nothing_is_known(world: Any) -> None:
    assert (world.engine.waiting, world.engine.in_flight, world.engine.pressure) == (0, 0, 0.0)
    assert not world.engine.attack
    assert world.engine.events() == []
    assert list(world.engine.export_history(world.now)) == []


def test_a_network_s_tier_does_not_matter_to_a_report(world: Any) -> None:
    client = world.client("2001:db8::1")
    world.engine.report(client, Signal.SLOW_ABORT, world.now)
    assert client.source.score == 0.5
    assert world.ask(client).tier is Tier.T3


def test_a_flood_of_bans_does_not_push_the_onset_out_of_the_log(world: Any) -> None:
    world.storm(0.5)
    for i in range(100):
        for _ in range(6):
            world.engine.report(world.client(f"192.0.2.{i}"), Signal.MALFORMED, world.now)
    events = world.engine.events()
    assert [name for name, _ in events] == ["attack_onset", *["ban"] * 64]


def test_at_three_in_the_morning_the_status_says_why_and_who(make: Any) -> None:
    world = make(challenge=ChallengeSettings(least_hashes=64, most_hashes=256))
    calm = world.engine.status(world.now)
    assert (calm.attack_cause, calm.attack_peak, calm.overload) == ("", 0.0, [])
    user = world.client()
    world.settle_down(user)
    world.storm(0.5)
    world.visit(user)
    _, token = world.buy(world.client("198.51.100.1"))
    world.visit(world.client("198.51.100.1"), shown=token)
    for _ in range(6):
        world.engine.report(world.client("203.0.113.1"), Signal.MALFORMED, world.now)
        world.engine.report("203.0.113.2", Signal.MALFORMED, world.now)
    status = world.engine.status(world.now)
    assert (status.attack_cause, status.pressure_target) == ("demand", 1.0)
    assert status.attack_peak > 0.0
    assert status.requests_by_tier == {"T0": 0, "T1": 1, "T2": 1, "T3": 3, "T4": 0}
    assert status.active_bans == {"clients": 1, "addresses": 1}
    assert (status.live_passes.in_use, status.live_passes.bought) == (1, 1)
    (route,) = status.routes
    assert (route.route, route.requests) == ("GET/", 5)
    world.pass_time(61)
    assert world.engine.status(world.now).active_bans == {"clients": 0, "addresses": 0}
    assert world.engine._reputation._ends == []


def test_whose_connections_are_kept_before_those_of_strangers(make: Any) -> None:
    world = make(identity=IdentitySettings(allow=("198.51.100.0/24",)))
    engine, stranger, known = world.engine, world.client("192.0.2.1"), world.client("192.0.2.2")
    assert not engine.deserves(stranger, None)
    assert not engine.deserves("192.0.2.2", None)
    assert engine.deserves(world.client("198.51.100.7"), None), "the operator's friends"
    world.settle_down(known)
    assert engine.deserves(known, None)
    assert engine.deserves("192.0.2.2", None), "nobody there has said anything yet, but somebody there is known"
    assert not engine.deserves(stranger, None)
    world.storm()
    _, bought = world.buy(stranger)
    assert engine.deserves(stranger, bought)
    known.entry.record.live = False
    assert not engine.deserves(known, None)
