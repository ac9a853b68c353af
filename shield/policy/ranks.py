"""The rank of a request within its tier: who is served where there is not enough for all of them."""

from __future__ import annotations

from math import log2
from typing import Final

from shield.model import Tier
from shield.policy.entries import ClientEntry, Pass
from shield.policy.keys import order_tag
from shield.policy.request import Request

T2 = Tier.T2  # a name of its own: looking up a member of an Enum costs 70 ns
ORDERS: Final = 1 << 16  # that equals may have


class Ranks:
    """Ranks requests. `key` makes the order of equals, which changes every `order_seconds`, unpredictable."""

    __slots__ = ("_key", "_order_seconds")

    def __init__(self, key: bytes, order_seconds: float) -> None:
        self._key = key
        self._order_seconds = order_seconds

    def of(self, request: Request, now: float) -> float:
        """log2 of the units served before the onset, and a fraction that orders equals. A higher rank goes first.

        In T2 it is minus log2 of the units that the pass has taken, so that a page that was just bought goes before
        the thousandth request of a pass that a botnet keeps.
        """
        holder: Pass | ClientEntry = request.client.entry
        shown = request.shown_pass
        period = int(now // self._order_seconds)
        if shown is not None and request.tier is T2:
            return order_tag(self._key, shown.key, period) / ORDERS - int(log2(shown.taken + 1.0))
        if shown is not None and shown.record is not None:
            holder = shown
        record = holder.record
        served = log2(record.units + 1.0) if record is not None and record.live else 0.0
        return int(served) + order_tag(self._key, holder.key, period) / ORDERS
