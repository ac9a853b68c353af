"""What the policy has learned comes back from plain rows, in another process at another time of another clock."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest

from shield.model import Action, Reason, Signal
from shield.policy.challenge.challenge import Redeemed
from shield.policy.concurrency.settings import ConcurrencySettings
from shield.policy.drops import DropsSettings
from shield.policy.limits.settings import LimitsSettings
from shield.policy.pricing.settings import PricingSettings
from shield.policy.table import TableSettings
from tests.policy.conftest import CHEAP, Make, World, nonces

SIX = "2001:db8:5:7::1"
OFFENDERS = ("192.0.2.1", SIX, "::ffff:198.51.100.7")


@pytest.fixture
def reborn(make: Make) -> Callable[..., World]:
    """reborn(world, later=1.0, heir=False, same_service=True, **more): a world that took what another has learned, by
    way of JSON."""

    def reborn(world: World, later: float = 1.0, heir: bool = False, same_service: bool = True, **more: Any) -> World:
        rows = [row for row in world.engine.export_learned(world.now, heir) if row is not None]
        new = make(keys=world.keys, seed=2, **more)
        new.now = world.now + later
        new.engine.tick(new.now)
        new.engine.import_learned(json.loads(json.dumps(rows)), new.now, same_service)
        return new

    return reborn


def offend(world: World, address: str, times: int = 6) -> None:
    client = world.client(address)
    for _ in range(times):
        world.engine.report(client, Signal.MALFORMED, world.now)


def test_no_ban_is_lost(world: World, reborn: Callable[..., World]) -> None:
    for address in OFFENDERS:
        offend(world, address)
        assert world.ask(world.client(address)).verdict.reason is Reason.CLIENT_BANNED
    for _ in range(6):
        world.engine.report("203.0.113.9", Signal.MALFORMED, world.now)
    before = world.engine.status(world.now).active_bans
    assert before == {"clients": 3, "addresses": 1}
    assert world.engine.bans_made == 4
    new = reborn(world, later=10.0)
    assert new.engine.status(new.now).active_bans == before
    for address in OFFENDERS:
        verdict = new.ask(new.client(address)).verdict
        assert (verdict.action, verdict.reason) == (Action.BAN, Reason.CLIENT_BANNED)
        assert verdict.retry_after <= 51
    again = reborn(new, later=51.0)
    assert again.engine.status(again.now).active_bans == {"clients": 0, "addresses": 0}
    offend(again, OFFENDERS[0])
    assert again.engine.events()[-1][1]["relapses"] == 2


def test_rows_of_two_processes_leave_one_ban(world: World, reborn: Callable[..., World]) -> None:
    offend(world, "192.0.2.1")
    rows = [row for row in world.engine.export_learned(world.now) if row]
    new = reborn(world)
    new.engine.import_learned(rows, new.now)
    assert new.engine.status(new.now).active_bans["clients"] == 1
    world.pass_time(86_400.0 + 61.0, step=600.0)
    assert not [row for row in world.engine.export_learned(world.now) if row and row[0] == "client"]
    new.now = world.now
    (client,) = (row for row in rows if row[0] == "client")
    client[-2] = 0.0  # a ban of long ago
    fresh = reborn(new)
    fresh.engine.import_learned([client], fresh.now)
    assert fresh.engine.status(fresh.now).active_bans["clients"] == 0


def test_scores_of_note_come_back_and_small_ones_do_not(
    world: World, reborn: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    offend(world, "192.0.2.1", times=1)
    offend(world, SIX, times=5)
    offend(world, "198.51.100.1", times=1)
    world.visit(world.client("203.0.113.1"))
    kinds = [row[0] for row in world.engine.export_learned(world.now) if row]
    assert kinds.count("client") == 3
    assert kinds.count("network") == 4, "a /24 each, a /48 and a /56"
    new = reborn(world)
    for address in ("192.0.2.1", SIX):
        old, now = world.client(address), new.client(address)
        assert now.entry.score == old.entry.score
        assert now.entry.shared == old.entry.shared
        assert (now.source.score, now.source.hard) == (old.source.score, old.source.hard)
        assert now.source.network.score == old.source.network.score
        assert now.source.clients == 1
        assert now.entry is new.client(address).entry
    monkeypatch.setattr("shield.policy.remembered.MOST_SCORES", 1)
    kinds = [row[0] for row in world.engine.export_learned(world.now) if row]
    assert (kinds.count("client"), kinds.count("address"), kinds.count("network")) == (1, 1, 1)


def test_who_would_share_an_entry_is_left_out(world: World, make: Make) -> None:
    for n in range(40):
        offend(world, f"192.0.{n}.1")
        offend(world, f"2001:db8:{n + 1:x}::1")
    rows = [row for row in world.engine.export_learned(world.now) if row]
    small = make(keys=world.keys, tables=TableSettings(clients=16, addresses=16, networks=16))
    small.now = world.now
    assert small.engine.import_learned(rows, small.now) < len(rows)
    assert small.engine.status(small.now).active_bans["addresses"] <= 16
    fewer = make(keys=world.keys, tables=TableSettings(clients=16))
    fewer.now = world.now
    fewer.engine.import_learned(rows, fewer.now)
    assert fewer.engine.status(fewer.now).active_bans["clients"] == 16
    (row, *_) = (row for row in rows if row[0] == "client")
    elsewhere = [*row[:2], "203.0.113.1", *row[3:]]
    assert fewer.engine.import_learned([elsewhere], fewer.now) == 0


def test_full_tables_take_no_more(make: Make) -> None:
    """Their overflow entry is everybody's, and takes no score."""
    small = make(tables=TableSettings(addresses=16, networks=16))
    wall = 1_700_000_000.0
    networks = [["network", f"198.51.{n}.0/24", 20.0, wall] for n in range(40)]
    assert small.engine.import_learned(networks, small.now) == 16
    addresses = [["address", f"198.51.0.{n}", 20.0, wall, 20.0, wall + 600.0, 1] for n in range(40)]
    assert small.engine.import_learned(addresses, small.now) == 16
    client = ["client", "00" * 16, "198.51.0.99", 20.0, wall, 1.0, wall, 1]
    assert small.engine.import_learned([client], small.now) == 0


def attacked(make: Make, **more: Any) -> World:
    world = make(**more)
    world.pass_time(1.0)
    world.storm(0.9)
    return world


def test_passes_that_their_token_does_not_tell(make: Make, reborn: Callable[..., World]) -> None:
    world = attacked(make)
    token, bought = world.buy(world.client("192.0.2.1"))
    other, revoked = world.buy(world.client("192.0.3.1"))
    revoked.revoke()
    third, lapsed = world.buy(world.client("192.0.4.1"))
    lapsed.expires = world.now
    world.pass_time(CHEAP.bought_idle - 10.0)
    bought.renew(world.now + CHEAP.bought_idle)
    assert bought.scarce
    new = reborn(world, later=20.0)
    shown = new.engine.present(token, new.now)
    assert shown is not None
    assert shown.scarce
    assert shown.bought_in == "192.0.2.0/24"
    assert new.engine.present(other, new.now) is None
    assert new.engine.present(third, new.now) is None
    assert new.engine.status(new.now).bought_passes == 1
    twice = [row for row in new.engine.export_learned(new.now) if row and row[0] == "pass"]
    assert len(twice) == 2
    assert new.engine.import_learned(twice, new.now) == 0
    new.pass_time(2 * CHEAP.bought_idle, step=5.0)
    assert new.engine.status(new.now).bought_passes == 0
    later = reborn(world, later=2 * CHEAP.bought_idle)
    assert later.engine.status(later.now).bought_passes == 0


def test_passes_for_which_there_is_no_room(make: Make, reborn: Callable[..., World]) -> None:
    world = attacked(make)
    for n in range(20):
        _, bought = world.buy(world.client(f"192.0.{n}.1"))
        if n == 0:
            bought.bought_in = ""
    assert reborn(world, tables=TableSettings(passes=16)).engine.status(world.now).bought_passes == 16


def test_a_challenge_is_answered_once_before_and_after(make: Make, reborn: Callable[..., World]) -> None:
    world = attacked(make)
    client = world.client()
    challenge = world.engine.mint(world.ask(client), world.now)
    unspent = world.engine.mint(world.ask(client), world.now)
    answer = nonces(challenge)
    assert world.engine.redeem(client, challenge.token, answer, world.now).result is Redeemed.ACCEPTED
    heir = reborn(world, heir=True)
    assert heir.engine.redeem(heir.client(), challenge.token, answer, heir.now).result is Redeemed.SPENT
    moved = heir.client("198.51.100.1")
    assert heir.engine.redeem(moved, unspent.token, nonces(unspent), heir.now).result is Redeemed.ACCEPTED
    stranger = reborn(world)
    moved = stranger.client("198.51.100.1")
    assert stranger.engine.redeem(moved, unspent.token, nonces(unspent), stranger.now).result is Redeemed.FOREIGN
    rows = [row for row in world.engine.export_learned(world.now) if row and row[0] == "spent"]
    assert len(rows) == 1
    assert heir.engine.import_learned(rows, heir.now) == 0, "it is known"
    heir.pass_time(CHEAP.lifetime + 1.0)
    assert not [row for row in heir.engine.export_learned(heir.now) if row and row[0] == "spent"][1:]
    assert heir.engine.import_learned(rows, heir.now) == 0, "it has expired"
    # before the tick that forgets it
    world.now += CHEAP.lifetime + 1.0
    assert not [row for row in world.engine.export_learned(world.now) if row and row[0] == "spent"]


def test_places_in_the_waiting_room(make: Make, reborn: Callable[..., World]) -> None:
    world = attacked(make, pricing=PricingSettings(savings=1.0))
    world.engine._pricing._purse.saved = 0.0
    tickets: list[str] = []
    for n in range(4):
        client = world.client(f"192.0.{n}.1")
        challenge = world.engine.mint(world.ask(client), world.now)
        redemption = world.engine.redeem(client, challenge.token, nonces(challenge), world.now)
        assert redemption.result is Redeemed.WAITING
        tickets.append(redemption.ticket)
    room = world.engine._pricing.room
    room.issue(world.now)
    room.issue(world.now)
    won = [n for n, ticket in enumerate(tickets) if getattr(room.find(ticket), "won", False)]
    claimed = world.engine.claim(world.client(f"192.0.{won[0]}.1"), tickets[won[0]], world.now)
    assert claimed.result is Redeemed.ACCEPTED
    new = reborn(world, later=2.0)
    new.engine._pricing.rate = 1.0
    for n, ticket in enumerate(tickets):
        found = new.engine.claim(new.client(f"192.0.{n}.1"), ticket, new.now)
        assert found.result is (Redeemed.ACCEPTED if n in won else Redeemed.WAITING), n
        if n == won[0]:
            assert found.pass_token == claimed.pass_token
    rows = [row for row in world.engine.export_learned(world.now) if row and row[0] == "wait"]
    assert new.engine.import_learned(rows, new.now) == 0, "they are known"
    assert reborn(world, later=1000.0).engine.status(0.0).tables.waiting.entries == 0


def test_what_the_service_takes(make: Make, reborn: Callable[..., World]) -> None:
    adaptive = ConcurrencySettings()
    world = make(concurrency=0, limit=adaptive)
    world.engine._concurrency._limit.value = 57
    world.engine._concurrency._limit.found = True
    for _ in range(20):
        world.visit(world.client(), "/search", rtt=0.2)
    world.engine._pricing.hashes = 128.0
    new = reborn(world, concurrency=0, limit=adaptive)
    assert new.engine.concurrency_limit == 57
    assert new.engine.status(new.now).concurrency_found
    assert new.engine._concurrency.slots.size == 57
    (route,) = (each for each in new.engine.status(new.now).routes if each.route == "GET/search")
    assert route.baseline == pytest.approx(world.engine.status(world.now).routes[0].baseline)
    assert route.cost > 10.0
    assert new.engine.status(new.now).price == 128
    rows = [row for row in world.engine.export_learned(world.now) if row and row[0] == "route"]
    assert new.engine.import_learned(rows, new.now) == 0, "as much is known"
    told = reborn(world)
    assert told.engine.concurrency_limit == 100, "what the operator says stays"
    other = reborn(world, same_service=False, concurrency=0, limit=adaptive)
    assert other.engine.concurrency_limit == adaptive.start
    assert other.engine.status(other.now).routes == []
    assert other.engine.status(other.now).price == 128


def test_routes_for_which_there_is_no_room_and_those_with_a_cost(make: Make, reborn: Callable[..., World]) -> None:
    world = make()
    for n in range(20):
        world.visit(world.client(), "/" + "abcdefghijklmnopqrstuvwxyz"[n])
    small = reborn(world, tables=TableSettings(routes=8))
    assert small.engine.status(small.now).tables.routes.entries == 8
    told = reborn(world, limits=LimitsSettings(costs={"/a": 3.0}))
    assert told.engine._routes["GET/a"].cost == 3.0


def test_an_attack_goes_on(make: Make, reborn: Callable[..., World]) -> None:
    world = attacked(make)
    peace = make()
    peace.pass_time(1.0)
    assert not reborn(peace).engine.attack
    new = reborn(world)
    assert new.engine.attack
    assert new.engine.pressed
    assert new.engine.pressure == pytest.approx(world.engine.pressure)
    assert new.engine._history.frozen
    assert new.ask(new.client("198.51.100.1")).verdict.action is Action.CHALLENGE
    assert new.engine.status(new.now).attack_cause == world.engine.status(world.now).attack_cause
    new.pass_time(0.5)
    assert new.engine.attack


def test_drops_go_on_unless_somebody_there_is_known(make: Make, reborn: Callable[..., World]) -> None:
    world = make(drops=DropsSettings(refusals=100))
    world.engine.drops._drop("192.0.2.1", world.now)
    world.engine.drops._drop(world.client(SIX).source.name, world.now)
    world.engine.drops._drop("192.0.2.2", world.now)
    world.engine.drops.active.pop("192.0.2.2")
    world.engine.drops._addresses["192.0.2.2"].until = world.now
    new = reborn(world)
    assert set(new.engine.drops.active) == {"192.0.2.1", "2001:db8:5:7::/64"}
    assert set(new.engine.drops._addresses) == {"192.0.2.1", "192.0.2.2", "2001:db8:5:7::/64"}
    assert new.engine.drops.version
    assert reborn(world, drops=DropsSettings(addresses=1)).engine.drops.active.keys() == {"192.0.2.1"}
    assert not reborn(world, drops=DropsSettings(enabled=False)).engine.drops.active
    home = make(keys=world.keys)
    home.settle_down(home.client("192.0.2.1"))
    rows = [["drop", "192.0.2.1", 9e9, 1], ["drop", "127.0.0.1", 9e9, 1], ["drop", "::ffff:192.0.2.9", 9e9, 1]]
    assert home.engine.import_learned(rows, home.now) == 0


ODD: list[Any] = [
    None,
    True,
    -1,
    0,
    1e308,
    math.nan,
    math.inf,
    "",
    "zz",
    "00" * 8,
    "00" * 300,
    "1.2.3.4",
    [],
    {},
    [1, 2],
]


def test_rows_that_make_no_sense_are_left_out(make: Make, reborn: Callable[..., World]) -> None:
    """A file is somebody's who may write there; half of its numbers are turned into something else."""
    world = make()
    world.visit(world.client("192.0.5.1"), "/search", rtt=0.2)
    world.pass_time(1.0)
    world.storm(0.9)
    offend(world, "192.0.2.1")
    world.buy(world.client("192.0.3.1"))
    world.engine.drops._drop("192.0.4.1", world.now)
    world.engine._pricing.room.enter("192.0.6.0/24", True, 10, world.now)
    rows = [row for row in world.engine.export_learned(world.now, heir=True) if row]
    assert len({row[0] for row in rows}) == 12, "one of each kind"
    new = make(keys=world.keys)
    new.now = world.now
    for row in rows:
        for place in range(len(row)):
            for odd in ODD:
                new.engine.import_learned([[*row[:place], odd, *row[place + 1 :]]], new.now)
        new.engine.import_learned([row[:-1], [*row, 0], row[0], [], 5], new.now)
    for name in ("192.0.2.0/25", "2001:db8::/47", "2001:db8::/56", "x/24"):
        new.engine.import_learned([["network", name, 5.0, 1.7e9]], new.now)
    new.pass_time(5.0)
    status = new.engine.status(new.now)
    assert 0.0 <= status.pressure <= 1.0
    assert status.concurrency == 100
    assert math.isfinite(status.capacity)
    new.visit(new.client("203.0.113.1"))


def test_a_history_may_be_taken_in_parts(world: World, make: Make) -> None:
    """An address is in one network, also where the rows that say so come in different parts."""
    world.settle_down(world.client("192.0.2.1"), world.client("192.0.2.2"))
    rows = list(world.engine.export_history(world.now))
    new, homes = make(keys=world.keys), dict[str, str]()
    assert [new.engine.import_history([row], world.now, homes) for row in rows] == [1, 1]
    assert homes == {"192.0.2.1": "192.0.2.0/24", "192.0.2.2": "192.0.2.0/24"}
    astray = ["ab" * 16, "192.0.2.1", "192.0.3.0/24", *rows[0][3:]]
    assert new.engine.import_history([astray], world.now, homes) == 0


def test_an_engine_that_nobody_asks_lets_go_of_its_tables(make: Make) -> None:
    """Its parts refer to each other: after a reload its tables stayed in memory for good."""
    world = make()
    world.settle_down(*(world.client(f"192.0.2.{n}") for n in range(8)))
    turns = 1
    while world.engine.let_go(3):
        turns += 1
    assert turns == 3
    tables = world.engine.status(world.now).tables
    sizes = (tables.clients, tables.addresses, tables.networks, tables.passes, tables.history)
    assert [table.entries for table in sizes] == [0] * 5


def test_what_must_outlive_a_crash_is_noted_at_once(make: Make) -> None:
    """Bans, pardons, revoked passes and spent challenges; no scores, which fade."""
    world = attacked(make)
    journal, client = world.engine.journal, world.client("192.0.2.1")
    offend(world, "198.51.100.1")
    assert list(world.engine.export_journal()) == [], "nobody wants them"
    journal.on = True
    offend(world, "192.0.3.1", times=5)
    assert list(world.engine.export_journal()) == []
    offend(world, "192.0.3.1", times=1)
    for _ in range(6):
        world.engine.report("192.0.4.1", Signal.MALFORMED, world.now)
    challenge = world.engine.mint(world.ask(client), world.now)
    world.engine.redeem(client, challenge.token, nonces(challenge), world.now)
    token, bought = world.buy(world.client("192.0.5.1"))
    for number in range(CHEAP.pass_networks + 1):
        world.ask(world.client(f"100.{number}.0.1"), shown=bought)
    rows = list(world.engine.export_journal())
    assert [row[0] for row in rows] == ["client", "address", "spent", "spent", "pass"]
    again = make(keys=world.keys, seed=2)
    again.now = world.now
    again.engine.tick(again.now)
    assert again.engine.import_learned(json.loads(json.dumps(rows)), again.now) == 5
    assert again.engine.status(again.now).active_bans == {"clients": 1, "addresses": 1}
    assert again.engine.present(token, again.now) is None
    assert again.engine.redeem(client, challenge.token, nonces(challenge), again.now).result is Redeemed.SPENT
    assert sum(world.engine.pardon("192.0.2.0/23", world.now)) == 1
    ((kind, name, home),) = world.engine.export_journal()
    assert (kind, name, home) == ("pardon", world.client("192.0.3.1").entry.key.hex(), "")
    assert list(world.engine.export_journal()) == []
