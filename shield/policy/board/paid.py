"""What clients have paid at one worker, for their buckets at the others.

Where the kernel cannot bring all connections of a network to one worker, as behind a proxy, a client that spreads its
requests would have as many buckets as there are workers. To give each worker a part of the rate instead would refuse
those who keep one connection. So the sums are shared: what was charged here is charged there, too.

Only of those is it told who owe more than `OWES` of a bucket: a client's, its address's or a pass's. Of them, every
tenth of a second, of the `MOST_TOLD` who paid most; the others' turn comes. So a client is ahead of its limits by what
it can ask of the other workers in that time. Requests that end dearer or cheaper than they were taken for are settled
where they were served.

Networks are charged besides, under pressure (limits/squeeze.py). Their sums are told in the same way, of the
`MOST_NETWORKS_TOLD` that paid most.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Any, Final

from shield.policy.entries import AddressEntry, ClientEntry, NetworkEntry, Pass
from shield.policy.identity import Identity
from shield.policy.keys import TAG_BYTES
from shield.policy.limits.settings import LimitsSettings
from shield.policy.limits.sums import NetworkSums
from shield.policy.pass_tokens import ID_BYTES
from shield.policy.passes import Passes
from shield.policy.request import Request
from shield.policy.rows import key, number, text

OWES: Final = 0.1
OVERDRAWN: Final = 1.0
"""Seconds of its rate that an empty bucket may owe, for what others let in before they had heard that it is empty."""
MOST_TOLD: Final = 64
MOST_NETWORKS_TOLD: Final = 32
MOST_PAID: Final = 4096
"""Clients and passes that are noted at a time, from their first request until their buckets are full again."""


class _Note:
    """What a client or a pass has paid here, and nobody was told of yet."""

    __slots__ = ("holder", "units")

    def __init__(self, holder: ClientEntry | Pass) -> None:
        self.holder = holder
        self.units = 0.0


class Paid:
    """Notes what is charged here, and charges what was charged elsewhere."""

    __slots__ = ("_address", "_client", "_identity", "_lost", "_noted", "_passes", "_sums")

    def __init__(self, limits: LimitsSettings, identity: Identity, passes: Passes, sums: NetworkSums) -> None:
        self._client = limits.client
        self._address = limits.address
        self._identity = identity
        self._passes = passes
        self._sums = sums
        self._noted: dict[int, _Note] = {}  # by id
        self._lost = 0

    @property
    def lost(self) -> int:
        """Charges that were not noted."""
        return self._lost + self._sums.lost

    def note(self, request: Request) -> None:
        """A request was let in, and charged."""
        holder = request.charged_pass or request.client.entry
        note = self._noted.get(id(holder))
        if note is None:
            if len(self._noted) >= MOST_PAID:
                self._lost += 1
                return
            note = self._noted[id(holder)] = _Note(holder)
        note.units += request.cost

    def rows(self, now: float) -> Iterator[list[Any]]:
        """What the others are to charge, as plain rows. Call it every tenth of a second."""
        self._noted = {each: note for each, note in self._noted.items() if _until(note.holder) > now}
        told = [note for note in self._noted.values() if note.units and self._owes(note.holder, now)]
        for note in heapq.nlargest(MOST_TOLD, told, key=lambda note: note.units):
            holder, units = note.holder, note.units
            note.units = 0.0
            home = "" if isinstance(holder, Pass) else holder.source.name
            yield ["paid", holder.key.hex(), home, units]
        owing = [
            each
            for each in self._sums.take()
            if max(each.network.tat, each.network.shadow) - now > OWES * each.network.span
        ]
        for network, paid, asked in heapq.nlargest(MOST_NETWORKS_TOLD, owing, key=lambda each: each.paid + each.asked):
            yield ["network_paid", network.name, paid, asked]

    def take_network(self, row: list[Any], now: float) -> bool:
        """Charge a network what such a row says. ValueError when it makes no sense."""
        name, paid, asked = row
        network = self._identity.restore_network(text(name), now)
        if network.overflow:
            return False
        burst = network.span * network.rate
        empty = now + network.span + OVERDRAWN
        for bucket, units in (("tat", number(paid, 0.0, burst)), ("shadow", number(asked, 0.0, burst))):
            _charge(network, bucket, units / network.rate, empty, now)
        return True

    def take(self, row: list[Any], now: float) -> bool:
        """Charge what such a row says. ValueError when it makes no sense."""
        name, home, units = row
        units = number(units, 0.0, max(self._client.burst, self._address.burst))
        if not home:
            shown = self._passes.table.get(key(name, ID_BYTES))
            if shown is None:
                return False
            self._charge(shown, units, shown.rate, shown.burst, now)
            return True
        entry = self._identity.restore(key(name, TAG_BYTES), text(home), now)
        if entry is None or entry.rare.overflow:
            return False
        self._charge(entry, units, self._client.rate, self._client.burst, now)
        self._charge(entry.source, units, self._address.rate, self._address.burst, now)
        return True

    def _owes(self, holder: ClientEntry | Pass, now: float) -> bool:
        """Whether a holder is near enough to its limits, or its address to the address's."""
        if isinstance(holder, Pass):
            return holder.tat - now > OWES * holder.span
        client, address = self._client, self._address
        return (
            holder.tat - now > OWES * client.burst / client.rate
            or holder.source.tat - now > OWES * address.burst / address.rate
        )

    @staticmethod
    def _charge(holder: ClientEntry | AddressEntry | Pass, units: float, rate: float, burst: float, now: float) -> None:
        """Charge a bucket, to OVERDRAWN beyond an empty one at most."""
        empty = now + burst / rate + OVERDRAWN
        for bucket in ("tat", "shadow"):
            _charge(holder, bucket, units / rate, empty, now)


def _charge(
    holder: ClientEntry | AddressEntry | NetworkEntry | Pass, bucket: str, seconds: float, empty: float, now: float
) -> None:
    """Charge one bucket, so that it is full no later than an `empty` one is."""
    at = getattr(holder, bucket)
    setattr(holder, bucket, max(at, min(max(at, now) + seconds, empty)))


def _until(holder: ClientEntry | Pass) -> float:
    """When the buckets of a holder are full again."""
    return holder.tat if isinstance(holder, Pass) else max(holder.tat, holder.source.tat)
