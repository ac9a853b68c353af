"""What one worker learns of somebody holds at the others: answers, bans, strikes, passes, places, payments."""

from __future__ import annotations

from typing import Any

import pytest

from shield.model import Action, Reason, Signal
from shield.policy.board.memory import NEWS
from shield.policy.board.paid import OVERDRAWN
from shield.policy.bucket import Rate
from shield.policy.challenge.challenge import Redeemed
from shield.policy.challenge.settings import ChallengeSettings
from shield.policy.concurrency.concurrency import MOST_AWAY
from shield.policy.entries import PassKind
from shield.policy.identity import IdentitySettings
from shield.policy.limits.settings import LimitsSettings
from shield.policy.table import TableSettings
from tests.policy.board.test_crew import flood
from tests.policy.conftest import CHEAP, nonces


@pytest.fixture
def spread(fleet: Any) -> Any:
    """A world in which the next request of a client meets the next worker."""
    return fleet(spread=True, concurrency=50)


@pytest.fixture
def attacked(fleet: Any) -> Any:
    """The same, under attack: passes are scarce."""
    world = fleet(spread=True, concurrency=4)
    flood(world, 4.0)
    assert world.engine.attack
    return world


def challenged(world: Any, address: str = "192.0.2.1") -> tuple[Any, Any]:
    client = world.client(address)
    request = world.ask(client)
    assert request.verdict.action is Action.CHALLENGE
    return client, world.engine.mint(request, world.now)


def test_an_answer_buys_once_whichever_worker_it_is_sent_to(attacked: Any) -> None:
    world = attacked
    client, challenge = challenged(world)
    answer = nonces(challenge)
    results = [world.engine.redeem(client, challenge.token, answer, world.now).result for _ in range(6)]
    assert results[0] in {Redeemed.ACCEPTED, Redeemed.WAITING}
    assert results[1:] == [Redeemed.SPENT] * 5


def test_of_two_workers_that_check_an_answer_at_the_same_moment_not_both_accept_it(attacked: Any) -> None:
    world = attacked
    client, challenge = challenged(world)
    answer = nonces(challenge)
    zero, one, _ = world.engine.engines
    meanwhile: list[Redeemed] = []
    check = zero.clients.challenger._check_work

    def checked(*args: Any) -> int:
        meanwhile.append(one.redeem(world.engine._at(client, 1, world.now), challenge.token, answer, world.now).result)
        return check(*args)

    zero.clients.challenger._check_work = checked
    result = zero.redeem(world.engine._at(client, 0, world.now), challenge.token, answer, world.now).result
    assert meanwhile[0] in {Redeemed.ACCEPTED, Redeemed.WAITING}
    assert result is Redeemed.SPENT


def test_a_moved_visitor_may_answer_at_any_worker_of_this_shield_and_at_no_other(fleet: Any) -> None:
    world, other = fleet(spread=True, concurrency=4), fleet(spread=True, concurrency=4)
    other.engine.memory[:2] = b"\x99\x99"
    flood(world, 4.0)
    _, challenge = challenged(world, "192.0.2.1")
    elsewhere = world.client("198.51.100.1")
    result = world.engine.redeem(elsewhere, challenge.token, nonces(challenge), world.now).result
    assert result in {Redeemed.ACCEPTED, Redeemed.WAITING}
    places = [engine.clients.challenger._place for engine in world.engine.engines]
    assert places == [b"\x12\x34", b"\x12\x35", b"\x12\x36"], "no two of them mint the same"


def test_a_worker_that_is_replaced_knows_what_was_spent_before(attacked: Any) -> None:
    world = attacked
    client, challenge = challenged(world)
    zero = world.engine.engines[0]
    zero.redeem(world.engine._at(client, 0, world.now), challenge.token, nonces(challenge), world.now)
    world.engine.kill(0)
    world.engine.replace(0)
    result = world.engine.engines[0].redeem(
        world.engine._at(client, 0, world.now), challenge.token, nonces(challenge), world.now
    )
    assert result.result is Redeemed.SPENT


def test_where_there_is_no_room_to_remember_nothing_is_accepted_twice(fleet: Any) -> None:
    world = fleet(spread=True, concurrency=4, tables=TableSettings(spent=16), challenge=CHEAP)
    flood(world, 4.0)
    spent: list[tuple[Any, Any]] = []
    for n in range(20):
        client, challenge = challenged(world, f"192.0.{n}.1")
        result = world.engine.redeem(client, challenge.token, nonces(challenge), world.now).result
        if result is not Redeemed.BUSY:
            spent.append((client, challenge))
    assert len(spent) == 16
    for client, challenge in spent:
        for _ in range(3):
            again = world.engine.redeem(client, challenge.token, nonces(challenge), world.now).result
            assert again in {Redeemed.SPENT, Redeemed.BUSY}


def test_strikes_at_several_workers_add_up_to_a_ban_that_holds_at_all(spread: Any) -> None:
    """Six malformed requests of one client in a row ban it, two at each of three workers too."""
    world = spread
    client = world.client("192.0.2.1")
    for _ in range(5):
        world.engine.report(client, Signal.MALFORMED, world.now)
        world.engine.tick(world.now)
    assert [world.ask(client).verdict.action for _ in range(3)] == [Action.FORWARD] * 3
    world.engine.report(client, Signal.MALFORMED, world.now)
    world.engine.tick(world.now)
    assert [world.ask(client).verdict.reason for _ in range(3)] == [Reason.CLIENT_BANNED] * 3
    bans = [engine.status(world.now).active_bans for engine in world.engine.engines]
    assert bans == [{"clients": 1, "addresses": 0}] * 3
    assert [name for name, _ in world.engine.events()] == ["ban"], "one of them has made it"


def test_an_address_is_banned_at_all_workers(spread: Any) -> None:
    world = spread
    clients = [world.client("192.0.2.1", agent=f"Bot/{n}") for n in range(6)]
    for _ in range(6):
        for client in clients:
            world.engine.report(client, Signal.MALFORMED, world.now)
            world.engine.tick(world.now)
    newcomer = world.client("192.0.2.1", agent="Other")
    bans = [engine.status(world.now).active_bans["addresses"] for engine in world.engine.engines]
    assert bans == [1, 1, 1]
    for engine in world.engine.engines:
        request = world.request(engine.identify("192.0.2.1", "Other", "", "", world.now))
        assert engine.decide(request, world.now).reason is Reason.BAD_NEIGHBOUR  # may pay its way out
    assert newcomer.source.name == "192.0.2.1"


def test_a_bought_pass_is_one_budget_at_all_workers(attacked: Any) -> None:
    """It could be spent anew at each worker, and beyond its first seconds was worth nothing at another one."""
    world = attacked
    client = world.client("192.0.2.1")
    token, bought = world.buy(client)
    assert bought.scarce
    begun, units = world.now, 0.0
    for _ in range(150):
        request = world.visit(client, shown=world.engine.present(token, world.now), rtt=0.05)
        if request.verdict.action is Action.FORWARD:
            units += request.cost
        else:
            assert request.verdict.reason is Reason.PASS_RATE
        world.pass_time(0.02, step=0.02)
    rate = bought.rate * world.engine.engines[0]._passes.factor
    assert units <= 1.2 * (bought.burst + rate * (world.now - begun))
    assert units >= 0.8 * bought.burst


@pytest.mark.untraced
def test_a_pass_that_is_used_lives_on_at_the_workers_that_do_not_see_it(fleet: Any) -> None:
    world = fleet(concurrency=4)  # each network meets one
    flood(world, 4.0)
    client = world.client("192.0.2.1")
    token, bought = world.buy(client)
    assert bought.scarce
    for _ in range(int(3 * CHEAP.bought_idle)):
        request = world.visit(client, shown=bought)
        assert request.verdict.action is Action.FORWARD
        flood(world, 1.0, 2, 2)
    live = [engine.status(world.now).bought_passes for engine in world.engine.engines]
    assert live == [1, 1, 1]
    for engine in world.engine.engines:
        assert engine.present(token, world.now) is not None
    world.pass_time(2 * CHEAP.bought_idle)
    assert [engine.status(world.now).bought_passes for engine in world.engine.engines] == [0, 0, 0]


def test_a_pass_that_is_revoked_is_so_everywhere(fleet: Any) -> None:
    world = fleet(concurrency=50)
    first = world.client("192.0.2.1")
    world.settle_down(first)
    request = world.ask(first)
    token = world.engine.grant(request, world.now)
    assert token is not None
    shown = world.engine.present(token, world.now)
    for n in range(CHEAP.pass_networks + 1):
        for engine in world.engine.engines[:1]:
            client = engine.identify(f"10.{n}.7.1", "", "", "", world.now)
            engine.decide(world.request(client, shown=engine.present(token, world.now)), world.now)
    assert shown is not None
    assert [engine.present(token, world.now) is None for engine in world.engine.engines] == [True, False, False]
    world.engine.tick(world.now)
    assert [engine.present(token, world.now) for engine in world.engine.engines] == [None] * 3


def save(world: Any, passes: float) -> None:
    """As if the worker that leads had ordered it so."""
    for engine in world.engine.engines:
        engine._pricing._purse.saved = passes


def waiting(world: Any) -> tuple[Any, str]:
    """A client that has solved a challenge at one worker, and waits for its pass; and its ticket."""
    save(world, 0.0)
    client, challenge = challenged(world)
    redemption = world.engine.engines[0].redeem(
        world.engine._at(client, 0, world.now), challenge.token, nonces(challenge), world.now
    )
    assert redemption.result is Redeemed.WAITING
    return client, redemption.ticket


def at(world: Any, client: Any, number: int, ticket: str) -> Any:
    return world.engine.engines[number].claim(world.engine._at(client, number, world.now), ticket, world.now)


def test_a_place_in_the_waiting_room_is_known_to_all_and_buys_one_pass(attacked: Any) -> None:
    world = attacked
    client, ticket = waiting(world)
    world.engine.tick(world.now)
    assert [at(world, client, n, ticket).result for n in range(3)] == [Redeemed.WAITING] * 3
    world.pass_time(5.0)
    first = at(world, client, 2, ticket)
    assert first.result is Redeemed.ACCEPTED
    early = at(world, client, 1, ticket)  # it has not heard yet that the pass was had
    assert (early.result, early.retry_after) == (Redeemed.WAITING, 1)
    world.engine.tick(world.now)
    assert [at(world, client, n, ticket).pass_token for n in range(3)] == [first.pass_token] * 3
    rooms = [engine._pricing.room for engine in world.engine.engines]
    assert [room._lines[client.network].live for room in rooms] == [1, 1, 1], "one live pass, which counts once"
    assert [engine.status(world.now).bought_passes for engine in world.engine.engines] == [1, 1, 1]


def test_passes_that_are_saved_up_are_issued_once(fleet: Any) -> None:
    world = fleet(spread=True, concurrency=4)
    flood(world, 4.0)
    save(world, 3.0)
    results = []
    for n in range(9):
        client, challenge = challenged(world, f"192.0.{n}.1")
        results.append(world.engine.redeem(client, challenge.token, nonces(challenge), world.now).result)
    assert results == [Redeemed.ACCEPTED] * 3 + [Redeemed.WAITING] * 6


def test_who_had_to_give_up_its_place_has_none_anywhere(fleet: Any) -> None:
    world = fleet(spread=True, concurrency=4, tables=TableSettings(waiting=16))
    flood(world, 4.0)
    save(world, 0.0)
    tickets = []
    for n in range(9):
        client, challenge = challenged(world, f"192.0.2.{n}")
        redemption = world.engine.redeem(client, challenge.token, nonces(challenge), world.now)
        assert redemption.result is (Redeemed.WAITING if n < 8 else Redeemed.BUSY)
        tickets.append((client, redemption.ticket))
        world.engine.tick(world.now)
    client, challenge = challenged(world, "198.51.100.1")
    assert world.engine.redeem(client, challenge.token, nonces(challenge), world.now).result is Redeemed.WAITING
    world.engine.tick(world.now)
    for number in range(3):
        results = [at(world, client, number, ticket).result for client, ticket in tickets[:8]]
        assert results.count(Redeemed.EXPIRED) == 1


def test_spread_over_three_workers_a_client_gets_no_more_than_its_rate(fleet: Any) -> None:
    """It had a bucket at each worker: three times the burst, and three times the rate."""
    limits = LimitsSettings(client=Rate(10.0, 50.0), address=Rate(1000.0, 5000.0))
    world = fleet(spread=True, concurrency=50, limits=limits)
    client = world.client("192.0.2.1")
    served = units = 0.0
    for _ in range(100):
        for _ in range(30):
            request = world.visit(client)
            if request.verdict.action is Action.FORWARD:
                served += 1
                units += request.cost
            else:
                assert request.verdict.reason is Reason.CLIENT_RATE
        world.pass_time(0.1, step=0.1)
    assert served
    assert units <= 1.2 * (50.0 + 10 * 10.0)


def test_what_an_address_owes_is_known_to_all(fleet: Any) -> None:
    limits = LimitsSettings(client=Rate(1000.0, 5000.0), address=Rate(10.0, 50.0))
    world = fleet(spread=True, concurrency=50, limits=limits)
    units = 0.0
    clients = [world.client("192.0.2.1", agent=f"Browser/{n}") for n in range(10)]
    for _ in range(100):
        for client in clients * 3:
            request = world.visit(client)
            units += request.cost if request.verdict.action is Action.FORWARD else 0.0
        world.pass_time(0.1, step=0.1)
    assert units <= 1.2 * (50.0 + 10 * 10.0)


def test_a_pass_that_all_workers_see_has_one_bucket(fleet: Any) -> None:
    world = fleet(spread=True, concurrency=50, limits=LimitsSettings(pass_=Rate(10.0, 50.0)))
    client = world.client("192.0.2.1")
    world.engine.engines[0]._passes.earn(world.now)
    token = world.engine.engines[0]._passes.earn(world.now)
    shown = world.engine.present(token, world.now)
    assert shown is not None
    assert shown.kind is PassKind.EARNED
    units = 0.0
    for _ in range(100):
        for _ in range(30):
            request = world.visit(client, shown=world.engine.present(token, world.now))
            units += request.cost if request.verdict.action is Action.FORWARD else 0.0
        world.pass_time(0.1, step=0.1)
    assert units <= 1.25 * (50.0 + 10 * 10.0)


def test_what_does_not_owe_much_is_not_told(spread: Any) -> None:
    world = spread
    for n in range(50):
        world.visit(world.client(f"192.0.{n}.1"))
    world.pass_time(0.5)
    written = world.engine.board.news[0].written
    world.visit(world.client("192.0.2.1"))
    world.pass_time(5.0)
    assert world.engine.board.news[0].written - written < 50, "only of routes, in each window"
    assert written < NEWS[0]


def test_who_is_named_by_the_operator_pays_nowhere(fleet: Any) -> None:
    world = fleet(spread=True, concurrency=50, identity=IdentitySettings(allow=("192.0.2.0/24",)))
    client = world.client("192.0.2.1")
    for _ in range(300):
        assert world.visit(client).verdict.reason is Reason.ALLOWLISTED
    assert [engine._several._paid._noted for engine in world.engine.engines] == [{}] * 3


@pytest.mark.parametrize(
    "row",
    [
        ["paid", "ff", "192.0.2.1", 5.0],
        ["paid", "00" * 16, 7, 5.0],
        ["paid", "00" * 16, "192.0.2.1", "much"],
        ["paid", "00" * 8, "", 5.0],
        ["paid"],
    ],
)
def test_a_payment_that_makes_no_sense_is_nobodys(spread: Any, row: list[Any]) -> None:
    assert spread.engine.engines[0].import_learned([row], spread.now) == 0


def test_only_so_many_are_noted(spread: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shield.policy.board.paid.MOST_PAID", 2)
    for n in range(9):
        spread.visit(spread.client(f"192.0.{n}.1"))
    assert [engine._several._paid.lost for engine in spread.engine.engines] == [1, 1, 1]


def test_where_there_is_no_room_for_a_client_it_pays_at_one_worker(fleet: Any) -> None:
    world = fleet(spread=True, concurrency=50, identity=IdentitySettings(clients_per_address=1))
    one = world.engine.engines[1]
    one.identify("192.0.2.1", "first", "", "", world.now)
    assert one.import_learned([["paid", "00" * 16, "192.0.2.1", 5.0]], world.now) == 0


def test_a_single_worker_takes_no_payments(make: Any) -> None:
    world = make()
    assert world.engine.import_learned([["paid", "00" * 16, "192.0.2.1", 5.0]], world.now) == 0


def test_what_was_spent_long_ago_or_is_known_is_not_remembered_again(attacked: Any) -> None:
    zero, one, _ = attacked.engine.engines
    tag = b"t" * 16
    for until in (attacked.now - 1.0, attacked.now + 60.0, attacked.now + 60.0):
        one._several._claims.claim(tag, until)
    assert not zero.clients.challenger.first(tag, attacked.now + 60.0, attacked.now)
    assert len(zero.clients.challenger.spent) == 1


def test_only_so_many_times_are_sent_to_the_worker_that_leads(fleet: Any) -> None:
    world = fleet(concurrency=4)
    world.pass_time(0.5)
    concurrency = world.engine.engines[1]._concurrency
    for _ in range(300):
        concurrency.sample(b"client", 0.05, 0.01, False, 1)
    assert len(concurrency.away) == MOST_AWAY
    world.engine.tick(world.now)
    assert concurrency.away == []
    assert world.engine.status(world.now).board.lost == 0


def test_an_ordinary_pass_owes_what_its_payments_say(fleet: Any) -> None:
    world = fleet(concurrency=4)
    passes = world.engine.engines[0]._passes
    shown = passes.present(passes.earn(world.now), world.now)
    row = passes.row(shown, 0.0)
    row[5] += 20.0
    assert not passes.restore(row, 0.0, world.now)
    assert shown.tat == 0.0


def test_a_place_that_is_not_there_is_not_let_go(attacked: Any) -> None:
    world = attacked
    client, ticket = waiting(world)
    world.pass_time(5.0)  # it has won
    zero = world.engine.engines[0]
    (place,) = zero._pricing.room._places
    for name in (place.hex(), "00" * 10):
        assert zero.import_learned([["left", name]], world.now) == 0
    assert at(world, client, 0, ticket).result is Redeemed.ACCEPTED


def test_whoever_claims_a_place_while_passes_have_no_room_may_claim_it_again(fleet: Any) -> None:
    world = fleet(spread=True, concurrency=4, tables=TableSettings(passes=16))
    flood(world, 4.0)
    save(world, 100.0)
    for n in range(16):
        world.buy(world.client(f"192.0.{n}.1"))
    client, ticket = waiting(world)
    world.pass_time(5.0)
    assert [at(world, client, 0, ticket).result for _ in range(2)] == [Redeemed.BUSY] * 2
    assert at(world, client, 1, ticket).result is Redeemed.WAITING, "the other one sells it"


def test_a_pass_of_the_future_is_nobodys(spread: Any) -> None:
    passes = spread.engine.engines[0]._passes
    shown = passes.present(passes.earn(spread.now), spread.now)
    row = passes.row(shown, 100.0)
    assert not spread.engine.engines[1]._passes.restore(row, 0.0, spread.now)


def test_workers_in_the_place_of_others_know_the_challenges_of_those(attacked: Any, fleet: Any) -> None:
    """As when new code takes over: another board, and what each worker knew."""
    new = fleet(spread=True, concurrency=4)
    new.now = attacked.now
    client, challenge = challenged(attacked)
    attacked.engine.engines[0].redeem(
        attacked.engine._at(client, 0, attacked.now), challenge.token, nonces(challenge), attacked.now
    )
    _, open_one = challenged(attacked, "192.0.2.9")
    attacked.engine.tick(attacked.now)
    new.engine.memory[:2] = b"\x77\x77"
    for old, heir in zip(attacked.engine.engines, new.engine.engines, strict=True):
        heir.import_learned(old.export_learned(new.now, heir=True), new.now)
    moved = new.client("192.0.3.1")
    spent = new.engine.redeem(new.client("192.0.2.1"), challenge.token, nonces(challenge), new.now)
    assert spent.result is Redeemed.SPENT
    taken = new.engine.redeem(moved, open_one.token, nonces(open_one), new.now)
    assert taken.result in {Redeemed.ACCEPTED, Redeemed.WAITING}
    new.engine.kill(1)
    new.engine.replace(1)
    assert new.engine.engines[1].clients.challenger._place == attacked.engine.engines[1].clients.challenger._place


def test_a_pass_that_is_shared_by_networks_of_all_workers_is_revoked(fleet: Any) -> None:
    """Each worker counted its own networks, and let as many share it as there are workers times eight."""
    world = fleet(concurrency=50)
    passes = world.engine.engines[0]._passes
    shown = world.engine.present(passes.earn(world.now), world.now)
    served = 0
    for n in range(30):
        request = world.ask(world.client(f"10.{n}.7.1"), shown=shown)
        served += request.shown_pass is not None
        world.engine.tick(world.now)
    assert CHEAP.pass_networks <= served <= CHEAP.pass_networks + 3
    assert [name for name, _ in world.engine.events()] == ["pass_revoked"]


def test_a_pass_that_is_not_in_use_here_was_seen_nowhere(spread: Any) -> None:
    zero = spread.engine.engines[0]
    assert zero.import_learned([["seen", "00" * 8, "192.0.2.0/24"], ["seen", "00", "x"]], spread.now) == 0


@pytest.mark.parametrize("who", ["network", "client"])
def test_whom_the_operator_pardons_is_not_banned_again_by_what_is_told_later(spread: Any, who: str) -> None:
    """A worker that takes the place of another one reads of the ban, and of the pardon after it."""
    world = spread
    client = world.client("192.0.2.1")
    agents = [client, *(world.client("192.0.2.1", agent=f"Bot/{n}") for n in range(5))]
    for _ in range(6):
        for each in agents[: 1 if who == "client" else 6]:
            world.engine.report(each, Signal.MALFORMED, world.now)
            world.engine.tick(world.now)
    bans = [engine.status(world.now).active_bans for engine in world.engine.engines]
    assert bans == [{"clients": 1, "addresses": 0} if who == "client" else {"clients": 6, "addresses": 1}] * 3
    for engine in world.engine.engines:
        lifted = engine.pardon(client.key.hex() if who == "client" else "192.0.2.0/24", world.now)
        assert sum(lifted) == (1 if who == "client" else 7)
    world.engine.tick(world.now)
    world.engine.kill(1)
    world.engine.replace(1)
    world.engine.tick(world.now)
    bans = [engine.status(world.now).active_bans for engine in world.engine.engines]
    assert bans == [{"clients": 0, "addresses": 0}] * 3
    assert [world.ask(client).verdict.action for _ in range(3)] == [Action.FORWARD] * 3


def test_a_pardon_told_by_one_holds_at_all(spread: Any) -> None:
    world = spread
    client = world.client("192.0.2.1")
    for _ in range(6):
        world.engine.report(client, Signal.MALFORMED, world.now)
        world.engine.tick(world.now)
    assert sum(world.engine.engines[2].pardon(client.key.hex(), world.now)) == 1
    world.engine.tick(world.now)
    assert [engine.status(world.now).active_bans["clients"] for engine in world.engine.engines] == [0, 0, 0]
    zero = world.engine.engines[0]
    assert zero.import_learned([["pardon", "00" * 16, ""], ["pardon", "", "198.51.100.1"]], world.now) == 0


def test_what_a_network_owes_is_known_to_all(fleet: Any) -> None:
    """Newcomers of one network had as many buckets under pressure as there were workers."""
    limits = LimitsSettings(network=Rate(10.0, 50.0))
    world = fleet(spread=True, concurrency=4, limits=limits, challenge=ChallengeSettings(mode="off"))
    flood(world, 4.0)
    assert world.engine.attack
    reasons = set()
    units, begun = 0.0, world.now
    for round_ in range(40):
        for host in range(6):
            request = world.visit(world.client(f"192.0.2.{host}"), rtt=0.05)
            reasons.add(request.verdict.reason)
            units += request.cost if request.verdict.action is Action.FORWARD else 0.0
        world.pass_time(0.1, step=0.1)
        assert round_ > 10 or world.engine.pressed
    assert Reason.NETWORK_RATE in reasons
    ahead = 6 * 5.0  # units, of what is asked within a tenth of a second
    assert units <= 1.2 * (50.0 + 10.0 * (world.now - begun)) + ahead
    told = [engine._identity.networks.get("192.0.2.0/24") for engine in world.engine.engines]
    owed = [network.tat - world.now for network in told]
    assert max(owed) - min(owed) <= OVERDRAWN


def test_what_makes_no_sense_is_charged_to_no_network(fleet: Any) -> None:
    world = fleet(spread=True, concurrency=4)
    engine = world.engine.engines[0]
    good = ["network_paid", "192.0.2.0/24", 3.0, 5.0]
    bad = [
        ["network_paid", "192.0.2.0/23", 3.0, 5.0],
        ["network_paid", "nowhere", 3.0, 5.0],
        ["network_paid", "192.0.2.0/24", "3", 5.0],
        ["network_paid", "192.0.2.0/24", 3.0],
    ]
    assert engine._remembered.load([good, *bad], world.now) == 1
    network = engine._identity.networks.get("192.0.2.0/24")
    assert (network.tat, network.shadow) == (world.now + 3.0 / network.rate, world.now + 5.0 / network.rate)
    assert engine._remembered.load([["network_paid", "192.0.2.0/24", 1e9, 1e9]], world.now) == 1
    assert network.tat <= world.now + network.span + OVERDRAWN
    alone = fleet(concurrency=4).engine.engines[0]
    assert alone._remembered.load([good], world.now) == 0, "there the kernel brings a network to one worker"


def test_strangers_that_share_an_entry_charge_no_network(fleet: Any) -> None:
    world = fleet(spread=True, concurrency=4, tables=TableSettings(networks=16))
    engine = world.engine.engines[0]
    rows = [["network_paid", f"10.{number}.0.0/24", 1.0, 1.0] for number in range(40)]
    assert engine._remembered.load(rows, world.now) < 40
