"""The passes that are saved up, and may be issued at once."""

from __future__ import annotations

import math

from shield.policy.board.memory import Cell
from shield.policy.board.seat import Seat


class Purse:
    """The purse of a worker that is alone."""

    __slots__ = ("saved",)

    part = 1.0
    """What this worker issues of the passes of all workers, from 0 to 1."""

    def __init__(self) -> None:
        self.saved = math.inf

    def take(self) -> None:
        """Issue one pass."""
        self.saved -= 1.0


class SharedPurse(Purse):
    """The purse of all workers: what was granted, less what anybody has issued. Two that look at the same moment may
    both take the last one; then it is one less that is saved next."""

    __slots__ = ("_granted", "_seat")

    def __init__(self, seat: Seat) -> None:
        self._seat = seat
        super().__init__()

    @property
    def part(self) -> float:  # type: ignore[override]
        """What this worker issues of the passes of all workers, from 0 to 1."""
        return self._seat.part

    @property
    def saved(self) -> float:
        """Passes that may be issued."""
        return self._granted - self._seat.total(Cell.PASSES)

    @saved.setter
    def saved(self, value: float) -> None:
        self._granted = value + self._seat.total(Cell.PASSES)

    def take(self) -> None:
        """Issue one pass."""
        self._seat.add(Cell.PASSES, 1)

    @property
    def granted(self) -> float:
        """Passes that were issued so far, or may be, by all workers."""
        return self._granted

    def adopt(self, granted: float) -> None:
        """Take what the worker that leads has granted."""
        self._granted = granted
