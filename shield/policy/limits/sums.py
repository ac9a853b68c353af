"""What the buckets of networks are charged at one of several workers, for those of the others.

A network's bucket binds under pressure. Where the kernel cannot bring a network's connections to one worker, newcomers
there would have as many buckets as there are workers, and count for as much demand.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from shield.policy.entries import NetworkEntry

MOST_NETWORKS: Final = 4096
"""That are noted at a time, until the others were told."""


class Sum(NamedTuple):
    """Units that a network's bucket was charged, and its shadow."""

    network: NetworkEntry
    paid: float
    asked: float


class NetworkSums:
    """Adds them up until somebody takes them. `lost` counts charges that were not noted."""

    __slots__ = ("_sums", "lost")

    def __init__(self) -> None:
        self._sums: dict[int, Sum] = {}  # by id
        self.lost = 0

    def add(self, network: NetworkEntry, paid: float, asked: float) -> None:
        """A network was charged so many units."""
        before = self._sums.get(id(network))
        if before is not None:
            self._sums[id(network)] = Sum(network, before.paid + paid, before.asked + asked)
        elif len(self._sums) < MOST_NETWORKS:
            self._sums[id(network)] = Sum(network, paid, asked)
        else:
            self.lost += 1

    def take(self) -> list[Sum]:
        """All since the last call."""
        taken = list(self._sums.values())
        self._sums.clear()
        return taken
