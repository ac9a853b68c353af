"""What all machines together have asked of one service, so that each of them sees the same pressure.

Each tells with its beat what it has counted so far, as a worker that follows does (board/report.py), and how many
places at the service are its own. Each adds what the others have counted since its last window to its own: demand,
completed units, who solved challenges, what bought passes took. So an attack that comes to one machine alone is an
attack to all, and the price is that of the demand of all; of the passes that are issued, each issues its part.

While the store is lost, the others are taken to see what this one sees.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from shield.policy.board.report import NOTHING, Counted, Elsewhere, Totals, both
from shield.policy.rows import count, text

MOST_LIMIT: Final = 1_000_000


class Counting:
    """The part of one engine. `others`: those that stand before the same service."""

    __slots__ = ("_elsewhere", "_reports", "_totals", "lost", "machines", "told")

    def __init__(self) -> None:
        self._totals = Totals()
        self._elsewhere = Elsewhere()
        self._reports: Mapping[str, tuple[str, int]] = {}
        self.machines = 1
        self.lost = False
        self.told: list[Any] = ["", 0]
        """What the others are told: what was counted, and this machine's places."""

    def hear(self, reports: Mapping[str, Any]) -> None:
        """What the others have told, by their names. ValueError when one makes no sense."""
        found = {}
        for name, report in reports.items():
            said, limit = report
            if type(said) is not str:
                raise ValueError("no report")
            found[text(name)] = said, min(count(limit), MOST_LIMIT)
        self._reports = found

    def meet(self, counted: Counted, limit: int, now: float) -> tuple[Counted, int]:
        """Tell what this machine has counted in a window, and its places; what the others have, and theirs."""
        self.told = [self._totals.add(counted, now).decode("ascii"), limit]
        if self.lost:
            others = max(self.machines - 1, 0)
            alike = NOTHING
            for _ in range(min(others, MOST_ALIKE)):
                alike = both(alike, counted)
            return alike, others * limit
        there = self._elsewhere.read({name: said.encode() or None for name, (said, _) in self._reports.items()})
        return there, sum(limit for _, limit in self._reports.values())


MOST_ALIKE: Final = 64
"""Machines that are added up one by one while the store is lost."""
