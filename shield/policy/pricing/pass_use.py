"""How much of what a bought pass is worth is used: what bought passes took of late over what was issued of late.

The share is `first_used` until there is enough to learn from, and at least `least_used`. It is learned slowly that
passes are used less than was thought, and quickly that they are used more: idle passes may be put to use all at once.
"""

from __future__ import annotations

import math

from shield.policy.pricing.settings import PricingSettings


class PassUse:
    """Learns the share that is used, and how much bought passes take. `worth` is in units per pass."""

    __slots__ = ("_issued", "_settings", "_taken", "_units", "_worth", "rate", "share")

    def __init__(self, settings: PricingSettings, worth: float) -> None:
        self._settings = settings
        self._worth = worth
        self.share = settings.first_used
        self.rate = 0.0  # units/s that bought passes take, smoothed
        self._taken = 0.0  # passes issued since the last reading
        # of late, fading
        self._units = 0.0
        self._issued = 0.0

    def restore(self, share: float) -> None:
        """Take the share from before a restart."""
        self.share = min(max(share, self._settings.least_used), 1.0)

    def issue(self, passes: float = 1.0) -> None:
        """Count a pass that is issued, or several."""
        self._taken += passes

    def take(self) -> float:
        """Passes issued since the last reading: for the worker that leads."""
        taken, self._taken = self._taken, 0.0
        return taken

    def adopt(self, share: float, rate: float) -> None:
        """Take what that worker has learned: the share, and units/s that bought passes take."""
        self.restore(share)
        self.rate = rate

    def read(self, units: float, seconds: float) -> None:
        """Take a reading of `seconds`, in which bought passes took `units`."""
        settings = self._settings
        self.rate += (1.0 - math.exp(-seconds / settings.use_seconds)) * (units / seconds - self.rate)
        kept = math.exp(-seconds / settings.worth_seconds)
        self._units = kept * self._units + units
        self._issued = kept * self._issued + self._taken
        self._taken = 0.0
        if self._issued < settings.least_issued:
            return
        used = min(max(self._units / self._issued / self._worth, settings.least_used), 1.0)
        slowness = settings.alarm_seconds if used > self.share else settings.learn_seconds
        self.share += (1.0 - math.exp(-seconds / slowness)) * (used - self.share)
