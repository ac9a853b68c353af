"""What those who insist may have at the service between them.

Each of them pays for itself (squeeze.py), but there may be hundreds, and their turns may come at the same moment. And
what they ask for may cost ten times as much as it is taken for, as long as nobody was let through to it: under load no
route is learned. So outside of a brownout

    half of the slots, at most             is for all of them
    one request at a time, at most         is for routes whose cost is unknown. The service is idle beside it, so that
                                           a few of these say what the route costs
"""

from __future__ import annotations

from typing import Final

from shield.policy.concurrency.slots import Slots
from shield.policy.request import Request

BODY: Final = 5.0  # seconds for which one whose body is to come counts: bodies that trickle must not keep others out


class Together:
    """The requests of those who insist that are at the service or in its queue, as many as half of the slots.

    Requests do not say when they end: those that have are dropped when there seems to be no room, and every window.
    """

    __slots__ = ("_bounded", "_inside", "_settled", "_slots")

    def __init__(self, slots: Slots, settled: int) -> None:
        """`settled`: samples after which a route's cost is known."""
        self._slots = slots
        self._settled = settled
        self._inside: list[tuple[Request, float]] = []  # and when it was let in
        self._bounded = True

    @property
    def part(self) -> float:
        """The part of what the service can do that is this worker's."""
        return self._slots.part

    def has_room(self, request: Request, now: float) -> bool:
        """Whether one more may be let in."""
        if not self._bounded or self._fits(request):
            return True
        self._drop_ended(now)
        return self._fits(request)

    def let_in(self, request: Request, now: float) -> None:
        """Count a request for which there was room, and which paid."""
        if self._bounded:
            self._inside.append((request, now))

    def close_window(self, brownout: bool, now: float) -> None:
        """Go by whether there is a brownout: then the tiers take turns, and nothing is bounded here."""
        self._bounded = not brownout
        self._drop_ended(now)

    def _fits(self, request: Request) -> bool:
        inside = self._inside
        if not inside:
            return True
        if len(inside) + 1 > self._slots.half * self._slots.part:
            return False
        return not (self._is_new(request) and any(self._is_new(other) for other, _ in inside))

    def _drop_ended(self, now: float) -> None:
        if self._inside:
            self._inside = [
                (request, at)
                for request, at in self._inside
                if request.has_slot or request.queued_at or (request.body_pending and at + BODY > now)
            ]

    def _is_new(self, request: Request) -> bool:
        """Whether what a request costs is unknown."""
        route = request.route
        return not route.fixed and route.samples < self._settled
