"""Bounded keyed memory: every table of the policy is one of these, so an attacker cannot make Shield grow.

A `Table` is a dict with a bound. (A `cachetools.Cache` is read in Python, which takes 0.2 µs more.) Which entry goes
is decided by a clock with second chance (Corbató 1968):

    the queue      Entries stand in it by age. The one at the front goes, unless it was updated since it was queued,
                   or still restrains somebody: then it goes to the back. Reads do not refresh an entry.
    the bound      One insert looks at no more than `EVICTION_LOOKS` entries, so a full table costs a newcomer a
                   bounded time. When all of those were updated, the least recently updated that restrains nobody goes.
    the overflow   When they all restrain somebody, the newcomer gets the table's one overflow entry, which all such
                   newcomers share. So a full table makes newcomers share a limit, and never frees anybody from a
                   bucket or a ban.
    the known      Whoever has a history always gets an entry, if need be in place of the oldest of those looked at
                   that has none: a flood of entries that restrain must not cost the known theirs.

`expire()` is called from the policy's tick and forgets idle entries a few at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final, Generic, Protocol, TypeVar

from annotated_types import Ge
from typing_extensions import Doc

from shield.marks import Unit, Why
from shield.policy.status import ClockTableStatus

EVICTION_LOOKS: Final = 8
"""Entries that one insert into a full table may look at. With 8, a table of which half may go is full once in 256."""


@dataclass(frozen=True, slots=True)
class TableSettings:
    """How much Shield remembers. The bytes per entry are in /api/status and in each entry's docstring."""

    addresses: Annotated[
        int,
        Ge(16),
        Unit("entries"),
        Doc("Addresses (IPv4 /32, IPv6 /64) remembered at the same time."),
        Why("Measured", "all tables together take some 350 MB when they are full"),
    ] = 200_000
    clients: Annotated[
        int,
        Ge(16),
        Unit("entries"),
        Doc("Clients remembered at the same time."),
        Why("Chosen", "as `tables.addresses`: most addresses have one"),
    ] = 200_000
    networks: Annotated[
        int,
        Ge(16),
        Unit("entries"),
        Doc("Networks remembered at the same time."),
        Why(
            "Chosen",
            "2 to the 16th. More cost memory; with fewer, strangers share the overflow entry in a smaller flood",
        ),
    ] = 65_536
    passes: Annotated[
        int,
        Ge(16),
        Unit("entries"),
        Doc("Passes in use at the same time."),
        Why("Chosen", "as `tables.clients`: everybody may have one"),
    ] = 200_000
    history: Annotated[
        int,
        Ge(16),
        Unit("entries"),
        Doc("Clients and passes with a good history."),
        Why(
            "Chosen",
            "a site with more regular visitors than that should set more",
        ),
    ] = 100_000
    spent: Annotated[
        int,
        Ge(16),
        Unit("entries"),
        Doc("Solved challenges remembered until they expire."),
        Why("Computed", "800 solves a second for `challenge.lifetime`"),
    ] = 100_000
    waiting: Annotated[
        int,
        Ge(16),
        Unit("entries"),
        Doc("Places in the waiting room, and again as many that were won."),
        Why("Computed", "with `market.most_pause` they ask 1,600 times a second"),
    ] = 16_384
    routes: Annotated[
        int,
        Ge(8),
        Unit("entries"),
        Doc("Route templates whose cost is known."),
        Why(
            "Chosen",
            "a route beyond it takes the entry of the one least asked for, which is then learned anew",
        ),
    ] = 512
    paths: Annotated[
        int,
        Ge(8),
        Unit("entries"),
        Doc("Paths whose template is remembered, which saves finding it again."),
        Why(
            "Chosen",
            "a path beyond it has its template found again at each request",
        ),
    ] = 4096


class Entry(Protocol):
    """What a table asks of its entries.

    `tat` is the entry's last update or later (the theoretical arrival time of its bucket), `queued` the time it was
    put into the table's queue, `live` becomes False when the table forgets it: whoever still holds it must ask again.
    """

    live: bool
    queued: float
    tat: float

    def restrains(self, now: float) -> bool:
        """Whether forgetting this entry would free somebody from a limit or a ban."""


K = TypeVar("K")
E = TypeVar("E", bound=Entry)


class Table(dict[K, E], Generic[K, E]):
    """A bounded table of entries; only `enter` adds one. `shared` is the overflow entry, made by the factory given.

    `forget` is called with each entry that leaves, `known` says whether an entry has a history. Lifetime: an entry
    goes `idle` seconds after its last update.
    """

    def __init__(
        self,
        size: int,
        idle: float,
        shared: Callable[[], E],
        forget: Callable[[E], None] | None = None,
        known: Callable[[E], bool] | None = None,
    ) -> None:
        super().__init__()
        self.maxsize = size
        self.idle = idle
        self.evictions = 0
        self.overflows = 0
        self._order: deque[K] = deque()
        self._make_shared = shared
        self._forget = forget
        self._known = known
        self._now = 0.0
        self._insist = False
        self.shared = shared()

    def enter(self, key: K, entry: E, now: float, insist: bool = False) -> E:
        """Remember `entry` under a key that is not in the table, or return the shared entry when there is no room.

        `insist`: the newcomer has a history, so there is room.
        """
        self._now = now
        self._insist = insist
        entry.queued = now
        if len(self) >= self.maxsize:
            try:
                self.popitem()
            except KeyError:
                self.overflows += 1
                return self.shared
        self[key] = entry
        self._order.append(key)
        return entry

    def popitem(self) -> tuple[K, E]:
        """Evict the oldest entry that may go. KeyError when none of those looked at may, and nobody insists."""
        now = self._now
        stay: list[K] = []
        gone: tuple[K, E] | None = None
        updated: tuple[K, E] | None = None
        for _ in range(min(EVICTION_LOOKS, len(self._order))):
            key = self._order.popleft()
            entry = self[key]
            if not entry.restrains(now):
                if entry.tat <= entry.queued:
                    gone = key, entry
                    break
                if updated is None or entry.tat < updated[1].tat:
                    updated = key, entry
            entry.queued = now
            stay.append(key)
        if gone is None and updated is not None:
            gone = updated
            stay.remove(updated[0])
        if gone is None and self._insist and stay:
            unknown = (i for i, key in enumerate(stay) if self._known is None or not self._known(self[key]))
            key = stay.pop(next(unknown, 0))
            gone = key, self[key]
        self._order.extend(stay)
        if gone is None:
            raise KeyError("every entry looked at is in use")
        self.evictions += 1
        self._drop(*gone)
        return gone

    def expire(self, now: float, looks: int = 256) -> None:
        """Forget idle entries, oldest first, looking at no more than `looks`."""
        order = self._order
        for _ in range(min(looks, len(order))):
            key = order[0]
            entry = self[key]
            if entry.tat <= entry.queued and entry.queued + self.idle > now:
                break  # nothing behind it was queued earlier
            order.popleft()
            if entry.tat + self.idle <= now and not entry.restrains(now):
                self._drop(key, entry)
            else:
                entry.queued = now
                order.append(key)
        if len(self) < self.maxsize and not self.shared.restrains(now) and self.shared.tat > 0.0:
            self.shared.live = False  # there is room again: its users get entries of their own
            self.shared = self._make_shared()

    def let_go(self, most: int) -> bool:
        """Let go of up to so many entries, of a table that nobody asks any more; whether any are left."""
        for _ in range(min(most, len(self))):
            super().popitem()
        if self:
            return True
        self._order.clear()
        return False

    def _drop(self, key: K, entry: E) -> None:
        del self[key]
        entry.live = False
        if self._forget is not None:
            self._forget(entry)

    def status(self, bytes_per_entry: int) -> ClockTableStatus:
        """The table's fill."""
        return ClockTableStatus(
            entries=len(self),
            max=self.maxsize,
            bytes_per_entry=bytes_per_entry,
            evictions=self.evictions,
            overflows=self.overflows,
        )
