"""Leases: a client has its limits once, however many nodes it asks.

For each busy bucket there is another one in the store, with the full rate and burst, which all nodes charge. A node
lets a client in on a *lease*: a part of the burst. Every round it settles: what it has let in is charged to the shared
bucket, and the lease is filled again from what is left there.

    local bucket    rate r, burst L = lease x b     charged by each request, as always
    shared bucket   rate r, burst b                 charged with what the nodes have let in, when they settle

With a(s) left in the shared bucket, the local one is filled again by what was settled, and never beyond a(s). So over
all nodes a client gets at most

    r t + b   what one node alone would let in, and once more   N (L + r x round)   what was on lease at that moment

and what was let in beyond its limit is owed: the shared bucket may owe as much, and pays it back first. A client that
owes less than OWES of its lease at every node is not told of at all, and costs the store nothing.

Clients, addresses and passes have such buckets; the lease of a pass is its whole burst. In a round MOST_SETTLED at most
of them are settled, those first that have used most.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Final, NamedTuple

from shield.policy.bucket import Rate
from shield.policy.entries import AddressEntry, ClientEntry, Pass
from shield.policy.keys import Keys, client_tag
from shield.policy.request import Request

OWES: Final = 0.1
MOST_NOTED: Final = 16_384
"""Buckets that are noted at a time, from their first request until they are full again: 4 MB."""
MOST_SETTLED: Final = 512
NAME_BYTES: Final = 12

Holder = ClientEntry | AddressEntry | Pass


class Settled(NamedTuple):
    """A bucket whose use is to be charged in the store: seconds of its rate, by what requests count for and by what
    they cost; and seconds that each of the two may owe at most."""

    name: bytes
    holder: Holder
    paid: float
    asked: float
    most: float
    most_asked: float


class _Use:
    """What a holder was charged here. `counts` and `cost`: units since the last round, at `factor` on its rate. `paid`
    and `asked`: seconds of its rate that are not settled yet."""

    __slots__ = ("asked", "cost", "counts", "factor", "holder", "paid")

    def __init__(self, holder: Holder) -> None:
        self.holder = holder
        self.counts = 0.0
        self.cost = 0.0
        self.factor = 1.0
        self.paid = 0.0
        self.asked = 0.0


class Leases:
    """Notes what is charged here, and settles it. `wide`: how much more the bucket for what requests really cost
    holds."""

    __slots__ = ("_address", "_client", "_factor", "_keys", "_least_factor", "_used", "_wide", "lost", "nodes")

    def __init__(self, client: Rate, address: Rate, wide: float, least_factor: float, keys: Keys) -> None:
        self._keys = keys
        self._wide = wide
        self._least_factor = least_factor
        self._used: dict[Holder, _Use] = {}
        self._factor = 1.0
        self.nodes = 1
        self.lost = 0
        """Charges that were not noted, for want of room."""
        self.go_by(client, address)

    def go_by(self, client: Rate, address: Rate) -> None:
        """Have clients and addresses have these buckets, over all nodes."""
        self._client, self._address = client, address

    def lease(self, factor: float, nodes: int) -> None:
        """Have each node's lease be so much of a burst, of so many nodes."""
        self._factor, self.nodes = factor, nodes

    @property
    def noted(self) -> int:
        """Buckets that are in use."""
        return len(self._used)

    def note(self, request: Request) -> None:
        """A request was let in, and charged. Its address is charged with the next round."""
        holder: Holder | None = request.charged_pass
        if holder is None:
            holder = request.client.entry
        use = self._used.get(holder)
        if use is None:
            use = self._enter(holder)
            if use is None:
                return
        cost, most = request.cost, request.most_charged
        use.cost += cost
        use.counts += min(cost, most)
        use.factor = request.charged_factor

    def _enter(self, holder: Holder) -> _Use | None:
        if len(self._used) >= MOST_NOTED:
            self.lost += 1
            return None
        use = self._used[holder] = _Use(holder)
        return use

    def settle(self, now: float) -> list[Settled]:
        """What is to be charged in the store now. Call `settled` with what is left there, or `failed`."""
        for use in tuple(self._used.values()):
            if use.cost:
                self._add_up(use)
        self._used = {each: use for each, use in self._used.items() if max(each.tat, each.shadow) > now}
        owing = [use for use in self._used.values() if use.asked and self._owes(use.holder, now)]
        found = []
        for use in heapq.nlargest(MOST_SETTLED, owing, key=lambda use: use.asked):
            holder = use.holder
            span = self._span(holder)
            owed = span * self._part(holder) * self.nodes + 1.0
            wide = self._wide
            found.append(Settled(self._name(holder), holder, use.paid, use.asked, span + owed, (span + owed) * wide))
            use.paid = use.asked = 0.0
        return found

    def _add_up(self, use: _Use) -> None:
        """Have what a client or a pass was charged since the last round be due, and as much of the client's address."""
        holder, counts, cost = use.holder, use.counts, use.cost
        use.counts = use.cost = 0.0
        factor = max(use.factor, self._least_factor)
        rate = self._rate(holder).rate * factor
        use.paid += counts / rate
        use.asked += cost / rate
        if isinstance(holder, ClientEntry):
            source = self._used.get(holder.source) or self._enter(holder.source)
            if source is not None:
                source.paid += counts / self._address.rate
                source.asked += cost / self._address.rate

    def settled(self, charged: Sequence[Settled], taken: Sequence[tuple[float, float]], now: float) -> None:
        """What of these buckets is taken in the store, in seconds: the local ones go by it. What was charged here since
        then is not in it yet."""
        for one, (paid, asked) in zip(charged, taken, strict=True):
            holder = one.holder
            use = self._used.get(holder)
            if use is not None and use.cost:
                self._add_up(use)
            more_paid, more_asked = (0.0, 0.0) if use is None else (use.paid, use.asked)
            kept = self._span(holder) * (1.0 - self._part(holder))  # of the burst, what is not on lease
            holder.tat = max(now + paid + more_paid - kept, holder.tat - one.paid)
            holder.shadow = max(now + asked + more_asked - kept * self._wide, holder.shadow - one.asked, holder.tat)

    def failed(self, charged: Sequence[Settled]) -> None:
        """These were not charged: they are due still."""
        for one in charged:
            use = self._used.get(one.holder) or self._enter(one.holder)
            if use is not None:
                use.paid += one.paid
                use.asked += one.asked

    def _span(self, holder: Holder) -> float:
        """Seconds in which a bucket of this holder's fills, over all nodes."""
        if isinstance(holder, Pass):
            return holder.span
        rate = self._rate(holder)
        return rate.burst / rate.rate

    def _rate(self, holder: Holder) -> Rate:
        """The bucket of this holder, over all nodes."""
        if isinstance(holder, Pass):
            return Rate(holder.rate, holder.burst)
        return self._client if isinstance(holder, ClientEntry) else self._address

    def _part(self, holder: Holder) -> float:
        """The part of its burst that is on lease at each node. Of a pass it is all: passes cost something."""
        return 1.0 if isinstance(holder, Pass) else self._factor

    def _owes(self, holder: Holder, now: float) -> bool:
        """Whether a holder has used enough of its lease to be told of."""
        enough = OWES * self._span(holder) * self._part(holder)
        return holder.tat - now > enough or holder.shadow - now > enough * self._wide

    def _name(self, holder: Holder) -> bytes:
        """What a bucket is called in the store, which says nothing of whose it is."""
        if isinstance(holder, AddressEntry):
            return client_tag(self._keys.current, b"address " + holder.name.encode())[:NAME_BYTES]
        return client_tag(self._keys.current, b"bucket " + holder.key)[:NAME_BYTES]
