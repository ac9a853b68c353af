"""Admission: which requests go to the service at once, which wait in the queue, and which are turned away.

While long requests are at the service the slots are *guarded*: long_requests.py says which requests may have one, and
the others are parked.

A client that hangs up does not end the work for it: few services notice. So its request is *left*, and keeps its slot
for as long as the service usually takes for such a one, or else hanging up would be a way past the limit. What takes
longer than LEAST_LONG would have to make way then, and has its slot no longer than that.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from math import inf
from typing import Final

from shield.model import Reason, Verdict
from shield.policy.concurrency.slots import Slots
from shield.policy.limits.limits import Limits
from shield.policy.long_requests import LEAST_LONG, LongRequests
from shield.policy.queue.queue import Queue
from shield.policy.ranks import Ranks
from shield.policy.refusals import TimedRefusals
from shield.policy.request import Request
from shield.policy.settings import EngineSettings
from shield.policy.tried import Tried
from shield.policy.visits import visit_of

HELD_UP: Final = 0.1
"""Seconds. If the next request in the queue has waited for less, slots are becoming free in time, and no long request
has to give its slot back. The figure is CoDel's interval (RFC 8289)."""
QUEUED: Final = Verdict(Reason.AT_CAPACITY)


class Admission:
    """Gives slots to requests that were admitted, and queues those for which none is free."""

    __slots__ = (
        "_dry_run",
        "_least_cost",
        "_left",
        "_left_so_far",
        "_limits",
        "_long",
        "_meanwhile",
        "_queue",
        "_ranks",
        "_refusals",
        "_shed_in_window",
        "_slots",
        "_tried",
    )

    def __init__(
        self,
        settings: EngineSettings,
        slots: Slots,
        long: LongRequests,
        queue: Queue,
        ranks: Ranks,
        refusals: TimedRefusals,
        limits: Limits,
        tried: Tried,
    ) -> None:
        self._dry_run = settings.dry_run or settings.queue.dry_run
        self._tried = tried
        self._least_cost = settings.routes.least_cost
        self._slots = slots
        self._long = long
        self._queue = queue
        self._ranks = ranks
        self._refusals = refusals
        self._limits = limits
        self._meanwhile: list[Request] = []  # shed from the queue since the last call that returned requests
        self._shed_in_window = 0  # requests
        self._left: list[tuple[float, int, Request]] = []  # a heap of when they free their slots; no more than slots
        self._left_so_far = 0

    def enforce(self, enforced: bool) -> None:
        """Switch the dry run: with `enforced`, requests wait for slots, or are turned away, from now on."""
        self._dry_run = not enforced

    def enter(self, request: Request, now: float) -> Verdict:
        """Give an admitted request a slot (FORWARD), let it wait for one (QUEUE), or turn it away (SHED)."""
        slots = self._slots
        if self._left:
            self.free_left(now)
        free = not (slots.exhausted or self._queue.waiting or slots.guarded) or (
            slots.guarded and self._long.lets_in(request)  # those that wait have been asked, and may not go now
        )
        if not free and self._dry_run:
            self._tried.waits(request)
            free = True
        if free:
            request.has_slot = True
            request.epoch = slots.epoch
            slots.take()
            if slots.guarded:
                self._long.took(request)
            return request.verdict
        if self._queue.brownout:
            # Nobody attacks. A rank that stays the same would lock the same clients out as long as the brownout lasts.
            request.rank = -(request.client.entry.rare.refused_since or now)
        elif self._queue.pressed:  # else the order is that of arrival
            request.rank = self._ranks.of(request, now)
        request.admitted = request.verdict
        request.verdict = QUEUED
        queue, begun = self._queue, visit_of(request, now)
        parks = slots.guarded and self._long.waits_apart(request)
        out = queue.push_parked(request, begun, now) if parks else queue.push(request, begun, now)
        if out is request:
            self._shed(request, Reason.QUEUE_FULL, now, counts=not parks)
        elif out is not None:
            self._shed(out, Reason.OUTRANKED, now)
            self._meanwhile.append(out)
        return request.verdict

    def enter_again(self, request: Request, now: float) -> Verdict:
        """As enter(), for a request that was shed. What it was charged was given back then, and is charged again."""
        request.verdict = request.admitted
        cost, request.cost = request.cost, self._least_cost
        self._limits.settle(request, cost, now)
        request.cost = cost
        return self.enter(request, now)

    def release(self, request: Request, now: float) -> Sequence[Request]:
        """Free the slot of a request that has ended, if it has one. Returns the queued requests whose verdict has
        changed."""
        if request.has_slot:
            request.has_slot = False
            slots = self._slots
            if not (self._long.counted and self._long.remove(request)):
                slots.give()
            if self._queue.waiting or self._meanwhile or slots.guarded:
                self._guard(now)
                return self.advance(now)
        return ()

    def leave(self, request: Request, seconds: float, now: float) -> Sequence[Request]:
        """The client of a request at the service has gone; the service works for it for so many seconds more. Returns
        the queued requests whose verdict has changed."""
        if not request.has_slot or self._long.is_long(request):
            return self.release(request, now)
        self._left_so_far += 1
        heappush(self._left, (now + min(seconds, LEAST_LONG), self._left_so_far, request))
        return ()

    def free_left(self, now: float) -> None:
        """Free the slots of requests that were left, and that the service is done with by now."""
        left = self._left
        while left and left[0][0] <= now:
            request = heappop(left)[2]
            request.has_slot = False
            self._long.remove(request)  # it may have been let in to the last places
            self._slots.give()

    def advance(self, now: float) -> Sequence[Request]:
        """Give free slots to requests in the queue. Returns the requests whose verdict has changed: these, and those
        that were shed since the last call."""
        changed, self._meanwhile = self._meanwhile, []
        slots, queue = self._slots, self._queue
        while len(queue):
            request = self._next(now)
            if request is None:
                break
            request.queued_at = 0.0
            if queue.brownout:
                request.client.entry.refused_since = 0.0
            request.verdict = request.admitted
            request.has_slot = True
            request.epoch = slots.epoch
            slots.take()
            if slots.guarded:
                self._long.took(request)
            changed.append(request)
        return changed

    def _next(self, now: float) -> Request | None:
        """Take the request that gets the next free slot out of the queue; None if no slot is free, or none may have
        it."""
        slots, queue = self._slots, self._queue
        if slots.guarded:
            return queue.pop_one(self._long.lets_in, now)
        return queue.pop(now) if queue.waiting and not slots.exhausted else None

    def long_after(self, slowness: float, now: float) -> float:
        """Seconds without an answer after which a request at the service is long, while a request is held up in the
        queue, or nearly all slots are taken. Infinity otherwise, and in a brownout or dry run. `slowness` is b of the
        glossary's congestion."""
        queue, slots = self._queue, self._slots
        if queue.brownout or self._dry_run:
            return inf
        first = [one.request for one in queue.waiting[-1:]]
        parked = queue.parked.best_known()
        if parked is not None:
            first.append(parked)
        if first and min([request.queued_at for request in first]) < now - HELD_UP:
            return self._long.after([*first, *(one.request for one in queue.waiting)], slowness)
        return self._long.after((), slowness) if slots.in_flight >= slots.loaded_at else inf

    def make_way(self, silent: Sequence[Request], slowness: float, now: float) -> Sequence[Request]:
        """Take the slots of `silent`, which have taken long, and give them to waiting requests. Returns the requests
        whose verdict has changed. `slowness` is that of long_after()."""
        self._long.add([request for request in silent if request.has_slot], slowness, now)
        self._guard(now)
        if not self._slots.guarded:
            return ()
        self._queue.park(self._long.waits_apart)
        return self.advance(now)

    def _guard(self, now: float) -> None:
        """Guard the slots while there are long requests; when there are none any more, end the parking."""
        before = self._slots.guarded
        if not self._long.guard(self._queue.brownout) and before:
            self._queue.unpark(now)

    def remove(self, request: Request) -> bool:
        """Take a request whose client has gone out of the queue. True if it was in there."""
        if not request.queued_at:
            return False
        request.queued_at = 0.0
        self._queue.remove(request)
        return True

    def shed_late(self, now: float) -> None:
        """Turn away the requests that have waited in the queue for longer than the patience."""
        if self._left:
            self.free_left(now)
        self._guard(now)
        for request in self._queue.tick(now):
            self._shed(request, Reason.QUEUE_TIMEOUT, now)
            self._meanwhile.append(request)
        for request in self._queue.tick_parked(now) if self._queue.parked.waiting else ():
            self._shed(request, Reason.QUEUE_TIMEOUT, now, counts=False)
            self._meanwhile.append(request)

    @property
    def full(self) -> bool:
        """Whether one more request would have to wait."""
        return not self._dry_run and bool(self._slots.exhausted or self._queue.waiting)

    @property
    def unfinished(self) -> bool:
        """Whether somebody waits, or was shed and has not been told."""
        return bool(len(self._queue) or self._meanwhile)

    def close_window(self) -> int:
        """How many requests were turned away in the window that ends; parked ones are not counted."""
        shed, self._shed_in_window = self._shed_in_window, 0
        return shed

    def _shed(self, request: Request, reason: Reason, now: float, counts: bool = True) -> None:
        """Turn away a request that was charged; all but the least cost is given back. `counts`: this is a sign of
        overload."""
        self._shed_in_window += counts
        client = request.client
        if self._queue.brownout and not client.entry.rare.refused_since:
            client.entry.refused_since = request.queued_at
        request.queued_at = 0.0
        request.verdict = self._refusals.of(reason, client.key, now)
        self._limits.settle(request, self._least_cost, now)
