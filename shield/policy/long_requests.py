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
others are answered as quickly as usual, and then two and three quarters at most; where clients with a history turn bad,
three and a half.

*Doubtful* is who may be the next long one: a request of a route that is not known to be quick; and a stranger's whose
network or address has more long ones than its share. The shares are the dynamic thresholds of shares.py: an address may
have as many long ones as the limit is more than all of them, a network twice that.

Clients with a history may turn bad, and ask for what is quick for others in such a way that it takes long for them.
Such a long request is *odd*, and weighs `ODD`, another one weighs 1. A client whose requests weigh `FEW` counts as a
stranger for more; while it has an odd one, whatever else it has at the service weighs 1, too. If it has two odd ones,
its history gives it nothing for what it holds either: its odd ones are a stranger's from then on, as far as strangers
may have so many. As much as the headroom has grown, they are in no stranger's way. But where more than `MANY` clients
with a history have odd requests, that is what people do there, and nothing is odd.

The last places, as many as the least headroom, are shared: a *greedy* client, whose requests weigh as much as there are
places left, gets none, and waits apart. There, those that were let in to the last places weigh 1. Of five last places
one client so gets three, and one with an odd request leaves two to those that have none.
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
ODD: Final = 2
"""requests. What an odd one weighs. Where a route is quick for most, and lets some wait, people have one of it each,
and get one thing more at a time."""

MANY: Final = 16
"""clients. That so many turn bad at once is less likely than that a route lets some wait that is quick for most."""

T2: Final = Tier.T2


class _Long:
    """A long request: its part of the shares, and whether it counts as a stranger's, whether it is odd, and whether
    these two go together because its client has turned bad."""

    __slots__ = ("bad", "holding", "odd", "since", "strange")

    def __init__(self, holding: Holding[Request], strange: bool, since: float) -> None:
        self.holding = holding
        self.strange = strange
        self.odd = self.bad = False
        self.since = since  # when it was found to be long


class LongRequests:
    """Keeps the long requests, and says who may have a slot while there are any. It holds no more requests than are at
    the service."""

    __slots__ = (
        "_bad",
        "_headroom",
        "_long",
        "_odd",
        "_of_client",
        "_settled",
        "_shares",
        "_slots",
        "_typical",
        "counted",
    )

    def __init__(self, slots: Slots, headroom: Headroom, typical: Route, settled: int) -> None:
        """`typical` is the route of all requests, `settled` the samples after which a route's time is known."""
        self._slots = slots
        self._headroom = headroom
        self._typical = typical
        self._settled = settled
        self._long: dict[Request, _Long] = {}
        self._shares: Shares[Request] = Shares(0, recallable=False)
        self.counted: dict[Request, int] = {}  # weights of the long ones, and of those let in to the last places
        self._of_client: dict[bytes, int] = {}  # sums of these, by the client's key
        self._odd: dict[bytes, int] = {}  # odd requests, by the client's key
        self._bad = 0  # odd requests of those with a history, which count as a stranger's

    def after(self, waiting: Sequence[Request], slowness: float) -> float:
        """Seconds without an answer after which a request counts as long: TIMES what the quickest of `waiting` usually
        takes, or, when nobody waits, what a typical request takes. `slowness` is b of the glossary's congestion."""
        usual = min([self._usual(request.route) for request in waiting], default=self._typical.baseline)
        return max(LEAST_LONG, TIMES * max(slowness, 1.0) * usual)

    def is_long(self, request: Request) -> bool:
        """Whether a request is at the service without a slot, since it takes long."""
        return request in self._long

    def idles(self, request: Request) -> bool:
        """Whether the time of a request tells nothing about the service: it is a stranger's long one, and others were
        answered as quickly as usual meanwhile."""
        long = self._long.get(request) if self._slots.doublings > 0 else None
        return long is not None and long.strange

    # who may have a slot

    def lets_in(self, request: Request) -> bool:
        """Whether a request may have a slot now."""
        slots = self._slots
        if slots.exhausted:
            return False
        size, there = slots.size, slots.in_flight + slots.long
        if self._strange(request):
            if self.doubts(request):
                return there < size
            most = size + slots.headroom - slots.least_headroom
            return there - min(self._bad, slots.headroom - slots.least_headroom) < most
        left = self._left()
        if left <= 0 or self._greedy(request, left):
            return False
        return there - slots.strange < size or not self._maybe_slow(request)

    def took(self, request: Request) -> None:
        """Note that a request that was let in has its slot now. Call it while the slots are guarded."""
        if self._strange(request):
            return
        if (request.client.key in self._odd and self._rarely_odd()) or self._left() < self._last_places():
            self._count(request, 1)

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

    def _is_odd(self, request: Request, silent: float, slowness: float) -> bool:
        """Whether a request of a client with a history, about which the service has been silent for so many seconds, is
        slow beyond its route."""
        if request.tier >= T2 or self._maybe_slow(request):
            return False
        return silent >= TIMES * max(slowness, 1.0) * request.route.baseline

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

    def _count(self, request: Request, weight: int) -> None:
        more = weight - self.counted.get(request, 0)
        if more > 0:
            self.counted[request] = weight
            key = request.client.key
            self._of_client[key] = self._of_client.get(key, 0) + more

    # the long ones

    def add(self, requests: Sequence[Request], slowness: float, now: float) -> None:
        """Count these as long, and take their slots back. Each has a slot, or is among the long ones already.
        `slowness` is b of the glossary's congestion."""
        shares, slots = self._shares, self._slots
        for request in requests:
            long = self._long.get(request)
            if long is None:
                client = request.client
                holding = Holding(request, request.tier, client.key, client.home, client.network)
                long = self._long[request] = _Long(holding, self._strange(request), now)
                self._count(request, 1)
                shares.add(holding, 1)
                slots.takes_long(long.strange)
            if not long.odd and self._is_odd(request, LEAST_LONG + now - long.since, slowness):
                long.odd = True
                key = request.client.key
                self._odd[key] = self._odd.get(key, 0) + 1
        self._see_who_is_bad(requests)
        # The limit is for all workers: the long requests of the others take up their part of it.
        shares.most = slots.size - slots.long + slots.mine

    def _see_who_is_bad(self, requests: Sequence[Request]) -> None:
        """Let odd requests weigh more, and those of clients that have turned bad count as a stranger's; or no longer,
        where many have them."""
        slots = self._slots
        if not self._rarely_odd():
            for long in self._long.values() if self._bad else ():
                if long.bad:
                    self._judge(long, False)
            return
        most = slots.size + slots.headroom - slots.least_headroom
        for request in requests:
            long = self._long[request]
            if long.odd:
                self._count(request, ODD)
                if not long.strange and slots.strange < most and self._odd[request.client.key] > 1:
                    self._judge(long, True)

    def _judge(self, long: _Long, bad: bool) -> None:
        long.strange = long.bad = bad
        self._bad += 1 if bad else -1
        self._slots.counts_as(stranger=bad)

    def _rarely_odd(self) -> bool:
        """Whether only few clients with a history have odd requests."""
        return len(self._odd) <= MANY

    def remove(self, request: Request) -> bool:
        """Forget a request that has ended at the service. True if it was a long one, which so has no slot to give."""
        weight = self.counted.pop(request, 0)
        if weight:
            key = request.client.key
            self._of_client[key] -= weight
            if not self._of_client[key]:
                del self._of_client[key]
        long = self._long.pop(request, None)
        if long is None:
            return False
        self._bad -= long.bad
        if long.odd:
            key = request.client.key
            self._odd[key] -= 1
            if not self._odd[key]:
                del self._odd[key]
        self._shares.give(long.holding, 1)
        self._slots.ends_long(long.strange)
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
