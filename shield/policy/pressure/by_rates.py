"""Capacity where nothing is known of the service: where other proxies carry the requests, and only ask (listen.gate).

Nobody sees there how long the service takes. So the capacity is `pressure.capacity` where the operator has set it, and
else so many `TIMES` what is usually asked for, in units a second: what is asked for in calm weather, averaged over
`cusum_memory`. In the first `warm_up` seconds nothing is usual yet, and the most that was asked for counts.

A flood that doubles within minutes is met when it comes to TIMES what was usual. One that takes hours to grow becomes
what is usual: only the operator can know that the service does not bear it.
"""

from __future__ import annotations

import math
from typing import Final

from shield.policy.pressure.settings import PressureSettings

TIMES: Final = 4.0
"""The usual demand, that a service is taken to bear: as a day's rush hour is to its mean, with room to spare."""


class UsualDemand:
    """Averages what is asked for."""

    __slots__ = ("_seconds", "_settings", "_usual")

    def __init__(self, settings: PressureSettings) -> None:
        self._settings = settings
        self._seconds = 0.0  # since the first request
        self._usual = 0.0  # units/s

    def read(self, demand: float, calm: bool, seconds: float) -> float:
        """The capacity after a window in which `demand` units/s were asked for. `calm`: there is no pressure, and no
        attack."""
        settings = self._settings
        if demand > 0.0:
            self._seconds += seconds
        if self._seconds < settings.warm_up:
            self._usual = max(self._usual, demand)
        elif calm:
            self._usual += (1.0 - math.exp(-seconds / settings.cusum_memory)) * (demand - self._usual)
        return TIMES * max(self._usual, settings.cusum_floor)
