"""The queue: bounded, in front of the slots, in the order of tier and rank.

**Full.** It evicts its worst for a better newcomer, and turns away a worse one. It is longer than a small limit would
make it: a few browsers that open a page at the same moment would overflow it, and in calm weather nobody is to be
refused. Before a service that is quick it is longer still. Thousands of connections are too many for Shield's own core,
and not for the service: they wait here, which costs little, and all of them are served within a second.

**In calm weather** the better tier goes first, and within it the older; but whoever would begin a visit is held while
the queue is full of parts of others (openings.py). Whoever has waited for half of the patience
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
weather holds there. What is part of a visit that counts as T2 (visits.py) waits as long as a page may take: nobody asks
for it again.

**When pressure begins** some have waited for longer than the short patience allows. They waited as they were allowed
to, so their patience counts from then. Whoever was put before all tiers in calm weather falls back to its own tier, or
the attack that filled the queue would be served before the users whom it kept waiting.

**In a brownout** the service is ill and nobody attacks, and a strict order would lock the last tier out for as long as
it lasts. So the tiers that wait take turns, and have places in proportion (turns.py). T0 and T1 go first while there is
enough for them: then they are served as ever, and the others share what is left. Within a tier the rank is the time
since which a client has been challenged, or refused by the queue, and nothing of it has come out of the queue: who was
refused for longest goes first. In the order of arrival, which is a lottery for those who try again every few seconds,
one program of fifty got nothing for three minutes.

**While long requests are at the service** (long_requests.py) not everybody gets a slot that is free. Who does not, for
what its own kind does, is parked (parked.py). Of the others the best goes that may.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable
from math import inf
from typing import Final

from shield.model import Tier
from shield.policy.queue.kept import Kept
from shield.policy.queue.length import Length
from shield.policy.queue.openings import FILLED, Openings
from shield.policy.queue.order import (
    FIRST,
    HELD,
    Waiting,
    best_held,
    demote_all,
    group_key,
    oldest_of_worst,
    promote_oldest,
    tier_key,
)
from shield.policy.queue.parked import NOBODY, Parked, known_that_may
from shield.policy.queue.settings import QueueSettings
from shield.policy.queue.standing import Standing
from shield.policy.queue.turns import Turns
from shield.policy.request import Request
from shield.policy.visits import VISIT

T1, T2 = Tier.T1, Tier.T2  # names of their own: looking up a member of an Enum costs 70 ns
BEHIND: Final = 1.0  # seconds


class Queue:
    """The requests that wait for a slot."""

    def __init__(self, settings: QueueSettings, limit: int) -> None:
        self._settings = settings
        self.waiting: list[Waiting] = []  # the best last
        self.parked = Parked()
        self._arrivals = 0
        self._standing = Standing(settings)
        self._turns = Turns(settings.turns)
        self._kept = Kept()
        self._openings = Openings()
        # changed with each window
        self.length = Length(settings, limit)
        self._make_room()
        self.pressed = False
        self.brownout = False
        self.known_fit = False  # T0 and T1 ask for less than there is: in a brownout they go first
        self._pressed_since = 0.0  # clock reading; 0 before the first pressure

    def __len__(self) -> int:
        return len(self.waiting) + len(self.parked)

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

    def push(self, request: Request, begun: float, now: float) -> Request | None:
        """Queue a request that is part of a visit that began then (infinity: of none). Returns the one for which there
        is no room: another, evicted for it, or itself, or None."""
        if not self.waiting:
            self._standing.begin(now)
        kept = self._kept.rate and request.tier is Tier.T2 and self._kept.take(request, now)
        order = FIRST if kept else -request.tier
        openings, part = self._openings, begun < inf
        openings.see(part)
        held = not (part or self.pressed) and openings.full
        rank = request.rank if self.pressed else HELD if held else 0.0
        new = Waiting((order, rank, self._arrived(request, now)), request, begun, held)
        most = self.length.most_with_parts if part and request.tier < Tier.T4 else self.length.most
        full = len(self) >= most
        out = self.parked.make_room(max(request.tier, self._worst_tier())) if full else None
        if out is not None:
            insort(self.waiting, new)
            openings.add(new)
            return out
        if full and self.brownout and self.waiting:
            insort(self.waiting, new)
            openings.add(new)
            return self._take(self._turns.out(self.waiting))
        if full and (not self.waiting or group_key(self.waiting[0]) >= group_key(new)):
            return request
        waiting = self.waiting
        if not waiting or new.order < waiting[0].order:  # mostly: the youngest of its tier, and that is the last one
            waiting.insert(0, new)
        else:
            insort(waiting, new)
        openings.add(new)
        if not full:
            return None
        return self._take(oldest_of_worst(waiting) if self.standing and self.pressed else 0)

    def push_parked(self, request: Request, begun: float, now: float) -> Request | None:
        """The same for a request that is to be parked."""
        rank = request.rank if self.pressed else 0.0
        new = Waiting((-request.tier, rank, self._arrived(request, now)), request, begun)
        if len(self) >= self.length.most and self._worst_tier() > max(request.tier, self.parked.worst_tier()):
            self.parked.push(new, full=False)
            return self._take(0)
        return self.parked.push(new, len(self) >= self.length.most)

    def _worst_tier(self) -> int:
        return self.waiting[0].request.tier if self.waiting else NOBODY

    def _arrived(self, request: Request, now: float) -> int:
        """Note that a request waits; what sorts it behind those that came before."""
        self._arrivals += 1
        request.queued_at = now
        return -self._arrivals

    def park(self, doubtful: Callable[[Request], bool]) -> None:
        """Have those wait apart that are doubtful."""
        for i in range(len(self.waiting) - 1, -1, -1):
            if doubtful(self.waiting[i].request):
                self.parked.push(self._out(i), full=False)

    def unpark(self, now: float) -> None:
        """Let all that are parked wait among the others again."""
        parked, self.parked.waiting = self.parked.waiting, []
        if parked and not self.waiting:
            self._standing.begin(now)
        for one in parked:
            insort(self.waiting, one)
            self._openings.add(one)

    def pop_one(self, lets_in: Callable[[Request], bool], now: float) -> Request | None:
        """The best request that may go, where not all may; None if there is none. One without a history is looked at
        where it is the first."""
        waiting = self.waiting
        self._open()
        if waiting and lets_in(waiting[-1].request):
            return self.pop(now)
        i = known_that_may(waiting, lets_in)
        if i >= 0:
            request = self._take(i)
            self._standing.departed(now - request.queued_at, empty=not waiting)
            return request
        return self.parked.pop(lets_in)

    def _open(self) -> None:
        """Let visits begin, as far as there is room."""
        while self._openings.held and not self._openings.full:
            self._let_in(best_held(self.waiting))

    def pop(self, now: float) -> Request:
        """The request that goes next; the queue must not be empty."""
        waiting = self.waiting
        self._open()
        if self.brownout:
            request = self._take(self._turns.take(waiting, self.known_fit))
        elif self.standing and self.pressed:
            request = self._take(bisect_left(waiting, group_key(waiting[-1]), key=group_key))
        else:
            request = self._take(len(waiting) - 1)
        self._standing.departed(now - request.queued_at, empty=not waiting)
        return request

    def _take(self, i: int) -> Request:
        """Take out the one of that index."""
        return self._out(i).request

    def _out(self, i: int) -> Waiting:
        one = self.waiting.pop(i)
        self._openings.drop(one)
        return one

    def _let_in(self, i: int) -> None:
        """Hold the one of that index no longer."""
        one = self.waiting.pop(i)
        self._openings.let_in(one)
        insort(self.waiting, one)

    def remove(self, request: Request) -> bool:
        """Take out a request whose client has left; whether it was there."""
        for i, one in enumerate(self.waiting):
            if one.request is request:
                self._take(i)
                return True
        return self.parked.remove(request)

    def parts(self) -> int:
        """Requests of visits that wait, and count as T2."""
        return sum(one.part and one.request.tier is T2 for one in self.waiting)

    def behind(self, parts: float) -> bool:
        """Whether so many of these, here and at other workers, are more than is served within `BEHIND` seconds."""
        return parts > BEHIND * self.length.rate

    def oldest_wait(self, now: float) -> float:
        """Seconds that the oldest has waited; 0 when nobody waits."""
        return now - min([one.request.queued_at for one in self.waiting], default=now)

    def tick(self, now: float) -> list[Request]:
        """Judge the interval, and return those who waited too long. All that wait are looked at, but for the parked."""
        if not self.waiting:
            self._standing.clear()
            return []
        oldest = min([one.request.queued_at for one in self.waiting])
        if self._standing.over(now):
            self._standing.judge(now - oldest, now)
        settings = self._settings
        if not self.pressed:
            before = now - settings.promoted_after * self.length.patience(settings.calm_patience)
            if oldest < before:
                promote_oldest(self.waiting, before)
        known = self._too_early(settings.known_patience, now)
        other = self._too_early(settings.patience, now)
        if oldest >= known and oldest >= other:
            return []
        part = now - VISIT if self.pressed else other
        late = []
        for one in self.waiting:
            tier = one.request.tier
            if one.request.queued_at < (known if tier <= T1 else part if one.part and tier is T2 else other):
                late.append(one)
        if late:
            gone = set(map(id, late))
            self.waiting = [one for one in self.waiting if id(one) not in gone]
            for one in late:
                self._openings.drop(one)
        return [one.request for one in late]

    def tick_parked(self, now: float) -> list[Request]:
        """Return those that were parked for too long."""
        return self.parked.late(self._too_early(self._settings.patience, now))

    def share(self, part: float, elsewhere: int) -> None:
        """Be one of several queues that together are as long as one: this worker has what the others leave, of whose
        queues so many wait, and its part in any case."""
        self.length.share(part, elsewhere)
        self._make_room()

    def close_window(self, limit: int, pressed: bool, brownout: bool, kept: float, now: float) -> None:
        """Go by this from now on: the concurrency limit, the weather, and units/s kept for T2. Take the median anew.

        Those who wait already are not turned away, should the length fall.
        """
        self.length.measure(limit)
        self._make_room()
        if pressed and not self.pressed:
            self._pressed_since = now
            demote_all(self.waiting, now)
            self._openings.count(self.waiting)
        self.pressed = pressed
        self.brownout = brownout
        self._kept.rate = kept

    def _make_room(self) -> None:
        """Let as many visits begin as are served in time."""
        self._openings.most = FILLED * min(self.length.most, self.length.served)

    def _too_early(self, short: float, now: float) -> float:
        """Who was queued before this clock reading has waited too long. `short` is its patience under pressure."""
        short = self.length.patience(short)
        if self.pressed and self.standing and self._pressed_since + short < now:
            return now - short
        return now - self.length.patience(self._settings.calm_patience)
