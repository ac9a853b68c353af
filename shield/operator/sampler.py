"""A budget of lines per second, so that a flood of requests does not become a flood of lines."""

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
