"""Challenges: what they ask, what is accepted, and what it costs us."""

from __future__ import annotations

import hashlib
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.demo.solver import solve
from shield.model import Action
from shield.policy.challenge import TOKEN_CHARS, Challenge, Challenger, ChallengeSettings, Redeemed, Spent, solved
from shield.policy.keys import Keys
from shield.policy.request import Request
from shield.policy.status import TableStatus
from shield.policy.table import TableSettings

CLIENT = b"c" * 16
NOW = 5_000.0
CHEAP = ChallengeSettings(least_hashes=64, most_hashes=256)
ALWAYS = replace(CHEAP, mode="always")


def challenger(settings: ChallengeSettings = CHEAP, keys: Keys | None = None, spent: int = 16) -> Challenger:
    count = iter(range(1 << 30))
    keys = keys or Keys(b"\x01" * 32)
    return Challenger(settings, keys, lambda n: next(count).to_bytes(n, "big"), spent, 1e9, solved)


def answer(challenge: Challenge) -> list[int]:
    return solve(challenge.token, challenge.k, challenge.target)


def test_a_token_is_what_the_protocol_says() -> None:
    challenge = challenger().mint(CLIENT, 64, NOW)
    raw = urlsafe_b64decode(challenge.token)
    version, alg, k, target, expiry = struct.unpack(">BBBQI", raw[:15])
    assert (version, alg, k, target, expiry) == (1, 1, 16, 1 << 62, 1_000_005_120)
    assert (challenge.k, challenge.target, challenge.expected_hashes, challenge.expires_in) == (16, 1 << 62, 64, 120)
    assert len(raw) == 39
    assert "=" not in challenge.token


def test_a_nonce_solves_what_the_protocol_says() -> None:
    minter = challenger()
    challenge = minter.mint(CLIENT, 64, NOW)
    seed = hashlib.sha256(challenge.token.encode()).digest()
    nonces = []
    for i in range(16):
        n = 0
        while int.from_bytes(hashlib.sha256(seed + struct.pack(">IQ", i, n)).digest()[:8], "big") >= challenge.target:
            n += 1
        nonces.append(n)
    assert minter.verify(CLIENT, challenge.token, nonces, NOW) == (Redeemed.ACCEPTED, 6)


def test_the_least_possible_work_is_still_a_number() -> None:
    minter = challenger()
    challenge = minter.mint(CLIENT, 16, NOW)
    assert challenge.target == (1 << 64) - 1
    assert minter.verify(CLIENT, challenge.token, [0] * 16, NOW)[0] is Redeemed.ACCEPTED


def test_an_answer_is_accepted_once() -> None:
    minter = challenger()
    challenge = minter.mint(CLIENT, 64, NOW)
    nonces = answer(challenge)
    assert minter.verify(CLIENT, challenge.token, nonces, NOW)[0] is Redeemed.ACCEPTED
    assert minter.verify(CLIENT, challenge.token, nonces, NOW + 119)[0] is Redeemed.SPENT
    assert minter.verify(CLIENT, challenge.token, nonces, NOW + 120)[0] is Redeemed.EXPIRED


def test_several_challenges_may_be_open_at_once() -> None:
    minter = challenger()
    tabs = [minter.mint(CLIENT, 64, NOW) for _ in range(5)]
    assert all(minter.verify(CLIENT, tab.token, answer(tab), NOW)[0] is Redeemed.ACCEPTED for tab in reversed(tabs))


def test_somebody_else_s_challenge_is_foreign() -> None:
    minter = challenger()
    challenge = minter.mint(CLIENT, 64, NOW)
    assert minter.verify(b"d" * 16, challenge.token, answer(challenge), NOW)[0] is Redeemed.FOREIGN
    elsewhere = challenger(keys=Keys(b"\x07" * 32))
    assert elsewhere.verify(CLIENT, challenge.token, answer(challenge), NOW)[0] is Redeemed.FORGED


def test_two_keys_are_live() -> None:
    old, new = b"\x01" * 32, b"\x02" * 32
    challenge = challenger(keys=Keys(old)).mint(CLIENT, 64, NOW)
    nonces = answer(challenge)
    assert challenger(keys=Keys(new, old)).verify(CLIENT, challenge.token, nonces, NOW)[0] is Redeemed.ACCEPTED
    assert challenger(keys=Keys(new)).verify(CLIENT, challenge.token, nonces, NOW)[0] is Redeemed.FORGED


def test_no_field_of_a_token_can_be_changed() -> None:
    minter = challenger()
    challenge = minter.mint(CLIENT, 64, NOW)
    raw = urlsafe_b64decode(challenge.token)
    for i in range(len(raw)):
        changed = urlsafe_b64encode(raw[:i] + bytes([raw[i] ^ 1]) + raw[i + 1 :]).decode()
        # The mark vouches for all but the MAC itself: that may be somebody else's.
        expected = Redeemed.FORGED if i < len(raw) - 16 else Redeemed.FOREIGN
        assert minter.verify(CLIENT, changed, [0] * 16, NOW)[0] is expected


@pytest.mark.parametrize("token", ["", "x", "é" * TOKEN_CHARS, "=" * TOKEN_CHARS, "A" * (TOKEN_CHARS + 1)])
def test_what_is_no_token_is_malformed(token: str) -> None:
    result, _ = challenger().verify(CLIENT, token, [0] * 16, NOW)
    assert result in {Redeemed.MALFORMED, Redeemed.FORGED}
    assert result is Redeemed.MALFORMED or len(token) == TOKEN_CHARS


@given(st.text(max_size=80))
def test_no_text_is_accepted_or_crashes(token: str) -> None:
    assert challenger().verify(CLIENT, token, [0] * 16, NOW)[0] in {Redeemed.MALFORMED, Redeemed.FORGED}


@pytest.mark.parametrize(
    "nonces", [[], [0] * 15, [0] * 17, [-1] + [0] * 15, [1 << 53] + [0] * 15, [True] * 16, [0.0] * 16, ["0"] * 16]
)
def test_nonces_that_are_none_are_malformed(nonces: Any) -> None:
    minter = challenger()
    challenge = minter.mint(CLIENT, 64, NOW)
    assert minter.verify(CLIENT, challenge.token, nonces, NOW)[0] is Redeemed.MALFORMED


def test_one_wrong_nonce_is_a_wrong_answer() -> None:
    minter = challenger(replace(CHEAP, least_hashes=256))
    challenge = minter.mint(CLIENT, 256, NOW)
    nonces = answer(challenge)
    nonces[-1] = next(n for n in range(100) if not _solves(challenge, 15, n))
    assert minter.verify(CLIENT, challenge.token, nonces, NOW)[0] is Redeemed.WRONG
    assert minter.verify(CLIENT, challenge.token, answer(challenge), NOW)[0] is Redeemed.ACCEPTED  # not spent by it


def _solves(challenge: Challenge, i: int, n: int) -> bool:
    seed = hashlib.sha256(challenge.token.encode()).digest()
    return int.from_bytes(hashlib.sha256(seed + struct.pack(">IQ", i, n)).digest()[:8], "big") < challenge.target


@pytest.mark.untraced
def test_verifying_takes_no_more_than_its_share_of_time() -> None:
    minter = challenger(spent=10**6)
    challenge = minter.mint(CLIENT, 64, NOW)
    nonces = answer(challenge)
    accepted = 0
    for _ in range(40_000):
        minter.spent.clear()
        accepted += minter.verify(CLIENT, challenge.token, nonces, NOW)[0] is Redeemed.ACCEPTED
    assert accepted == 250_000 // 16
    assert minter.verify(CLIENT, challenge.token, nonces, NOW)[0] is Redeemed.BUSY
    assert minter.verify(CLIENT, challenge.token, nonces, NOW + 1)[0] is Redeemed.ACCEPTED


def test_forged_answers_do_not_use_up_the_time_for_honest_ones() -> None:
    minter = challenger()
    challenge = minter.mint(CLIENT, 64, NOW)
    forged = "AAAA" + challenge.token[4:]
    for _ in range(300_000 // 16):
        minter.verify(CLIENT, forged, [0] * 16, NOW)
    assert minter.verify(CLIENT, challenge.token, answer(challenge), NOW)[0] is Redeemed.ACCEPTED


def test_when_no_more_can_be_remembered_no_more_is_accepted() -> None:
    minter = challenger(spent=16)
    late = minter.mint(CLIENT, 16, NOW + 60)
    for _ in range(16):
        challenge = minter.mint(CLIENT, 16, NOW)
        assert minter.verify(CLIENT, challenge.token, [0] * 16, NOW)[0] is Redeemed.ACCEPTED
    assert minter.verify(CLIENT, late.token, [0] * 16, NOW + 60)[0] is Redeemed.BUSY
    assert minter.status() == TableStatus(16, 16, 110)
    assert minter.verify(CLIENT, late.token, [0] * 16, NOW + 121)[0] is Redeemed.ACCEPTED


def test_spent_challenges_are_forgotten_when_they_expire() -> None:
    spent = Spent(16)
    for i in range(10):
        spent.add(bytes([i]), NOW + i)
    spent.forget(NOW + 4)
    assert list(spent) == [bytes([i]) for i in range(5, 10)]
    spent.forget(NOW + 100)
    assert not spent.full(NOW + 100)


@pytest.mark.parametrize(
    ("market", "score", "known", "price"),
    [
        (2**20, 0.0, False, 2**20),
        (2**20, -4.0, False, 2**20),
        (2**25, 0.0, False, 2**25),
        (2**20, 8.0, False, 2**22),
        (2**22, 32.0, False, 2**25),
        (2**25, 0.0, True, 2**22),
        (2**22, 0.0, True, 2**20),
    ],
)
def test_the_price_is_the_market_s_and_rises_with_the_score_and_is_low_in_known_networks(
    market: float, score: float, known: bool, price: int
) -> None:
    assert challenger(ChallengeSettings()).price(market, score, known) == price


# In the engine


def challenged(world: Any, client: Any) -> Challenge:
    request: Request = world.ask(client)
    assert request.verdict.action is Action.CHALLENGE
    challenge: Challenge = world.engine.mint(request, world.now)
    return challenge


def test_a_solved_challenge_buys_a_pass_and_counts_nothing_against_its_client(make: Any) -> None:
    world = make(challenge=ALWAYS)
    client = world.client()
    _, token = world.buy(client)
    assert client.entry.score == 0.0
    assert client.entry.offered_until == 0.0
    assert world.visit(client, token=token).verdict.action is Action.FORWARD


@pytest.mark.parametrize("how", ["forged", "wrong"])
def test_four_false_answers_ban(make: Any, how: str) -> None:
    world = make(challenge=replace(ALWAYS, least_hashes=2**30, most_hashes=2**30))
    client = world.client()
    challenge = challenged(world, client)
    results = []
    for _ in range(4):
        token = challenge.token if how == "wrong" else "AAAA" + challenge.token[4:]
        results.append(world.engine.redeem(client, token, [0] * 16, world.now).result)
    assert results == [Redeemed(how)] * 4
    assert client.entry.banned_until == world.now + 60
    assert world.engine.redeem(client, challenge.token, [0] * 16, world.now).result is Redeemed.BUSY


def test_a_simulation_may_check_the_work_itself(make: Any) -> None:
    expensive = replace(ALWAYS, least_hashes=2**30, most_hashes=2**30)
    world = make(challenge=expensive, check_work=lambda token, target, nonces: nonces[0])
    client = world.client()
    challenge = challenged(world, client)
    assert world.engine.redeem(client, challenge.token, [15] + [0] * 15, world.now).result is Redeemed.WRONG
    assert world.engine.redeem(client, challenge.token, [16] + [0] * 15, world.now).result is Redeemed.ACCEPTED


def test_a_late_or_doubled_answer_is_charged_and_not_held_against_anybody(make: Any) -> None:
    world = make(challenge=ALWAYS)
    client = world.client()
    challenge = challenged(world, client)
    nonces = solve(challenge.token, challenge.k, challenge.target)
    world.engine.redeem(client, challenge.token, nonces, world.now)
    debt = client.entry.tat
    assert world.engine.redeem(client, challenge.token, nonces, world.now).result is Redeemed.SPENT
    world.now += 120
    assert world.engine.redeem(client, challenge.token, nonces, world.now).result is Redeemed.EXPIRED
    assert world.engine.redeem(client, "?", [], world.now).result is Redeemed.MALFORMED
    assert client.entry.tat > debt
    assert client.entry.score == 0.0


def test_an_answer_from_an_address_that_changed_meanwhile_is_charged_and_not_held_against_anybody(make: Any) -> None:
    world = make(challenge=ALWAYS)
    challenge = challenged(world, world.client("192.0.2.1"))
    nonces = solve(challenge.token, challenge.k, challenge.target)
    moved = world.client("198.51.100.1")
    for _ in range(5):
        assert world.engine.redeem(moved, challenge.token, nonces, world.now).result is Redeemed.FOREIGN
    assert moved.entry.score == 0.0
    assert moved.entry.tat - world.now == pytest.approx(5 * 0.02)


def test_a_change_of_keys_voids_no_challenge_that_is_being_solved(make: Any) -> None:
    old, new, newer = (bytes([n]) * 32 for n in (1, 2, 3))
    world = make(keys=Keys(old), challenge=ALWAYS)
    challenge = challenged(world, world.client())
    nonces = solve(challenge.token, challenge.k, challenge.target)
    restarted = make(keys=Keys(new, old), challenge=ALWAYS)
    client = restarted.client()
    assert restarted.engine.redeem(client, challenge.token, nonces, restarted.now).result is Redeemed.ACCEPTED
    assert restarted.engine.redeem(client, challenge.token, nonces, restarted.now).result is Redeemed.SPENT
    other = restarted.client("198.51.100.1")
    assert restarted.engine.redeem(other, challenge.token, nonces, restarted.now).result is Redeemed.FOREIGN
    later = make(keys=Keys(newer, new), challenge=ALWAYS)
    assert later.engine.redeem(later.client(), challenge.token, nonces, later.now).result is Redeemed.FORGED


def test_who_has_nothing_left_to_pay_with_is_not_heard(make: Any) -> None:
    world = make(challenge=ALWAYS)
    client = world.client()
    for _ in range(1500):
        world.engine.redeem(client, "?", [], world.now)
    assert world.engine.redeem(client, "?", [], world.now).result is Redeemed.BUSY


def test_a_busy_moment_is_not_the_client_s_fault(make: Any) -> None:
    world = make(challenge=ALWAYS, tables=TableSettings(spent=16))
    for i in range(16):
        world.buy(world.client(f"192.0.2.{i}"))
    client = world.client("192.0.2.99")
    challenge = challenged(world, client)
    debt = client.entry.tat
    nonces = solve(challenge.token, challenge.k, challenge.target)
    assert world.engine.redeem(client, challenge.token, nonces, world.now).result is Redeemed.BUSY
    assert client.entry.tat == debt
    assert client.entry.score == 0.0


def test_a_handle_that_was_forgotten_while_solving_is_renewed(make: Any) -> None:
    world = make(challenge=ALWAYS, tables=TableSettings(clients=16))
    client = world.client()
    challenge = challenged(world, client)
    world.pass_time(1)
    for i in range(100):
        world.client(f"198.51.100.{i}")
    assert not client.live
    nonces = solve(challenge.token, challenge.k, challenge.target)
    assert world.engine.redeem(client, challenge.token, nonces, world.now).result is Redeemed.ACCEPTED


def test_a_bad_score_and_a_known_network_set_the_price(make: Any) -> None:
    world = make(challenge=replace(ALWAYS, most_hashes=2**20))
    plain = challenged(world, world.client()).expected_hashes
    bad = world.client("198.51.100.1")
    bad.source.score, bad.source.scored_at = 8.0, world.now
    assert plain == 64
    assert challenged(world, bad).expected_hashes == 256
    known = world.client("203.0.113.1")
    _, token = world.buy(known)
    world.settle_down(known, token=token)
    world.engine._pricing.hashes = 2.0**18
    assert (
        challenged(world, world.client("203.0.113.2")).expected_hashes
        < challenged(world, world.client("198.18.0.1")).expected_hashes
    )


def test_how_many_points_double_the_price_is_a_setting(make: Any) -> None:
    world = make(challenge=replace(CHEAP, doubling=1.0, most_hashes=2**20))
    world.storm(0.5)
    client = world.client()
    client.entry.score, client.entry.scored_at = 3.0, world.now
    assert world.engine.mint(world.ask(client), world.now).expected_hashes == pytest.approx(64 * 8, rel=0.01)


@pytest.mark.parametrize(("stand_in", "after", "stands"), [(10.0, 9.0, True), (10.0, 10.0, False), (0.0, 0.0, False)])
def test_for_how_long_a_bought_pass_stands_in_is_a_setting(
    make: Any, stand_in: float, after: float, stands: bool
) -> None:
    world = make(challenge=replace(CHEAP, stand_in=stand_in))
    world.storm(0.5)
    client = world.client()
    _, bought = world.buy(client)
    world.now += after
    assert (world.ask(client).shown_pass is bought) is stands
