"""Turns: in a brownout the tiers that wait take turns by weight (smooth weighted round robin, as in nginx).

They share the places of the queue alike. If the worst tier had to leave a full queue, as in an attack, it would hardly
ever stand in it when its turn comes: where 0.7 of what was asked could be done, newcomers got 3 and 16 % of it, and 40
and 57 % by shares.
"""

from __future__ import annotations

from bisect import bisect_left

from shield.model import Tier
from shield.policy.queue.order import FIRST, Waiting, tier_key


class Turns:
    """Each tier that waits is credited its weight; whoever has most credit goes, and pays what all were credited."""

    __slots__ = ("_credits", "_weights")

    def __init__(self, weights: tuple[int, ...]) -> None:
        self._weights = weights  # of T0 to T4
        self._credits = [0] * len(weights)

    def out(self, waiting: list[Waiting]) -> int:
        """Index of the worst of the tier that has most places for its weight; somebody must wait."""
        found, most = 0, 0.0
        for tier, weight in enumerate(self._weights):
            begins = bisect_left(waiting, -tier, key=tier_key)
            places = bisect_left(waiting, 1 - tier, key=tier_key) - begins
            if places > most * weight:
                found, most = begins, places / weight
        return found

    def take(self, waiting: list[Waiting], known_first: bool = False) -> int:
        """Index of the best of the tier whose turn it is; there must be one. Who goes before all tiers, goes, and so do
        T0 and T1 if they are to be first."""
        credit = self._credits
        found = len(waiting) - 1
        best = tier_key(waiting[found])
        if best == FIRST or (known_first and best >= -Tier.T1):
            return found
        total = 0
        turn = -tier_key(waiting[found])
        for tier, weight in enumerate(self._weights):
            best = bisect_left(waiting, 1 - tier, key=tier_key) - 1
            if best >= 0 and tier_key(waiting[best]) == -tier:
                total += weight
                credit[tier] += weight
                if credit[tier] > credit[turn]:
                    turn, found = tier, best
        credit[turn] -= total
        return found
