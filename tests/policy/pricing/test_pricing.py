"""The price and the rate of issue: what moves them, and what does not."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from shield.model import Action, Reason, Tier
from shield.policy.bucket import Rate
from shield.policy.challenge.challenge import Redeemed
from shield.policy.challenge.settings import ChallengeSettings
from shield.policy.keys import Keys
from shield.policy.limits.settings import LimitsSettings
from shield.policy.pressure.settings import PressureSettings
from shield.policy.pricing.pricing import Pricing
from shield.policy.pricing.settings import PricingSettings
from shield.policy.pricing.waiting_room import Room
from shield.policy.table import TableSettings

NOW = 5_000.0
KEYS = Keys(b"\x01" * 32)
LEAST = 2.0**20
MOST = 2.0**25


class Bazaar:
    """A price under attack, and its time. With half of a pass used it serves 600 / (120 * 0.5) = 10 passes/s."""

    def __init__(self, max_pressure: float = 1.0, **settings: Any) -> None:
        challenge = ChallengeSettings()
        made = PricingSettings(**{"first_used": 0.5} | settings)
        self.pricing = Pricing(made, challenge, max_pressure, Room(made, 1000, KEYS, random.Random(1).randbytes))
        self.now = NOW
        self.networks = 0

    def run(
        self,
        seconds: float,
        solves: float = 0.0,
        *,
        left: float = 600.0,
        taken: float = 0.0,
        units: float = 0.0,
        usual: float | None = None,
        known: float = 0.0,
    ) -> None:
        """`solves` a second of networks never seen before, a share `known` of them of known ones; `taken` passes/s."""
        due = passes = 0.0
        for _ in range(int(seconds * 2)):
            self.now += 0.5
            due += solves / 2
            while due >= 1.0:
                due -= 1.0
                self.networks += 1
                self.pricing.solved(f"network {self.networks}", self.networks % 100 < 100 * known)
            passes += taken / 2
            while passes >= 1.0:
                passes -= 1.0
                self.pricing.take()
            self.pricing.read(left, units / 2, 0.5, usual, self.now)


def test_without_solvers_the_price_stays_at_its_least() -> None:
    bazaar = Bazaar()
    bazaar.run(60)
    assert bazaar.pricing.hashes == LEAST
    assert bazaar.pricing.rate == pytest.approx(10.0)


def test_the_price_rises_with_the_square_root_of_the_excess_and_no_more_than_twofold() -> None:
    bazaar = Bazaar()
    bazaar.run(5, solves=25.0)
    assert bazaar.pricing.hashes == pytest.approx(LEAST * 2.5**0.5)
    bazaar.run(5, solves=1000.0)
    assert bazaar.pricing.hashes == pytest.approx(2 * LEAST * 2.5**0.5)
    bazaar.run(30, solves=1000.0)
    assert bazaar.pricing.hashes == MOST
    assert bazaar.pricing.status().solves_per_second == 1000.0


def test_a_small_excess_raises_it_a_little() -> None:
    bazaar = Bazaar(least_rise=1.25)
    bazaar.run(5, solves=12.0)
    assert bazaar.pricing.hashes == pytest.approx(LEAST * 1.25)


def test_the_price_falls_when_few_pay_it_and_stays_where_it_is_paid() -> None:
    bazaar = Bazaar()
    bazaar.run(25, solves=1000.0)
    high = bazaar.pricing.hashes
    bazaar.run(20, solves=9.0)
    assert bazaar.pricing.hashes == high
    bazaar.run(5, solves=6.0)
    assert bazaar.pricing.hashes == pytest.approx(0.85 * high)
    bazaar.run(120)
    assert bazaar.pricing.hashes == LEAST


def test_chance_does_not_raise_the_price() -> None:
    """A quarter of a pass a second: one or two solvers in a window are within what is expected."""
    bazaar = Bazaar()
    bazaar.run(60, solves=0.4, left=15.0)
    assert bazaar.pricing.hashes == LEAST
    bazaar.run(5, solves=0.8, left=15.0)
    assert bazaar.pricing.hashes > LEAST


@pytest.mark.untraced
def test_one_network_does_not_move_it() -> None:
    bazaar = Bazaar()
    for _ in range(20):
        for _ in range(1000):
            bazaar.pricing.solved("198.51.100.0/24", False)
            if not bazaar.pricing.room.full(False):
                bazaar.pricing.room.enter("198.51.100.0/24", False, 20, bazaar.now)
        bazaar.run(5)
        assert bazaar.pricing.hashes == LEAST


def test_the_operator_s_ceiling_bounds_it() -> None:
    bazaar = Bazaar(max_pressure=0.4)
    bazaar.run(60, solves=1000.0)
    assert bazaar.pricing.hashes == pytest.approx(2.0**22)


def test_a_flash_crowd_waits_instead_of_burning_its_batteries() -> None:
    crowd = Bazaar()
    crowd.run(60, solves=100.0, usual=0.6, known=0.4)
    assert crowd.pricing.flash
    assert crowd.pricing.hashes == 4 * LEAST
    crowd.run(30, solves=100.0, usual=0.6, known=0.2)  # some of the known have been let in
    assert crowd.pricing.flash
    crowd.run(60, solves=100.0, usual=0.6, known=0.0)  # now they are others
    assert not crowd.pricing.flash
    assert crowd.pricing.hashes == MOST


@pytest.mark.parametrize(("usual", "known"), [(None, 1.0), (0.6, 0.2)])
def test_who_is_not_the_usual_crowd_pays(usual: float | None, known: float) -> None:
    bazaar = Bazaar()
    bazaar.run(60, solves=100.0, usual=usual, known=known)
    assert bazaar.pricing.hashes == MOST


def test_where_known_networks_are_rare_they_make_no_crowd() -> None:
    """Half of nothing is nothing: whoever solved was taken for the usual people."""
    bazaar = Bazaar()
    bazaar.run(60, solves=100.0, usual=0.05, known=0.05)
    assert not bazaar.pricing.flash
    assert bazaar.pricing.hashes == MOST


def test_a_handful_of_solvers_is_no_crowd() -> None:
    bazaar = Bazaar()
    bazaar.run(60, solves=0.2, usual=0.5, known=1.0)
    assert not bazaar.pricing.flash


def test_more_passes_are_issued_when_they_are_hardly_used_and_fewer_when_they_are() -> None:
    bazaar = Bazaar()
    bazaar.run(200, taken=10.0, units=120.0)  # 12 units each, of the 120 that a pass is worth
    assert bazaar.pricing.used == pytest.approx(0.1, abs=0.01)
    assert bazaar.pricing.rate == pytest.approx(50.0, rel=0.03)
    bazaar.run(200, taken=2.0, units=600.0)  # those that are issued, or those that were: it is the same
    assert bazaar.pricing.used == pytest.approx(1.0, abs=0.01)
    assert bazaar.pricing.rate == pytest.approx(5.0, rel=0.03)
    bazaar.run(200, taken=2.0, units=1200.0)  # they take twice of what there is
    assert bazaar.pricing.rate == pytest.approx(2.5, rel=0.03)
    bazaar.run(400, taken=10.0)
    assert bazaar.pricing.used == pytest.approx(0.01, abs=0.001)


def test_passes_that_are_put_to_use_all_at_once_are_noticed_in_seconds() -> None:
    bazaar = Bazaar()
    bazaar.run(200, taken=10.0, units=50.0)
    many = bazaar.pricing.rate
    bazaar.run(10, taken=10.0, units=5000.0)
    assert bazaar.pricing.rate < many / 20


def test_a_few_passes_say_nothing_of_their_use() -> None:
    bazaar = Bazaar()
    bazaar.run(60, taken=0.1)
    assert bazaar.pricing.used == 0.5


def test_of_very_many_networks_that_solve_the_first_few_thousand_count() -> None:
    bazaar = Bazaar()
    bazaar.run(4, solves=2000.0)
    assert len(bazaar.pricing._crowd._seen) == 4096


def test_passes_are_saved_up_for_five_seconds() -> None:
    bazaar = Bazaar()
    bazaar.run(60)
    pricing = bazaar.pricing
    taken = 0
    while pricing.ready:
        pricing.take()
        taken += 1
    assert taken == 50
    for name in "abcdefgh":
        pricing.room.enter(name, False, 20, bazaar.now)
    bazaar.run(0.5)
    assert pricing.room.waiting == 3
    assert not pricing.ready


def test_while_pages_wait_for_their_parts_nothing_is_issued_and_nothing_saved_up() -> None:
    """Of seventy people who came at once forty bought a pass while the pages of the others still loaded."""
    bazaar = Bazaar()
    bazaar.run(10)
    pricing = bazaar.pricing
    assert pricing.ready
    pricing.read(600.0, 0.0, 0.5, None, bazaar.now, behind=True)
    assert not pricing.ready
    assert pricing.rate > 0.0, "what a waiter is told"
    pricing.read(600.0, 0.0, 0.5, None, bazaar.now)
    assert pricing.ready


def test_in_calm_weather_whoever_waits_is_let_in_and_the_price_falls() -> None:
    bazaar = Bazaar()
    bazaar.run(30, solves=1000.0)
    pricing = bazaar.pricing
    for _ in range(50):
        pricing.take()
    for i in range(20):
        pricing.room.enter(str(i), False, 20, bazaar.now)
    pricing.rest(0.5, bazaar.now)
    assert pricing.room.waiting == 0
    for _ in range(300):
        pricing.rest(0.5, bazaar.now)
    assert pricing.hashes == LEAST
    assert pricing.ready


def test_what_t0_and_t1_leave_is_for_bought_passes_and_never_less_than_a_share() -> None:
    pricing = Bazaar().pricing
    assert pricing.for_bought(1000.0, 300.0) == pytest.approx(600.0)
    assert pricing.for_bought(1000.0, 5000.0) == pytest.approx(150.0)


def test_a_share_is_kept_for_bought_passes_when_t0_and_t1_would_take_it() -> None:
    pricing = Bazaar().pricing
    assert pricing.kept(1000.0, 940.0) == 0.0
    assert pricing.kept(1000.0, 960.0) == pytest.approx(50.0)
    assert pricing.kept(1000.0, 5000.0) == pytest.approx(50.0)


# In the engine

CHEAP = ChallengeSettings(least_hashes=64, most_hashes=256)


def small(make: Any, **settings: Any) -> Any:
    """A service of one slot and a flood: 90 units/s are left, which is 1.5 passes/s and seven saved up."""
    pricing = PricingSettings(first_used=0.5, least_used=0.5, full_rate=4.0)
    world = make(1, check_work=lambda token, target, nonces: len(nonces), challenge=CHEAP, pricing=pricing, **settings)
    world.storm()
    world.pass_time(0.5)
    world.storm()
    return world


def solve(world: Any, client: Any) -> Any:
    request = world.ask(client)
    assert request.verdict.action is Action.CHALLENGE, request.verdict
    challenge = world.engine.mint(request, world.now)
    return world.engine.redeem(client, challenge.token, [0] * 16, world.now)


def crowd(world: Any, n: int, block: int = 0) -> list[Any]:
    return [world.client(f"198.{18 + block}.{i}.1") for i in range(n)]


def test_who_solves_when_no_pass_is_to_be_had_waits_and_then_gets_one(make: Any) -> None:
    world = small(make)
    results = [solve(world, client) for client in crowd(world, 20)]
    assert [each.result for each in results[:7]] == [Redeemed.ACCEPTED] * 7
    waiting = [each for each in results if each.result is Redeemed.WAITING]
    assert len(waiting) == 13
    assert [each.wait for each in waiting] == sorted(each.wait for each in waiting)
    assert 1 <= waiting[-1].wait <= 60
    assert world.engine.status(world.now).market.waiting == len(waiting)
    client = world.client("203.0.113.77")  # an address may change while one waits
    for _ in range(60):
        world.pass_time(0.5)
        world.storm()
    claims = [world.engine.claim(client, each.ticket, world.now) for each in waiting]
    assert {claim.result for claim in claims} == {Redeemed.ACCEPTED}
    assert world.engine.claim(client, waiting[0].ticket, world.now) == claims[0], "the answer may have been lost"
    token = world.engine.present(claims[0].pass_token, world.now)
    assert world.visit(client, shown=token).tier is Tier.T2
    assert client.entry.offered_until == 0.0


def test_a_claim_that_comes_too_early_is_told_to_wait_and_one_too_late_that_the_place_is_lost(make: Any) -> None:
    world = small(make)
    results = [solve(world, client) for client in crowd(world, 250)]
    last = results[-1]
    client = world.client()
    assert world.engine.claim(client, last.ticket, world.now).result is Redeemed.WAITING
    for _ in range(40):  # a minute: each storm takes half a second
        world.pass_time(1)
        world.storm()
    said = []
    for i, each in enumerate(results):
        if each.ticket:
            said.append(world.engine.claim(world.client(f"192.0.2.{i}"), each.ticket, world.now).result)
    assert said.count(Redeemed.ACCEPTED) == pytest.approx(1.5 * 60, abs=10)
    assert said.count(Redeemed.EXPIRED) == len(said) - said.count(Redeemed.ACCEPTED)
    assert client.entry.score == 0.0


def test_a_ticket_that_is_made_up_costs_what_a_false_answer_does(make: Any) -> None:
    world = small(make)
    client = world.client()
    said = [world.engine.claim(client, "A" * 36, world.now).result for _ in range(5)]
    assert said == [Redeemed.FORGED] * 4 + [Redeemed.BUSY]
    assert client.entry.banned_until == world.now + 60
    other = world.client("192.0.2.2")
    assert world.engine.claim(other, "?", world.now).result is Redeemed.MALFORMED
    assert other.entry.score == 0.0
    assert other.entry.tat > world.now


def test_known_networks_go_first(make: Any) -> None:
    world = make(1, check_work=lambda token, target, nonces: len(nonces), challenge=CHEAP)
    regulars = [world.client(f"203.0.{i}.1") for i in range(5)]
    world.settle_down(*regulars)
    world.storm()
    results = [solve(world, client) for client in crowd(world, 30)]
    neighbours = [solve(world, world.client(f"203.0.{i}.99")) for i in range(5)]
    assert results[-1].result is neighbours[-1].result is Redeemed.WAITING
    for _ in range(16):
        world.pass_time(0.5)
        world.storm()
    claims = [world.engine.claim(world.client(), each.ticket, world.now).result for each in neighbours]
    assert claims == [Redeemed.ACCEPTED] * 5


def test_those_whom_a_full_room_turns_away_come_back_no_faster_than_it_says() -> None:
    bazaar = Bazaar(full_rate=100.0, full_pause=30)
    told = [bazaar.pricing.again_after(NOW) for _ in range(1000)]
    assert told[0] == 2
    assert told == sorted(told)
    assert told[-1] == 12
    assert max(told.count(seconds) for seconds in set(told)) <= 101
    assert bazaar.pricing.again_after(NOW + 5) == 7, "the moments given away stay given away"
    assert bazaar.pricing.again_after(NOW + 60) == 2
    crowd = [bazaar.pricing.again_after(NOW + 60) for _ in range(5000)]
    assert max(crowd) == 30, "beyond that too many come, but each still comes in time"


def test_who_is_turned_away_for_lack_of_memory_is_told_its_own_time_too(make: Any) -> None:
    world = small(make, tables=TableSettings(spent=16))
    said = [solve(world, client) for client in crowd(world, 24)]
    assert [each.result for each in said] == ([Redeemed.ACCEPTED] * 7 + [Redeemed.WAITING] * 9 + [Redeemed.BUSY] * 8)
    assert said[-1].retry_after == 2 + 8 / 4


def test_a_full_room_says_so_before_it_looks_at_the_work(make: Any) -> None:
    world = small(make, tables=TableSettings(waiting=32))
    said = [solve(world, world.client(f"198.18.0.{i}")).result for i in range(30)]
    assert said == [Redeemed.ACCEPTED] * 7 + [Redeemed.WAITING] * 16 + [Redeemed.BUSY] * 7
    client = world.client("198.18.0.99")
    challenge = world.engine.mint(world.ask(client), world.now)
    assert world.engine.redeem(client, challenge.token, [0] * 16, world.now).result is Redeemed.BUSY
    stranger = world.client("198.51.100.1")
    assert solve(world, stranger).result is Redeemed.WAITING
    more = [solve(world, world.client(f"198.18.0.{i}")) for i in range(100, 104)]
    assert [each.result for each in more] == [Redeemed.BUSY] * 4
    assert more[-1].retry_after == 2 + 12 / 4, "four a second are to come again, and this is the twelfth"
    for _ in range(80):
        world.pass_time(0.5)
        world.storm()
    assert world.engine.redeem(client, challenge.token, [0] * 16, world.now).result is Redeemed.ACCEPTED


def test_a_pass_that_lapses_makes_its_network_a_fresh_one(make: Any) -> None:
    world = small(make)
    client = world.client()
    assert solve(world, client).result is Redeemed.ACCEPTED
    room = world.engine._pricing.room
    assert not room.fresh(client.network)
    for _ in range(130):
        world.pass_time(1)
        world.storm()
    assert room.fresh(client.network)


def test_a_place_that_is_claimed_after_the_attack_holds_nothing(make: Any) -> None:
    world = small(make, pressure=PressureSettings(calm_after=10))
    results = [solve(world, client) for client in crowd(world, 20)]
    for _ in range(12):
        world.lull()
    world.pass_time(12)
    assert not world.engine.attack
    room = world.engine._pricing.room
    claims = [world.engine.claim(world.client(), each.ticket, world.now) for each in results if each.ticket]
    assert {claim.result for claim in claims} == {Redeemed.ACCEPTED}
    world.pass_time(121)
    assert room._lines == {}


def test_the_share_of_newcomers_from_known_networks_is_learned_in_calm_weather(make: Any) -> None:
    world = make(limits=LimitsSettings(client=Rate(1000, 1000), address=Rate(1000, 1000)))
    world.settle_down(world.client("203.0.113.1"))
    history = world.engine._history
    assert history.usual_share() is None
    for i in range(150):
        world.visit(world.client(f"203.0.113.{i + 2}" if i % 3 else f"198.18.{i}.1"))
    assert history.usual_share() == pytest.approx(2 / 3, abs=0.02)
    world.storm()
    assert world.engine._pricing.flash is False


def test_a_bought_pass_is_renewed_by_behaving_and_not_by_asking_for_too_much(make: Any) -> None:
    world = make(challenge=CHEAP)
    world.storm()
    buyer, greedy = world.client(), world.client("192.0.2.2")
    _, modest = world.buy(buyer)
    _, wasted = world.buy(greedy)
    for _ in range(26):
        world.pass_time(5)
        world.storm()
        assert world.visit(buyer, shown=modest).tier is Tier.T2
        for _ in range(900):
            if world.visit(greedy, shown=wasted).verdict.action is not Action.FORWARD:
                break
    assert modest.expires > world.now
    assert wasted.limited_at > 0.0
    assert wasted.expires <= world.now


def test_what_its_neighbours_ask_for_is_not_held_against_a_pass(make: Any) -> None:
    world = make(challenge=CHEAP, limits=LimitsSettings(network=Rate(1, 1)))
    world.storm()
    client = world.client()
    _, token = world.buy(client)
    refused = [world.visit(client, shown=token).verdict.reason for _ in range(10)][-1]
    assert refused is Reason.NETWORK_RATE
    assert token.limited_at == 0.0


def test_a_pass_bought_from_another_worker_is_no_network_s_when_it_lapses(make: Any) -> None:
    first, second = make(challenge=CHEAP), make(challenge=CHEAP)
    first.storm()
    text, _ = first.buy(first.client())
    second.storm()
    assert second.engine.present(text, second.now) is not None
    assert second.engine.status(second.now).bought_passes == 1
    second.pass_time(125)
    assert second.engine.status(second.now).bought_passes == 0
    assert second.engine._pricing.room._lines == {}


def test_under_pressure_the_price_is_due_anew_after_ten_minutes(make: Any) -> None:
    world = make(challenge=replace(CHEAP, bought_life=300))
    world.storm()
    client = world.client()
    _, token = world.buy(client)
    served = []
    for _ in range(8):
        world.pass_time(50)
        world.storm()
        served.append(world.visit(client, shown=token).verdict.action is Action.FORWARD)
    assert served == [True] * 5 + [False] * 3


def test_between_two_floods_a_pass_is_renewed_for_nothing(make: Any) -> None:
    world = make(challenge=replace(CHEAP, bought_life=300))
    world.storm()
    client = world.client()
    _, token = world.buy(client)
    for _ in range(8):
        world.lull()
        world.pass_time(50)
        assert world.visit(client, shown=token).verdict.action is Action.FORWARD
    world.storm()
    assert world.visit(client, shown=token).tier is Tier.T2
