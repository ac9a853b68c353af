"""What a round says of the number of slots: too many, too few, or neither.

    g = tolerance b / x
    g < 1, or too many errors   too many slots
    g > grow_above              too few, if they were in the way: a good part of the requests found none to spare

for x and b of congestion.py. A few noisy samples are no evidence. They act when the bounds of the median leave no
doubt; else the round goes on until there are ENOUGH samples, and then the median itself is believed. Where most times
are only assumed, since Shield was too busy to see when the answers came, the limit does not rise, and has not held
either: more slots would be of no use to a core that is full.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from shield.policy.concurrency.evidence import ENOUGH, SURE, median, too_many
from shield.policy.concurrency.settings import ConcurrencySettings
from shield.policy.concurrency.slots import Slots

FULL: Final = 0.5
"""The part of a round's requests that must have taken the last slot, found none, or waited unread: if fewer did, the
limit was not in the way."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is to become of the limit, as far as a round can say."""

    x: float  # median of upstream time over the route's baseline
    gradient: float  # what the limit is to be multiplied by, when it falls
    errors: bool  # too many
    sure: bool  # there were ENOUGH samples
    in_the_way: bool  # the limit was
    down: bool  # there are too many slots
    up: bool  # there are too few
    congested: bool  # so slow that it is worth asking whether b is still true

    @property
    def held(self) -> bool:
        """Whether the limit is as much as the service takes."""
        return self.down or (self.sure and self.in_the_way and not self.up)


def read(slots: Slots, baseline: float, late: int, can_grow: bool, settings: ConcurrencySettings) -> Finding:
    """Judge the round. `late`: requests under way, that will end above the median; `can_grow`: below the most."""
    n = len(slots.fresh)
    ratios = slots.fresh.ratios
    low, x, high = median(sorted(ratios), SURE, late) if ratios else (baseline,) * 3
    goal = settings.tolerance * baseline
    gradient = goal / x
    errors = too_many(slots.fresh.errors, n, settings.error_share)
    vague = slots.fresh.vague > n // 2
    sure = n >= ENOUGH and not vague
    down = errors or low > goal or (sure and gradient < 1.0)
    in_the_way = slots.taken_full >= FULL * slots.taken
    grows = not down and in_the_way and can_grow and gradient > settings.grow_above
    up = grows and (sure or high < goal) and not vague
    congested = x > settings.grow_above * baseline and (down or in_the_way)
    if errors:
        gradient = min(gradient, settings.error_shrink)
    return Finding(x, gradient, errors, sure, in_the_way, down, up, congested)
