"""Headroom: how many requests may be at the service beyond the limit, where others seem to do nothing there.

From outside, a service that waits looks like one that works. So while requests take long there (long_requests.py), the
others may only be a quarter of the limit more at first. What they tell shows which it is: while they are answered about
as quickly as usual, the service can take more, and the headroom doubles, up to the limit. When they are not, it is
halved, down to the quarter. A service that works on all it has gets a quarter more than the limit, and all the while
these are requests that are usually quick.
"""

from __future__ import annotations

import math
from typing import Final

from shield.policy.concurrency.evidence import ENOUGH, SURE, median
from shield.policy.concurrency.settings import ConcurrencySettings
from shield.policy.concurrency.slots import Slots

MOST_DOUBLINGS: Final = 2  # from a quarter of the limit to the limit
BEARABLE: Final = 2.0  # times the tolerance: about what twice as many requests come to, where all of them make work


class Headroom:
    """Reads how quick the answers are while requests take long, and says so to the slots."""

    __slots__ = ("_ratios", "_settings", "_slots")

    def __init__(self, settings: ConcurrencySettings, slots: Slots) -> None:
        self._settings = settings
        self._slots = slots
        self._ratios: list[float] = []  # fewer than ENOUGH

    def sample(self, ratio: float, baseline: float, error: bool) -> None:
        """Take an answer that came while requests took long: its time over its route's, and b."""
        slots = self._slots
        if not slots.many_long:
            return
        self._ratios.append(math.inf if error else ratio)
        n = len(self._ratios)
        if n < self._settings.samples:
            return
        low, x, high = median(sorted(self._ratios), SURE)
        bearable = BEARABLE * self._settings.tolerance * baseline
        if high < bearable or (n >= ENOUGH and x < bearable):
            slots.prove(min(slots.doublings + 1, MOST_DOUBLINGS))
        elif low > bearable or n >= ENOUGH:
            slots.prove(max(slots.doublings - 1, 0))
        else:
            return
        self._ratios.clear()

    def forget(self) -> None:
        """Begin anew: nothing takes long any more."""
        self._slots.prove(0)
        self._ratios.clear()
