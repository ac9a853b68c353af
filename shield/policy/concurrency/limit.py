"""The limit L: how far it may go, how far it goes at a time, and whether it has been found yet.

It falls to max(shrink, g) L, with g of round.py, and for errors to error_shrink L or below. It rises by growth sqrt(L),
and until it has held once to SEARCH times L. A limit that fell in bad times rises again while the service is hardly
asked, to what the service took well within the last minutes: else a limit too low to let anybody in would never be
tested.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

from shield.policy.concurrency.round import Finding
from shield.policy.concurrency.settings import ConcurrencySettings

SEARCH: Final = 1.5  # growth until the limit held once: four windows from 20 to 100, and half as much too high at most
FELL: Final = 0.6  # of the limit at the last probe: two steps down, and then it is asked whether b still holds
FLOOR_ROUNDS: Final = 4  # at the floor and still too slow: then b is asked for, as it must be wrong
USUAL_KEPT: Final = 0.9  # per minute, of the limit that it may rise to while quiet
QUIET: Final = 2.0  # seconds since the limit was last reached, after which it may rise to that
FORGOTTEN: Final = 60.0  # seconds of calm after which a limit is a lower bound again


class Limit:
    """Requests that the service takes at once. `ceiling`: the operator's bound, 0 for none.

    `found`: the limit was reached and it held, so that demand beyond it is overload. Before that, and in calm weather a
    minute after it was last reached, it is only a lower bound of what the service can do.
    """

    __slots__ = (
        "_at_last_probe",
        "_calm",
        "_ceiling",
        "_floor_rounds",
        "_searching",
        "_settings",
        "_unreached",
        "_usual",
        "found",
        "least",
        "most",
        "value",
    )

    def __init__(self, settings: ConcurrencySettings, ceiling: int) -> None:
        self._settings = settings
        self._ceiling = ceiling or (0 if settings.adaptive else settings.start)
        if settings.adaptive:
            self.most = min(settings.most, ceiling) if ceiling else settings.most
            self.least = min(settings.least, self.most)
            self.value = max(self.least, min(settings.start, self.most))
        else:
            self.most = self.least = self.value = ceiling or settings.start
        self.found = not settings.adaptive
        self._searching = True
        self._usual = 0.0  # the greatest that was taken well, fading
        self._unreached = 0.0  # seconds since it was last reached
        self._calm = 0.0  # of these, those of calm weather
        self._floor_rounds = 0  # running, at the floor and still too slow
        self._at_last_probe = 0

    def bound(self, part: Callable[[int], int]) -> None:
        """Have `part` of what the operator has set be this machine's from now on."""
        if not self._ceiling:
            return
        settings, ceiling = self._settings, part(self._ceiling)
        if settings.adaptive:
            self.most = min(settings.most, ceiling)
            self.least = min(settings.least, self.most)
            self.value = min(max(self.value, self.least), self.most)
        else:
            self.most = self.least = self.value = ceiling

    def close_window(self, seconds: float, saturated: bool, calm: bool) -> None:
        """Let so many seconds pass, in calm weather or not; `saturated`: the limit was reached in them."""
        self._usual *= USUAL_KEPT ** (seconds / 60)
        if saturated:
            self._unreached = self._calm = 0.0
            return
        self._unreached += seconds
        if calm:
            self._calm += seconds
            if self._calm > FORGOTTEN:
                self.found = False

    def heed(self, finding: Finding) -> bool:
        """Take note of a round; whether it is in doubt that b still holds."""
        if finding.held:
            self.found = True
            self._searching = False
        lower = self.lower(finding)
        at_floor = finding.down and lower == self.value
        self._floor_rounds = self._floor_rounds + 1 if at_floor else 0
        fell = finding.down and not finding.errors and lower < FELL * self._at_last_probe
        return self._floor_rounds >= FLOOR_ROUNDS or fell

    def lower(self, finding: Finding) -> int:
        """What the limit falls to after such a round."""
        return max(self.least, int(self.value * max(self._settings.shrink, finding.gradient)))

    def higher(self) -> int:
        """The limit after one rise."""
        search = int(self.value * SEARCH) if self._searching else 0
        return min(max(self.value + self._step(), search), self.most)

    def back(self) -> int:
        """The limit after one step back towards its usual value, while it is not reached. Unchanged when it was not
        higher lately."""
        if self._unreached > QUIET and self.value < self._usual:
            return min(math.ceil(self._usual), self.value + self._step())
        return self.value

    def move(self, value: int) -> None:
        """Set the limit to `value`."""
        self.value = value

    def taken_well(self) -> None:
        """Remember that the service took so much."""
        self._usual = max(self._usual, self.value)

    def row(self) -> list[Any]:
        """What is known, as a plain row."""
        return [self.value, self.found, self._usual, self._searching]

    def restore(self, value: int, found: bool, usual: float, searching: bool) -> None:
        """Take what was known before a restart, within today's bounds. A limit that the operator set stays."""
        if self._settings.adaptive:
            self.value = min(max(value, self.least), self.most)
            self.found, self._searching = found, searching
            self._usual = min(usual, self.most)

    def begin_probe(self) -> None:
        """Count the rounds at the floor anew: whether b is wrong is being asked."""
        self._floor_rounds = 0

    def end_probe(self, value: int) -> None:
        """Set the limit to what the probe found, and keep that as the last probe's value."""
        self.value = self._at_last_probe = value

    def _step(self) -> int:
        return max(1, int(self._settings.growth * math.sqrt(self.value)))
