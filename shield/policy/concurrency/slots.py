"""The slots: how many requests may be at the service now, how many are, and the round since that last changed.

A round begins whenever the number of slots changes, and anew when all of them are taken for the first time. Only
requests that *began* in a round speak for it: what went before is not answered twice, and calm does not speak for a
flood. `epoch` tells which those are: a request keeps the one in which it was taken.

A request that takes long (long_requests.py) gives its slot back while it is at the service. While there are such ones
the slots are guarded: it has to be asked who may have one.
"""

from __future__ import annotations

from typing import Final

from shield.policy.concurrency.samples import Samples
from shield.policy.concurrency.settings import ConcurrencySettings

LEAST: Final = 4  # the least headroom is one of so many requests
UNDER_WAY: Final = 3  # ended requests for each that is still under way: else only the quick ones count


class Slots:
    """Counts who is at the service. The engine takes and gives back; concurrency.py says how many there are. It has
    more than 15 attributes because each request reads them: what follows from the counts is kept beside them."""

    __slots__ = (
        "_settings",
        "awaited",
        "began",
        "doublings",
        "epoch",
        "exhausted",
        "fresh",
        "guarded",
        "half",
        "headroom",
        "in_flight",
        "least_headroom",
        "loaded_at",
        "mine",
        "mine_strange",
        "reached",
        "reached_at",
        "saturated",
        "size",
        "taken",
        "taken_full",
    )

    def __init__(self, settings: ConcurrencySettings, size: int) -> None:
        self._settings = settings
        self.size = size
        self.in_flight = 0
        self.mine = 0  # requests of this worker that are at the service without a slot
        self.mine_strange = 0  # of these, those of T2 to T4
        self.guarded = False  # not everybody gets a slot that is free
        self.doublings = 0  # of the least headroom: see headroom.py
        self._derive()
        self.exhausted = False  # none is left
        self.awaited = 0  # requests that may wait unread until one is free
        self.epoch = 1
        self.saturated = False  # all were taken at some moment of the window that is open
        # of the round
        self.began = 0.0  # monotonic seconds; 0 before the first window
        self.reached = False  # all were taken at some moment
        self.taken = 0
        self.taken_full = 0  # of these, those that took the last slot, or found none, or were unread until then
        self.fresh = Samples(settings.clients)  # of requests that began in it

    def take(self) -> None:
        """Send a request to the service."""
        self.in_flight += 1
        self.taken += 1
        if self.in_flight >= self.reached_at:
            self.exhausted = self.in_flight >= self.size
            self.saturated = True
            self.taken_full += 1
            if not self.reached:
                self.epoch += 1
                self._forget()
                self.reached = True
        elif self.awaited:
            self.taken_full += 1

    def give(self) -> None:
        """Take a slot back."""
        self.in_flight -= 1
        self.exhausted = self.in_flight >= self.size

    def takes_long(self, stranger: bool) -> None:
        """Let a request go on at the service without its slot."""
        self.give()
        self.mine += 1
        self.mine_strange += stranger
        self._derive()

    def ends_long(self, stranger: bool) -> None:
        """Count a long request that has ended at the service no more."""
        self.mine -= 1
        self.mine_strange -= stranger
        self._derive()

    def counts_as(self, stranger: bool) -> None:
        """Count a long request as a stranger's from now on, or as one of T0 and T1."""
        self.mine_strange += 1 if stranger else -1
        self._derive()

    @property
    def long(self) -> int:
        """Requests that are at the service without a slot."""
        return self.mine

    @property
    def strange(self) -> int:
        """Of these, those of T2 to T4."""
        return self.mine_strange

    @property
    def many_long(self) -> bool:
        """Whether so many requests take long that others say how quick the service is, and not what it can take."""
        return self.long >= self.least_headroom

    @property
    def many_strange(self) -> bool:
        """Whether so many of them are of strangers."""
        return self.strange >= self.least_headroom

    def prove(self, doublings: int) -> None:
        """Let so much more than the least headroom be used from now on."""
        self.doublings = doublings
        self._derive()

    @property
    def held(self) -> int:
        """Slots that this worker has taken."""
        return self.in_flight

    @property
    def part(self) -> float:
        """The part of what is divided equally among several workers that is this one's: all of it."""
        return 1.0

    def open_window(self) -> None:
        """Begin a window. It is saturated from the beginning where all slots are taken."""
        self.saturated = self.in_flight >= self.reached_at

    def start(self, now: float) -> None:
        """Let the first round begin with the first window, whose time nobody knew before."""
        self.began = self.began or now

    def resize(self, size: int, now: float) -> None:
        """Have so many slots from now on; a round begins. Who has one too many keeps it."""
        self.size = size
        self._derive()
        self.exhausted = self.in_flight >= size
        self.epoch += 1
        self.begin(now)

    def begin(self, now: float) -> None:
        """Begin a round with the same slots."""
        self.began = now
        self._forget()
        self.reached = self.in_flight >= self.reached_at

    def under_way(self) -> int:
        """Requests of the round that have not ended."""
        return min(self.in_flight, self.taken - len(self.fresh))

    def enough(self) -> bool:
        """Whether enough requests of enough clients have ended, of those that began in the round."""
        return self.full() and self.fresh.clients >= self._settings.clients

    def full(self) -> bool:
        """Whether enough requests have ended, of however few clients."""
        return len(self.fresh) >= max(self._settings.samples, UNDER_WAY * self.under_way())

    def _derive(self) -> None:
        """Take anew what follows from the number of slots and of long requests."""
        size, long = self.size, self.long
        self.half = size / 2
        least = self.least_headroom = max(1, size // LEAST)
        self.headroom = min(least << self.doublings, size)  # requests that may be at the service beyond `size`
        # With so many in flight the limit is reached: long ones count, but for strangers' that do nothing.
        self.reached_at = max(1, size - long + (self.strange if self.doublings else 0))
        self.loaded_at = self.half - long  # with fewer in flight, upstream times are undisturbed

    def _forget(self) -> None:
        self.taken = self.taken_full = 0
        self.fresh.clear()
