"""Carries out what the policy says of addresses that do not listen (policy/drops.py), once a second at most."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from shield.client.crowding import Crowding
from shield.policy.drops import Drops


class Dropper:
    """Resets the connections of dropped addresses, and has the kernel drop new ones."""

    __slots__ = ("_crowding", "_drops", "_fill", "_version")

    def __init__(self, drops: Drops, crowding: Crowding, fill: Callable[[Sequence[str]], bool]) -> None:
        """`fill` is told all that are dropped whenever they have changed, the worst first. Where it answers False, it
        is told again a second later."""
        self._drops = drops
        self._crowding = crowding
        self._fill = fill
        self._version = drops.version

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
        reachable = [name for name, _ in last if not self._crowding.unlimited(name.partition("/")[0])]
        if self._fill(reachable):
            self._version = version
