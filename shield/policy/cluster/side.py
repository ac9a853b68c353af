"""What the engine of one node tells the others, and hears from them: plain rows (remembered.py), in the order in which
things happened.

    client, address   scores of hard signals, and bans: the higher score and the longer ban hold
    pardon            bans that the operator has lifted
    pass, seen        passes that are scarce or revoked, and in how many networks one is used
    wish, grant       an answer to another node's challenge (answers.py)
"""

from __future__ import annotations

from typing import Any, Final

from shield.policy.cluster.answers import Answers
from shield.policy.cluster.leases import Leases

SHARED: Final = frozenset({"client", "address", "pardon", "pass", "seen"})
ASKED: Final = frozenset({"wish", "grant"})
MOST_LOOKED: Final = 64
MOST_UNTOLD: Final = 8192
"""Rows that wait to be told, 2 MB. One core bans fewer clients than that in a second; while the store is away longer,
the bans are told again once it is back."""


class Side:
    """Collects rows until they are taken. `lost` counts those that there was no room for."""

    __slots__ = ("_rows", "answers", "leases", "lost")

    def __init__(self, leases: Leases | None) -> None:
        self._rows: list[list[Any]] = []
        self.lost = 0
        self.leases = leases
        """What clients have used up; None where limits are each node's own."""
        self.answers = Answers(self._add)
        """Answers to challenges of other nodes."""

    def tell(self, row: list[Any]) -> None:
        """Have the others told a row, if it is of a kind that concerns them."""
        if row[0] in SHARED or row[0] in ASKED:
            self._add(row)

    def hear(self, row: Any) -> None:
        """Take a reply to a wish, if it is one."""
        match row:
            case ["grant", *reply]:
                try:
                    self.answers.granted(reply)
                except (TypeError, ValueError):
                    self.lost += 1

    def take(self, most: int) -> list[list[Any]]:
        """The oldest of those that are to be told, up to so many."""
        taken, self._rows = self._rows[:most], self._rows[most:]
        return taken

    def take_back(self, rows: list[list[Any]]) -> None:
        """These were not told after all."""
        room = MOST_UNTOLD - len(self._rows)
        self.lost += max(len(rows) - room, 0)
        self._rows = rows[:room] + self._rows

    @property
    def asked(self) -> bool:
        """Whether somebody waits for what is to be told."""
        return any(row[0] in ASKED for row in self._rows[-MOST_LOOKED:])

    @property
    def untold(self) -> int:
        """How many rows wait."""
        return len(self._rows)

    def _add(self, row: list[Any]) -> None:
        if len(self._rows) < MOST_UNTOLD:
            self._rows.append(row)
        else:
            self.lost += 1
