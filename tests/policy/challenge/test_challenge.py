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
from shield.policy.challenge.challenge import (
    MOVING_DISCOUNT,
    TOKEN_CHARS,
    Challenge,
    Challenger,
    Redeemed,
    Spent,
    solved,
)
from shield.policy.challenge.settings import ChallengeSettings
from shield.policy.keys import Keys
from shield.policy.status import TableStatus

CLIENT = b"c" * 16
PROGRAM = b"Browser/1.0\0en\0"
PRICE = 64
NOW = 5_000.0
CHEAP = ChallengeSettings(least_hashes=64, most_hashes=256)
ALWAYS = replace(CHEAP, mode="always")


def challenger(
    settings: ChallengeSettings = CHEAP, keys: Keys | None = None, spent: int = 16, place: int = 0
) -> Challenger:
    keys = keys or Keys(b"\x01" * 32)
    return Challenger(settings, keys, lambda n: place.to_bytes(n, "big"), spent, 1e9, solved)


def answer(challenge: Challenge) -> list[int]:
    return solve(challenge.token, challenge.k, challenge.target)


def test_a_token_is_what_the_protocol_says() -> None:
    challenge = challenger().mint(CLIENT, PROGRAM, 64, NOW)
    raw = urlsafe_b64decode(challenge.token)
    version, alg, k, target, expiry = struct.unpack(">BBBQI", raw[:15])
    assert (version, alg, k, target, expiry) == (1, 1, 16, 1 << 62, 1_000_005_120)
    assert (challenge.k, challenge.target, challenge.expected_hashes, challenge.expires_in) == (16, 1 << 62, 64, 120)
    assert len(raw) == 39
    assert "=" not in challenge.token


def test_a_nonce_solves_what_the_protocol_says() -> None:
    minter = challenger()
    challenge = minter.mint(CLIENT, PROGRAM, 64, NOW)
    seed = hashlib.sha256(challenge.token.encode()).digest()
    nonces = []
    for i in range(16):
        n = 0
        while int.from_bytes(hashlib.sha256(seed + struct.pack(">IQ", i, n)).digest()[:8], "big") >= challenge.target:
            n += 1
        nonces.append(n)
    assert minter.verify(CLIENT, PROGRAM, challenge.token, nonces, PRICE, NOW) == (Redeemed.ACCEPTED, 6)


def test_the_least_possible_work_is_still_a_number() -> None:
    minter = challenger()
    challenge = minter.mint(CLIENT, PROGRAM, 16, NOW)
    assert challenge.target == (1 << 64) - 1
    assert minter.verify(CLIENT, PROGRAM, challenge.token, [0] * 16, PRICE, NOW)[0] is Redeemed.ACCEPTED


def test_an_answer_is_accepted_once() -> None:
    minter = challenger()
    challenge = minter.mint(CLIENT, PROGRAM, 64, NOW)
    nonces = answer(challenge)
    assert minter.verify(CLIENT, PROGRAM, challenge.token, nonces, PRICE, NOW)[0] is Redeemed.ACCEPTED
    assert minter.verify(CLIENT, PROGRAM, challenge.token, nonces, PRICE, NOW + 119)[0] is Redeemed.SPENT
    assert minter.verify(CLIENT, PROGRAM, challenge.token, nonces, PRICE, NOW + 120)[0] is Redeemed.EXPIRED


def test_several_challenges_may_be_open_at_once() -> None:
    minter = challenger()
    tabs = [minter.mint(CLIENT, PROGRAM, 64, NOW) for _ in range(5)]
    assert all(
        minter.verify(CLIENT, PROGRAM, tab.token, answer(tab), PRICE, NOW)[0] is Redeemed.ACCEPTED
        for tab in reversed(tabs)
    )


def test_another_programs_challenge_is_foreign() -> None:
    minter = challenger()
    challenge = minter.mint(CLIENT, PROGRAM, 64, NOW)
    nonces = answer(challenge)
    assert minter.verify(CLIENT, b"curl/8\0\0", challenge.token, nonces, PRICE, NOW)[0] is Redeemed.FOREIGN
    elsewhere = challenger(keys=Keys(b"\x07" * 32))
    assert elsewhere.verify(CLIENT, PROGRAM, challenge.token, answer(challenge), PRICE, NOW)[0] is Redeemed.FORGED


def test_an_answer_may_come_from_another_address_where_it_is_no_dearer() -> None:
    minter = challenger()
    other = b"d" * 16
    challenge = minter.mint(CLIENT, PROGRAM, 64, NOW)
    nonces = answer(challenge)
    dear = MOVING_DISCOUNT * 64 + 1
    assert minter.verify(other, PROGRAM, challenge.token, nonces, dear, NOW)[0] is Redeemed.FOREIGN
    assert minter.verify(other, PROGRAM, challenge.token, nonces, dear - 1, NOW)[0] is Redeemed.ACCEPTED
    assert minter.verify(CLIENT, PROGRAM, challenge.token, nonces, PRICE, NOW)[0] is Redeemed.SPENT
    same = minter.mint(CLIENT, PROGRAM, 64, NOW)
    assert minter.verify(CLIENT, PROGRAM, same.token, answer(same), 100 * PRICE, NOW)[0] is Redeemed.ACCEPTED


def test_an_answer_from_another_address_must_come_to_whom_knows_what_is_spent() -> None:
    """Else one answer would buy a pass of each worker."""
    here, there = challenger(), challenger(place=7)
    challenge = here.mint(CLIENT, PROGRAM, 64, NOW)
    nonces = answer(challenge)
    assert there.verify(b"d" * 16, PROGRAM, challenge.token, nonces, PRICE, NOW)[0] is Redeemed.FOREIGN
    assert there.verify(CLIENT, PROGRAM, challenge.token, nonces, PRICE, NOW)[0] is Redeemed.ACCEPTED


def test_a_client_is_the_same_under_its_former_name() -> None:
    minter = challenger()
    challenge = minter.mint(CLIENT, PROGRAM, 64, NOW)
    nonces, new, other = answer(challenge), b"n" * 16, b"o" * 16
    dear = 100 * PRICE
    assert minter.verify(new, PROGRAM, challenge.token, nonces, dear, NOW, other)[0] is Redeemed.FOREIGN
    assert minter.verify(new, PROGRAM, challenge.token, nonces, dear, NOW, CLIENT)[0] is Redeemed.ACCEPTED


@pytest.mark.untraced
def test_no_two_challenges_are_alike() -> None:
    minter = challenger()
    tokens = {minter.mint(CLIENT, PROGRAM, 64, NOW).token for _ in range(1 << 16)}
    assert len(tokens) == 1 << 16


def test_two_keys_are_live() -> None:
    old, new = b"\x01" * 32, b"\x02" * 32
    challenge = challenger(keys=Keys(old)).mint(CLIENT, PROGRAM, 64, NOW)
    nonces = answer(challenge)
    assert (
        challenger(keys=Keys(new, old)).verify(CLIENT, PROGRAM, challenge.token, nonces, PRICE, NOW)[0]
        is Redeemed.ACCEPTED
    )
    assert challenger(keys=Keys(new)).verify(CLIENT, PROGRAM, challenge.token, nonces, PRICE, NOW)[0] is Redeemed.FORGED


def test_no_field_of_a_token_can_be_changed() -> None:
    minter = challenger()
    challenge = minter.mint(CLIENT, PROGRAM, 64, NOW)
    raw = urlsafe_b64decode(challenge.token)
    for i in range(len(raw)):
        changed = urlsafe_b64encode(raw[:i] + bytes([raw[i] ^ 1]) + raw[i + 1 :]).decode()
        # The mark vouches for all but the MAC itself, which may be another program's, and for no address.
        expected = Redeemed.FORGED if i < 23 else Redeemed.FOREIGN if i < 35 else Redeemed.WRONG
        assert minter.verify(CLIENT, PROGRAM, changed, [0] * 16, PRICE, NOW)[0] is expected


@pytest.mark.parametrize("token", ["", "x", "é" * TOKEN_CHARS, "=" * TOKEN_CHARS, "A" * (TOKEN_CHARS + 1)])
def test_what_is_no_token_is_malformed(token: str) -> None:
    result, _ = challenger().verify(CLIENT, PROGRAM, token, [0] * 16, PRICE, NOW)
    assert result in {Redeemed.MALFORMED, Redeemed.FORGED}
    assert result is Redeemed.MALFORMED or len(token) == TOKEN_CHARS


@given(st.text(max_size=80))
@pytest.mark.untraced
def test_no_text_is_accepted_or_crashes(token: str) -> None:
    assert challenger().verify(CLIENT, PROGRAM, token, [0] * 16, PRICE, NOW)[0] in {Redeemed.MALFORMED, Redeemed.FORGED}


@pytest.mark.parametrize(
    "nonces", [[], [0] * 15, [0] * 17, [-1] + [0] * 15, [1 << 53] + [0] * 15, [True] * 16, [0.0] * 16, ["0"] * 16]
)
def test_nonces_that_are_none_are_malformed(nonces: Any) -> None:
    minter = challenger()
    challenge = minter.mint(CLIENT, PROGRAM, 64, NOW)
    assert minter.verify(CLIENT, PROGRAM, challenge.token, nonces, PRICE, NOW)[0] is Redeemed.MALFORMED


def test_one_wrong_nonce_is_a_wrong_answer() -> None:
    minter = challenger(replace(CHEAP, least_hashes=256))
    challenge = minter.mint(CLIENT, PROGRAM, 256, NOW)
    nonces = answer(challenge)
    nonces[-1] = next(n for n in range(100) if not _solves(challenge, 15, n))
    assert minter.verify(CLIENT, PROGRAM, challenge.token, nonces, PRICE, NOW)[0] is Redeemed.WRONG
    assert (
        minter.verify(CLIENT, PROGRAM, challenge.token, answer(challenge), PRICE, NOW)[0] is Redeemed.ACCEPTED
    )  # not spent by it


def _solves(challenge: Challenge, i: int, n: int) -> bool:
    seed = hashlib.sha256(challenge.token.encode()).digest()
    return int.from_bytes(hashlib.sha256(seed + struct.pack(">IQ", i, n)).digest()[:8], "big") < challenge.target


@pytest.mark.untraced
def test_verifying_takes_no_more_than_its_share_of_time() -> None:
    minter = challenger(spent=10**6)
    challenge = minter.mint(CLIENT, PROGRAM, 64, NOW)
    nonces = answer(challenge)
    accepted = 0
    for _ in range(40_000):
        minter.spent.clear()
        accepted += minter.verify(CLIENT, PROGRAM, challenge.token, nonces, PRICE, NOW)[0] is Redeemed.ACCEPTED
    assert accepted == 250_000 // 16
    assert minter.verify(CLIENT, PROGRAM, challenge.token, nonces, PRICE, NOW)[0] is Redeemed.BUSY
    assert minter.verify(CLIENT, PROGRAM, challenge.token, nonces, PRICE, NOW + 1)[0] is Redeemed.ACCEPTED


@pytest.mark.untraced
def test_forged_answers_do_not_use_up_the_time_for_honest_ones() -> None:
    minter = challenger()
    challenge = minter.mint(CLIENT, PROGRAM, 64, NOW)
    forged = "AAAA" + challenge.token[4:]
    for _ in range(300_000 // 16):
        minter.verify(CLIENT, PROGRAM, forged, [0] * 16, PRICE, NOW)
    assert minter.verify(CLIENT, PROGRAM, challenge.token, answer(challenge), PRICE, NOW)[0] is Redeemed.ACCEPTED


def test_when_no_more_can_be_remembered_no_more_is_accepted() -> None:
    minter = challenger(spent=16)
    late = minter.mint(CLIENT, PROGRAM, 16, NOW + 60)
    for _ in range(16):
        challenge = minter.mint(CLIENT, PROGRAM, 16, NOW)
        assert minter.verify(CLIENT, PROGRAM, challenge.token, [0] * 16, PRICE, NOW)[0] is Redeemed.ACCEPTED
    assert minter.verify(CLIENT, PROGRAM, late.token, [0] * 16, PRICE, NOW + 60)[0] is Redeemed.BUSY
    assert minter.status() == TableStatus(16, 16, 110)
    assert minter.verify(CLIENT, PROGRAM, late.token, [0] * 16, PRICE, NOW + 121)[0] is Redeemed.ACCEPTED


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
