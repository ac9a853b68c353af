"""The buckets of a route's `limit`: so many requests of each client, address and network.

A bucket is that of bucket.py, and what it holds is requests: one for each that is let in. All levels are looked up,
then all are charged, or none. An attempt that is refused pays `REFUSED` of a request to the bucket that refused it, so
that hammering keeps it empty; buckets of those who share the address pay nothing for it.

Each level is a table of its own. Key: the client's, pass's or API key's; the address; the network. Size: `ENTRIES` by
the number of all such tables. An entry is forgotten `IDLE` seconds after its bucket is full again. When a table is full
of buckets that are not, newcomers share one; who has a history or a pass gets one all the same. `BUCKET_BYTES` each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from shield.model import Reason, Verdict
from shield.policy.bucket import SLACK, refused
from shield.policy.per_route.settings import Allowance
from shield.policy.refusals import limited
from shield.policy.table import Table

ENTRIES: Final = 196_608
"""Buckets of all routes together: with a client's, an address's and a network's for one route 65,536 of each."""
LEAST_ENTRIES: Final = 1024
IDLE: Final = 60.0
REFUSED: Final = 0.2
"""Requests that a refused attempt counts for: as `limits.refused_cost`, of a request that costs one unit."""
BUCKET_BYTES: Final = 214
"""Bytes of a bucket, its key and its place in the table, by tracemalloc."""

Key = str | bytes


class _Bucket:
    """An entry of a table."""

    __slots__ = ("live", "queued", "tat")

    def __init__(self) -> None:
        self.live = True
        self.queued = 0.0
        self.tat = 0.0

    def restrains(self, now: float) -> bool:
        return self.tat > now


class Level:
    """The buckets of one kind of holder: `rate` in requests/s, `burst` in requests."""

    __slots__ = ("_fine", "_gap", "_span", "_table", "burst", "name", "rate")

    def __init__(self, name: str, allowance: Allowance, entries: int) -> None:
        self.name = name
        self.rate = allowance.per_minute / 60.0
        self.burst = allowance.burst
        self._gap = 1.0 / self.rate
        self._span = self.burst / self.rate
        self._fine = REFUSED / self.rate
        self._table: Table[Key, _Bucket] = Table(entries, IDLE, _Bucket)

    def refusal(self, key: Key, insist: bool, now: float) -> Verdict | None:
        """The limit, if the bucket has no request left: it pays for the attempt. Else None, and nothing is charged."""
        bucket = self._of(key, insist)
        if bucket is None:
            return None
        tat = bucket.tat
        wait = max(tat, now) + self._gap - now - self._span
        if wait <= SLACK:
            return None
        bucket.tat = refused(tat, now, self._fine, self._span)
        return limited(Reason.ROUTE_RATE, self.rate, self.burst, wait)

    def take(self, key: Key, insist: bool, now: float) -> None:
        """Charge a request."""
        bucket = self._table.get(key) or self._table.enter(key, _Bucket(), now, insist)
        bucket.tat = max(bucket.tat, now) + self._gap

    def left(self, key: Key, now: float) -> float:
        """Requests that are left to somebody."""
        bucket = self._table.get(key)
        return self.burst - (0.0 if bucket is None else max(bucket.tat - now, 0.0) * self.rate)

    def expire(self, now: float) -> None:
        """Forget buckets that have been full for long."""
        self._table.expire(now)

    def _of(self, key: Key, insist: bool) -> _Bucket | None:
        """The bucket of somebody; None for one that is full."""
        table = self._table
        bucket = table.get(key)
        if bucket is None and len(table) >= table.maxsize and not insist:
            return table.shared  # as it is what the request would be charged to, unless there is room by then
        return bucket


class Brake:
    """The limit of one route. `dry_run`: it is reported, and refuses nobody."""

    __slots__ = ("dry_run", "label", "levels")

    def __init__(self, label: str, levels: Sequence[Level], dry_run: bool) -> None:
        self.label = label
        self.levels = {level.name: level for level in levels}
        self.dry_run = dry_run

    def refusal(self, keys: dict[str, Key], insist: bool, now: float) -> Verdict | None:
        """The limit of the first level that has no request left for its holder; None when all have one. `keys` are the
        holders by level, `insist` whether it is somebody known."""
        for name, level in self.levels.items():
            key = keys.get(name)
            if key is not None:
                refusal = level.refusal(key, insist, now)
                if refusal is not None:
                    return refusal
        return None

    def take(self, keys: dict[str, Key], insist: bool, now: float) -> None:
        """Charge a request for which there was no refusal."""
        for name, level in self.levels.items():
            key = keys.get(name)
            if key is not None:
                level.take(key, insist, now)

    def expire(self, now: float) -> None:
        """Forget buckets that have been full for long."""
        for level in self.levels.values():
            level.expire(now)
