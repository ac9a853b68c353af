"""Which clients and passes behaved well before the attack.

A client or pass gets a record at its second good window (`history.windows`). A window begins with a good response (2xx
or 3xx) at least `history.window` seconds after the last one began. Being limited begins it anew, so time spent above
the limit never counts.

The history is frozen from the onset of an attack to its end, and before that while the queue does not move on. So what
an attacker does under attack makes no history, however long it takes to be noticed.

The records also say which networks are **known**: those that held such a client within the last `history.known`
seconds.

Table: key = client key or pass id; at most `tables.history`; lifetime `history.keep`; `RECORD_BYTES` each; eviction =
least units served (a lazy heap, exact because units only grow), so a flood of visitors that came twice cannot push out
those who use the site. A newcomer that was served less than everybody in a full table still enters, in place of the
least served.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Final

from annotated_types import Ge, Gt, Le
from cachetools import Cache
from typing_extensions import Doc

from shield.marks import Unit, Why
from shield.model import DEFAULT_SITE
from shield.policy.entries import ClientEntry, Pass, Record
from shield.policy.status import TableStatus

DAY: Final = 86_400.0

RECORD_BYTES: Final = 500
"""Bytes of a record with its key, address, network and heap item, by tracemalloc over 20,000 of as many addresses."""


@dataclass(frozen=True, slots=True)
class HistorySettings:
    """What makes a client a known one."""

    window: Annotated[
        float,
        Gt(0),
        Unit("s"),
        Doc("Length of a window. Good responses in several windows make a history."),
        Why(
            "Chosen",
            "longer than noticing a flood takes (`pressure.smoothing`), so that the flood makes "
            "no history. More makes regular visitors known later",
        ),
    ] = 60.0
    windows: Annotated[
        int,
        Ge(2),
        Le(1000),
        Unit("windows"),
        Doc("Windows with good responses that make a history."),
        Why(
            "Chosen",
            "somebody came back. With 1 every visit is a history; more makes fewer people known",
        ),
    ] = 2
    keep: Annotated[
        float,
        Gt(0),
        Unit("s"),
        Doc("Time without a visit after which a history is forgotten."),
        Why(
            "Chosen",
            "who comes once a month stays known",
        ),
    ] = 60 * DAY
    known: Annotated[
        float,
        Gt(0),
        Unit("s"),
        Doc("Time for which a network is known after a known client's visit."),
        Why(
            "Chosen",
            "a week, so that a network that is quiet at the weekend stays known",
        ),
    ] = 7 * DAY
    newcomers: Annotated[
        float,
        Ge(2),
        Unit("newcomers"),
        Doc("Newcomers of calm weather that tell how many come from known networks: the last so many."),
        Why("Computed", "a share of 10 % is then known to within one per cent"),
    ] = 1000.0
    least_newcomers: Annotated[
        float,
        Gt(0),
        Unit("newcomers"),
        Doc("Newcomers without whom nothing is said of that share."),
        Why(
            "Chosen",
            "of 100 the share is known to within three per cent where it is a tenth",
        ),
    ] = 100.0


class NetworkHistory:
    """The records of one network: how many addresses have some, since when, and when one of them was last seen."""

    __slots__ = ("addresses", "last", "since")

    def __init__(self, since: float) -> None:
        self.addresses = 0
        self.since = since
        self.last = since


class History(Cache[bytes, Record]):
    """The records, bounded, and the addresses and networks they belong to (never more of either than records)."""

    def __init__(self, settings: HistorySettings, size: int) -> None:
        super().__init__(size)
        self.frozen = False
        self._frozen_for: set[str] = set()  # sites
        self._window = settings.window
        self._windows = settings.windows
        self._keep = settings.keep
        self._known = settings.known
        self._newcomers_kept = 1.0 - 1.0 / settings.newcomers  # with each further one
        self._least_newcomers = settings.least_newcomers
        self._ranking: list[tuple[float, int, Record]] = []  # least served first; units as of when it was pushed
        self._pushed = 0
        self._order: deque[Record] = deque()  # for expiry
        self._addresses: dict[str, int] = {}  # records per address
        self._networks: dict[str, NetworkHistory] = {}
        self._newcomers = 0.0  # in calm weather, of late
        self._newcomers_known = 0.0  # of these from known networks

    def freeze(self, frozen: bool, site: str = DEFAULT_SITE) -> None:
        """Count nothing while `frozen` for any site: from the onset of an attack, and while the queue does not move
        on. What is done at another site meanwhile would be known at this one, too."""
        if frozen:
            self._frozen_for.add(site)
        else:
            self._frozen_for.discard(site)
        self.frozen = bool(self._frozen_for)

    def good(self, holder: ClientEntry | Pass, address: str, network: str, units: float, now: float) -> None:
        """Count a good response that cost `units`, to a client or pass seen at `address` in `network`."""
        if self.frozen:
            return
        record = holder.record
        if record is not None and record.live:
            record.units += units
            if now - holder.window >= self._window:
                holder.window = record.last = now
                record.windows += 1
                here = self._networks[record.network]
                here.last = max(here.last, now)
        elif holder.windows == 0:
            holder.windows = 1
            holder.window = now
            if isinstance(holder, ClientEntry):
                holder.source.served += 1
                self._newcomers = self._newcomers_kept * self._newcomers + 1.0
                known = self.known_since(network, now) is not None
                self._newcomers_known = self._newcomers_kept * self._newcomers_known + known
        elif holder.windows > 0 and now - holder.window >= self._window:
            first, holder.window = holder.window, now
            windows = holder.windows = min(holder.windows + 1, self._windows)
            if windows == self._windows:
                holder.record = self.remember(Record(holder.key, address, network, first, now, windows, units))

    def recall(self, key: bytes, former: bytes | None) -> Record | None:
        """The record of a client. One that stands under its name of the previous key is moved to the present name."""
        record = self.get(key)
        if record is None and former is not None:
            record = self.pop(former, None)
            if record is not None:
                record.key = key
                self[key] = record
        return record

    def limited(self, holder: ClientEntry | Pass, now: float) -> None:
        """Let the present window of a client or pass not count, since it went above its limit."""
        holder.window = now

    def remember(self, record: Record) -> Record:
        """Enter a record (replacing an older one of the same key)."""
        older = self.pop(record.key, None)
        if older is not None:
            self._leave(older)
        self[record.key] = record
        self._push(record)
        self._order.append(record)
        count = self._addresses.get(record.address, 0)
        self._addresses[record.address] = count + 1
        here = self._networks.get(record.network)
        if here is None:
            here = self._networks[record.network] = NetworkHistory(record.first)
        here.addresses += count == 0
        here.last = max(here.last, record.last)
        return record

    def popitem(self) -> tuple[bytes, Record]:
        """Remove and return the least served record."""
        while True:
            units, _, record = self._ranking[0]
            if not record.live:
                heapq.heappop(self._ranking)
            elif record.units > units:
                heapq.heappop(self._ranking)
                self._push(record)
            else:
                break
        del self[record.key]
        self._leave(record)
        return record.key, record

    def forget_old(self, now: float, looks: int = 64) -> None:
        """Drop the records of those who have not come back for `keep` seconds, a few at a time."""
        order = self._order
        for _ in range(min(looks, len(order))):
            record = order.popleft()
            if not record.live:
                continue
            if record.last + self._keep > now:
                order.append(record)
            else:
                del self[record.key]
                self._leave(record)
        if len(self._ranking) > 2 * len(self) + looks:  # mostly records that are gone
            self._ranking = [item for item in self._ranking if item[2].live]
            heapq.heapify(self._ranking)

    def let_go(self, most: int) -> bool:
        """Let go of up to so many records, of a history that nobody asks any more; whether any are left."""
        for _ in range(min(most, len(self))):
            super().popitem()
        if self:
            return True
        self._ranking.clear()
        self._order.clear()
        return False

    def known_since(self, network: str, now: float) -> float | None:
        """Since when `network` has held clients with history, one of them seen lately; None when it does not."""
        here = self._networks.get(network)
        return here.since if here is not None and here.last + self._known > now else None

    def usual_share(self, elsewhere: tuple[float, float] = (0.0, 0.0)) -> float | None:
        """The share of newcomers that come from known networks in calm weather; None until there were enough.
        `elsewhere`: what other workers have counted of them, as `newcomers`."""
        newcomers, known = self._newcomers + elsewhere[0], self._newcomers_known + elsewhere[1]
        return known / newcomers if newcomers >= self._least_newcomers else None

    @property
    def newcomers(self) -> tuple[float, float]:
        """Newcomers of calm weather, of late, and how many of these came from known networks."""
        return self._newcomers, self._newcomers_known

    @newcomers.setter
    def newcomers(self, counted: tuple[float, float]) -> None:
        self._newcomers, self._newcomers_known = counted

    def clients_at(self, address: str) -> int:
        """Records of an address."""
        return self._addresses.get(address, 0)

    def addresses_in(self, network: str) -> int:
        """Addresses of a network that have records."""
        here = self._networks.get(network)
        return here.addresses if here is not None else 0

    def status(self) -> TableStatus:
        """The table's fill."""
        return TableStatus(entries=len(self), max=int(self.maxsize), bytes_per_entry=RECORD_BYTES)

    def rows(self, now: float, wall: float) -> Iterator[list[Any]]:
        """The records as plain rows: key as hex, address, network, first and last (wall clock), windows, units.

        An iterator over those of this moment, so that the caller may pause while it writes them.
        """
        shift = wall - now
        for r in tuple(self._order):
            if r.live:
                yield [r.key.hex(), r.address, r.network, r.first + shift, r.last + shift, r.windows, r.units]

    def load(self, rows: Iterable[list[Any]], now: float, wall: float, homes: dict[str, str] | None = None) -> int:
        """Take rows that `rows` made, before a restart; how many were taken. Rows that make no sense are skipped.

        Of several rows of one holder, as the workers of one service save them, the one seen last counts. An address
        belongs to one network, as the counts rely on: a row that says otherwise is skipped, too. `homes` are the
        networks of the addresses taken so far: who brings the rows in parts hands in the same dict, empty at first.
        """
        shift, taken = now - wall, 0
        if not homes:
            homes = {} if homes is None else homes
            homes.update((record.address, record.network) for record in self.values())
        for row in rows:
            record = _read(row, shift, now)
            if record is None or homes.setdefault(record.address, record.network) != record.network:
                continue
            older = self.get(record.key)
            if record.last + self._keep > now and (older is None or older.last < record.last):
                self.remember(record)
                taken += 1
        return taken

    def _push(self, record: Record) -> None:
        self._pushed += 1
        heapq.heappush(self._ranking, (record.units, self._pushed, record))

    def _leave(self, record: Record) -> None:
        record.live = False
        count = self._addresses[record.address] - 1
        if count:
            self._addresses[record.address] = count
            return
        del self._addresses[record.address]
        here = self._networks[record.network]
        here.addresses -= 1
        if not here.addresses:
            del self._networks[record.network]


TEXT_CHARS: Final = 64
"""An IPv6 address with its prefix takes 43."""
KEY_BYTES: Final = 32
"""Keys have 8 or 16."""


def _read(row: Any, shift: float, now: float) -> Record | None:
    """The record in a row of a file, which may hold anything; None when it makes no sense. `shift`: to our clock."""
    try:
        key, address, network, first, last, windows, units = row
        if type(address) is not str or type(network) is not str or max(len(address), len(network)) > TEXT_CHARS:
            return None
        name = bytes.fromhex(key)
        begin, end, served, count = float(first) + shift, min(float(last) + shift, now), float(units), int(windows)
    except (TypeError, ValueError, OverflowError):
        return None
    sound = 0 < len(name) <= KEY_BYTES and -math.inf < begin <= end and 0 <= served < math.inf and 0 <= count < 1 << 32
    return Record(name, address, network, begin, end, count, served) if sound else None
