"""The rank of a request within its tier: who is served where there is not enough for all of them."""

from __future__ import annotations

from math import inf, log2
from typing import Final

from shield.model import Tier
from shield.policy.entries import ClientEntry, Pass
from shield.policy.keys import order_tag
from shield.policy.request import Request
from shield.policy.visits import visit_of

T2 = Tier.T2  # a name of its own: looking up a member of an Enum costs 70 ns
FIRST_PAGE: Final = 10.0  # seconds from a pass's first use, in which its first page is under way
LATEST: Final = 2.0**40  # seconds; no clock comes so far
ORDERS: Final = 1 << 16  # that equals may have


class Ranks:
    """Ranks requests. `key` makes the order of equals, which changes every `order_seconds`, unpredictable.

    `page`: units of the first page of a bought pass, at most.
    """

    __slots__ = ("_key", "_order_seconds", "_page")

    def __init__(self, key: bytes, order_seconds: float, page: float) -> None:
        self._key = key
        self._order_seconds = order_seconds
        self._page = page

    def of(self, request: Request, now: float) -> float:
        """log2 of the units served before the onset, and a fraction that orders equals. A higher rank goes first.

        In T2 visits under way go first, in the order in which they began, so that pages are finished. If the requests
        took turns, all pages would be half loaded when people give up. Whatever else a pass asks for that was first
        used a moment ago is taken for its first page. Behind these it is minus log2 of the units that the pass has
        taken, so that a page that was just bought goes before the thousandth request of a pass that a botnet keeps.
        """
        holder: Pass | ClientEntry = request.client.entry
        shown = request.shown_pass
        period = int(now // self._order_seconds)
        if request.tier is T2:
            begun = visit_of(request, now)
            if begun < inf:
                return under_way(begun)
            if shown is not None and shown.taken < self._page and now - shown.begun < FIRST_PAGE:
                return under_way(shown.begun)
            if shown is not None:
                return order_tag(self._key, shown.key, period) / ORDERS - int(log2(shown.taken + 1.0))
        if shown is not None and shown.record is not None:
            holder = shown
        record = holder.record
        served = log2(record.units + 1.0) if record is not None and record.live else 0.0
        return int(served) + order_tag(self._key, holder.key, period) / ORDERS


def under_way(begun: float) -> float:
    """The rank of what is part of a visit that began then."""
    return LATEST - begun
