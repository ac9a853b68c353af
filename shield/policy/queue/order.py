"""The order of those that wait."""

from __future__ import annotations

from typing import Final

from shield.policy.request import Request

FIRST: Final = 1  # before every tier: before -Tier.T0


class Waiting:
    """A request in the queue. Better ones sort later, so that the best leaves from the end of the list."""

    __slots__ = ("order", "request")

    def __init__(self, order: tuple[int, float, int], request: Request) -> None:
        self.order = order  # (-tier or FIRST, rank under pressure, -arrival)
        self.request = request

    def __lt__(self, other: Waiting) -> bool:
        return self.order < other.order

    def promote(self) -> None:
        """Go before all tiers from now on."""
        self.order = (FIRST, 0.0, self.order[2])

    def demote(self) -> None:
        """Wait in the tier of the request again, as it does in calm weather."""
        self.order = (-self.request.tier, 0.0, self.order[2])


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


def promote_oldest(waiting: list[Waiting], before: float) -> None:
    """Put those that wait since before that time ahead of every tier: of each address one at a time, its oldest."""
    late = [one for one in waiting if one.request.queued_at < before]
    if late:
        late.sort(key=seniority_key)
        taken: set[str] = set()
        for one in late:  # who is ahead already comes first
            home = one.request.client.home
            if home not in taken:
                taken.add(home)
                one.promote()
        waiting.sort()


def demote_all(waiting: list[Waiting]) -> None:
    """Put everybody back into its tier, the older first."""
    for one in waiting:
        one.demote()
    waiting.sort()
