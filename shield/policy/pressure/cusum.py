"""The CUSUM: a sudden rise of the request rate, before it is more than the service can do (Page 1954).

It sums log2(rate / usual rate) - `cusum_step` over windows, and never falls below 0. Above `cusum_alarm` it alarms. The
usual rate is an average over minutes, which stands nearly still while steps accumulate.
"""

from __future__ import annotations

import math

from shield.policy.pressure.settings import PressureSettings


class Cusum:
    """The sum, and the usual rate that it is measured against."""

    __slots__ = ("_settings", "_started", "_sum", "_usual")

    def __init__(self, settings: PressureSettings) -> None:
        self._settings = settings
        self._started: float | None = None  # with the first request; then it warms up
        self._usual = 0.0  # requests/s
        self._sum = 0.0

    def start(self, now: float) -> None:
        """Begin to learn what is usual, unless that has begun."""
        if self._started is None:
            self._started = now

    def restart(self, rate: float) -> None:
        """Take the present rate (requests/s) as the usual one: an attack is over."""
        self._sum = 0.0
        self._usual = rate

    @property
    def usual(self) -> float:
        """The usual rate, in requests/s."""
        return self._usual

    def step(self, rate: float, now: float, seconds: float) -> bool:
        """Take a window's rate (requests/s); whether the sum is an alarm."""
        if self._started is None:
            return False
        settings = self._settings
        if now - self._started < settings.warm_up:
            self._usual = max(self._usual, rate)
            return False
        floor = settings.cusum_floor
        step = math.log2(max(rate, floor) / max(self._usual, floor))
        self._sum = max(0.0, self._sum + step - settings.cusum_step)
        if self._sum:
            self._usual *= settings.cusum_growth ** (seconds / 60)
        else:
            share = 1.0 - math.exp(-seconds / settings.cusum_memory)
            self._usual += share * (rate - self._usual)
        return self._sum > settings.cusum_alarm
