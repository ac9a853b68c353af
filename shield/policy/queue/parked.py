"""Those that wait apart: requests that may not have the slots that long requests have left (long_requests.py).

They keep nobody waiting, and go when there is something for them. They wait because of what their own kind does, so
they say nothing of the service.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable
from typing import Final

from shield.model import Tier
from shield.policy.queue.order import Waiting, group_key, tier_key
from shield.policy.request import Request

T1: Final = Tier.T1  # looking up a member of an Enum costs 70 ns
NOBODY: Final = -1
"""In the place of a tier: better than any."""
LOOKS: Final = 128
"""requests. Of clients with a history, those that are looked at for one that may go: less than 0.1 ms."""


class Parked:
    """The parked requests, in the order of the queue. Bounded together with those in the queue itself."""

    __slots__ = ("waiting",)

    def __init__(self) -> None:
        self.waiting: list[Waiting] = []  # the best last

    def __len__(self) -> int:
        return len(self.waiting)

    def push(self, new: Waiting, full: bool) -> Request | None:
        """Park a request. Returns the one for which there is no room: another, evicted for it, or itself, or None.
        `full`: there is no room for one more."""
        waiting = self.waiting
        if full and (not waiting or group_key(waiting[0]) >= group_key(new)):
            return new.request
        new.step_back()
        insort(waiting, new)
        return waiting.pop(0).request if full else None

    def make_room(self, tier: int) -> Request | None:
        """Evict the worst, if its tier is no better than that; None where it is, and where there is none."""
        return self.waiting.pop(0).request if self.waiting and self.worst_tier() >= tier else None

    def best_known(self) -> Request | None:
        """The best of T0 and T1, None if there is none."""
        waiting = self.waiting
        return waiting[-1].request if waiting and tier_key(waiting[-1]) >= -T1 else None

    def worst_tier(self) -> int:
        """The tier of the worst, NOBODY where there is none."""
        return self.waiting[0].request.tier if self.waiting else NOBODY

    def remove(self, request: Request) -> bool:
        """Take out a request whose client has left; whether it was there."""
        before = len(self.waiting)
        self.waiting = [one for one in self.waiting if one.request is not request]
        return len(self.waiting) < before

    def pop(self, lets_in: Callable[[Request], bool]) -> Request | None:
        """The best that may go, of those with a history, or else of strangers; None if neither may."""
        i = known_that_may(self.waiting, lets_in)
        if i < 0:
            i = bisect_left(self.waiting, -Tier.T1, key=tier_key) - 1
            if i < 0 or not lets_in(self.waiting[i].request):
                return None
        return self.waiting.pop(i).request

    def late(self, before: float) -> list[Request]:
        """Those that were queued before this clock reading. They wait no longer."""
        late = [one for one in self.waiting if one.request.queued_at < before]
        if late:
            self.waiting = [one for one in self.waiting if one.request.queued_at >= before]
        return [one.request for one in late]


def known_that_may(waiting: list[Waiting], lets_in: Callable[[Request], bool]) -> int:
    """Index of the best of T0 and T1 that may go, -1 if there is none among the first LOOKS. Whoever may not is in
    nobody's way: of each client one request is asked about, for each route."""
    i = len(waiting) - 1
    looks = LOOKS
    refused = set()
    while i >= 0 and looks and waiting[i].order[0] >= -T1:
        request = waiting[i].request
        if request.tier <= T1:
            looks -= 1
            asked = request.client.key, id(request.route)
            if asked not in refused:
                if lets_in(request):
                    return i
                refused.add(asked)
        i -= 1  # it goes before all tiers, or its client has been refused
    return -1
