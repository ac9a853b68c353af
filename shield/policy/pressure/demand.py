"""Demand: what is asked for, in requests and units a second, smoothed.

In units, it is what each holder's nominal buckets and bans would admit *before* any measure that depends on p, so that
neither a banned address holds p up nor success at shedding lifts the defence. Whoever goes on against challenges
counts for what it would get if they were lifted, which squeeze.py says, and holds it to.
"""

from __future__ import annotations

import math
from typing import Any, Final

from shield.policy.pressure.settings import PressureSettings
from shield.policy.pressure.window import Window
from shield.policy.rows import number

MOST_RATE: Final = 1e9
"""Requests/s, or units/s; of a row of a file."""


class Demand:
    """Averages over `smoothing` seconds, and over `steady` seconds. What was completed is smoothed alike."""

    __slots__ = ("_settings", "completed", "known", "rate", "steady", "steady_completed", "top", "units")

    def __init__(self, settings: PressureSettings) -> None:
        self._settings = settings
        self.rate = 0.0  # requests/s
        self.units = 0.0  # units/s, of everybody
        self.known = 0.0  # of T0 and T1
        self.top = 0.0  # of T0
        self.completed = 0.0  # units/s that the service completed
        self.steady = 0.0  # units/s of everybody, over `steady`: browsing is uneven
        self.steady_completed = 0.0

    def row(self) -> list[Any]:
        """The averages, as a plain row."""
        return [self.rate, self.units, self.known, self.top, self.completed, self.steady, self.steady_completed]

    def restore(self, row: list[Any]) -> None:
        """Take such a row from before a restart. ValueError when it makes no sense."""
        rates = [number(value, 0.0, MOST_RATE) for value in row]
        self.rate, self.units, self.known, self.top, self.completed, self.steady, self.steady_completed = rates

    def add(self, window: Window) -> None:
        """Take a window."""
        seconds, asked = window.seconds, window.asked
        share = 1.0 - math.exp(-seconds / self._settings.smoothing)
        self.rate += share * (window.requests / seconds - self.rate)
        self.units += share * (asked.units / seconds - self.units)
        self.known += share * (asked.known / seconds - self.known)
        self.top += share * (asked.top / seconds - self.top)
        self.completed += share * (window.completed / seconds - self.completed)
        share = 1.0 - math.exp(-seconds / self._settings.steady)
        self.steady += share * (asked.units / seconds - self.steady)
        self.steady_completed += share * (window.completed / seconds - self.steady_completed)
