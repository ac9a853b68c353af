"""The operator's rules at several nodes: of two changes the newer one holds, whichever comes first."""

from __future__ import annotations

from typing import Any

import pytest

from shield.policy.cluster import changes as module
from shield.policy.cluster.changes import EARLY, KEPT, TAKES, Changes
from shield.policy.rules.rule import Rule

WALL = 1_700_000_000.0


def rule(subject: str = "192.0.2.0/24", kind: str = "deny", at: float = WALL, expires: float = 0.0) -> Rule:
    return Rule(1, kind, subject, "", "root", "", at, expires)


def rows(changes: Changes, *held: Rule, at: float = WALL) -> list[list[Any]]:
    return list(changes.changed(held, at))


def test_a_change_is_told_once_and_taken_elsewhere() -> None:
    a, b = Changes("a"), Changes("b")
    told = rows(a, rule())
    assert rows(a, rule()) == []
    assert [b.take(row[1:], WALL) for row in told] == [(rule().slot, rule())]
    assert [b.take(row[1:], WALL) for row in told] == [None]
    assert rows(b, rule()) == [], "it is no news there"
    lifted = rows(a, at=WALL + 1)
    assert b.take(lifted[0][1:], WALL + 1) == (rule().slot, None)
    assert rows(b, at=WALL + 1) == []


def test_the_newer_one_of_two_holds_at_both() -> None:
    a, b = Changes("a"), Changes("b")
    older, newer = rows(a, rule(), at=WALL)[0], rows(b, rule(kind="ban"), at=WALL + 1)[0]
    assert a.take(newer[1:], WALL + 2) == (rule().slot, rule(kind="ban"))
    assert b.take(older[1:], WALL + 2) is None
    assert next(iter(a.all(WALL)))[-1] == next(iter(b.all(WALL)))[-1]


def test_rules_from_before_are_as_old_as_they_are() -> None:
    a, b = Changes("a"), Changes("b")
    a.begin([rule(at=WALL - 10)])
    lifted = ["change", *rule().slot, WALL - 5, "b", None]
    assert rows(a, rule(at=WALL - 10)) == []
    assert a.take(lifted[1:], WALL) == (rule().slot, None)
    assert b.take(lifted[1:], WALL) is None, "there is no such rule"


def test_what_is_known_already_is_no_change() -> None:
    a = Changes("a")
    a.begin([rule(at=WALL - 10)])
    assert a.take([*rule().slot, WALL, "b", rule().plain()], WALL) is None
    ended = rule(at=WALL - 20, expires=WALL - 1)
    assert a.take([*rule().slot, WALL + 1, "b", ended.plain()], WALL) == (rule().slot, None)


def test_a_rule_that_ends_is_not_told_of() -> None:
    a = Changes("a")
    rows(a, rule(expires=WALL + 5))
    assert rows(a, at=WALL + 6) == []


def test_the_book_has_a_while_to_take_a_change() -> None:
    a = Changes("a")
    a.take([*rule().slot, WALL, "b", rule().plain()], WALL)
    assert rows(a, at=WALL + 1) == [], "the book is about to have it"
    assert rows(a, at=WALL + TAKES) == [], "it did not take it, which is nothing for others"
    assert rows(a, rule(), at=WALL + TAKES + 1) != []
    a.take([*rule().slot, WALL + 100, "b", None], WALL + 100)
    assert rows(a, rule(), at=WALL + 100 + TAKES) == []


@pytest.mark.parametrize(
    "row",
    [
        ["access", "192.0.2.0/24", WALL + EARLY + 1, "b", None],
        ["limit", "192.0.2.0/24", WALL, "b", rule().plain()],
        ["access", "192.0.2.0/24", WALL, "b", {"kind": "deny"}],
        ["access", 1, WALL, "b", None],
    ],
)
def test_what_makes_no_sense_is_refused(row: list[Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        Changes("a").take(row, WALL)


def test_what_was_lifted_is_remembered_for_a_while_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    a = Changes("a")
    rows(a, rule())
    rows(a, at=WALL + 1)
    assert len(list(a.all(WALL + KEPT))) == 1
    assert list(a.all(WALL + KEPT + 2)) == []
    monkeypatch.setattr(module, "MOST", 2)
    held = [rule(f"192.0.{number}.0/24") for number in range(3)]
    rows(a, *held)
    rows(a, held[2], at=WALL + 1)
    assert len(list(a.all(WALL + 1))) == 2
