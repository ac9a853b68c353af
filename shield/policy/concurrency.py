"""How much the upstream takes at once: a fixed limit for now.

What a limiter is asked for: `limit`, `in_flight`, whether it was `saturated` (in-flight reached the limit) in the
window that ends, and the congestion x / b, where x is the median of upstream time over the route's baseline in the
window and b its undisturbed value (1 at the start). An adaptive limiter may take this one's place: it sets `limit` in
`close_window` and finds b by probing. Without the probe, b = min(b, x), and in calm weather, while the window was not
saturated, b moves 2 % of the way to x. (Not under pressure: the windows in which a flood drains are not saturated, and
full of its slowness.)

A window says something only with at least `LEAST_SAMPLES` samples of at least `LEAST_CLIENTS` clients that ended while
in-flight was at least half the limit; otherwise x, b and the share of errors keep. Whether x *exceeds* a bound is
asked of the lower end of a confidence interval of the median (sign test, two standard deviations), and likewise for
the share of errors: eight noisy samples are no evidence, eight hundred are.
"""

from __future__ import annotations

import math
from typing import Final

LEAST_SAMPLES: Final = 8
LEAST_CLIENTS: Final = 4
MOST_SAMPLES: Final = 1024
"""Samples kept per window: bounds the memory and the sorting (0.1 ms) whatever the rate."""
DRIFT: Final = 0.02
ERROR_SHARE: Final = 0.05
LATER: Final = 0.99  # a congestion that is not measured anew fades by 1 % a minute


class Concurrency:
    """Counts the requests at the upstream and reads its congestion, one window (0.5 s) at a time."""

    __slots__ = (
        "_clients",
        "_errors",
        "_excess",
        "_ratios",
        "_reached",
        "acted",
        "baseline",
        "congestion",
        "errors_act",
        "excess",
        "half",
        "in_flight",
        "limit",
        "low",
        "ratio",
        "saturated",
    )

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.half = limit / 2
        self.in_flight = 0
        # of the window that is open
        self._reached = False
        self._ratios: list[float] = []
        self._excess: list[float] = []
        self._errors = 0
        self._clients: set[bytes] = set()  # no more than LEAST_CLIENTS
        # of the window closed last
        self.saturated = False
        self.acted = False  # there was enough to go by
        self.low = 1.0  # the lower confidence bound of x
        self.excess = 0.0  # seconds that the median request took longer than its baseline
        self.errors_act = False  # more than 5 % of 502, 503, 504 and timeouts, beyond chance
        # over windows
        self.ratio = 1.0  # x
        self.baseline = 1.0  # b
        self.congestion = 1.0  # max(1, x / b) where it acts, for what requests cost

    def take(self) -> None:
        """A request goes to the upstream."""
        self.in_flight += 1
        if self.in_flight >= self.limit:
            self._reached = True

    def give(self) -> None:
        """It came back."""
        self.in_flight -= 1

    def sample(self, client: bytes, seconds: float, baseline: float, error: bool) -> None:
        """One response (`seconds` to its head) while in-flight is at least `half`; the caller asks that."""
        if len(self._clients) < LEAST_CLIENTS:
            self._clients.add(client)
        if len(self._ratios) < MOST_SAMPLES:
            self._ratios.append(seconds / baseline)
            self._excess.append(seconds - baseline)
            self._errors += error

    def close_window(self, seconds: float, calm: bool) -> None:
        """Read the window that ends after `seconds`, in calm weather or not, and open the next."""
        self.saturated = self._reached
        self._reached = self.in_flight >= self.limit
        n = len(self._ratios)
        self.acted = n >= LEAST_SAMPLES and len(self._clients) >= LEAST_CLIENTS
        if self.acted:
            ratios = sorted(self._ratios)
            self.ratio = ratios[n // 2]
            self.low = ratios[max(0, int(n / 2 - math.sqrt(n)))]
            self.excess = sorted(self._excess)[n // 2]
            self.errors_act = self._errors > ERROR_SHARE * n + 2 * math.sqrt(ERROR_SHARE * (1 - ERROR_SHARE) * n)
            self.baseline = min(self.baseline, self.ratio)
            if calm and not self.saturated:
                self.baseline += DRIFT * (self.ratio - self.baseline)
            self.congestion = max(1.0, self.ratio / self.baseline)
        else:
            self.low = self.baseline
            self.excess = 0.0
            self.errors_act = False
            self.congestion = 1.0
            self.ratio += (self.baseline - self.ratio) * (1.0 - LATER ** (seconds / 60))
        self._ratios.clear()
        self._excess.clear()
        self._clients.clear()
        self._errors = 0
