"""Budgets of lines per second, so that a flood of requests does not become a flood of lines.

Of the budget of refusals a network has the part that is fair among those that were refused within this second or the
last, and those who have a pass or a history have as much as strangers. Otherwise the line that an operator looks for,
that of a regular who calls, would be one in thousands. With nobody else refused, one network has all of it.
"""

from __future__ import annotations


class Sampler:
    """Admits at most `per_second` in each second of the caller's clock and counts the rest."""

    __slots__ = ("_ends", "_left", "_per_second", "suppressed")

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._left = per_second
        self._ends = float("-inf")
        self.suppressed = 0

    def admit(self, now: float) -> bool:
        if now >= self._ends:
            self._ends = now + 1.0
            self._left = self._per_second
        if self._left > 0:
            self._left -= 1
            return True
        self.suppressed += 1
        return False


class FairSampler:
    """Admits at most `per_second` lines in each second, shared as above, and counts the rest.

    Of at most `per_second` networks is known whether they were refused, and how many lines they have had: with more,
    each has one line.
    """

    __slots__ = ("_before", "_ends", "_had", "_left", "_per_second", "_seen", "_sides", "_sides_before", "suppressed")

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._left = per_second
        self._ends = float("-inf")
        self._seen: set[str] = set()  # networks that were refused in this second
        self._before = 0  # how many in the last one
        self._had: dict[str, int] = {}  # their lines in this second
        self._sides: list[int] = [-1, -1]  # lines of strangers, and of others; -1: none of them was refused
        self._sides_before = 0  # how many of the two were refused in the last second
        self.suppressed = 0

    def admit(self, network: str, holds: bool, now: float) -> bool:
        """Whether there is a line for a refusal of `network`. `holds`: it has a pass or a history."""
        if now >= self._ends:
            self._renew(now)
        seen = self._seen
        if network not in seen and len(seen) < self._per_second:
            seen.add(network)
        sides = self._sides
        if sides[holds] < 0:
            sides[holds] = 0
        if self._left > 0:
            most = self._per_second // max(len(seen), self._before, 1)
            had = self._had.get(network, 0)
            both = self._sides_before == 2 or sides[not holds] >= 0
            if had < max(most, 1) and (not both or 2 * sides[holds] < self._per_second):
                self._had[network] = had + 1
                sides[holds] += 1
                self._left -= 1
                return True
        self.suppressed += 1
        return False

    def _renew(self, now: float) -> None:
        self._ends = now + 1.0
        self._left = self._per_second
        self._before = len(self._seen)
        self._sides_before = sum(lines >= 0 for lines in self._sides)
        self._seen.clear()
        self._had.clear()
        self._sides = [-1, -1]
