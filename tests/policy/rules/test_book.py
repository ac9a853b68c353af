"""All rules, the audit list, and undoing."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from shield.policy.rules.book import (
    ADDED,
    ENDED,
    LIFTED,
    MOST_CHANGES,
    MOST_RULES,
    MOST_TRIED,
    RELOADED,
    UNDONE,
    Book,
    Change,
)
from shield.policy.rules.lockout import Precious
from shield.policy.rules.rule import ACCESS, RefusedError

WALL = 1_700_000_000.0


def add(book: Book, kind: str, subject: str, value: str = "", wall: float = WALL, **more: Any) -> Change:
    asked: dict[str, Any] = {
        "author": "ann", "note": "", "seconds": None, "force": False, "precious": Precious(), **more
    }  # fmt: skip
    return book.add(kind, subject, value, wall=wall, **asked)[-1]


def subjects(book: Book, wall: float = WALL) -> list[tuple[str, str]]:
    return [(rule.kind, rule.subject) for rule in book.rules(wall)]


def test_a_rule_has_author_note_and_end() -> None:
    book = Book()
    change = add(book, "ban", "192.0.2.0/24", author="bob", note="scrapes", seconds=3600)
    assert (change.what, change.author, change.note, change.at) == (ADDED, "bob", "scrapes", WALL)
    (rule,) = book.rules(WALL)
    assert (rule.author, rule.note, rule.created, rule.expires) == ("bob", "scrapes", WALL, WALL + 3600)
    assert book.next_end() == WALL + 3600
    assert book.last == change.number


def test_the_last_word_about_somebody_holds() -> None:
    book = Book()
    add(book, "ban", "192.0.2.7")
    add(book, "limit", "192.0.2.7", "1/10")
    change = add(book, "allow", "192.0.2.7")
    assert change.before is not None
    assert change.before.kind == "ban"
    assert subjects(book) == [("allow", "192.0.2.7/32"), ("limit", "192.0.2.7/32")]


def test_a_rule_that_has_ended_is_gone_and_told_of() -> None:
    book = Book()
    add(book, "ban", "192.0.2.7", seconds=60)
    add(book, "deny", "192.0.2.8")
    assert book.rules(WALL + 60) == book.rules(WALL)[1:]
    assert book.expire(WALL + 59) == []
    (change,) = book.expire(WALL + 60)
    assert (change.what, change.subject) == (ENDED, "192.0.2.7/32")
    assert book.next_end() == 0.0


def test_rules_are_lifted_by_their_numbers_all_or_none() -> None:
    book = Book()
    numbers = [change.rule.number for i in range(3) if (change := add(book, "ban", f"192.0.2.{i}")).rule]
    with pytest.raises(RefusedError, match="there is no rule 99"):
        book.lift([numbers[0], 99], author="ann", note="", wall=WALL)
    assert len(book.rules(WALL)) == 3
    changes = book.lift([*numbers[:2], numbers[0]], author="ann", note="enough", wall=WALL)
    assert [change.what for change in changes] == [LIFTED, LIFTED]
    assert subjects(book) == [("ban", "192.0.2.2/32")]


def test_rules_are_found_by_whom_they_are_for() -> None:
    book = Book()
    add(book, "ban", "192.0.2.7")
    add(book, "limit", "192.0.2.7", "1/10")
    add(book, "limit", "client", "20/400")
    add(book, "challenge", "/feed", "never")
    add(book, "dry_run", "", "on")
    assert len(book.of("192.0.2.7", ACCESS, WALL)) == 1
    assert len(book.of("client", ["limit"], WALL)) == 1
    assert len(book.of("/feed/", ["challenge"], WALL)) == 1
    assert len(book.of("", ["dry_run"], WALL)) == 1
    assert book.of("192.0.2.8", ACCESS, WALL) == []
    with pytest.raises(RefusedError, match="is none of"):
        book.of("192.0.2.8", ["block"], WALL)
    with pytest.raises(RefusedError, match="is no network"):
        book.of("nobody", ACCESS, WALL)


def undo(book: Book, wall: float = WALL) -> Change:
    return book.undo(author="bob", note="", wall=wall)


def test_the_last_changes_are_undone_one_after_the_other() -> None:
    book = Book()
    first = add(book, "ban", "192.0.2.7")
    add(book, "allow", "192.0.2.7")
    lifted = book.lift([rule.number for rule in book.rules(WALL)], author="ann", note="", wall=WALL)
    assert (undo(book).of, subjects(book)) == (lifted[0].number, [("allow", "192.0.2.7/32")])
    assert undo(book).what == UNDONE
    assert subjects(book) == [("ban", "192.0.2.7/32")]
    assert (undo(book).of, subjects(book)) == (first.number, [])
    with pytest.raises(RefusedError, match="no change of a rule left"):
        undo(book)


OPERATOR = Precious(("198.51.100.7",), ("10.0.0.0/16",))


def test_no_change_locks_the_operator_out() -> None:
    """Undoing the lift of a ban, or lifting the rule that lets the operator in, did."""
    book = Book()
    change = add(book, "ban", "198.51.100.0/24")  # by a colleague, from elsewhere
    assert change.rule is not None
    book.lift([change.rule.number], author="ann", note="", wall=WALL, precious=OPERATOR)
    with pytest.raises(RefusedError, match=r"with change 2 undone, you would lock yourself out.*allow 198.51.100.7"):
        book.undo(author="ann", note="", wall=WALL, precious=OPERATOR)
    with pytest.raises(RefusedError, match=r"198\.51\.100\.7, from where you ask, is in 198\.51\.0\.0/16"):
        add(book, "ban", "198.51.0.0/16", precious=OPERATOR)
    assert subjects(book) == []
    allowed = add(book, "allow", "198.51.100.7", precious=OPERATOR).rule
    assert allowed is not None
    add(book, "ban", "198.51.0.0/16", precious=OPERATOR)
    with pytest.raises(RefusedError, match="without the rule that you lift"):
        book.lift([allowed.number], author="ann", note="", wall=WALL, precious=OPERATOR)
    assert subjects(book) == [("allow", "198.51.100.7/32"), ("ban", "198.51.0.0/16")]


def test_what_was_before_is_looked_at_as_a_new_rule_is() -> None:
    """The proxy was named in listen.trusted_proxies after the ban was lifted."""
    book = Book()
    change = add(book, "ban", "10.0.3.0/24")
    assert change.rule is not None
    book.lift([change.rule.number], author="ann", note="", wall=WALL)
    with pytest.raises(RefusedError, match=r"listen\.trusted_proxies"):
        book.undo(author="ann", note="", wall=WALL, precious=OPERATOR)
    add(book, "limit", "10.0.3.0/24", "20/400")
    add(book, "limit", "10.0.3.0/24", "30/400")
    book.undo(author="ann", note="", wall=WALL, precious=OPERATOR)
    assert subjects(book) == [("limit", "10.0.3.0/24")]


def test_who_is_locked_out_already_may_change_anything_else() -> None:
    book = Book()
    add(book, "ban", "198.51.100.0/24")
    add(book, "ban", "192.0.2.0/24", precious=OPERATOR)
    book.undo(author="ann", note="", wall=WALL, precious=OPERATOR)
    assert subjects(book) == [("ban", "198.51.100.0/24")]


def test_what_has_ended_meanwhile_does_not_come_back() -> None:
    book = Book()
    add(book, "ban", "192.0.2.7", seconds=60)
    add(book, "allow", "192.0.2.7")
    undo(book, WALL + 61)
    assert subjects(book, WALL + 61) == []
    add(book, "ban", "192.0.2.8", seconds=60)
    book.lift([rule.number for rule in book.rules(WALL)], author="", note="", wall=WALL)
    with pytest.raises(RefusedError, match="has ended meanwhile"):
        undo(book, WALL + 61)


def test_what_ended_by_itself_can_be_undone_as_it_was_made() -> None:
    book = Book()
    add(book, "ban", "192.0.2.7", seconds=60)
    book.expire(WALL + 61)
    undo(book, WALL + 61)
    assert subjects(book, WALL + 61) == []


def test_rules_and_changes_are_bounded() -> None:
    book = Book()
    for i in range(MOST_RULES):
        add(book, "ban", f"192.{i >> 8}.{i & 255}.1")
    assert len(book.changes()) == MOST_CHANGES
    with pytest.raises(RefusedError, match="as many as there may be"):
        add(book, "ban", "198.51.100.1")
    add(book, "allow", "192.0.0.1")  # in the place of another
    assert len(book.rules(WALL)) == MOST_RULES


def test_refusals_leave_the_book_as_it_was() -> None:
    book = Book()
    for wrong in ({"note": "a\nb"}, {"author": "x" * 100}, {"seconds": 0.0}):
        with pytest.raises(RefusedError):
            add(book, "ban", "192.0.2.7", **wrong)
    with pytest.raises(RefusedError):
        add(book, "ban", "0.0.0.0/0")
    assert (book.rules(WALL), book.changes()) == ((), [])


def test_all_of_it_outlives_a_restart() -> None:
    book = Book()
    add(book, "ban", "192.0.2.7", seconds=60)
    add(book, "limit", "client", "20/400")
    add(book, "allow", "192.0.2.9")
    book.lift(book.of("192.0.2.9", ["allow"], WALL), author="bob", note="left", wall=WALL)
    book.note(RELOADED, author="bob", note="", subject="", wall=WALL)
    rows = orjson.loads(orjson.dumps(list(book.rows())))
    again = Book()
    assert again.load(rows, WALL) == 2
    assert again.rules(WALL) == book.rules(WALL)
    assert again.changes() == book.changes()
    undo(again)
    assert ("allow", "192.0.2.9/32") in subjects(again)
    assert again.changes()[0].number == book.changes()[0].number + 1
    later = Book()
    assert later.load(rows, WALL + 60) == 1


@pytest.mark.parametrize(
    "row",
    [
        None,
        [],
        ["rule"],
        ["rule", {"kind": "ban"}],
        ["change", {"what": "added"}],
        ["change", {"what": "burned"}],
        ["change", 1],
        ["number", "many"],
        ["unknown", 1],
    ],
)
def test_what_makes_no_sense_is_left_out(row: Any) -> None:
    book = Book()
    assert book.load([row], WALL) == 0
    assert book.changes() == []


def test_a_change_of_nothing_is_left_out() -> None:
    book = Book()
    change = add(book, "ban", "192.0.2.7").plain()
    again = Book()
    again.load([["change", {**change, "rule": None}], ["change", change]], WALL)
    assert len(again.changes()) == 1


def test_a_rule_that_is_tried_stands_beside_the_one_that_holds_until_it_holds_itself() -> None:
    """The story: the ban of a network is tried, looks right, and is made with the same command without --dry-run."""
    book = Book()
    allowed = add(book, "allow", "192.0.2.0/24").rule
    tried = add(book, "ban", "192.0.2.0/24", dry_run=True).rule
    assert book.rules(WALL) == (allowed, tried)
    add(book, "deny", "192.0.2.0/24", dry_run=True)  # in the place of the other that is tried
    assert subjects(book) == [("allow", "192.0.2.0/24"), ("deny", "192.0.2.0/24")]
    made = add(book, "deny", "192.0.2.0/24")
    assert subjects(book) == [("deny", "192.0.2.0/24")]
    assert made.rule is not None
    assert (made.rule.number, made.before) == (made.number, allowed)
    assert [(change.what, change.note) for change in book.changes()[:2]] == [(ADDED, ""), (LIFTED, "it holds now")]
    for _ in range(2):
        book.undo(author="ann", note="", wall=WALL)
    assert [rule.dry_run for rule in book.rules(WALL)] == [False, True]


@pytest.mark.parametrize(
    ("kind", "subject", "value", "advice"),
    [
        ("allow", "192.0.2.0/24", "", "what can be tried is ban, deny, limit of somebody, challenge always"),
        ("challenge", "/feed", "never", "challenge never refuses nobody"),
        ("challenge", "AS64500", "never", "there is nothing to try"),
        ("dry_run", "", "on", "dry_run on refuses nobody"),
        ("pressure", "", "1", "what can be tried is"),
        ("limit", "client", "5/50", "try all limits by dry-run on limits, or another config by shield replay"),
        ("ban", "198.51.0.0/16", "", "you would lock yourself out"),
        ("ban", "64.0.0.0/7", "", "larger than a /8"),
    ],
)
def test_what_cannot_be_tried_is_refused_with_what_to_do_instead(
    kind: str, subject: str, value: str, advice: str
) -> None:
    book = Book()
    with pytest.raises(RefusedError, match=advice):
        add(book, kind, subject, value, dry_run=True, precious=OPERATOR)
    assert not book.rules(WALL)


def test_what_holds_already_need_not_be_tried_and_few_are_tried_at_a_time() -> None:
    book = Book()
    add(book, "ban", "192.0.2.0/24", seconds=60)
    add(book, "limit", "192.0.2.0/24", "5/50")
    for kind, value in (("deny", ""), ("limit", "5/50")):
        with pytest.raises(RefusedError, match=r"holds, so there is nothing to try: shield lift \d first"):
            add(book, kind, "192.0.2.0/24", value, dry_run=True)
    add(book, "limit", "192.0.2.0/24", "2/20", dry_run=True)
    add(book, "deny", "192.0.2.0/24", wall=WALL + 61, dry_run=True)  # the ban has ended
    for i in range(MOST_TRIED - 2):
        add(book, "ban", f"192.0.3.{i}", dry_run=True)
    add(book, "ban", "192.0.3.0", dry_run=True)
    with pytest.raises(RefusedError, match="20 rules are tried"):
        add(book, "ban", "198.51.100.1", dry_run=True)


def test_a_dry_run_is_kept_and_an_older_shield_leaves_it_out() -> None:
    book, again = Book(), Book()
    add(book, "ban", "192.0.2.0/24", dry_run=True)
    add(book, "deny", "198.51.100.0/24")
    rows = orjson.loads(orjson.dumps(list(book.rows())))
    assert again.load(rows, WALL) == 2
    assert again.rules(WALL) == book.rules(WALL)
    tried, holding = (row[1] for row in rows[1:3])
    assert tried["dry_run"] is True
    assert "dry_run" not in holding  # as it was always written
    for wrong in (False, 1, "on"):
        assert Book().load([["rule", {**tried, "dry_run": wrong}]], WALL) == 0
    assert Book().load([["rule", {**tried, "kind": "allow"}]], WALL) == 0


def test_a_key_is_found_by_its_name_whatever_that_looks_like() -> None:
    book = Book()
    digest = "ab" * 32
    for name in ("billing", "client", "AS64500"):
        add(book, "key", name, digest)
    assert book.has("key", "client", WALL)
    assert not book.has("key", "other", WALL)
    assert not book.has("limit", "client", WALL)
    (number,) = book.of("AS64500", ["key"], WALL)
    book.lift([number], author="ann", note="", wall=WALL)
    assert subjects(book) == [("key", "billing"), ("key", "client")]
    assert book.undo(author="ann", note="", wall=WALL).rule is not None
    assert subjects(book)[-1] == ("key", "AS64500")
