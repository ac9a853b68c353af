"""Which nodes there are, and what part of what is for all of them is this one's.

    connected   the last round with the store is no older than LOST seconds: the nodes are those that it named
    lost        else: they are those that were there last, and each takes its part of every limit, so that all
                together let in what one would

A node that has not reached the store since it began goes by how many there are to be (`cluster.nodes`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

LOST: Final = 1.5
"""Seconds without a round after which a node is by itself: some ten rounds, and as long as a worker may be silent."""


class Members:
    """The nodes as one of them sees them. `expected`: how many there are to be."""

    __slots__ = ("_expected", "_heard", "_names", "node")

    def __init__(self, node: str, expected: int) -> None:
        self.node = node
        self._expected = expected
        self._names: tuple[str, ...] = ()
        self._heard: float | None = None

    def heard(self, names: Iterable[str], now: float) -> None:
        """A round was made: these nodes are there; this one is, too."""
        self._names = tuple(sorted({*names, self.node}))
        self._heard = now

    def connected(self, now: float) -> bool:
        """Whether this node and the others hear of each other."""
        return self._heard is not None and now - self._heard <= LOST

    @property
    def names(self) -> tuple[str, ...]:
        """The nodes that are there, or were when last heard of; none before."""
        return self._names

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._names) or self._expected

    def limits(self, lease: float, now: float) -> tuple[float, float]:
        """The parts of rates and bursts that this node goes by. While it is connected what was used elsewhere is
        charged here (leases.py), so only the burst is less: a `lease` of it, or an equal part if that is more."""
        part = 1.0 / self.count
        return (1.0, max(lease, part)) if self.connected(now) else (part, part)

    def slots(self, whole: int) -> int:
        """This node's part of so many places at the service: with the others' parts as many, and one at least."""
        count = self.count
        place = self._names.index(self.node) if self._names else 0
        return max(whole // count + (place < whole % count), 1)
