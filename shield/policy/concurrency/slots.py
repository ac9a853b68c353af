"""The slots: how many requests may be at the service now, how many are, and the round since that last changed.

A round begins whenever the number of slots changes, and anew when all of them are taken for the first time. Only
requests that *began* in a round speak for it: what went before is not answered twice, and calm does not speak for a
flood. `epoch` tells which those are: a request keeps the one in which it was taken.
"""

from __future__ import annotations

from typing import Final

from shield.policy.concurrency.samples import Samples
from shield.policy.concurrency.settings import ConcurrencySettings

UNDER_WAY: Final = 3  # ended requests for each that is still under way: else only the quick ones count


class Slots:
    """Counts who is at the service. The engine takes and gives back; concurrency.py says how many there are."""

    __slots__ = (
        "_settings",
        "began",
        "epoch",
        "exhausted",
        "fresh",
        "half",
        "in_flight",
        "reached",
        "saturated",
        "size",
        "taken",
        "taken_full",
    )

    def __init__(self, settings: ConcurrencySettings, size: int) -> None:
        self._settings = settings
        self.size = size
        self.half = size / 2  # with fewer in flight, upstream times are undisturbed
        self.in_flight = 0
        self.exhausted = False  # none is left
        self.epoch = 1
        self.saturated = False  # all were taken at some moment of the window that is open
        # of the round
        self.began = 0.0  # monotonic seconds; 0 before the first window
        self.reached = False  # all were taken at some moment
        self.taken = 0
        self.taken_full = 0  # of these, those that took the last slot, or found none
        self.fresh = Samples(settings.clients)  # of requests that began in it

    def take(self) -> None:
        """Send a request to the service."""
        self.in_flight += 1
        self.taken += 1
        if self.in_flight >= self.size:
            self.exhausted = self.saturated = True
            self.taken_full += 1
            if not self.reached:
                self.epoch += 1
                self._forget()
                self.reached = True

    def give(self) -> None:
        """Take a slot back."""
        self.in_flight -= 1
        self.exhausted = self.in_flight >= self.size

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
        self.saturated = self.in_flight >= self.size

    def start(self, now: float) -> None:
        """Let the first round begin with the first window, whose time nobody knew before."""
        self.began = self.began or now

    def resize(self, size: int, now: float) -> None:
        """Have so many slots from now on; a round begins. Who has one too many keeps it."""
        self.size = size
        self.half = size / 2
        self.exhausted = self.in_flight >= size
        self.epoch += 1
        self.begin(now)

    def begin(self, now: float) -> None:
        """Begin a round with the same slots."""
        self.began = now
        self._forget()
        self.reached = self.in_flight >= self.size

    def under_way(self) -> int:
        """Requests of the round that have not ended."""
        return min(self.in_flight, self.taken - len(self.fresh))

    def enough(self) -> bool:
        """Whether enough requests of enough clients have ended, of those that began in the round."""
        return self.full() and self.fresh.clients >= self._settings.clients

    def full(self) -> bool:
        """Whether enough requests have ended, of however few clients."""
        return len(self.fresh) >= max(self._settings.samples, UNDER_WAY * self.under_way())

    def _forget(self) -> None:
        self.taken = self.taken_full = 0
        self.fresh.clear()
