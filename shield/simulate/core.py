"""The processor core that Shield runs on: work takes time, what arrives meanwhile waits, and some of it is lost.

While the core is full, strangers wait on the sideline (wire/sideline.py), each for the work that lies before it. All
others wait for a turn of the event loop at most, in which strangers get their slice.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from shield.policy.pressure.window import OwnLoad

if TYPE_CHECKING:
    from shield.simulate.scene import Costs

TURN: Final = 0.005
"""s. A turn of the event loop where strangers stand aside: their slice, and the work of the others."""
PATIENT: Final = 1.5
"""s. For which strangers may wait before Shield counts as late (process/load_meter.py)."""


class Core:
    """A queue in order, known by when it will be empty. `load` is what process/load_meter.py would have measured."""

    __slots__ = ("_backlog", "_busy_until", "_late", "_set_aside", "_turns", "_worked", "_worst", "load")

    def __init__(self, costs: Costs, now: float) -> None:
        self._backlog = costs.backlog
        self._set_aside = costs.refuse  # for a request of which nobody knows yet what it will cost
        self._busy_until = now
        self.load = OwnLoad()
        # since the last reading
        self._worked = 0.0  # seconds
        self._late = 0.0  # seconds, summed over the turns of the timer
        self._worst = 0.0
        self._turns = 0

    def arrive(self, now: float, stranger: bool) -> float:
        """When a request that arrives will be read: `now`, or later, and then `begin` must be told. Infinity: never."""
        busy = self._busy_until
        if busy <= now:
            return now
        if not stranger:
            self._busy_until = busy + self._set_aside
            return min(busy, now + TURN)
        if busy - now > self._backlog:
            return inf
        self._busy_until = busy + self._set_aside
        return busy

    def begin(self) -> None:
        """Read a request that waited."""
        self._busy_until -= self._set_aside

    def work(self, seconds: float, now: float) -> None:
        """Do some work."""
        self._worked += seconds
        busy = self._busy_until
        self._busy_until = busy + seconds if busy > now else now + seconds

    def turn(self, now: float) -> None:
        """Note how late the timer runs, which is due now."""
        self._turns += 1
        behind = self._busy_until - now
        if behind > 0.0:
            late = min(behind, TURN) + max(behind - PATIENT, 0.0)
            self._late += late
            self._worst = max(self._worst, late)

    def read(self, seconds: float) -> None:
        """Take the load of the window of `seconds` that ends."""
        self.load = OwnLoad(self._late / self._turns, min(self._worked / seconds, 1.0), self._worst)
        self._worked = self._late = self._worst = 0.0
        self._turns = 0
