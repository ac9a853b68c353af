"""The brownout: a service that became worse by itself, told from one of which too much is asked.

Challenging people then helps the service little and locks them out for as long as it is ill. The queue, in which the
tiers take turns then, and the concurrency limit go on protecting it.

A brownout is found when there has been pressure for `brownout_after`, and during all that time

    demand was modest       no more over a minute than the service has served, the most that a minute of calm weather
                            completed; `used` of it counts
    the service was worse   slow, or failing, or asked for no more than `light` of what it could do, or able to do less
                            than it has served, or it does less while no more newcomers come than usual (usual.py). A
                            service that does what it can is not ill: an attack that grew slowly asks for a little more

It lasts until the pressure is over, or demand exceeds `brownout_demand` times what was served. People who are refused
ask again. So demand may be `brownout_tries` times as much from the beginning where the service shows that it is ill: it
is slow and completes less than it did, or it could do far more than is asked; and where no more newcomers come than
usual, since then nobody else can be asking. `brownout_ill` suffices where it is slow
and completes less, or has just failed though it could do what is asked.

*Slow* is against the b of calm weather: a probe of an ill service finds that it is slow undisturbed, and takes that for
its b.
"""

from __future__ import annotations

import math
from typing import Final

from shield.policy.pressure.demand import Demand
from shield.policy.pressure.settings import PressureSettings
from shield.policy.pressure.usual import Usual
from shield.policy.pressure.window import Window

TOGETHER: Final = 1.5
"""Times the usual tries, in seconds in which many come together. Without it a brownout of `shield simulate brownout`
ended twice in the middle, at 1.1 times (one seed of six)."""


class Brownout:
    """Remembers what the service did in calm weather, and how it does now."""

    __slots__ = ("_calm_baseline", "_errors_ago", "_modest_for", "_ratio", "_settings", "on", "served", "usual")

    def __init__(self, settings: PressureSettings) -> None:
        self._settings = settings
        self.usual = Usual(settings)
        self.on = False
        self.served = 0.0  # units/s: the most that a minute of calm weather completed
        self._calm_baseline = 1.0  # b in calm weather
        self._ratio = 1.0  # x over seconds: of one window it is noise
        self._errors_ago = math.inf  # seconds since errors showed overload
        self._modest_for = 0.0  # seconds under pressure, without more demand than the service has served before

    def read(self, window: Window, demand: Demand, capacity: float, failed: bool, high: bool) -> bool:
        """Whether there is a brownout after a window. `failed`: errors showed overload; `high`: there is pressure."""
        settings, seconds = self._settings, window.seconds
        self._remember(window, demand.steady_completed, failed, high)
        slow = self._ratio > settings.slow_ratio * self._calm_baseline
        less = slow and demand.steady_completed <= settings.used * self.served
        failing = self._errors_ago < settings.steady
        light = settings.used if self.on or failing else settings.light
        could = demand.steady <= light * capacity
        usual, as_usual = self.usual, self.usual.as_usual
        worse = self.on or slow or could or failing or capacity <= settings.used * self.served
        worse = worse or (as_usual and usual.does_less)
        modest = high and worse and self._is_modest(demand, capacity, less or could or as_usual, as_usual)
        self._modest_for = self._modest_for + seconds if modest else 0.0
        after = settings.brownout_ill if less or (could and failing) else settings.brownout_after
        self.on = modest and (self.on or self._modest_for >= after)
        return self.on

    def _remember(self, window: Window, completed: float, failed: bool, high: bool) -> None:
        settings, seconds, service = self._settings, window.seconds, window.service
        self.usual.read(window, not high)
        self.served *= settings.served_kept ** (seconds / 60)
        if not high:
            self.served = max(self.served, completed)
            share = 1.0 - math.exp(-seconds / settings.steady)
            self._calm_baseline += share * (service.baseline - self._calm_baseline)
        self._errors_ago = 0.0 if failed else self._errors_ago + seconds
        self._ratio += (1.0 - math.exp(-seconds / settings.slow_memory)) * (service.times.ratio - self._ratio)

    def _is_modest(self, demand: Demand, capacity: float, tries: bool, as_usual: bool) -> bool:
        """Whether no more is asked for than was served. `tries`: those who are refused and ask again explain more.
        `as_usual`: no more come than usual, which explains that many try in the same seconds."""
        settings = self._settings
        more = settings.brownout_demand if self.on else 1.0 / settings.used
        if tries:
            more = max(more, settings.brownout_tries)
        # A flood is seen by the demand of seconds: that of a minute would take seconds more.
        most = settings.brownout_tries * self.served * (TOGETHER if as_usual else 1.0)
        flood = demand.units > max(most, settings.used * capacity)
        return demand.steady <= self.served * more and not flood
