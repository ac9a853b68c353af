"""Passes: how one comes by them, and what they are worth."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.demo.solver import solve
from shield.model import Action, Reason, Tier
from shield.policy.bucket import Rate
from shield.policy.challenge.challenge import Redeemed
from shield.policy.challenge.settings import ChallengeSettings
from shield.policy.history import DAY
from shield.policy.keys import Keys
from shield.policy.notes import Notes
from shield.policy.pass_tokens import PassTokens
from shield.policy.passes import Passes
from shield.policy.pressure.onset import PEACE
from shield.policy.pricing.settings import PricingSettings
from shield.policy.table import TableSettings

CHEAP = ChallengeSettings(least_hashes=64, most_hashes=256)


def earn(world: Any, client: Any) -> str:
    """A pass that is granted silently."""
    world.settle_down(client)
    request = world.ask(client)
    token = world.engine.grant(request, world.now)
    world.end(request)
    assert token is not None
    return str(token)


def test_a_token_is_what_the_protocol_says(world: Any) -> None:
    token = earn(world, world.client())
    raw = urlsafe_b64decode(token + "==")
    assert len(raw) == 31
    assert (raw[0], raw[1], raw[14]) == (1, 1, 0)
    assert int.from_bytes(raw[10:14], "big") == 1_700_000_061


def test_a_client_that_becomes_known_in_calm_weather_gets_a_pass_silently(world: Any) -> None:
    client = world.client()
    assert not world.visit(client).grant
    assert world.engine.grant(world.ask(client), world.now) is None
    token = world.engine.present(earn(world, client), world.now)
    assert token is not None
    assert world.ask(client, shown=token).tier is Tier.T1
    assert not world.ask(client, shown=token).grant


def test_a_client_that_keeps_no_cookie_is_not_given_one_at_every_page(world: Any) -> None:
    client = world.client()
    earn(world, client)
    assert not world.ask(client).grant
    world.pass_time(600)
    tabs = [world.ask(client), world.ask(client)]
    assert [world.engine.grant(tab, world.now) is None for tab in tabs] == [False, True]


def test_no_pass_is_given_under_attack(world: Any) -> None:
    client = world.client()
    world.settle_down(client)
    request = world.ask(client)
    world.storm()
    assert world.engine.grant(request, world.now) is None
    world.lull()
    assert not world.ask(client).grant


def test_a_network_gets_sixty_passes_an_hour_until_it_is_known(world: Any) -> None:
    clients = [world.client(f"192.0.2.{i}") for i in range(80)]
    world.settle_down(*clients)
    tokens = [world.engine.grant(world.visit(client), world.now) for client in clients]
    assert sum(token is not None for token in tokens) == 60
    world.now += DAY
    assert world.engine.grant(world.visit(clients[79]), world.now) is not None


def test_a_network_that_was_forgotten_is_given_as_a_new_one(world: Any) -> None:
    client = world.client()
    world.settle_down(client)
    request = world.visit(client)
    world.engine._history._networks["192.0.2.0/24"].last -= 8 * DAY
    assert world.engine.grant(request, world.now) is not None
    assert client.source.network.grants > world.now


def test_a_pass_used_in_two_windows_is_the_best_tier(world: Any) -> None:
    client = world.client()
    token = world.engine.present(earn(world, client), world.now)
    elsewhere = world.client("198.51.100.1")
    world.settle_down(elsewhere, shown=token)
    assert world.ask(world.client("203.0.113.1"), shown=token).tier is Tier.T0
    world.storm()
    request = world.visit(world.client("203.0.113.1"), shown=token)
    assert (request.tier, request.verdict.action) == (Tier.T0, Action.FORWARD)


def test_an_earned_pass_survives_a_new_address_in_an_attack(world: Any) -> None:
    token = world.engine.present(earn(world, world.client()), world.now)
    world.storm()
    request = world.visit(world.client("198.51.100.1"), shown=token)
    assert (request.tier, request.verdict.action) == (Tier.T1, Action.FORWARD)


@given(st.text(max_size=60))
@pytest.mark.untraced
def test_no_text_is_a_pass(token: str) -> None:
    assert PASSES.present(token, 0.0) is None


class Nothing:
    def get(self, key: bytes) -> None:
        return None


def _passes() -> Any:
    return Passes(
        ChallengeSettings(pass_lifetime=DAY),
        Rate(20, 300),
        16,
        PassTokens(Keys(b"\x01" * 32, b"\x02" * 32), bytes, 1e9),
        Nothing(),  # type: ignore[arg-type]
        lambda network, passes: None,
        Notes(),
    )


PASSES = _passes()


def test_no_byte_of_a_pass_can_be_changed(world: Any) -> None:
    token = earn(world, world.client())
    raw = urlsafe_b64decode(token + "==")
    for i in range(len(raw)):
        changed = urlsafe_b64encode(raw[:i] + bytes([raw[i] ^ 1]) + raw[i + 1 :]).rstrip(b"=").decode()
        assert world.engine.present(changed, world.now) is None
    assert world.engine.present(token, world.now) is not None
    assert world.engine.present("=" * 42, world.now) is None
    assert world.engine.present("é" * 42, world.now) is None


def test_a_pass_signed_with_the_previous_key_is_good(make: Any) -> None:
    old, new = Keys(b"\x01" * 32), Keys(b"\x02" * 32, b"\x01" * 32)
    before = make(keys=old)
    token = earn(before, before.client())
    assert make(keys=new).engine.present(token, before.now) is not None
    assert make(keys=Keys(b"\x03" * 32)).engine.present(token, before.now) is None


def test_a_pass_ends(make: Any) -> None:
    world = make(challenge=replace(CHEAP, pass_lifetime=3600.0))
    client = world.client()
    text = earn(world, client)
    token = world.engine.present(text, world.now)
    world.now += 3599
    assert world.visit(client, shown=token).shown_pass is token
    world.now += 2
    assert world.visit(client, shown=token).shown_pass is None
    assert world.engine.present(text, world.now) is None


def test_a_pass_seen_from_more_than_eight_networks_in_ten_minutes_is_revoked(world: Any) -> None:
    text = earn(world, world.client())
    token = world.engine.present(text, world.now)
    for i in range(7):
        assert world.visit(world.client(f"10.{i}.0.1"), shown=token).shown_pass is token
        assert world.visit(world.client(f"10.{i}.7.2"), shown=token).shown_pass is token
    assert world.visit(world.client("2001:db8:1::1"), shown=token).shown_pass is token
    assert world.visit(world.client("2001:db8:2::1"), shown=token).shown_pass is token
    assert world.visit(world.client("10.8.0.1"), shown=token).shown_pass is None
    assert world.engine.events() == [("pass_revoked", {"pass": token.key.hex(), "networks": 9})]
    assert world.visit(world.client("10.0.0.1"), shown=token).shown_pass is None
    assert world.engine.present(text, world.now) is None
    world.now += 3 * 3600
    world.pass_time(1)
    assert world.engine.present(text, world.now) is None  # for as long as the token would have been good


def test_a_traveller_keeps_the_pass(world: Any) -> None:
    token = world.engine.present(earn(world, world.client()), world.now)
    for i in range(40):
        world.now += 80
        assert world.visit(world.client(f"10.{i}.0.1"), shown=token).shown_pass is token


@pytest.mark.parametrize("address", ["100.64.{}.7", "2001:db8:{}::7"])
def test_a_phone_whose_carrier_has_another_way_out_for_each_connection_keeps_the_pass(world: Any, address: str) -> None:
    """The ninth connection within ten minutes had the pass revoked, and the phone was challenged again and again."""
    token = world.engine.present(earn(world, world.client()), world.now)
    for i in range(60):
        world.now += 1
        assert world.visit(world.client(address.format(i)), shown=token).shown_pass is token
    assert not world.engine.events()


def test_a_bought_pass_lapses_in_an_attack_when_it_is_not_used(world: Any) -> None:
    client = world.client()
    world.storm()
    text, token = world.buy(client)
    for _ in range(4):
        world.pass_time(100)
        world.storm()
        request = world.visit(client, shown=token)
        assert (request.tier, request.verdict.action) == (Tier.T2, Action.FORWARD)
    assert world.engine.status(world.now).bought_passes == 1
    world.pass_time(121)
    world.storm()
    assert world.visit(client, shown=token).verdict.action is Action.CHALLENGE
    assert world.engine.present(text, world.now) is None
    assert world.engine.status(world.now).bought_passes == 0


def test_what_is_left_is_shared_among_the_bought_passes(make: Any) -> None:
    world = make(
        1, challenge=CHEAP, pricing=PricingSettings(first_used=0.001, least_used=0.001)
    )  # passes for everybody
    world.storm()
    client = world.client()
    rates, bursts = [], []

    def buy_again() -> None:
        client.entry.tat = client.source.tat = 0.0
        client.entry.bought = None
        world.buy(client)

    for _ in range(60):
        buy_again()
        world.storm()
        rates.append(world.engine.status(world.now).bought_rate)
        bursts.append(world.engine._passes.burst)
    assert rates[0] == 10.0
    assert rates[29] == pytest.approx(3.0)
    assert rates[-1] == pytest.approx(1.5)
    # ten seconds of it at once where that is more than a small page
    assert bursts[1] == 300.0
    assert bursts[9] == pytest.approx(90.0)
    assert bursts[29] == 60.0
    world.pass_time(0.5)
    for _ in range(300):
        buy_again()
    world.storm()
    assert world.engine.status(world.now).bought_rate == pytest.approx(0.5)


def test_who_has_bought_a_page_gets_it_at_once_and_more_as_slowly_as_there_is_room(world: Any) -> None:
    client = world.client()
    world.storm()
    _, token = world.buy(client)
    world.engine._passes.factor = 0.05  # as with thousands of such passes alive: half a unit a second
    world.engine._passes.burst = 60.0
    world.see(bought_factor=0.05, pressed=True)
    served = 0
    while world.ask(client, shown=token).verdict.action is Action.FORWARD:
        served += 1
    assert served == 60  # its burst, of a unit each
    world.now += 1.5
    assert world.ask(client, shown=token).verdict.reason is Reason.PASS_RATE
    world.now += 1.0
    assert world.ask(client, shown=token).verdict.action is Action.FORWARD
    assert 2 <= world.ask(client, shown=token).verdict.retry_after <= 3


def test_where_there_is_plenty_who_has_bought_a_page_gets_a_slow_one_too(world: Any) -> None:
    """With a bucket of 60 units a ninth of a page of 61 parts of 20 ms was refused before a service that was idle."""
    world.storm()
    client = world.client()
    _, token = world.buy(client)
    world.storm()
    served = 0
    while world.visit(client, shown=token, rtt=0.010).verdict.action is Action.FORWARD:
        served += 1
    assert served == 300  # units, as anybody with a pass
    world.engine._passes.burst = 60.0
    world.ask(client, shown=token)
    assert (token.burst, token.span) == (60.0, 6.0)


def test_a_form_that_another_site_posts_without_the_cookie_is_served_from_the_pass_just_bought(world: Any) -> None:
    client = world.client()
    world.storm()
    _, token = world.buy(client)
    returning = world.visit(client)  # SameSite=Lax: no cookie came along
    assert (returning.verdict.action, returning.charged_pass) == (Action.FORWARD, token)
    assert world.visit(world.client("192.0.2.2")).verdict.action is Action.CHALLENGE
    for _ in range(5):
        world.pass_time(25)
        world.visit(client, shown=token)
    world.storm()  # the flood is still there
    assert world.visit(client).verdict.action is Action.CHALLENGE  # 125 s later it has to come with the pass
    assert client.entry.bought is None


def test_a_bought_pass_becomes_an_ordinary_one_after_the_attack(world: Any) -> None:
    client = world.client()
    world.storm()
    text, token = world.buy(client)
    _, idle = world.buy(world.client("192.0.2.2"))
    assert (token.scarce, token.burst) == (True, 60.0)
    world.lull()
    while world.engine.attack:
        world.pass_time(60)
        world.visit(client, shown=token)
    world.pass_time(3000)
    assert world.engine.present(text, world.now) is token
    assert (token.scarce, token.rate, token.burst) == (False, 20, 300)
    assert world.visit(client, shown=token).tier is Tier.T2
    assert world.visit(client, shown=idle).shown_pass is None
    assert world.engine.status(world.now).bought_passes == 0


@pytest.mark.untraced
def test_a_pass_bought_in_calm_weather_is_an_ordinary_one_at_once(make: Any) -> None:
    world = make(challenge=replace(CHEAP, mode="always"))
    client = world.client()
    text, token = world.buy(client)
    assert not token.scarce
    world.pass_time(1800)
    assert world.visit(client, shown=token).verdict.action is Action.FORWARD
    assert world.engine.present(text, world.now) is token


def test_a_bought_pass_that_nobody_remembers_is_void_and_one_with_a_history_is_not(make: Any) -> None:
    world = make(challenge=replace(CHEAP, mode="always"))
    client, other = world.client(), world.client("192.0.2.2")
    text, token = world.buy(client)
    forgotten, _ = world.buy(other)
    world.settle_down(client, shown=token)
    world.now += 5 * 3600
    world.pass_time(30)
    assert not token.live
    assert world.engine.present(forgotten, world.now) is None
    again = world.engine.present(text, world.now)
    assert again is not token
    assert world.visit(client, shown=again).tier is Tier.T0


def test_a_connection_s_forgotten_pass_is_taken_up_again(world: Any) -> None:
    client = world.client()
    text = earn(world, client)
    token = world.engine.present(text, world.now)
    world.visit(client, shown=token)
    world.now += 5 * 3600
    world.pass_time(1)
    assert not token.live
    assert world.visit(client, shown=token).shown_pass is token
    assert token.live
    world.now += 5 * 3600
    world.pass_time(1)
    other = world.engine.present(text, world.now)  # on another connection, first
    assert other is not token
    assert world.visit(client, shown=token).shown_pass is other


@pytest.mark.parametrize("attack", [False, True])
def test_a_pass_that_was_just_bought_survives_a_restart(make: Any, attack: bool) -> None:
    before, after = make(challenge=replace(CHEAP, mode="always")), make(challenge=CHEAP)
    if attack:
        before.storm()
        after.storm()
    text, _ = before.buy(before.client())
    after.now += 60
    token = after.engine.present(text, after.now)
    assert token.scarce is attack
    assert after.engine.status(after.now).bought_passes == attack
    assert after.ask(after.client(), shown=token).tier is Tier.T2
    late = make(challenge=CHEAP)
    late.now += 122
    assert late.engine.present(text, late.now) is None


def test_a_connection_s_pass_shares_when_there_is_no_room_to_take_it_up_again(make: Any) -> None:
    world = make(challenge=CHEAP, tables=TableSettings(passes=16))
    client = world.client()
    token = world.engine.present(earn(world, client), world.now)
    world.storm()
    for i in range(16):
        world.buy(world.client(f"10.0.{i}.1"))
    assert not token.live
    assert world.visit(client, shown=token).shown_pass is world.engine._passes.table.shared
    assert not token.live


def test_a_scarce_pass_that_was_forgotten_stays_void(world: Any) -> None:
    client = world.client()
    world.storm()
    _, token = world.buy(client)
    world.now += 5 * 3600
    world.pass_time(1)
    assert not token.live
    assert world.visit(client, shown=token).shown_pass is None


def test_a_full_table_of_passes_keeps_what_was_paid_for(make: Any) -> None:
    world = make(challenge=CHEAP, tables=TableSettings(passes=16))
    users = [world.client(f"192.0.2.{i}") for i in range(3)]
    texts = [earn(world, user) for user in users]
    world.storm()
    buyers = [world.client(f"10.0.{i}.1") for i in range(20)]
    for buyer in buyers[:16]:
        world.buy(buyer)
    request = world.ask(buyers[17])
    challenge = world.engine.mint(request, world.now)
    nonces = solve(challenge.token, challenge.k, challenge.target)
    assert world.engine.redeem(buyers[17], challenge.token, nonces, world.now).result is Redeemed.BUSY
    shared = {world.engine.present(text, world.now) for text in texts}
    assert len(shared) == 1  # all the others share one budget
    (token,) = shared
    for i in range(30):
        assert world.visit(world.client(f"10.1.{i}.1"), shown=token).shown_pass is token  # and are not revoked together
    assert world.engine.status(world.now).tables.passes.entries == 16
    world.lull()
    world.engine._windows._pressure._onset.attack = PEACE
    world.pass_time(1)
    world.settle_down(users[0], shown=token)
    assert token.record is None


def test_a_known_client_does_not_suffer_from_its_small_pass(world: Any) -> None:
    """A bought pass is worth less than a history: who has both is charged as the known client."""
    client = world.client()
    world.storm()
    _, token = world.buy(client)
    world.lull()
    while world.engine.attack:
        world.pass_time(60)
        world.engine._passes.check(token, client.network, world.now)
    world.settle_down(client)
    token.scarce = True  # as if it had been bought in the next attack
    token.check_at = token.expires
    world.storm()
    request = world.ask(client, shown=token)
    assert request.tier is Tier.T1
    assert request.charged_pass is None


def test_a_pass_holder_behind_a_banned_address_does_not_pay(world: Any) -> None:
    client = world.client()
    token = world.engine.present(earn(world, client), world.now)
    stranger = world.client(agent="Other")
    stranger.source.banned_until = world.now + 100
    assert world.ask(stranger).verdict.reason is Reason.BAD_NEIGHBOUR
    assert world.ask(stranger, shown=token).verdict.action is Action.FORWARD
