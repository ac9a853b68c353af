"""The level: p, and where it is going.

For demand D and capacity C:

    target  clip((D/C - used) / span, 0, 1), once D/C - used, summed over seconds, exceeds `most_asked`: that is too
            much for a page that loads. At least `overload` while a sign of overload lasts
    p       goes towards the target, up by `rise` and down by `fall` of the way a second: a flood is met in a second,
            and not trusted to be over while it may be the pause of one that pulses
    rest    seconds for which the target has been below `release` of p. After `most_rest` of them it was no pause, and
            p falls as fast as it rises: a flood that has ended is over within a minute
    high    p is above `threshold`, and stays high until p is below `release` of that: a flood that pulses, however
            weak, does not make the defence flap
"""

from __future__ import annotations

import math
from typing import Final

from shield.policy.pressure.settings import PressureSettings
from shield.policy.pressure.signs import Overload

HELD: Final = "held"


class Level:
    """p, one window at a time."""

    __slots__ = ("_asked", "_rest", "_settings", "held", "high", "p", "reason", "target")

    def __init__(self, settings: PressureSettings) -> None:
        self._settings = settings
        self.p = 0.0
        self.target = 0.0
        self.held: float | None = None  # what the operator wants p to be
        self.reason = ""  # of the target: demand, a sign of overload; or that p is held
        self.high = False
        self._asked = 0.0  # demand beyond `used`, as a share of the capacity, times seconds
        self._rest = 0.0  # seconds for which far less than p was called for

    def restore(self, p: float, high: bool) -> None:
        """Take what was read before a restart."""
        self.p, self.high = p, high

    def read(self, load: float, overload: Overload, seconds: float) -> float:
        """p after a window. `load`: demand over capacity; 0 where the capacity is only a lower bound."""
        settings = self._settings
        beyond = load - settings.used
        self._asked = self._asked + beyond * seconds if beyond > 0.0 else 0.0
        counts = self.high or self._asked > settings.most_asked
        self.target = min(max(beyond / settings.span, 0.0), 1.0) if counts else 0.0
        self.reason = "demand"
        if overload.lasts and self.target < settings.overload:
            self.target = settings.overload
            self.reason = overload.signs[0]
        self._rest = self._rest + seconds if self.target < settings.release * self.p else 0.0
        fast = self.target > self.p or self._rest > settings.most_rest
        speed = settings.rise if fast else settings.fall
        self.p += (1.0 - math.exp(-speed * seconds)) * (self.target - self.p)
        if self.held is not None:
            self.p, self.reason = self.held, HELD
        self.high = self.p > (settings.release * settings.threshold if self.high else settings.threshold)
        return self.p
