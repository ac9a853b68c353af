"""A rule that holds at another machine is taken into the book of this one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shield.policy.rules.book import Book
from shield.policy.rules.rule import Rule

WALL = 1_700_000_000.0
THERE = Rule(77, "deny", "192.0.2.0/24", "", "ann", "scrapes", WALL, 0.0)


def test_it_has_a_number_of_our_own_and_is_lifted_as_it_is_there() -> None:
    book = Book()
    made = book.adopt(THERE.slot, THERE, WALL)
    assert made is not None
    assert (made.number, made.author, made.rule) == (1, "ann", replace(THERE, number=1))
    assert book.adopt(("access", "198.51.100.0/24"), None, WALL) is None
    lifted = book.adopt(THERE.slot, None, WALL)
    assert lifted is not None
    assert (lifted.what, lifted.note, book.rules(WALL)) == ("lifted", "at another machine", ())


def test_there_is_room_for_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    book, tried = Book(), replace(THERE, dry_run=True)
    monkeypatch.setattr("shield.policy.rules.book.MOST_TRIED", 0)
    assert book.adopt(tried.slot, tried, WALL) is None
    monkeypatch.setattr("shield.policy.rules.book.MOST_RULES", 0)
    assert book.adopt(THERE.slot, THERE, WALL) is None
