"""The cutoff: whom to challenge among the known, where T0 and T1 alone ask for more than there is.

Under pressure the demand of T1 is counted by rank, log2 of the units served before the onset. T1 below the cutoff has
to be challenged, too. Where T0 alone asks for more than there is, the two are *merged*: they go by rank together, and
T0 is still not challenged.
"""

from __future__ import annotations

import math

from shield.policy.pressure.settings import PressureSettings
from shield.policy.pressure.window import RANKS, Window


class Cutoff:
    """Demand by rank, smoothed, and the rank at which it exceeds what there is."""

    __slots__ = ("_ranks", "_settings", "merged", "rank")

    def __init__(self, settings: PressureSettings) -> None:
        self._settings = settings
        self._ranks = [0.0] * RANKS  # units/s
        self.rank = 0.0  # with a fraction: of the last rank so much is cut off
        self.merged = False

    def read(self, window: Window, top: float, capacity: float, pressed: bool) -> None:
        """Take a window. `top`: demand of T0 in units/s; `pressed`: the pressure acts on people."""
        share = 1.0 - math.exp(-window.seconds / self._settings.smoothing)
        usable = self._settings.used * capacity
        self.merged = pressed and top > usable
        left = usable if self.merged else usable - top
        self.rank = 0.0
        asked, smoothed = window.asked.ranks, self._ranks
        if not (any(asked) or any(smoothed)):
            return
        for rank in range(RANKS - 1, -1, -1):
            units = smoothed[rank] = (1.0 - share) * smoothed[rank] + share * asked[rank] / window.seconds
            if units > 0.0 and units > left and not self.rank:
                self.rank = rank + 1.0 - max(left, 0.0) / units
            left -= units
