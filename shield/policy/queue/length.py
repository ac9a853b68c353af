"""How long the queue is, by what the service can do: at least so many requests, and those of `ahead` seconds.

A worker that is not alone has what the others leave of it, and its part in any case.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

from shield.model import UNIT_SECONDS
from shield.policy.queue.settings import QueueSettings

MEDIAN_OF: Final = 64  # upstream times that the median is taken of
FIRST: Final = 16
"""How many upstream times the first median needs. It is taken before the first window closes, since thousands of
connections may come at once, and until then the queue is as long as for a service that nobody knows."""
QUICKEST: Final = 0.002  # seconds. Times below say more of the scheduler than of the service (routes.least_cost)
MOST: Final = 4096  # requests, unless the limit itself asks for more: each that waits pins its head
ROOM: Final = 2
"""Times the length, for parts of visits: at the first moment of a crowd nobody knows what the service can do."""


class Length:
    """Takes upstream times, and says what may wait."""

    __slots__ = (
        "_limit",
        "_served",
        "_settings",
        "_times",
        "_whole",
        "median_rtt",
        "most",
        "most_with_parts",
        "rate",
        "served",
    )

    def __init__(self, settings: QueueSettings, limit: int) -> None:
        self._settings = settings
        self._times: deque[float] = deque(maxlen=MEDIAN_OF)
        self.median_rtt = 0.0  # seconds, of the last MEDIAN_OF responses; 0 before the first
        self.measure(limit)

    def sample(self, rtt: float) -> None:
        """An upstream time, for the median."""
        self._times.append(rtt)
        if not self.median_rtt and len(self._times) >= FIRST:
            self.measure(self._limit)

    def measure(self, limit: int) -> None:
        """Take the median anew, and go by so many slots."""
        settings = self._settings
        self._limit = limit
        if self._times:
            self.median_rtt = sorted(self._times)[len(self._times) // 2]
        self.rate = limit / max(self.median_rtt or UNIT_SECONDS, QUICKEST)  # requests/s that the service can do, about
        least = max(int(settings.length * limit), settings.least_length)
        self._whole = max(least, min(int(settings.ahead * self.rate), MOST))  # of all workers
        self._served = self.rate * self.patience(settings.calm_patience) if self.median_rtt else least
        self.share(1.0, 0)

    def share(self, part: float, elsewhere: int) -> None:
        """Be one of several that together are as long as one. `elsewhere`: requests that wait at other workers."""
        self.most = _left(self._whole, part, elsewhere)  # requests that may wait
        self.most_with_parts = max(self.most, min(ROOM * self.most, MOST))  # the same of parts of visits
        self.served = _left(self._served, part, elsewhere)  # requests that are served within the patience

    def patience(self, seconds: float) -> float:
        """Seconds that a request waits at most: those of a setting, and longer before a service that is slow itself."""
        return max(seconds, self._settings.patience_medians * self.median_rtt)


def _left(whole: float, part: float, elsewhere: int) -> int:
    return max(math.ceil(part * whole), math.floor(whole - elsewhere))
