"""Who goes next: a bounded queue in front of the upstream's slots, in the order of tier and rank.

At most 2 L requests wait, or 128 where that is more: with a small limit, a few browsers that open a page at the same
moment (twenty with six connections each are 120) would overflow 2 L, and in calm weather nobody is to be refused
(measured with L = 4: 1.2 % of the users' first visits were). A full queue evicts its worst for a better newcomer,
and turns away a worse one.

**In calm weather** the better tier goes first, and within it the older: everybody's turn comes. Who has waited for
half of the patience goes before all tiers, or those who fill the slots could keep the others waiting for ever; of one
address one request at a time, or whoever asks for two hundred large files at once would go before everybody. The
patience is two seconds (or 2 median upstream times): a burst of pages drains within them, and waiting is a smaller
evil than an error.

**Under pressure** there is not enough for all, and the order says who is served well instead of all badly: tier, then
rank (log2 of the units served before the onset, or in T2 the fewest taken with the pass, then a keyed hash that changes
every ten minutes), then the older.
Where T0 and T1 alone ask for what there is, that order would leave nothing to those who bought a pass, however long
it lasts; so a share of the capacity is kept for T2 (`Pricing.kept()`), and within it its requests go first, those of
passes that have taken little before others. Where T0 alone asks for what there is, it goes by rank among T1 (judge.py):
a pass that was earned in two visits says less than a long history without one.
The queue is *standing* when nobody got through an interval of 100 ms in less than 20 ms (CoDel, RFC 8289). A standing
queue is of no use to anybody: then the newest of equals goes first (it can still be served in time, the oldest is
about to give up), and patience is short: T2 to T4 are dropped after max(40 ms, 2 median upstream times), T0 and T1
after 500 ms or that. A queue that does not stand is no excuse to wait for ever either (the low ranks can, while others
pass within milliseconds): the patience of calm weather holds then.

**In a brownout** (pressure.py) the service is ill and nobody attacks, and a strict order would lock the last tier out
for as long as it lasts. So the tiers that wait take turns, by weight (smooth weighted round robin, as in nginx). Within
a tier the rank is the time since which a client has been challenged, or refused by the queue, and nothing of it has
come out of the queue: who was refused for longest goes first, and who was not yet comes after them. In the order of
arrival alone, which is a lottery for those who try again every few seconds, one program of fifty got nothing for three
minutes.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from typing import Final

from shield.model import Tier
from shield.policy.bucket import SLACK, Bucket, Rate
from shield.policy.queue.settings import QueueSettings
from shield.policy.request import Request

MEDIAN_OF: Final = 64  # upstream times that the median is taken of
FIRST: Final = 1  # before -Tier.T0
LEFT_TO_OTHERS: Final = 0.2  # of the bucket of what is kept, for each doubling of what a pass has taken


class Waiting:
    """A place in the queue. Better places sort later, so that the best leaves from the end of the list."""

    __slots__ = ("order", "request")

    def __init__(self, order: tuple[int, float, int], request: Request) -> None:
        self.order = order  # (-tier, rank under pressure, -arrival); tier -1: goes before all
        self.request = request

    def __lt__(self, other: Waiting) -> bool:
        return self.order < other.order


class Queue:
    """The requests that wait for a slot."""

    def __init__(self, settings: QueueSettings, limit: int) -> None:
        self._settings = settings
        self.fit(limit)
        self.standing = False
        # set with each window
        self.pressed = False
        self.brownout = False
        self.kept = 0.0  # units/s for T2, before all others
        self.median_rtt = 0.0  # seconds, of the last MEDIAN_OF responses; 0 before the first
        self.waiting: list[Waiting] = []  # the best last
        self._arrivals = 0
        self._rtts: deque[float] = deque(maxlen=MEDIAN_OF)
        self._credits = [0] * len(settings.turns)
        self._kept = Bucket(Rate(1.0, 1.0))  # in seconds of what is kept
        self._shortest: float | None = None  # wait of those who left in this interval
        self._interval_ends = 0.0

    def fit(self, limit: int) -> None:
        """Take the length that goes with a concurrency limit; those who wait already are not turned away."""
        self.most = max(int(self._settings.length * limit), self._settings.least_length)

    def __len__(self) -> int:
        return len(self.waiting)

    def push(self, request: Request, now: float) -> Request | None:
        """Queue a request. Returns the one that has no place: another, evicted for it, or itself, or None."""
        if not self.waiting:
            self._shortest = None
            self._interval_ends = now + self._settings.interval
        self._arrivals += 1
        kept = self.kept and request.tier is Tier.T2 and self._take_kept(request, now)
        order = FIRST if kept else -request.tier
        place = Waiting((order, request.rank if self.pressed else 0.0, -self._arrivals), request)
        request.queued_at = now
        if len(self.waiting) < self.most:
            insort(self.waiting, place)
            return None
        if not self.waiting or self.waiting[0].order[:2] >= place.order[:2]:
            return request
        insort(self.waiting, place)
        return self.waiting.pop(self._last_of_worst() if self.standing and self.pressed else 0).request

    def pop(self, now: float) -> Request:
        """The request that goes next; the queue must not be empty."""
        waiting = self.waiting
        if self.brownout:
            request = waiting.pop(self._turn()).request
        elif self.standing and self.pressed:
            tier, rank, _ = waiting[-1].order
            request = waiting.pop(bisect_left(waiting, (tier, rank), key=_group)).request
        else:
            request = waiting.pop().request
        wait = now - request.queued_at
        if not waiting:
            self._shortest = 0.0  # the queue ran empty: whatever it was, it does not stand
        elif self._shortest is None or wait < self._shortest:
            self._shortest = wait
        return request

    def remove(self, request: Request) -> bool:
        """Take out a request whose client has left; whether it was there."""
        for i, place in enumerate(self.waiting):
            if place.request is request:
                del self.waiting[i]
                return True
        return False

    def oldest_wait(self, now: float) -> float:
        """Seconds that the oldest has waited; 0 when nobody waits."""
        return now - min((place.request.queued_at for place in self.waiting), default=now)

    def tick(self, now: float) -> list[Request]:
        """Judge the interval, and return those who waited too long. All that wait are looked at."""
        waiting = self.waiting
        if not waiting:
            self.standing = False
            return []
        if now >= self._interval_ends:
            shortest = self._shortest
            if shortest is None:  # nobody left: they all wait still
                shortest = self.oldest_wait(now)
            self.standing = shortest > self._settings.target
            self._shortest = None
            self._interval_ends = now + self._settings.interval
        settings = self._settings
        usual = settings.patience_medians * self.median_rtt
        known = other = max(settings.calm_patience, usual)
        if not self.pressed:
            self._promote(now - settings.promoted_after * known)
        elif self.standing:
            known = max(settings.known_patience, usual)
            other = max(settings.patience, usual)
        late = [
            place
            for place in waiting
            if now - place.request.queued_at > (known if place.request.tier <= Tier.T1 else other)
        ]
        if late:
            gone = set(map(id, late))
            self.waiting = [place for place in waiting if id(place) not in gone]
        return [place.request for place in late]

    def sample(self, rtt: float) -> None:
        """An upstream time, for the median."""
        self._rtts.append(rtt)

    def close_window(self, limit: int, pressed: bool, brownout: bool, kept: float) -> None:
        """Go by this from now on: the concurrency limit, the weather, and units/s kept for T2. Take the median anew."""
        self.fit(limit)
        self.pressed = pressed
        self.brownout = brownout
        self.kept = kept
        if self._rtts:
            self.median_rtt = sorted(self._rtts)[len(self._rtts) // 2]

    def _turn(self) -> int:
        """Index of the newest of the tier whose turn it is."""
        waiting, due = self.waiting, self._credits
        found = len(waiting) - 1
        if waiting[found].order[0] == FIRST:
            return found
        total = 0
        turn = -waiting[found].order[0]
        for tier, weight in enumerate(self._settings.turns):
            newest = bisect_left(waiting, 1 - tier, key=_tier) - 1
            if newest >= 0 and waiting[newest].order[0] == -tier:
                total += weight
                due[tier] += weight
                if due[tier] > due[turn]:
                    turn, found = tier, newest
        due[turn] -= total
        return found

    def _promote(self, before: float) -> None:
        """Put those who wait since before that time ahead of every tier, one of an address at a time: its oldest."""
        late = [place for place in self.waiting if place.request.queued_at < before]
        if late:
            late.sort(key=_seniority)
            taken: set[str] = set()
            for place in late:  # who is ahead already comes first
                home = place.request.client.home
                if home not in taken:
                    taken.add(home)
                    place.order = (FIRST, 0.0, place.order[2])
            self.waiting.sort()

    def _take_kept(self, request: Request, now: float) -> bool:
        """Charge what is kept with a request of T2, if enough of it is left.

        The more its pass has taken, the more has to be left to others. In the order of arrival the passes that a farm
        keeps took it all, since they ask more often than a page that was just bought.
        """
        bucket, seconds = self._kept, request.cost / self.kept
        others = LEFT_TO_OTHERS * max(-request.rank, 0.0)
        if bucket.level(now) + SLACK < min(seconds, bucket.burst) + others:
            return False
        bucket.tat = max(bucket.tat, now) + seconds  # all of it, if that is more than the bucket holds
        return True

    def _last_of_worst(self) -> int:
        """Index of the oldest among the worst, which a standing queue gives up first."""
        group = self.waiting[0].order[:2]
        i = 0
        while i + 1 < len(self.waiting) and self.waiting[i + 1].order[:2] == group:
            i += 1
        return i


def _tier(place: Waiting) -> int:
    return place.order[0]


def _seniority(place: Waiting) -> tuple[bool, int]:
    return place.order[0] < FIRST, -place.order[2]


def _group(place: Waiting) -> tuple[int, float]:
    return place.order[:2]
