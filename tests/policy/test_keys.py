"""Keyed hashes."""

from __future__ import annotations

import pytest

from shield.policy.keys import Keys, challenge_tag, client_tag, loop_tag, order_tag, pass_tag


@pytest.mark.parametrize("previous", [None, b"\x02" * 32])
def test_the_current_key_is_tried_first(previous: bytes | None) -> None:
    both = Keys(b"\x01" * 32, previous).both()
    assert both[0] == b"\x01" * 32
    assert both[1:] == (() if previous is None else (previous,))


@pytest.mark.parametrize(("current", "previous"), [(b"short", None), (b"\x01" * 32, b"short")])
def test_a_short_key_is_refused(current: bytes, previous: bytes | None) -> None:
    with pytest.raises(ValueError, match="32 bytes, not 5"):
        Keys(current, previous)


def test_a_tag_for_one_purpose_is_none_for_another() -> None:
    key = b"\x01" * 32
    assert len({pass_tag(key, b"x"), challenge_tag(key, b"x"), client_tag(key, b"x")}) == 3


def test_a_shield_is_named_by_its_key_and_its_place() -> None:
    key = b"\x01" * 32
    assert loop_tag(key, b"host :80") == loop_tag(key, b"host :80")
    assert len({loop_tag(key, b"host :80"), loop_tag(key, b"host :81"), loop_tag(b"\x02" * 32, b"host :80")}) == 3
    assert len(loop_tag(key, b"")) == 6


def test_the_order_of_equals_changes_with_the_epoch() -> None:
    orders = {
        tuple(sorted(range(20), key=lambda i: order_tag(b"\x01" * 32, bytes([i]), epoch))) for epoch in range(-2, 3)
    }
    assert len(orders) == 5
