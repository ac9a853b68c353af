"""The pass among other cookies."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.http.cookies import MOST_LOOKED_AT, take_cookie


@pytest.mark.parametrize(
    ("cookies", "token", "rest"),
    [
        (b"", b"", b""),
        (b"a=1", b"", b"a=1"),
        (b"shield_pass=t", b"t", b""),
        (b"a=1; shield_pass=t; b=2", b"t", b"a=1; b=2"),
        (b"shield_pass=t; shield_pass=u", b"t", b""),
        (b"shield_pass=; shield_pass=u", b"u", b""),
        (b"shield_pass=t; __Host-shield_pass=u; a=1", b"u", b"a=1"),
        (b"__Host-shield_pass=; shield_pass=u", b"u", b""),
        (b"__Host-shield_pass", b"", b"__Host-shield_pass"),
        (b"__host-shield_pass=t", b"", b"__host-shield_pass=t"),
        (b"my_shield_pass=t", b"", b"my_shield_pass=t"),
        (b"shield_passport=t", b"", b"shield_passport=t"),
        (b"a=shield_pass", b"", b"a=shield_pass"),
        (b"shield_pass", b"", b"shield_pass"),
        (b"a=__Host-shield_pass=t", b"", b"a=__Host-shield_pass=t"),
        (b"x__Host-shield_pass=t", b"", b"x__Host-shield_pass=t"),
        (b"shield_pass= t ; a=1", b"t", b"a=1"),
        (b"b=shield_pass=; shield_pass=t", b"t", b"b=shield_pass="),
        (b"a=1;shield_pass=t;b=2", b"t", b"a=1;b=2"),
        (b" shield_pass =t", b"", b"shield_pass =t"),
    ],
)
def test_the_pass_is_taken_out_of_the_cookies(cookies: bytes, token: bytes, rest: bytes) -> None:
    assert take_cookie(cookies, b"shield_pass") == (token, rest)


@given(st.lists(st.sampled_from([b"a=1", b"shield_pass=x", b"", b" ", b"shield_pass", b"=", b"b"]), max_size=8))
def test_whatever_the_cookies_the_pass_does_not_go_on(parts: list[bytes]) -> None:
    _, rest = take_cookie(b";".join(parts), b"shield_pass")
    assert b"shield_pass=" not in rest


def test_a_field_of_cookies_that_all_are_the_pass_is_not_read_to_its_end() -> None:
    """No browser sends so many; and what was not read does not go on."""
    cookies = b"a=1; " + b"shield_pass=t; " * (MOST_LOOKED_AT + 1) + b"b=2"
    assert take_cookie(cookies, b"shield_pass") == (b"t", b"a=1")
    cookies = b"a=1; " + b"shield_pass=t; " * (MOST_LOOKED_AT - 1) + b"b=2"
    assert take_cookie(cookies, b"shield_pass") == (b"t", b"a=1; b=2")
