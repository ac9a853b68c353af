"""Engines of two machines, and what goes from one to the other: here by hand, else over the store."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from shield.demo.solver import solve
from shield.model import Action, Signal, Tier
from shield.policy.board.memory import Board
from shield.policy.board.seat import Seat
from shield.policy.challenge.challenge import Redeemed
from shield.policy.challenge.settings import ChallengeSettings
from shield.policy.cluster.leases import Leases
from shield.policy.cluster.side import Side
from shield.policy.concurrency.settings import ConcurrencySettings
from shield.policy.engine import Engine
from shield.policy.keys import Keys
from shield.policy.request import Request
from shield.policy.rules.rule import Rule
from shield.policy.settings import EngineSettings
from tests.policy.conftest import OFFSET, WALL

KEYS = Keys(b"\x01" * 32)
CHEAP = ChallengeSettings(least_hashes=64, most_hashes=256)
FIXED = EngineSettings(concurrency=ConcurrencySettings(adaptive=False), challenge=CHEAP)
ADAPTIVE = EngineSettings(challenge=CHEAP)
BAD, GOOD = "203.0.113.9", "192.0.2.7"


class Machine:
    """One machine, of so many workers, of which the first leads."""

    def __init__(self, name: str, workers: int = 1, settings: EngineSettings = FIXED, concurrency: int = 64) -> None:
        self.now = OFFSET
        self.memory = bytearray(Board.size(workers))
        self.memory[:2] = name.encode()[:2].ljust(2, b"_")
        board = Board(memoryview(self.memory), workers)
        self.sides: list[Side] = []
        self.engines: list[Engine] = []
        for number in range(workers):
            limits = settings.limits
            side = Side(Leases(limits.client, limits.address, limits.wide, limits.least_factor, KEYS))
            side.answers.node = name
            side.answers.wall_offset = WALL - OFFSET
            seat = Seat(board, number) if workers > 1 else None
            entropy = random.Random(f"{name}{number}").randbytes
            self.sides.append(side)
            self.engines.append(Engine(settings, KEYS, entropy, WALL - OFFSET, concurrency, seat=seat, side=side))
        self.tick()

    def tick(self, times: int = 2) -> None:
        for _ in range(times):
            self.now += 0.02
            for engine in self.engines:
                engine.tick(self.now)

    def told(self) -> list[list[Any]]:
        """What the leader tells."""
        self.tick()
        assert [engine.speaks for engine in self.engines] == [True] + [False] * (len(self.engines) - 1)
        self.engines[0].tell_machines()
        return self.sides[0].take(1000)

    def hear(self, rows: Iterable[list[Any]]) -> None:
        """The leader hears."""
        engine, challenger = self.engines[0], self.engines[0].clients.challenger
        for row in rows:
            if row[0] == "wish":
                self.sides[0].answers.wished(row[1:], challenger.places(), challenger.spend_for, self.now)
            else:
                self.sides[0].hear(row)
                engine.hear_machines([row], self.now)
        self.tick()

    def request(self, number: int, address: str = GOOD) -> Request:
        client = self.engines[number].identify(address, "Browser/1.0", "en", "", self.now)
        request = Request(client, "GET", "/", {}, None, False, None)
        request.tier = Tier.T2
        return request

    def banned(self, address: str = BAD) -> list[bool]:
        return [any(ban and ban.address == address for ban in engine.bans(self.now)) for engine in self.engines]

    def misbehave(self, number: int) -> None:
        engine = self.engines[number]
        for _ in range(20):
            engine.report(engine.identify(BAD, "Bad/1.0", "", "", self.now), Signal.MALFORMED, self.now)


@pytest.mark.parametrize("worker", [0, 1])
def test_a_ban_goes_from_any_worker_to_all_workers_of_the_other_machine(worker: int) -> None:
    a, b = Machine("a", 2), Machine("b", 2)
    a.misbehave(worker)
    b.hear(a.told())
    assert b.banned() == [True, True]
    assert b.told() == [], "what was heard is no news"
    for _ in b.engines[1].pardon(f"{BAD}/32", b.now):
        pass
    rows = b.told()
    assert {row[0] for row in rows} == {"pardon"}
    a.hear(rows)
    assert a.banned() == [False, False]


def test_a_machine_of_one_worker_tells_what_concerns_others_only() -> None:
    a, b = Machine("a"), Machine("b")
    a.misbehave(0)
    a.engines[0].clients.news.changed("route", a.engines[0]._routes.typical)
    rows = a.told()
    assert {row[0] for row in rows} == {"client", "address"}
    b.hear(rows)
    assert b.banned() == [True]


def redeem(machine: Machine, number: int, challenge: Any, nonces: list[int]) -> Redeemed:
    engine = machine.engines[number]
    client = engine.identify(GOOD, "Browser/1.0", "en", "", machine.now)
    return engine.redeem(client, challenge.token, nonces, machine.now).result


@pytest.mark.parametrize("workers", [1, 2])
def test_an_answer_is_good_at_one_machine_by_way_of_those_that_lead(workers: int) -> None:
    home, away = Machine("home", workers), Machine("away", workers)
    minting, asking = workers - 1, workers - 1
    challenge = home.engines[minting].mint(home.request(minting), home.now)
    nonces = solve(challenge.token, challenge.k, challenge.target)
    assert redeem(away, asking, challenge, nonces) is Redeemed.FOREIGN, "nobody knows where it is from"
    for side in away.sides:
        side.answers.others = home.engines[0].clients.challenger.places()
    assert redeem(away, asking, challenge, nonces) is Redeemed.BUSY
    assert redeem(away, asking, challenge, nonces) is Redeemed.BUSY, "and it is not verified again"
    away.tick()
    wishes = away.told()
    assert [row[0] for row in wishes] == ["wish"]
    home.hear(wishes)
    assert redeem(home, 0, challenge, nonces) is Redeemed.SPENT
    away.hear(home.told())
    assert redeem(away, asking, challenge, nonces) is Redeemed.ACCEPTED
    assert redeem(away, 0, challenge, nonces) is Redeemed.SPENT
    home.hear(wishes)
    assert home.told()[0][3] is True, "it is told again to who asks again"


def test_an_answer_that_was_spent_at_home_is_not_granted() -> None:
    home, away = Machine("home"), Machine("away")
    challenge = home.engines[0].mint(home.request(0), home.now)
    nonces = solve(challenge.token, challenge.k, challenge.target)
    assert redeem(home, 0, challenge, nonces) is Redeemed.ACCEPTED
    away.sides[0].answers.others = home.engines[0].clients.challenger.places()
    assert redeem(away, 0, challenge, nonces) is Redeemed.BUSY
    home.hear(away.told())
    away.hear(home.told())
    assert redeem(away, 0, challenge, nonces) is Redeemed.SPENT


def test_a_visitor_whose_address_has_changed_may_answer_elsewhere_too() -> None:
    home, away = Machine("home"), Machine("away")
    challenge = home.engines[0].mint(home.request(0), home.now)
    nonces = solve(challenge.token, challenge.k, challenge.target)
    away.sides[0].answers.others = home.engines[0].clients.challenger.places()
    engine = away.engines[0]
    moved = engine.identify("198.51.100.7", "Browser/1.0", "en", "", away.now)
    assert engine.redeem(moved, challenge.token, nonces, away.now).result is Redeemed.BUSY


def half(slots: int) -> int:
    return slots // 2


def test_places_at_the_service_are_shared_where_the_operator_has_set_how_many() -> None:
    fixed = Machine("a", concurrency=8).engines[0]
    fixed.share(1.0, 1.0, half, OFFSET)
    assert fixed.concurrency_limit == 4
    fixed.share(1.0, 1.0, lambda slots: slots, OFFSET)
    assert fixed.concurrency_limit == 8
    bounded = Machine("a", settings=ADAPTIVE, concurrency=8).engines[0]
    bounded.share(1.0, 1.0, half, OFFSET)
    assert bounded.concurrency_limit == 4
    found = Machine("a", settings=ADAPTIVE, concurrency=0).engines[0]
    before = found.concurrency_limit
    found.share(1.0, 1.0, half, OFFSET)
    assert found.concurrency_limit == before, "each machine finds its own"


def test_a_worker_that_follows_goes_by_its_leader_s_places() -> None:
    a = Machine("a", 2, concurrency=8)
    for engine in a.engines:
        engine.share(1.0, 1.0, half, a.now)
    a.tick(60)
    assert sum(engine.concurrency_limit for engine in a.engines) == 4


def let_in(machine: Machine, most: int, address: str = GOOD) -> int:
    engine, count = machine.engines[0], 0
    for _ in range(most):
        request = machine.request(0, address)
        request.path = "/fixed"
        count += engine.decide(request, machine.now).action is Action.FORWARD
        engine.release(request, machine.now)
    return count


@pytest.mark.parametrize(("parts", "wanted"), [((1.0, 1.0), 200), ((1.0, 0.5), 100), ((0.25, 0.25), 50)])
def test_limits_are_this_machine_s_part(parts: tuple[float, float], wanted: int) -> None:
    a = Machine("a")
    a.engines[0].share(*parts, half, a.now)
    assert abs(let_in(a, 250) - wanted) <= 2
    assert [rate.burst for rate in a.engines[0].nominal_limits] == [200, 400]


def test_a_limit_of_the_operator_s_is_shared_too() -> None:
    a = Machine("a")
    a.engines[0].follow([Rule(1, "limit", "client", "10/40", "", "", WALL, 0.0)], a.now)
    a.engines[0].share(1.0, 0.5, half, a.now)
    assert abs(let_in(a, 250) - 20) <= 1
    a.engines[0].follow([], a.now)
    assert abs(let_in(a, 250, "192.0.2.8") - 100) <= 2


def test_without_leases_limits_are_each_machine_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    make: Callable[..., Engine] = Engine
    engine = make(FIXED, KEYS, random.Random(1).randbytes, WALL - OFFSET, 8, side=Side(None))
    engine.share(0.5, 0.5, half, OFFSET)
    assert engine.speaks
    alone = make(FIXED, KEYS, random.Random(1).randbytes, WALL - OFFSET, 8)
    alone.tell_machines()
    alone.share(1.0, 1.0, half, OFFSET)


def test_a_ticket_is_good_where_it_was_minted_only() -> None:
    home, away = Machine("home"), Machine("away")
    challenge = home.engines[0].mint(home.request(0), home.now)
    away.sides[0].answers.others = home.engines[0].clients.challenger.places()
    challenger = away.engines[0].clients.challenger
    request = away.request(0)
    assert challenger.age(request.client.key, b"", challenge.token, away.now) is None
