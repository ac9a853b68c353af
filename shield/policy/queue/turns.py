"""Turns: in a brownout the tiers that wait take turns by weight (smooth weighted round robin, as in nginx)."""

from __future__ import annotations

from bisect import bisect_left

from shield.policy.queue.order import FIRST, Waiting, tier_key


class Turns:
    """Each tier that waits is credited its weight; whoever has most credit goes, and pays what all were credited."""

    __slots__ = ("_credits", "_weights")

    def __init__(self, weights: tuple[int, ...]) -> None:
        self._weights = weights  # of T0 to T4
        self._credits = [0] * len(weights)

    def take(self, waiting: list[Waiting]) -> int:
        """Index of the best of the tier whose turn it is; there must be one. Who goes before all tiers, goes."""
        credit = self._credits
        found = len(waiting) - 1
        if tier_key(waiting[found]) == FIRST:
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
