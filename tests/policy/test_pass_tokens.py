"""The text of a pass: only what was signed here is one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.policy.entries import PassKind
from shield.policy.keys import Keys
from shield.policy.pass_tokens import TOKEN_CHARS, PassTokens

OLD, NEW = b"\x01" * 32, b"\x02" * 32
NOW = 5_000.0
WALL_OFFSET = 1_700_000_000.0
TOKENS = PassTokens(Keys(NEW, OLD), lambda n: b"i" * n, WALL_OFFSET)


def test_a_token_says_kind_id_and_time_of_issue() -> None:
    token = TOKENS.sign(PassKind.BOUGHT, TOKENS.new_id(), NOW, 20)
    assert len(token) == TOKEN_CHARS
    assert TOKENS.read(token) == (PassKind.BOUGHT, b"i" * 8, NOW)


def test_a_token_of_the_previous_key_is_read_and_one_of_another_key_is_not() -> None:
    before = PassTokens(Keys(OLD), lambda n: b"i" * n, WALL_OFFSET).sign(PassKind.EARNED, b"i" * 8, NOW, 0)
    strange = PassTokens(Keys(b"\x03" * 32), lambda n: b"i" * n, WALL_OFFSET).sign(PassKind.EARNED, b"i" * 8, NOW, 0)
    assert TOKENS.read(before) == (PassKind.EARNED, b"i" * 8, NOW)
    assert TOKENS.read(strange) is None


@pytest.mark.parametrize("text", ["", "x", "é" * TOKEN_CHARS, "A" * (TOKEN_CHARS + 1)])
def test_what_is_no_base64_of_its_length_is_no_token(text: str) -> None:
    assert TOKENS.read(text) is None


@given(st.text(max_size=60))
@pytest.mark.untraced
def test_no_other_text_is_a_token(text: str) -> None:
    assert TOKENS.read(text) is None


def test_no_byte_of_a_token_can_be_changed() -> None:
    token = TOKENS.sign(PassKind.EARNED, b"i" * 8, NOW, 0)
    for i, char in enumerate(token[:-1]):  # the last carries two bits that base64 ignores
        assert TOKENS.read(token[:i] + ("A" if char != "A" else "B") + token[i + 1 :]) is None
