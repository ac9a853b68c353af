"""All rules of the operator, and the changes that led to them. There is one book for all workers.

Each change is an entry of the audit list: who did it, when, with which note, which rule there is now (`rule`) and which
there was before (`before`). The last change that is not undone yet can be undone.

At most MOST_RULES rules, MOST_CHANGES changes. `wall` is the wall clock in seconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from shield.policy.rows import count, number, text
from shield.policy.rules.lockout import Precious, check, locked_out
from shield.policy.rules.rule import (
    ACCESS,
    AUTHOR_CHARS,
    EVERY,
    KEY,
    KINDS,
    OF_SITES,
    MissingError,
    RefusedError,
    Rule,
    checked,
    ends,
    read,
    said,
    triable,
    who,
)
from shield.policy.tried import MEASURES

MOST_RULES: Final = 1000
MOST_TRIED: Final = 20
"""Rules in a dry run: to count the visitors of each takes 128 KiB in every worker."""
MOST_CHANGES: Final = 500
ADDED: Final = "added"
LIFTED: Final = "lifted"
ENDED: Final = "ended"
UNDONE: Final = "undone"
PARDONED: Final = "pardoned"
RELOADED: Final = "reloaded"
CHANGES: Final = (ADDED, LIFTED, ENDED, UNDONE, PARDONED, RELOADED)
NOBODY: Final = Precious()
ELSEWHERE: Final = "at another machine"
"""The note of a rule that was lifted there."""


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of the audit list. `of` is the number of the change that was undone, or 0."""

    number: int
    what: str
    at: float
    author: str
    note: str
    subject: str
    rule: Rule | None
    before: Rule | None
    of: int = 0

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "number": self.number,
            "what": self.what,
            "at": self.at,
            "author": self.author,
            "note": self.note,
            "subject": self.subject,
            "rule": None if self.rule is None else self.rule.plain(),
            "before": None if self.before is None else self.before.plain(),
            "of": self.of,
        }


class Book:
    """Rules by what there is one of (`Rule.slot`), and changes, the oldest first."""

    __slots__ = ("_changes", "_number", "_rules")

    def __init__(self) -> None:
        self._rules: dict[tuple[str, str], Rule] = {}
        self._changes: deque[Change] = deque(maxlen=MOST_CHANGES)
        self._number = 0  # of the last rule or change

    def rules(self, wall: float) -> tuple[Rule, ...]:
        """The rules that hold."""
        return tuple(rule for rule in self._rules.values() if rule.holds(wall))

    @property
    def last(self) -> int:
        """The number of the last rule or change, 0 before there was one. Of two copies, the newer has the greater."""
        return self._number

    def changes(self) -> list[Change]:
        """The newest first."""
        return list(reversed(self._changes))

    def has(self, kind: str, subject: str, wall: float) -> bool:
        """Whether a rule of this kind holds for a subject."""
        return any(rule.kind == kind and rule.subject == subject for rule in self.rules(wall))

    def next_end(self) -> float:
        """When the next rule ends, by the wall clock; 0 when none does."""
        return min((rule.expires for rule in self._rules.values() if rule.expires), default=0.0)

    def add(
        self,
        kind: str,
        subject: str,
        value: str,
        *,
        author: str,
        note: str,
        seconds: float | None,
        precious: Precious,
        force: bool,
        wall: float,
        dry_run: bool = False,
    ) -> list[Change]:
        """Make a rule of a wish, in place of the one before; the last change says so. One that holds takes the place of
        the same one that is tried, too. RefusedError says why not."""
        kind, subject, value = checked(kind, subject, value)
        author, note = said(author, AUTHOR_CHARS), said(note)
        expires = ends(seconds, wall)
        rule = Rule(self._number + 1, kind, subject, value, author, note, wall, expires)
        check(rule, precious, force)
        self._keep_in({**self._rules, rule.slot: rule}, precious, wall, "")
        if dry_run:
            rule = replace(rule, dry_run=True)
            self._check_trial(rule, wall)
        before = self._rules.get(rule.slot)
        tried = None if dry_run else self._rules.get(replace(rule, dry_run=True).slot)
        if before is None and tried is None and len(self._rules) >= MOST_RULES:
            raise RefusedError(
                f"there are {MOST_RULES} rules, as many as there may be: lift some, join neighbours into larger "
                "networks, or put them into a file of identity.deny_files, which is read again when it changes"
            )
        made = []
        if tried is not None:
            made.append(self._lift(tried, LIFTED, author, "it holds now", wall))
            rule = replace(rule, number=self._number + 1)
        self._rules[rule.slot] = rule
        return [*made, self._note(ADDED, wall, author, note, rule.subject, rule, before)]

    def _check_trial(self, rule: Rule, wall: float) -> None:
        """Refuse a dry run that shows nothing, or is one too many."""
        triable(rule.kind, rule.subject, rule.value)
        holding = self._rules.get(rule.firm_slot)
        refuses = holding is not None and holding.holds(wall) and holding.kind in BANS
        if holding is not None and (refuses or (holding.holds(wall) and holding.value == rule.value != "")):
            raise RefusedError(
                f"rule {holding.number} ({holding.kind} {holding.subject}) holds, so there is nothing to try: "
                f"shield lift {holding.number} first"
            )
        tried = [each for each in self.rules(wall) if each.dry_run and each.slot != rule.slot]
        if len(tried) >= MOST_TRIED:
            raise RefusedError(f"{MOST_TRIED} rules are tried, as many as may be at a time: lift some")

    def lift(
        self, numbers: Sequence[int], *, author: str, note: str, wall: float, precious: Precious = NOBODY
    ) -> list[Change]:
        """Take rules away, by their numbers. MissingError when one of them is not there, RefusedError when that locks
        somebody out; then none is lifted."""
        found = {rule.number: rule for rule in self.rules(wall)}
        for wanted in numbers:
            if wanted not in found:
                raise MissingError(f"there is no rule {wanted}: GET /api/rules (shield rules) has those that hold")
        author, note = said(author, AUTHOR_CHARS), said(note)
        left = {slot: rule for slot, rule in self._rules.items() if rule.number not in numbers}
        self._keep_in(left, precious, wall, "without the rule that you lift, ")
        return [self._lift(found[wanted], LIFTED, author, note, wall) for wanted in dict.fromkeys(numbers)]

    def of(self, subject: str, kinds: Sequence[str], wall: float) -> list[int]:
        """The numbers of the rules of these kinds for a subject, as a wish names it. RefusedError when that is none."""
        for kind in kinds:
            if kind not in KINDS:
                raise RefusedError(f'kind: "{kind[:40]}" is none of: {", ".join(KINDS)}')
        of_sites = set(kinds) <= {*OF_SITES, KEY}
        if subject and not subject.startswith("/") and subject not in (*EVERY, *MEASURES) and not of_sites:
            subject = who(subject)
        subject = subject.rstrip("/") if subject.startswith("/") else subject
        return [rule.number for rule in self.rules(wall) if rule.subject == subject and rule.kind in kinds]

    def undo(self, *, author: str, note: str, wall: float, precious: Precious = NOBODY) -> Change:
        """Undo the last change that is not undone yet. MissingError when there is none, or the rule has ended;
        RefusedError when what was before locks somebody out."""
        author, note = said(author, AUTHOR_CHARS), said(note)
        undone = {change.of for change in self._changes}
        for change in reversed(self._changes):
            if change.what in (ADDED, LIFTED) and change.number not in undone:
                break
        else:
            raise MissingError("there is no change of a rule left to undo")
        again = change.before
        if again is not None and not again.holds(wall):
            if change.rule is None:
                raise MissingError(f"rule {again.number}, which change {change.number} lifted, has ended meanwhile")
            again = None
        rule = change.rule or change.before
        assert rule is not None  # noqa: S101 - a change of a rule has one
        if again is not None:  # the size of its network was insisted on when it was made
            check(again, precious, True)
        held = {slot: each for slot, each in self._rules.items() if slot != rule.slot}
        held |= {} if again is None else {again.slot: again}
        self._keep_in(held, precious, wall, f"with change {change.number} undone, ")
        before = self._rules.pop(rule.slot, None)
        if again is not None:
            self._rules[again.slot] = again
        return self._note(UNDONE, wall, author, note, rule.subject, again, before, change.number)

    def expire(self, wall: float) -> list[Change]:
        """Let the rules go that have ended."""
        over = [rule for rule in self._rules.values() if not rule.holds(wall)]
        return [self._lift(rule, ENDED, "", "", wall) for rule in over]

    def adopt(self, slot: tuple[str, str], rule: Rule | None, wall: float) -> Change | None:
        """Take what holds at another machine in a slot, a rule or none. None where that is so already, or there is no
        room."""
        before = self._rules.get(slot)
        if rule is None:
            return None if before is None else self._lift(before, LIFTED, "", ELSEWHERE, wall)
        tried = sum(each.dry_run for each in self.rules(wall)) if rule.dry_run else 0
        if before is None and (len(self._rules) >= MOST_RULES or tried >= MOST_TRIED):
            return None
        own = replace(rule, number=self._number + 1)
        self._rules[slot] = own
        return self._note(ADDED, wall, own.author, own.note, own.subject, own, before)

    def note(self, what: str, *, author: str, note: str, subject: str, wall: float) -> Change:
        """Enter something else that an operator has done: PARDONED, RELOADED."""
        return self._note(what, wall, said(author, AUTHOR_CHARS), said(note), subject, None, None)

    def rows(self) -> Iterator[list[Any]]:
        """All of it as plain rows."""
        yield ["number", self._number]
        yield from (["rule", rule.plain()] for rule in self._rules.values())
        yield from (["change", change.plain()] for change in self._changes)

    def load(self, rows: Iterable[Any], wall: float) -> int:
        """Take rows that `rows` made; how many rules. What makes no sense, or has ended, is left out."""
        for row in rows:
            try:
                match row:
                    case ["number", value]:
                        self._number = max(self._number, count(value))
                    case ["rule", value]:
                        self._take(read(value), wall)
                    case ["change", dict(value)]:
                        self._changes.append(_read_change(value))
            except (KeyError, TypeError, ValueError, OverflowError):
                continue
        numbers = [rule.number for rule in self._rules.values()] + [change.number for change in self._changes]
        self._number = max(self._number, *numbers, 0)
        return len(self._rules)

    def _keep_in(self, after: Mapping[tuple[str, str], Rule], precious: Precious, wall: float, why: str) -> None:
        """Refuse a change after which the operator is locked out who is not so before. RefusedError."""
        before = locked_out(self.rules(wall), precious)
        for address, rule in locked_out([each for each in after.values() if each.holds(wall)], precious).items():
            if address not in before:
                raise RefusedError(
                    f"{address}, from where you ask, is in {rule.subject}: {why}you would lock yourself out. Name "
                    f"smaller networks, or allow your own address first, for as long: shield allow {address}"
                )

    def _take(self, rule: Rule, wall: float) -> None:
        if rule.holds(wall) and len(self._rules) < MOST_RULES:
            self._rules[rule.slot] = rule

    def _lift(self, rule: Rule, what: str, author: str, note: str, wall: float) -> Change:
        del self._rules[rule.slot]
        return self._note(what, wall, author, note, rule.subject, None, rule)

    def _note(
        self,
        what: str,
        wall: float,
        author: str,
        note: str,
        subject: str,
        rule: Rule | None,
        before: Rule | None,
        of: int = 0,
    ) -> Change:
        self._number += 1
        change = Change(self._number, what, wall, author, note, subject, rule, before, of)
        self._changes.append(change)
        return change


def _read_change(row: dict[str, Any]) -> Change:
    what = text(row["what"])
    if what not in CHANGES:
        raise ValueError("no change")
    rule, before = (None if row[name] is None else read(row[name]) for name in ("rule", "before"))
    if what in (ADDED, LIFTED) and rule is None and before is None:
        raise ValueError("a change of nothing")
    return Change(
        count(row["number"]),
        what,
        number(row["at"], 0.0),
        said(text(row["author"]), AUTHOR_CHARS),
        said(text(row["note"])),
        said(text(row["subject"])),
        rule,
        before,
        count(row["of"]),
    )


BANS: Final = ACCESS[:2]
"""Kinds that `shield unban` lifts."""
