"""The order of those that wait."""

from __future__ import annotations

from bisect import bisect_left
from math import inf
from typing import Final

from shield.model import Tier
from shield.policy.ranks import under_way
from shield.policy.request import Request
from shield.policy.visits import goes_on

HELD: Final = -1.0  # in the place of a rank
FIRST: Final = 1  # before every tier: before -Tier.T0


class Waiting:
    """A request in the queue. Better ones sort later, so that the best leaves from the end of the list."""

    __slots__ = ("begun", "held", "order", "part", "request")

    def __init__(self, order: tuple[int, float, int], request: Request, begun: float = inf, held: bool = False) -> None:
        self.order = order  # (-tier or FIRST, rank under pressure, or HELD; -arrival)
        self.request = request
        self.begun = begun  # when the visit began that it is part of; infinity for none
        self.part = begun < inf
        self.held = held  # until there is room for another visit

    def __lt__(self, other: Waiting) -> bool:
        return self.order < other.order

    def promote(self) -> None:
        """Go before all tiers from now on."""
        self.order = (FIRST, 0.0, self.order[2])

    def step_back(self) -> None:
        """Go before all tiers no longer."""
        if self.order[0] == FIRST:
            self.order = (-self.request.tier, 0.0, self.order[2])

    def let_in(self) -> None:
        """Wait among the others of the tier, for as long as it has."""
        self.held = False
        self.order = (self.order[0], 0.0, self.order[2])

    def demote(self, now: float) -> None:
        """Wait in the tier of the request again, as it does in calm weather. A visit goes on (visits.py)."""
        request, rank = self.request, 0.0
        self.held = False
        if self.part and request.tier is Tier.T3 and goes_on(request, now):
            request.tier, rank = Tier.T2, under_way(self.begun)
        self.order = (-request.tier, rank, self.order[2])


def tier_key(one: Waiting) -> int:
    """What all of one tier have in common: minus the tier, or FIRST."""
    return one.order[0]


def group_key(one: Waiting) -> tuple[int, float]:
    """What equals have in common: tier and rank."""
    return one.order[:2]


def seniority_key(one: Waiting) -> tuple[bool, int]:
    """Sorts those that are before all tiers first, and then by arrival."""
    return one.order[0] < FIRST, -one.order[2]


def oldest_of_worst(waiting: list[Waiting]) -> int:
    """Index of the oldest among the worst, which a standing queue gives up first."""
    group = group_key(waiting[0])
    i = 0
    while i + 1 < len(waiting) and group_key(waiting[i + 1]) == group:
        i += 1
    return i


def best_held(waiting: list[Waiting]) -> int:
    """Index of whoever is held and goes next; there must be one."""
    places = [bisect_left(waiting, (-tier, 0.0), key=group_key) - 1 for tier in Tier]
    return max(i for i in places if i >= 0 and waiting[i].held)


def promote_oldest(waiting: list[Waiting], before: float) -> None:
    """Put those that wait since before that time ahead of every tier: of each address one at a time, its oldest. Who
    is held stays."""
    late = [one for one in waiting if one.request.queued_at < before and not one.held]
    if late:
        late.sort(key=seniority_key)
        taken: set[str] = set()
        for one in late:  # who is ahead already comes first
            home = one.request.client.home
            if home not in taken:
                taken.add(home)
                one.promote()
        waiting.sort()


def demote_all(waiting: list[Waiting], now: float) -> None:
    """Put everybody back into its tier, the older first."""
    for one in waiting:
        one.demote(now)
    waiting.sort()
