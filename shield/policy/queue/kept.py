"""What is kept for T2: a share of the capacity that those with a history cannot take from those who bought a pass."""

from __future__ import annotations

from math import log2
from typing import Final

from shield.policy.bucket import SLACK, Bucket, Rate
from shield.policy.request import Request

LEFT_TO_OTHERS: Final = 0.2  # of the bucket, for each doubling of what a pass has taken


class Kept:
    """A bucket of one second of what is kept. `rate`: units/s, 0 for nothing."""

    __slots__ = ("_bucket", "rate")

    def __init__(self) -> None:
        self.rate = 0.0
        self._bucket = Bucket(Rate(1.0, 1.0))  # in seconds of what is kept

    def take(self, request: Request, now: float) -> bool:
        """Charge a request of T2, if there is enough left for it; something must be kept.

        The more its pass has taken, the more has to be left to others. In the order of arrival the passes that a farm
        keeps took it all, since they ask more often than a page that was just bought.
        """
        bucket, seconds = self._bucket, request.cost / self.rate
        shown = request.shown_pass
        others = LEFT_TO_OTHERS * int(log2(shown.taken)) if shown is not None and shown.taken > 1.0 else 0.0
        if bucket.level(now) + SLACK < min(seconds, bucket.burst) + others:
            return False
        bucket.tat = max(bucket.tat, now) + seconds  # all of it, if that is more than the bucket holds
        return True
