"""Challenges in HashWX, with the one in SHA-256 that comes along for who cannot do it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from shield.policy.challenge.challenge import (
    FALLBACK_EVERY,
    FALLBACK_SHARE,
    HASHWX_SECONDS,
    MOST_FALLBACKS,
    MOVING_DISCOUNT,
    Challenge,
    Challenger,
    CheckWork,
    Redeemed,
)
from shield.policy.challenge.settings import ChallengeSettings
from shield.policy.keys import Keys

CLIENT, PROGRAM = b"c" * 16, b"Browser/1.0\0en\0"
NOW = 5_000.0
PRICE = 2**20
USUAL = ChallengeSettings(algorithm="hashwx")


def right(token: str, target: int, nonces: Sequence[int]) -> int:
    """Takes the place of the hashes: a nonce of 1 is right."""
    return [*nonces, 0].index(0)


def challenger(check_hashwx: CheckWork | None = right, settings: ChallengeSettings = USUAL) -> Challenger:
    return Challenger(settings, Keys(b"\x01" * 32), bytes, 1000, 1e9, right, check_hashwx=check_hashwx)


def mint(minter: Challenger, price: int = PRICE, now: float = NOW) -> tuple[Challenge, Challenge]:
    """A challenge, and the one for who cannot do HashWX."""
    instead = minter.mint(CLIENT, PROGRAM, price, now)
    assert instead.hashwx is not None
    return instead.hashwx, instead


def answer(minter: Challenger, challenge: Challenge, now: float = NOW, price: int = PRICE) -> tuple[Redeemed, int]:
    return minter.verify(CLIENT, PROGRAM, challenge.token, [1] * challenge.k, price, now)


def test_both_take_about_as_long_and_buy_the_same() -> None:
    minter = challenger()
    challenge, instead = mint(minter)
    assert (challenge.k, instead.k) == (4, 16)
    assert (challenge.expected_hashes, instead.expected_hashes) == (PRICE // 32, PRICE)
    assert (challenge.k << 64) // challenge.target == PRICE // 32
    assert answer(minter, challenge) == (Redeemed.ACCEPTED, 20)
    assert answer(minter, challenge)[0] is Redeemed.SPENT
    assert answer(minter, instead) == (Redeemed.ACCEPTED, 20)


def test_even_the_cheapest_is_one_puzzle_of_one_hash() -> None:
    challenge, _ = mint(challenger(settings=replace(USUAL, sub_puzzles=1)), price=16)
    assert (challenge.k, challenge.expected_hashes, challenge.target) == (1, 1, 2**64 - 1)


def test_what_is_wrong_is_so_in_both() -> None:
    minter = challenger()
    for challenge in mint(minter):
        nonces = [1] * (challenge.k - 1)
        assert minter.verify(CLIENT, PROGRAM, challenge.token, [*nonces, 0], PRICE, NOW)[0] is Redeemed.WRONG
        assert minter.verify(CLIENT, PROGRAM, challenge.token, nonces, PRICE, NOW)[0] is Redeemed.MALFORMED


def test_of_many_answers_in_sha_256_few_are_taken() -> None:
    """A botnet with graphics cards answers the challenge that they are fast at."""
    minter = challenger()
    taken = sum(answer(minter, mint(minter)[1])[0] is Redeemed.ACCEPTED for _ in range(200))
    assert taken == MOST_FALLBACKS
    assert answer(minter, mint(minter)[1])[0] is Redeemed.BUSY
    for _ in range(round(1 / FALLBACK_SHARE)):
        assert answer(minter, mint(minter)[0])[0] is Redeemed.ACCEPTED
    assert answer(minter, mint(minter)[1])[0] is Redeemed.ACCEPTED, "one in twenty"
    waiting = mint(minter)[1]
    assert answer(minter, waiting)[0] is Redeemed.BUSY
    assert answer(minter, waiting, NOW + FALLBACK_EVERY)[0] is Redeemed.ACCEPTED, "who waited, with the same answer"


def test_where_nobody_else_comes_there_is_room_for_those_that_cannot_do_it() -> None:
    minter, now = challenger(), NOW
    for _ in range(1000):
        now += FALLBACK_EVERY
        assert answer(minter, mint(minter, now=now)[1], now)[0] is Redeemed.ACCEPTED


def test_checking_has_its_share_of_a_core() -> None:
    minter = challenger()
    most = int(USUAL.verify_share / (4 * HASHWX_SECONDS))
    results = [answer(minter, mint(minter)[0])[0] for _ in range(most + 10)]
    assert results.count(Redeemed.ACCEPTED) == pytest.approx(most, abs=1)
    assert results[-1] is Redeemed.BUSY
    assert answer(minter, mint(minter, now=NOW + 1)[0], NOW + 1)[0] is Redeemed.ACCEPTED


def test_where_sha_256_is_asked_for_again_an_answer_in_hashwx_is_too_late() -> None:
    challenge, instead = mint(challenger())
    plain = challenger(check_hashwx=None)
    assert answer(plain, challenge)[0] is Redeemed.EXPIRED
    assert answer(plain, instead)[0] is Redeemed.ACCEPTED
    assert plain.mint(CLIENT, PROGRAM, PRICE, NOW).hashwx is None


@pytest.mark.parametrize(
    ("price", "result"),
    [(MOVING_DISCOUNT * PRICE, Redeemed.ACCEPTED), (MOVING_DISCOUNT * PRICE + 99, Redeemed.FOREIGN)],
)
def test_from_another_address_it_is_worth_what_it_took(price: int, result: Redeemed) -> None:
    for each in (0, 1):
        minter = challenger()
        challenge = mint(minter)[each]
        found = minter.verify(b"d" * 16, PROGRAM, challenge.token, [1] * challenge.k, price, NOW)
        assert found[0] is result
