"""Shield and h11 read alike, but for what is listed: a few thousand streams, the same each time."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.fuzz.differential import DIFFERENCES, Difference, by_h11, by_shield, compared, cut, request, stream
from tests.fuzz.run import shown

PAGE = Path(__file__).parents[2] / "docs" / "parsers.md"


@pytest.mark.parametrize("known", DIFFERENCES, ids=lambda known: known.name)
def test_each_difference_is_one(known: Difference) -> None:
    """It exists, it is what it says, and no other one explains it."""
    assert compared(known.example, [known.example]) == (known.name, "")
    theirs, ours = by_h11(known.example), by_shield([known.example])
    if known.laxer:
        assert (len(ours.requests), ours.end) == (1, "more")
        assert theirs.end in ("refused", "closed")
    else:
        assert (len(theirs.requests), ours.requests, ours.end) == (1, (), "refused")


def test_the_page_lists_all_of_them() -> None:
    _, _, section = PAGE.read_text("utf-8").partition("\n## Shield against h11\n")
    rows = [line.split("|")[1].strip() for line in section.splitlines() if line.startswith("| `")]
    assert rows == [f"`{known.name}`" for known in DIFFERENCES]


def test_what_is_valid_is_read_alike() -> None:
    dice = random.Random(1)
    for _ in range(300):
        data = b"".join(text for _ in range(3) for _, text in request(dice))
        if any(name in data for name in (b"\r\nContent-Length: 5\r\n\r\n", b"\r\nHost: 5\r\n")):
            continue  # a trailer that h11 does not take
        assert len(by_h11(data).requests) == 3
        assert compared(data, cut(data, dice)) == ("", "")


def test_what_is_not_is_read_alike_but_for_what_is_listed() -> None:
    dice = random.Random(2)
    for _ in range(2500):
        data = stream(dice)
        _, wrong = compared(data, cut(data, dice))
        assert not wrong, f"{shown(data)}: {wrong}"
