"""The token bucket, kept as one float per key: the generic cell rate algorithm (GCRA, ITU-T I.371 annex A).

The float is the theoretical arrival time `tat`, in monotonic seconds. With rate r (units/s) and burst b (units):

    x = max(tat, now) + cost / r        admit iff x - now <= b / r        then tat = x

This equals a token bucket of size b filled at r exactly: `b - tokens = max(0, tat - now) * r`. A key with
`tat <= now` is a full bucket, carries no information, and may be forgotten without loss.

Rate and burst stay nominal for the life of a key. A factor f on the rate is applied by charging
`min(cost / max(f, least), b)` instead (limits.py): a change of f then never turns old debt into a lockout, and no
single cost exceeds the burst.
"""

# ruff: noqa: FURB136 - max() and min() cost 60 ns each, a conditional expression 15, and a flood pays refused() twice

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from annotated_types import Gt
from typing_extensions import Doc

from shield.marks import Unit

SLACK: Final = 1e-6
"""Seconds forgiven for the rounding of sums of floats; a microsecond is far below one unit at any rate."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A sustained rate and what may come at once on top of it."""

    rate: Annotated[float, Gt(0), Unit("units/s"), Doc("Sustained rate.")]
    burst: Annotated[float, Gt(0), Unit("units"), Doc("Size of the bucket.")]


def refused(tat: float, now: float, fine: float, span: float) -> float:
    """The `tat` after a refused attempt: pays for it, but never waits longer than an empty bucket does.

    `fine` is what the attempt costs over the rate, `span` is b/r, both in seconds. Debt that is already beyond (a
    request that turned out dearer than estimated) stays.
    """
    start = tat if tat > now else now
    paid = start + fine
    most = now + span
    if paid > most:
        paid = most
    return paid if paid > start else start


class Bucket:
    """One bucket with a life of its own, where there are few of them; holders keep their `tat` in a slot."""

    __slots__ = ("burst", "rate", "tat")

    def __init__(self, rate: Rate) -> None:
        self.rate = rate.rate
        self.burst = rate.burst
        self.tat = 0.0

    def wait(self, cost: float, now: float) -> float:
        """Seconds until `cost` would be admitted; 0 when it would be now. Takes nothing."""
        x = max(self.tat, now) + min(cost, self.burst) / self.rate
        over = x - now - self.burst / self.rate
        return over if over > SLACK else 0.0

    def take(self, cost: float, now: float) -> bool:
        """Charge `cost` if the bucket admits it."""
        if self.wait(cost, now):
            return False
        self.spend(cost, now)
        return True

    def spend(self, cost: float, now: float) -> None:
        """Charge `cost` unconditionally, for work that is already done."""
        self.tat = max(self.tat, now) + min(cost, self.burst) / self.rate

    def give(self, units: float) -> None:
        """Put `units` back. A full bucket stays full."""
        self.tat -= units / self.rate

    def level(self, now: float) -> float:
        """Units left."""
        return self.burst - max(0.0, self.tat - now) * self.rate
