"""What is usual in calm weather: how many newcomers come, and what the service gets done.

By these an ill service is told from an attack that asks for a little more than there is. Demand does not tell them
apart: whoever is refused asks again. Nor do upstream times, as far as the service is less than half slower: a service
that has all it can take, and is well, is as slow.

    as_usual    no more newcomers come than in calm weather. Whoever asks again has come already; a botnet has not
    does_less   though the service has all it can take, it gets less done than a minute of calm weather saw. Requests
                count at what their routes cost then, so neither a service that became slower nor requests for dearer
                routes look like more
"""

from __future__ import annotations

import math
from typing import Any, Final

from shield.policy.pressure.demand import MOST_RATE
from shield.policy.pressure.settings import PressureSettings
from shield.policy.pressure.window import Window
from shield.policy.rows import number

HOUR: Final = 3600.0
"""Seconds over which the number of newcomers is learned. An attack that grows by 2 % a minute is twice what is usual
then; it would be 1.2 times as much with ten minutes."""
LEAST: Final = 1800.0
"""Seconds of calm weather without which nothing is said: what grows by 2 % a minute is 1.33 times its average then."""
MORE: Final = 1.25  # times the usual, that is not more than usual
DEVIATIONS: Final = 2.0  # by which a minute's count may be above that by chance
LESS: Final = 0.95
"""Share of what was done in a minute. Of a service that was eight tenths used and becomes 1.3 times as slow it is 0.94;
one that is well does more than ever when it has all it can take."""
FULL: Final = 0.7  # share of the windows of late in which it had all it could take


class Usual:
    """Averages over `steady` seconds, and what they were in calm weather."""

    __slots__ = ("_came", "_did", "_does", "_full", "_known_for", "_settings", "_usually_came")

    def __init__(self, settings: PressureSettings) -> None:
        self._settings = settings
        self._came = 0.0  # newcomers/s
        self._usually_came = 0.0
        self._known_for = 0.0  # seconds of calm weather
        self._does = 0.0  # units/s
        self._did = 0.0  # the most in a minute of calm weather
        self._full = 0.0  # share of the windows in which the service had all it could take

    def read(self, window: Window, calm: bool) -> None:
        """Take a window."""
        settings, seconds = self._settings, window.seconds
        share = 1.0 - math.exp(-seconds / settings.steady)
        self._came += share * (window.asked.came / seconds - self._came)
        self._does += share * (window.usual_cost / seconds - self._does)
        self._full += share * (window.service.saturated - self._full)
        self._did *= settings.served_kept ** (seconds / 60)
        if calm:
            self._did = max(self._did, self._does)
            self._known_for += seconds
            share = max(1.0 - math.exp(-seconds / HOUR), seconds / self._known_for)
            self._usually_came += share * (window.asked.came / seconds - self._usually_came)

    def row(self) -> list[Any]:
        """The averages, as a plain row."""
        return [self._came, self._usually_came, self._known_for, self._does, self._did, self._full]

    def restore(self, row: list[Any]) -> None:
        """Take such a row from before a restart, or of another worker. ValueError when it makes no sense."""
        *rates, full = row
        self._full = number(full, 0.0, 1.0)
        rates = [number(value, 0.0, MOST_RATE) for value in rates]
        self._came, self._usually_came, self._known_for, self._does, self._did = rates

    @property
    def as_usual(self) -> bool:
        """Whether no more newcomers come than in calm weather, as far as that is known."""
        usual = self._usually_came
        chance = DEVIATIONS * math.sqrt(usual / self._settings.steady)
        return self._known_for > LEAST and self._came <= MORE * usual + chance

    @property
    def does_less(self) -> bool:
        """Whether the service gets less done than in calm weather, though it has all it can take."""
        return self._full > FULL and self._does <= LESS * self._did
