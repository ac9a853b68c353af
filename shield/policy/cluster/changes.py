"""The operator's rules at all nodes: of two changes of the same (Rule.slot) the newer one holds.

    change     kind and subject, when (wall clock), at which node, and the rule that holds now, or none
    pardoned   a network or a client whose bans the operator has lifted

What was told is remembered by slot, lifted rules too, for KEPT seconds: a node that was away for longer brings back
what was lifted meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from shield.policy.rows import number, text
from shield.policy.rules.book import MOST_RULES
from shield.policy.rules.rule import Rule, read

KEPT: Final = 30 * 86_400.0
MOST: Final = 2 * MOST_RULES
"""Slots, half of them lifted. The oldest of these is forgotten first."""
TAKES: Final = 10.0
"""Seconds in which the book of this machine has a change that was heard of."""
EARLY: Final = 300.0
"""Seconds by which the clock of another node may be ahead. What claims to be newer would never give way."""

Slot = tuple[str, str]
Change = tuple[Slot, Rule | None]


class Changes:
    """The rules as they were told last, and which changes are newer."""

    __slots__ = ("_due", "_node", "_stamps", "_told")

    def __init__(self, node: str) -> None:
        self._node = node
        self._stamps: dict[Slot, tuple[float, str]] = {}
        self._told: dict[Slot, Rule] = {}
        self._due: dict[Slot, float] = {}  # taken, and until when the book may take to have it, too (wall clock)

    def begin(self, rules: Sequence[Rule]) -> None:
        """These rules are known from before; each was changed when it was made."""
        for rule in rules:
            self._told[rule.slot] = rule
            self._stamps[rule.slot] = rule.created, self._node

    def changed(self, rules: Sequence[Rule], wall: float) -> Iterator[list[Any]]:
        """What has changed since the last call, as rows for the others. A rule that ends ends everywhere."""
        now: Mapping[Slot, Rule] = {rule.slot: rule for rule in rules}
        for slot in [*now, *(slot for slot in self._told if slot not in now)]:
            rule, before = now.get(slot), self._told.get(slot)
            if _same(rule, before):
                self._due.pop(slot, None)
                continue
            due = self._due.get(slot)
            if due is not None and wall < due:
                continue
            if rule is None:
                del self._told[slot]
            else:
                self._told[slot] = rule
            if due is not None:  # the book here did not take it: that is no change for the others
                del self._due[slot]
                continue
            if rule is None and before is not None and not before.holds(wall):
                continue
            self._stamp(slot, wall, self._node, wall)
            yield self._row(slot)

    def all(self, wall: float) -> Iterator[list[Any]]:
        """Everything that is known, for those that have come since."""
        self._forget(wall)
        for slot in tuple(self._stamps):
            yield self._row(slot)

    def take(self, row: list[Any], wall: float) -> Change | None:
        """A change that was made elsewhere; None when what is known here is as new. ValueError when it makes no
        sense."""
        kind, subject, at, node, plain = row
        slot = text(kind), text(subject)
        stamp = number(at, 0.0), text(node)
        if stamp[0] > wall + EARLY:
            raise ValueError("of the future")
        rule = None if plain is None else read(plain)
        if rule is not None and rule.slot != slot:
            raise ValueError("a rule of another slot")
        if stamp <= self._stamps.get(slot, (-1.0, "")):
            return None
        self._stamp(slot, *stamp, wall)
        if rule is None or not rule.holds(wall):
            if self._told.pop(slot, None) is None:
                return None
            self._due[slot] = wall + TAKES
            return slot, None
        if _same(rule, self._told.get(slot)):
            return None
        self._told[slot] = rule
        self._due[slot] = wall + TAKES
        return slot, rule

    def _row(self, slot: Slot) -> list[Any]:
        rule = self._told.get(slot)
        return ["change", *slot, *self._stamps[slot], None if rule is None else rule.plain()]

    def _stamp(self, slot: Slot, at: float, node: str, wall: float) -> None:
        self._stamps.pop(slot, None)
        self._stamps[slot] = at, node
        if len(self._stamps) > MOST:
            self._forget(wall)
            lifted = [each for each in self._stamps if each not in self._told and each != slot]
            for each in lifted[: max(len(self._stamps) - MOST, 0)]:
                del self._stamps[each]

    def _forget(self, wall: float) -> None:
        self._stamps = {
            slot: stamp for slot, stamp in self._stamps.items() if slot in self._told or stamp[0] > wall - KEPT
        }


def _same(one: Rule | None, other: Rule | None) -> bool:
    """Whether two rules say the same; their numbers are each book's own."""
    if one is None or other is None:
        return one is other
    return (one.kind, one.value, one.expires, one.note) == (other.kind, other.value, other.expires, other.note)
