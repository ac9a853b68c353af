"""Long requests: requests that the service has not begun to answer for a long time, while others wait for a slot.

A long poll, or an answer that something delays, would keep its slot until the answer's head comes, and a few dozen of
them would keep everybody out. So when the next request in the queue has to wait, requests that have been at the service
for much longer than the waiting ones would take give their slots back. They go on at the service, and are never ended
for having taken long.

As long as there are long requests, the slots are *guarded*: a free slot is given only by these rules. n is the number
of requests at the service, those with a slot and the long ones together.

    strangers   n < limit + headroom - least headroom
    T0, T1      n < limit + headroom, or fewer than the headroom besides strangers' long requests
    doubtful    strangers: n < limit, as if long requests had kept their slots. T0 and T1: fewer than the limit besides
                strangers' long requests

The headroom is a quarter of the limit at least; it grows to the limit where the service proves that it can take as much
(headroom.py). So however many of the strangers' requests take long, a client with a history finds the least headroom
free. And the requests at the service are never more than L + 2 headroom - L/4: one and a quarter times the limit unless
others are answered as quickly as usual, and then two and three quarters at most.

*Doubtful* is who may be the next long one: a request of a route that is not known to be quick; and a stranger's whose
network or address has more long ones than its share. The shares are the dynamic thresholds of shares.py: an address may
have as many long ones as the limit is more than all of them, a network twice that.

Clients with a history may turn bad, and ask for what is quick for others in such a way that it takes long for them.
So one that has `FEW` long requests counts as a stranger for more. And the last places, as many as the least headroom,
are shared: a *greedy* client, which has as many requests as there are places left, gets none, and waits apart. What it
has are its long requests, and those that were let in to the last places. Of five last places one client so gets three.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from shield.model import Tier
from shield.policy.concurrency.headroom import Headroom
from shield.policy.concurrency.slots import LEAST, Slots
from shield.policy.request import Request
from shield.policy.routes import Route
from shield.policy.shares import Holding, Shares

LEAST_LONG: Final = 0.25
"""s. Silence below which nothing is long; and what a quick route takes at most. Half of `queue.known_patience`: under
pressure, who waits longer is turned away."""
TIMES: Final = 3.0
"""Times the usual time of a waiting request, undisturbed, after which another one's silence is long. Of log-normal
times with a variation of a half, 1 in 100 is longer; and a request waits in calm weather for at least twice as long as
the median."""
MOST_LONG: Final = 1.0
"""s. Silence that is long to those of whose route nothing is known: half of `queue.calm_patience`."""
FEW: Final = 3
"""requests. A page with a chat or a form of news has one long poll, and few people have more than three such open."""

T2: Final = Tier.T2


class LongRequests:
    """Keeps the long requests, and says who may have a slot while there are any. It holds no more requests than are at
    the service."""

    __slots__ = ("_headroom", "_long", "_of_client", "_settled", "_shares", "_slots", "_typical", "counted")

    def __init__(self, slots: Slots, headroom: Headroom, typical: Route, settled: int) -> None:
        """`typical` is the route of all requests, `settled` the samples after which a route's time is known."""
        self._slots = slots
        self._headroom = headroom
        self._typical = typical
        self._settled = settled
        self._long: dict[Request, tuple[Holding[Request], bool]] = {}  # and whether it counts as a stranger's
        self._shares: Shares[Request] = Shares(0, recallable=False)
        self.counted: set[Request] = set()  # the long ones, and those that were let in to the last places
        self._of_client: dict[bytes, int] = {}  # of these, by the client's key

    def after(self, waiting: Sequence[Request], slowness: float) -> float:
        """Seconds without an answer after which a request counts as long: TIMES what the quickest of `waiting` usually
        takes, or, when nobody waits, what a typical request takes. `slowness` is b of the glossary's congestion."""
        usual = min([self._usual(request.route) for request in waiting], default=self._typical.baseline)
        return max(LEAST_LONG, TIMES * max(slowness, 1.0) * usual)

    def idles(self, request: Request) -> bool:
        """Whether the time of a request tells nothing about the service: it is a stranger's long one, and others were
        answered as quickly as usual meanwhile."""
        return self._slots.doublings > 0 and request in self._long and self._long[request][1]

    # who may have a slot

    def lets_in(self, request: Request) -> bool:
        """Whether a request may have a slot now."""
        slots = self._slots
        if slots.exhausted:
            return False
        size, there = slots.size, slots.in_flight + slots.long
        if self._strange(request):
            return there < (size if self.doubts(request) else size + slots.headroom - slots.least_headroom)
        left = self._left()
        if left <= 0 or self._greedy(request, left):
            return False
        return there - slots.strange < size or not self._maybe_slow(request)

    def took(self, request: Request) -> None:
        """Note that a request that was let in has its slot now. Call it while the slots are guarded."""
        if not self._strange(request) and self._left() < self._last_places():
            self._count(request)

    def waits_apart(self, request: Request) -> bool:
        """Whether a request that has to wait is to do so apart: it may be the next long one, or its client is
        greedy."""
        return self.doubts(request) or (not self._strange(request) and self._greedy(request, self._left()))

    def doubts(self, request: Request) -> bool:
        """Whether a request may be the next long one."""
        if self._maybe_slow(request):
            return True
        client = request.client
        return self._strange(request) and self._shares.above_share(client.home, client.network)

    def _strange(self, request: Request) -> bool:
        """Whether a request counts as a stranger's."""
        return request.tier >= T2 or self._of_client.get(request.client.key, 0) >= FEW

    def _maybe_slow(self, request: Request) -> bool:
        route = request.route
        return route.samples < self._settled or route.baseline >= LEAST_LONG

    def _left(self) -> int:
        """Places at the service that are left to those with a history."""
        slots = self._slots
        there = slots.in_flight + slots.long
        # The limit may have fallen since they came: then it is a quarter of them.
        beside = max(slots.headroom, slots.strange // LEAST) - (there - slots.strange)
        most = slots.size + slots.headroom
        # Beside those of clients with a history too, as far as there may be so many at the service.
        few = min(slots.least_headroom - slots.in_flight, most + slots.headroom - slots.least_headroom - there)
        return max(most - there, beside, few)

    def _last_places(self) -> int:
        slots = self._slots
        return max(slots.least_headroom, slots.strange // LEAST)

    def _greedy(self, request: Request, left: int) -> bool:
        """Whether the client has too many requests at the service to get one of so many places."""
        return left <= self._last_places() and self._of_client.get(request.client.key, 0) >= max(left, 1)

    def _count(self, request: Request) -> None:
        if request not in self.counted:
            self.counted.add(request)
            key = request.client.key
            self._of_client[key] = self._of_client.get(key, 0) + 1

    # the long ones

    def add(self, requests: Sequence[Request]) -> None:
        """Count these as long, and take their slots back. Each has a slot, or is among the long ones already."""
        shares, slots = self._shares, self._slots
        for request in requests:
            if request not in self._long:
                client = request.client
                holding = Holding(request, request.tier, client.key, client.home, client.network)
                strange = self._strange(request)
                self._long[request] = holding, strange
                self._count(request)
                shares.add(holding, 1)
                slots.takes_long(strange)
        # The limit is for all workers: the long requests of the others take up their part of it.
        shares.most = slots.size - slots.long + slots.mine

    def remove(self, request: Request) -> bool:
        """Forget a request that has ended at the service. True if it was a long one, which so has no slot to give."""
        if request in self.counted:
            self.counted.remove(request)
            key = request.client.key
            self._of_client[key] -= 1
            if not self._of_client[key]:
                del self._of_client[key]
        found = self._long.pop(request, None)
        if found is None:
            return False
        holding, strange = found
        self._shares.give(holding, 1)
        self._slots.ends_long(strange)
        return True

    def guard(self, brownout: bool) -> bool:
        """Guard the slots as long as there is a long request; returns whether they are guarded. In a brownout they
        never are: there the tiers take turns."""
        slots = self._slots
        guarded = slots.long > 0 and not brownout
        if slots.guarded and not guarded:
            self._headroom.forget()
        slots.guarded = guarded
        return guarded

    def _usual(self, route: Route) -> float:
        if route.samples >= self._settled:
            return route.baseline
        return min(self._typical.baseline, MOST_LONG / TIMES)
