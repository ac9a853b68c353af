"""Deadlines of all client connections, from one timer, and the pace of bodies that are under way.

A timer per connection would cost more than a request. Instead each connection carries `deadline`, and a sweep looks at
an eighth of them every eighth of a second: a deadline is met up to one second late, and setting it is one store.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from shield.client.connection import ClientConnection
    from shield.exchange.exchange import Exchange

SHARDS: Final = 8
SWEEP_SECONDS: Final = 1.0 / SHARDS
NEVER: Final = float("inf")


class Sweep:
    """All open client connections, bounded by the listener's connection limit. `paced` are the exchanges that hold a
    concurrency slot while a body moves, bounded by the slots."""

    __slots__ = ("_next", "_shards", "_turn", "paced")

    def __init__(self) -> None:
        self._shards: list[set[ClientConnection]] = [set() for _ in range(SHARDS)]
        self._turn = 0
        self._next = 0
        self.paced: set[Exchange] = set()

    def add(self, gate: ClientConnection) -> int:
        """Watch `gate`; returns what remove() wants."""
        self._next = shard = (self._next + 1) % SHARDS
        self._shards[shard].add(gate)
        return shard

    def remove(self, gate: ClientConnection, shard: int) -> None:
        """Watch it no longer."""
        self._shards[shard].discard(gate)

    def sweep(self, now: float) -> None:
        """One eighth of the connections: call on_deadline of those that are late. And every body's pace."""
        for exchange in [exchange for exchange in self.paced if exchange.pace_at <= now]:
            if exchange.pace_at:  # another one may have ended it
                exchange.on_pace(now)
        self._turn = (self._turn + 1) % SHARDS
        for gate in [gate for gate in self._shards[self._turn] if gate.deadline <= now]:
            gate.deadline = NEVER  # unless it sets another: were it to fail, the others would wait behind it for ever
            gate.on_deadline(now)

    def __len__(self) -> int:
        return sum(map(len, self._shards))

    def __iter__(self) -> Iterator[ClientConnection]:
        for shard in self._shards:
            yield from list(shard)
