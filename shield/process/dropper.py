"""Carries out what the policy says of addresses that do not listen (policy/drops.py), once a second at most."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from shield.client.crowding import Crowding
from shield.policy.drops import Drops

Dropped = tuple[str, float]
"""An address, or an IPv6 /64, and until when it is dropped, by the wall clock."""


class Dropper:
    """Resets the connections of dropped addresses, and has the kernel drop new ones."""

    __slots__ = ("_crowding", "_drops", "_fill", "_version", "_wall_offset")

    def __init__(
        self, drops: Drops, crowding: Crowding, fill: Callable[[Sequence[Dropped]], bool], wall_offset: float
    ) -> None:
        """`fill` is told all that are dropped, at first and whenever they have changed, the worst first. Where it
        answers False, it is told again a second later. `wall_offset` is the wall clock minus ours."""
        self._wall_offset = wall_offset
        self._drops = drops
        self._crowding = crowding
        self._fill = fill
        self._version = -1  # nothing was told

    def retire(self) -> None:
        """Have nobody dropped any more: another service says from now on who is."""
        self._fill = lambda _: True

    def look(self) -> None:
        """Call it each second."""
        drops = self._drops
        if drops.version == self._version:
            return
        version = drops.version
        self._crowding.drop(drops.active)
        last = sorted(drops.active.items(), key=lambda one: -one[1])  # who is dropped for longest goes on most
        offset, unlimited = self._wall_offset, self._crowding.unlimited
        reachable = [(name, until + offset) for name, until in last if not unlimited(name.partition("/")[0])]
        if self._fill(reachable):
            self._version = version
