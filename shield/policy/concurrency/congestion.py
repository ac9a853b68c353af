"""How slow the service is: x, the slowness of the last window, against b, the slowness of an undisturbed service.

    x    median of upstream time over the route's baseline
    b    what x is with nobody in the way; 1 at the start

A window speaks when it has enough samples of enough clients, taken while half of the slots or more were in use. b falls
to what the upper bound of a window's median leaves no doubt of, and rises in calm weather only, a little with each
window that was not saturated. Not under pressure: the windows in which a flood drains are not saturated, and full of
its slowness. A probe (probe.py) says more of b than any window.
"""

from __future__ import annotations

from typing import Final

from shield.policy.concurrency.evidence import SURE, VERY_SURE, median, too_many
from shield.policy.concurrency.reading import Times
from shield.policy.concurrency.samples import Samples
from shield.policy.concurrency.settings import ConcurrencySettings

FADING: Final = 0.99  # per minute: of a slowness that is not measured anew


class Congestion:
    """Reads windows, and keeps x and b between them."""

    __slots__ = ("_settings", "baseline", "ratio")

    def __init__(self, settings: ConcurrencySettings) -> None:
        self._settings = settings
        self.ratio = 1.0
        self.baseline = 1.0

    def read(self, window: Samples, seconds: float, *, drifts: bool, probing: bool) -> Times:
        """Read a window of so many seconds. In a probe b stays; `drifts`: the window was calm and not saturated."""
        settings = self._settings
        n = len(window)
        acted = n >= settings.samples and window.clients >= settings.clients
        errors_act = acted and too_many(window.errors, n, settings.error_share)
        if not (acted and window.ratios):
            self.ratio += (self.baseline - self.ratio) * (1.0 - FADING ** (seconds / 60))
            return Times(acted, self.baseline, self.ratio, 0.0, errors_act)
        ratios = sorted(window.ratios)
        low, self.ratio, _ = median(ratios, SURE)
        if not probing:
            self.baseline = min(self.baseline, median(ratios, VERY_SURE)[2])
            if drifts:
                self.baseline += settings.drift * (self.ratio - self.baseline)
        excess = sorted(window.excess)[len(ratios) // 2]
        return Times(acted, low, self.ratio, excess, errors_act, max(1.0, self.ratio / self.baseline))

    def learn(self, baseline: float) -> None:
        """Take b from a probe."""
        self.baseline = baseline
