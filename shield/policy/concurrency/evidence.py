"""What a handful of samples proves: bounds of their median, and whether there are more errors than chance explains."""

from __future__ import annotations

import math
from typing import Final

ENOUGH: Final = 32  # samples whose median is believed without bounds; and what a baseline weighs against a probe
SURE: Final = 1.0  # half the width of a confidence interval, in sqrt(n) ranks: two standard deviations (sign test)
VERY_SURE: Final = 1.5  # three: the baseline falls with each of thousands of windows, and must not fall by chance


def median(ordered: list[float], width: float, late: int = 0) -> tuple[float, float, float]:
    """The lower bound, the middle and the upper bound of the median of sorted samples; there must be one at least.

    The bounds lie `width` times sqrt(n) ranks to each side. `late` is how many more requests are still under way.
    Those are longer than most: half of them will end above the median where times are evenly distributed, 73 % where
    they are log-normal (sigma 0.6), 85 % where they are exponential. Three quarters are assumed.
    """
    n = len(ordered)
    middle = min((2 * n + late) // 4, n - 1)
    ranks = width * math.sqrt(n)
    return ordered[max(0, int(middle - ranks))], ordered[middle], ordered[min(n - 1, int(middle + ranks))]


def too_many(errors: int, n: int, share: float) -> bool:
    """Whether `errors` of n exceed the share by more than two standard deviations."""
    return errors > share * n + 2 * math.sqrt(share * (1 - share) * n)
