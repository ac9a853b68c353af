"""Deadlines of all client connections, and of their streams, from one timer.

A timer per connection would cost more than a request. Instead each connection has a Watch, and a sweep looks at an
eighth of them every eighth of a second: a deadline is met up to one second late, and setting it is a few stores.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from shield.client.watch import Watch

SHARDS: Final = 8
SWEEP_SECONDS: Final = 1.0 / SHARDS


class Watched(Protocol):
    """A client connection, or one of its streams."""

    @property
    def watch(self) -> Watch:
        """What it waits for."""

    def on_deadline(self, now: float) -> None:
        """What it waited for has not come in time."""


T = TypeVar("T", bound=Watched)


class Sweep(Generic[T]):
    """All open client connections, bounded by the listener's connection limit; or all their streams."""

    __slots__ = ("_next", "_shards", "_turn")

    def __init__(self) -> None:
        self._shards: list[set[T]] = [set() for _ in range(SHARDS)]
        self._turn = 0
        self._next = 0

    def add(self, connection: T) -> None:
        """Look after `connection`."""
        self._next = shard = (self._next + 1) % SHARDS
        connection.watch.shard = shard
        self._shards[shard].add(connection)

    def remove(self, connection: T) -> None:
        """Look after it no longer."""
        self._shards[connection.watch.shard].discard(connection)

    def sweep(self, now: float) -> None:
        """One eighth of the connections: call on_deadline() of those that are late."""
        self._turn = (self._turn + 1) % SHARDS
        for connection in [late for late in self._shards[self._turn] if late.watch.deadline <= now]:
            connection.watch.met()
            connection.on_deadline(now)

    def __len__(self) -> int:
        return sum(map(len, self._shards))

    def __iter__(self) -> Iterator[T]:
        for shard in self._shards:
            yield from list(shard)
