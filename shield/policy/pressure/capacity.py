"""Capacity: what the service can do, in units a second.

The larger of two:

    M                     the most that was completed while saturated. It fades by `capacity_kept`, and while
                          saturated it goes to what is completed now, over `steady`
    UNITS_PER_SLOT L / x  Little's law: L slots, slowed by x. Where the limit is not probed, by x / max(1, b): without
                          probes a b above 1 is how noisy times look undisturbed

Completed requests count at the cost of their route, as demand does. So slowness does not look like capacity, and a
route whose cost is wrong is wrong in both. Where the machine stood still for a moment, the capacity stays. Until the
limit was reached and held, nobody knows: L is a first guess, and may be seven times what there is. So until then no
more is to be sold (`shown`) than twice what the service completes, or a slot's work: in a flood from the first second
on, passes would be issued for a service that does not exist.
"""

from __future__ import annotations

import math
from typing import Final

from shield.model import UNIT_SECONDS
from shield.policy.concurrency.reading import Reading
from shield.policy.pressure.settings import PressureSettings

UNITS_PER_SLOT: Final = 1.0 / UNIT_SECONDS  # what one slot can do in a second
GROWTH: Final = 2.0  # times what is completed, that may be sold: as TCP's slow start it doubles while all goes well


class Capacity:
    """Keeps the most that was completed."""

    __slots__ = ("_most_completed", "_settings", "shown", "units")

    def __init__(self, settings: PressureSettings, limit: int) -> None:
        self._settings = settings
        self._most_completed = 0.0
        self.units = UNITS_PER_SLOT * limit
        self.shown = UNITS_PER_SLOT  # of that, what the service has shown that it can do

    @property
    def most_completed(self) -> float:
        """The most that was completed while saturated (M)."""
        return self._most_completed

    def restore(self, most_completed: float) -> None:
        """Take M from before a restart."""
        self._most_completed = most_completed
        self.units = max(self.units, most_completed)

    def adopt(self, units: float, shown: float) -> None:
        """Take the capacity that another worker has found."""
        self.units, self.shown = units, shown

    def read(self, service: Reading, completed: float, seconds: float, stalled: bool = False) -> float:
        """Units/s that the service can do, after a window at whose end so many units/s are completed. `stalled`:
        nothing was seen of the service."""
        if stalled:
            return self.units
        self._most_completed *= self._settings.capacity_kept ** (seconds / 60)
        if service.saturated:
            less = (completed - self._most_completed) * (1.0 - math.exp(-seconds / self._settings.steady))
            self._most_completed = max(self._most_completed + less, completed)
        self.units = max(self._most_completed, UNITS_PER_SLOT * service.limit / service.slowness)
        shown = max(UNITS_PER_SLOT, self._most_completed, GROWTH * completed)
        self.shown = self.units if service.found else min(self.units, shown)
        return self.units
