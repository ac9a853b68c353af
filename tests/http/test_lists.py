"""Lists in a field's value."""

from __future__ import annotations

import pytest

from shield.http.lists import MOST_MEMBERS, members


@pytest.mark.parametrize(
    ("value", "found"), [("", [""]), ("a", ["a"]), (" a;q=1\t, b ,,c", ["a;q=1", "b", "", "c"]), (",", ["", ""])]
)
def test_members_have_no_whitespace_around_them(value: str, found: list[str]) -> None:
    assert members(value) == found


def test_no_more_are_read_than_anybody_sends() -> None:
    assert members("a," * 30_000) == ["a"] * MOST_MEMBERS
    assert members("a," * (MOST_MEMBERS - 1) + "z")[-1] == "z"
