"""Several sites over one knowledge of clients: what is each site's own, and what holds at all."""

from __future__ import annotations

import random
from dataclasses import replace
from hashlib import blake2b
from typing import Any

import pytest

from shield.model import Action, Outcome, Reason, Tier
from shield.policy.bucket import Rate
from shield.policy.challenge.challenge import Redeemed
from shield.policy.engine import Engine
from shield.policy.entries import Pass, PassKind, Record
from shield.policy.history import History, HistorySettings
from shield.policy.keys import Keys
from shield.policy.notes import Notes
from shield.policy.pass_tokens import PassTokens
from shield.policy.passes import TAG_BYTES, Passes, Sellers
from shield.policy.settings import EngineSettings
from tests.policy.conftest import CHEAP, FIXED, OFFSET, WALL, World, nonces


class Town:
    """Two worlds whose engines are those of two sites: `a` is the first. Their clocks go together."""

    def __init__(self, **settings: Any) -> None:
        made = replace(EngineSettings(challenge=CHEAP, concurrency=FIXED), **settings)
        self.a = World(made, 100)
        self.b = World(made, 100, engine=self._beside)

    def _beside(self, settings: EngineSettings, keys: Keys, *rest: Any) -> Engine:
        return Engine(settings, keys, *rest, site="shop", beside=self.a.engine)

    def pass_time(self, seconds: float) -> None:
        step = 0.5
        for _ in range(int(seconds / step)):
            self.a.pass_time(step)
            self.b.pass_time(step)


@pytest.fixture
def town() -> Town:
    return Town()


def test_a_flood_on_one_site_raises_nothing_at_the_other(town: Town) -> None:
    a, b = town.a, town.b
    for number in range(40):  # what each service can do
        for world in (a, b):
            world.visit(world.client(f"192.0.2.{number}"), rtt=0.05)
    town.pass_time(5)
    calm = b.engine.status(b.now)
    a.storm(0.8)
    b.now = a.now
    b.pass_time(1.0)
    status = b.engine.status(b.now)
    assert a.engine.pressed
    assert a.engine.attack
    assert (b.engine.pressed, b.engine.attack, status.pressure) == (False, False, 0.0)
    assert (status.price, status.waiting, status.concurrency) == (calm.price, 0, calm.concurrency)
    assert a.ask(a.client("203.0.113.9")).verdict.action is Action.CHALLENGE
    assert b.ask(b.client("203.0.113.9")).verdict.reason is Reason.OK


def test_the_queue_and_the_slots_of_a_site_are_its_own() -> None:
    town = Town()
    a, b = town.a, town.b
    held = [a.ask(a.client(f"192.0.{number}.1"), "/slow") for number in range(101)]
    assert held[-1].verdict.action is Action.QUEUE
    assert (a.engine.waiting, b.engine.waiting) == (1, 0)
    assert (a.engine.in_flight, b.engine.in_flight) == (100, 0)
    assert b.visit(b.client("192.0.3.1")).verdict.reason is Reason.OK


def test_a_ban_holds_at_every_site(town: Town) -> None:
    a, b = town.a, town.b
    client = a.client("192.0.2.66")
    a.engine._reputation.hard(client.source, client.entry, 100.0, "honeypot", a.now)
    assert a.ask(client).verdict.action is Action.BAN
    assert b.ask(b.client("192.0.2.66")).verdict.action is Action.BAN
    assert [ban.client for ban in b.engine.bans(b.now) if ban] == [ban.client for ban in a.engine.bans(a.now) if ban]
    told = [name for name, _ in [*b.engine.events(), *a.engine.events()]]
    assert told.count("ban") == 1  # and not by each site


def test_the_bucket_of_a_client_is_one_for_all_sites(town: Town) -> None:
    a, b = town.a, town.b
    client = a.client()
    while a.visit(client).verdict.action is Action.FORWARD:
        pass
    assert b.ask(b.client()).verdict.reason is Reason.CLIENT_RATE


def test_a_history_made_at_one_site_counts_at_another(town: Town) -> None:
    a, b = town.a, town.b
    a.settle_down(a.client())
    b.now = a.now
    b.storm()
    assert b.ask(b.client()).tier is Tier.T1


def test_no_history_and_no_visit_begin_anywhere_while_a_site_is_under_attack(town: Town) -> None:
    a, b = town.a, town.b
    a.storm()
    b.now = a.now
    b.pass_time(0.5)
    # Or somebody would begin a page where it is calm, and go on with it where newcomers are challenged.
    assert b.visit(b.client("198.51.100.8")).verdict.reason is Reason.OK
    a.now = b.now
    image = {"Sec-Fetch-Dest": "image", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Site": "same-origin"}
    part = a.ask(a.client("198.51.100.8"), "/logo.png", headers=image)
    assert part.verdict.action is Action.CHALLENGE
    stranger = b.client("198.51.100.7")
    for _ in range(3):  # meanwhile no window of the other site ends
        b.pass_time(61.0)
        assert b.visit(stranger).verdict.reason is Reason.OK
    assert stranger.entry.record is None
    assert stranger.entry.begun < 0
    a.engine.clients.alarm("default", False)
    b.visit(stranger)
    assert stranger.entry.begun == b.now


def test_at_a_site_under_attack_a_visit_may_begin_for_who_is_let_in_there(town: Town) -> None:
    a = town.a
    known = a.client()
    a.settle_down(known)
    a.storm()
    a.now += 61.0
    a.visit(known)
    assert known.entry.begun == a.now


def test_a_bought_pass_is_worth_something_where_it_was_bought(town: Town) -> None:
    a, b = town.a, town.b
    a.storm()
    b.storm()
    b.now = a.now = max(a.now, b.now)
    buyer = b.client("203.0.113.1")
    token, bought = b.buy(buyer)
    assert bought.sold_at == "shop"
    assert b.ask(buyer, shown=bought).tier is Tier.T2
    there = a.engine.present(token, a.now)
    assert there is bought
    request = a.ask(a.client("203.0.113.1"), shown=there)
    assert (request.shown_pass, request.verdict.action) == (None, Action.CHALLENGE)
    mine, pass_ = a.buy(a.client("203.0.113.2"))
    assert (pass_.sold_at, a.ask(a.client("203.0.113.2"), shown=pass_).tier) == ("default", Tier.T2)
    assert b.ask(b.client("203.0.113.2"), shown=b.engine.present(mine, b.now)).verdict.action is Action.CHALLENGE


def test_a_bought_pass_with_a_history_is_known_at_every_site(town: Town) -> None:
    a, b = town.a, town.b
    a.storm()
    b.now = a.now
    _, bought = a.buy(a.client("203.0.113.2"))
    bought.record = b.engine._history.remember(Record(bought.key, "203.0.113.2", "203.0.113.0/24", 1.0, b.now, 2, 9.0))
    b.storm()
    assert b.ask(b.client("203.0.113.2"), shown=bought).tier is Tier.T0
    assert bought.scarce  # where it was bought there is still an attack


def test_an_earned_pass_is_good_at_every_site(town: Town) -> None:
    a, b = town.a, town.b
    client = a.client()
    a.settle_down(client)
    request = a.visit(client)
    token = a.engine.grant(request, a.now)
    assert token is not None
    b.now = a.now
    b.storm()
    shown = b.engine.present(token, b.now)
    assert b.ask(b.client("198.51.100.9"), shown=shown).tier is Tier.T1


def test_an_answer_buys_nothing_at_another_site(town: Town) -> None:
    a, b = town.a, town.b
    a.storm()
    b.storm()
    b.now = a.now = max(a.now, b.now)
    asked = b.ask(b.client("203.0.113.1"))
    challenge = b.engine.mint(asked, b.now)
    answer = nonces(challenge)
    wrong = a.engine.redeem(a.client("203.0.113.1"), challenge.token, answer, a.now)
    assert wrong.result is Redeemed.FOREIGN
    assert b.engine.redeem(b.client("203.0.113.1"), challenge.token, answer, b.now).result is Redeemed.ACCEPTED


def test_what_was_learned_of_clients_is_told_once_and_of_a_site_by_its_engine(town: Town) -> None:
    a, b = town.a, town.b
    client = a.client("192.0.2.66")
    a.engine._reputation.hard(client.source, client.entry, 100.0, "honeypot", a.now)
    b.visit(b.client("192.0.2.9"), "/of/b")
    of_a = {row[0] for row in a.engine.export_learned(a.now) if row}
    of_b = {row[0] for row in b.engine.export_learned(b.now) if row}
    assert {"client", "weather", "limit", "price"} <= of_a
    assert of_b <= {"weather", "limit", "price", "route"}


def test_only_the_first_engine_forgets_what_is_shared(town: Town) -> None:
    a, b = town.a, town.b
    forgets: list[float] = []
    a.engine.clients.expire = lambda full, now: forgets.append(now)  # type: ignore[method-assign]
    b.pass_time(2.0)
    assert not forgets
    a.pass_time(2.0)
    assert len(forgets) >= 3


# who sells


def sellers(*sites: str, size: int = 16) -> list[Passes]:
    """The passes of these sites, over one table."""
    tokens = PassTokens(Keys(b"\x01" * 32), random.Random(4).randbytes, WALL - OFFSET)
    shared = Sellers(size, Rate(20, 300))
    history = History(HistorySettings(), 16)
    return [
        Passes(CHEAP, Rate(20, 300), size, tokens, history, lambda n, c: None, Notes(), site=site, sellers=shared)
        for site in sites
    ]


def test_where_a_pass_was_bought_is_told_by_its_token_alone() -> None:
    default, shop, blog = sellers("default", "shop", "blog")
    sold = {}
    for one in (default, shop, blog):
        got = one.buy(8, "192.0.2.0/24", OFFSET)
        assert got is not None
        sold[one.site] = got[0]
    restarted = sellers("default", "shop", "blog")[0]
    for site, token in sold.items():
        found = restarted.present(token, OFFSET + 1)
        assert found is not None
        assert found.sold_at == site
    gone = sellers("default", "blog")[1].present(sold["shop"], OFFSET + 1)
    assert gone is not None
    assert gone.sold_at == "default"  # of a site that is no more


def test_without_a_default_the_first_site_has_the_passes_of_those_that_are_no_more() -> None:
    shop, _ = sellers("shop", "blog")
    assert shop.sellers.of(b"\0" * 8) is shop


def test_two_sites_never_have_the_same_tag(monkeypatch: pytest.MonkeyPatch) -> None:
    class Alike:
        def __init__(self, *_: Any, **__: Any) -> None: ...

        def digest(self) -> bytes:
            return b"\xff\xff"

    monkeypatch.setattr("shield.policy.passes.blake2b", Alike)
    shop, blog = sellers("shop", "blog")
    ids = [each._new_id()[:TAG_BYTES] for each in (shop, blog)]
    assert ids == [b"\xff\xff", b"\x00\x00"]


def test_the_default_gives_no_pass_the_tag_of_another_site() -> None:
    tag = blake2b(b"shop", digest_size=TAG_BYTES).digest()
    default, _ = sellers("default", "shop")
    default._tokens = PassTokens(Keys(b"\x01" * 32), lambda n: (tag + b"\xff" * n)[:n], WALL - OFFSET)
    assert not default.sellers.taken(default._new_id())


def test_a_pass_from_before_a_restart_is_scarce_where_it_was_bought() -> None:
    _, shop = sellers("default", "shop")
    shop.close_window(True, True, 1.0, 60.0, OFFSET)
    got = shop.buy(8, "192.0.2.0/24", OFFSET)
    assert got is not None
    row = shop.row(got[1], 0.0)
    default, again = sellers("default", "shop")
    again.close_window(True, True, 1.0, 60.0, OFFSET)
    assert default.restore(row, 0.0, OFFSET + 1)
    assert (default.bought, again.bought) == (0, 1)
    found = default.table[got[1].key]
    assert (found.sold_at, found.scarce) == ("shop", True)
    assert not default.restore(row, 0.0, OFFSET + 1)  # nothing new
    earned = Pass(b"12345678", PassKind.EARNED, Rate(20, 300), OFFSET, OFFSET + 1e6, None)
    earned.revoke()
    assert default.restore(shop.row(earned, 0.0), 0.0, OFFSET + 1)
    assert default.table[b"12345678"].sold_at is None


def test_requests_of_both_sites_settle_in_the_same_buckets(town: Town) -> None:
    a, b = town.a, town.b
    client = a.client()
    first, second = a.ask(client, "/x"), b.ask(b.client(), "/y")
    before = client.entry.shadow
    b.engine.learn(second, Outcome(200, 0.5, False), b.now)
    assert client.entry.shadow > before
    a.end(first)
