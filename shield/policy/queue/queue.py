"""The queue: bounded, in front of the slots, in the order of tier and rank.

**Full.** It evicts its worst for a better newcomer, and turns away a worse one. It is longer than a small limit would
make it: a few browsers that open a page at the same moment would overflow it, and in calm weather nobody is to be
refused. Before a service that is quick it is longer still. Thousands of connections are too many for Shield's own core,
and not for the service: they wait here, which costs little, and all of them are served within a second.

**In calm weather** the better tier goes first, and within it the older. Whoever has waited for half of the patience
goes before all tiers, or those who fill the slots could keep the others waiting for ever. Of one address that is one
request at a time, or whoever asks for two hundred large files at once would go before everybody. The patience lets a
burst of pages drain: waiting is a smaller evil than an error.

**Under pressure** there is not enough for all, and the order says who is served well instead of all badly: tier, then
rank (`Judge.rank`), then the older. Where T0 and T1 alone ask for what there is, nothing would be left to those who
bought a pass, however long it lasts; so a share of the capacity is kept for T2 (kept.py). Within it the requests of T2
go before all others.

**A standing queue** (standing.py) under pressure is of no use to anybody. The newest of equals goes first: it can
still be served in time, while the oldest is about to give up. The patience is short. A queue that does not stand is no
excuse to wait for ever either, since the low ranks can while others pass within milliseconds: the patience of calm
weather holds there.

**When pressure begins** some have waited for longer than the short patience allows. They waited as they were allowed
to, so their patience counts from then. Whoever was put before all tiers in calm weather falls back to its own tier, or
the attack that filled the queue would be served before the users whom it kept waiting.

**In a brownout** the service is ill and nobody attacks, and a strict order would lock the last tier out for as long as
it lasts. So the tiers that wait take turns (turns.py). Within a tier the rank is the time since which a client has been
challenged, or refused by the queue, and nothing of it has come out of the queue: who was refused for longest goes
first. In the order of arrival, which is a lottery for those who try again every few seconds, one program of fifty got
nothing for three minutes.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from typing import Final

from shield.model import UNIT_SECONDS, Tier
from shield.policy.queue.kept import Kept
from shield.policy.queue.order import FIRST, Waiting, demote_all, group_key, oldest_of_worst, promote_oldest, tier_key
from shield.policy.queue.settings import QueueSettings
from shield.policy.queue.standing import Standing
from shield.policy.queue.turns import Turns
from shield.policy.request import Request

MEDIAN_OF: Final = 64  # upstream times that the median is taken of
QUICKEST: Final = 0.002  # seconds. Times below say more of the scheduler than of the service (routes.least_cost)
MOST: Final = 4096  # requests, unless the limit itself asks for more: each that waits pins its head


class Queue:
    """The requests that wait for a slot."""

    def __init__(self, settings: QueueSettings, limit: int) -> None:
        self._settings = settings
        self.waiting: list[Waiting] = []  # the best last
        self._arrivals = 0
        self._standing = Standing(settings)
        self._turns = Turns(settings.turns)
        self._kept = Kept()
        self._times: deque[float] = deque(maxlen=MEDIAN_OF)
        # changed with each window
        self.median_rtt = 0.0  # seconds, of the last MEDIAN_OF responses; 0 before the first
        self._whole = self.most = self._length(limit)
        self.pressed = False
        self.brownout = False
        self._pressed_since = 0.0  # clock reading; 0 before the first pressure

    def __len__(self) -> int:
        return len(self.waiting)

    def by_history(self) -> tuple[int, int]:
        """Requests that wait: those of T0 and T1, or before all tiers, and the others."""
        known = len(self.waiting) - bisect_left(self.waiting, -Tier.T1, key=tier_key)
        return known, len(self.waiting) - known

    @property
    def standing(self) -> bool:
        """Whether nobody got through without waiting, for an interval."""
        return self._standing.on

    @property
    def kept(self) -> float:
        """Units/s that are kept for T2."""
        return self._kept.rate

    def push(self, request: Request, now: float) -> Request | None:
        """Queue a request. Returns the one for which there is no room: another, evicted for it, or itself, or None."""
        if not self.waiting:
            self._standing.begin(now)
        self._arrivals += 1
        kept = self._kept.rate and request.tier is Tier.T2 and self._kept.take(request, now)
        order = FIRST if kept else -request.tier
        new = Waiting((order, request.rank if self.pressed else 0.0, -self._arrivals), request)
        request.queued_at = now
        if len(self.waiting) < self.most:
            insort(self.waiting, new)
            return None
        if not self.waiting or group_key(self.waiting[0]) >= group_key(new):
            return request
        insort(self.waiting, new)
        return self.waiting.pop(oldest_of_worst(self.waiting) if self.standing and self.pressed else 0).request

    def pop(self, now: float) -> Request:
        """The request that goes next; the queue must not be empty."""
        waiting = self.waiting
        if self.brownout:
            request = waiting.pop(self._turns.take(waiting)).request
        elif self.standing and self.pressed:
            request = waiting.pop(bisect_left(waiting, group_key(waiting[-1]), key=group_key)).request
        else:
            request = waiting.pop().request
        self._standing.left(now - request.queued_at, empty=not waiting)
        return request

    def remove(self, request: Request) -> bool:
        """Take out a request whose client has left; whether it was there."""
        for i, one in enumerate(self.waiting):
            if one.request is request:
                del self.waiting[i]
                return True
        return False

    def oldest_wait(self, now: float) -> float:
        """Seconds that the oldest has waited; 0 when nobody waits."""
        return now - min([one.request.queued_at for one in self.waiting], default=now)

    def tick(self, now: float) -> list[Request]:
        """Judge the interval, and return those who waited too long. All that wait are looked at."""
        if not self.waiting:
            self._standing.clear()
            return []
        oldest = min([one.request.queued_at for one in self.waiting])
        if self._standing.over(now):
            self._standing.judge(now - oldest, now)
        settings = self._settings
        if not self.pressed:
            before = now - settings.promoted_after * self._patience(settings.calm_patience)
            if oldest < before:
                promote_oldest(self.waiting, before)
        known = self._too_early(settings.known_patience, now)
        other = self._too_early(settings.patience, now)
        if oldest >= known and oldest >= other:
            return []
        late = [
            one for one in self.waiting if one.request.queued_at < (known if one.request.tier <= Tier.T1 else other)
        ]
        if late:
            gone = set(map(id, late))
            self.waiting = [one for one in self.waiting if id(one) not in gone]
        return [one.request for one in late]

    def share(self, part: float, elsewhere: int) -> None:
        """Be one of several queues that together are as long as one: this worker has what the others leave, of whose
        queues so many wait, and its part in any case."""
        self.most = max(math.ceil(part * self._whole), self._whole - elsewhere)

    def sample(self, rtt: float) -> None:
        """An upstream time, for the median."""
        self._times.append(rtt)

    def close_window(self, limit: int, pressed: bool, brownout: bool, kept: float, now: float) -> None:
        """Go by this from now on: the concurrency limit, the weather, and units/s kept for T2. Take the median anew.

        Those who wait already are not turned away, should the length fall.
        """
        if self._times:
            self.median_rtt = sorted(self._times)[len(self._times) // 2]
        self._whole = self.most = self._length(limit)
        if pressed and not self.pressed:
            self._pressed_since = now
            demote_all(self.waiting)
        self.pressed = pressed
        self.brownout = brownout
        self._kept.rate = kept

    def _length(self, limit: int) -> int:
        """Requests that may wait before so many slots."""
        quick = self._settings.ahead * limit / max(self.median_rtt or UNIT_SECONDS, QUICKEST)
        return max(int(self._settings.length * limit), self._settings.least_length, min(int(quick), MOST))

    def _patience(self, seconds: float) -> float:
        """Seconds that a request waits at most: those of a setting, and longer before a service that is slow itself."""
        return max(seconds, self._settings.patience_medians * self.median_rtt)

    def _too_early(self, short: float, now: float) -> float:
        """Who was queued before this clock reading has waited too long. `short` is its patience under pressure."""
        short = self._patience(short)
        if self.pressed and self.standing and self._pressed_since + short < now:
            return now - short
        return now - self._patience(self._settings.calm_patience)
