"""The probe: a second or so with half of the slots, in which the service drains and shows its undisturbed time, b.

A flood is sustained saturation. A baseline learned from it drifts, and the limit with it: simulated over 30 minutes,
Gradient2 ends at 40 times the ideal. So while the service is congested, every `probe_every` and before the limit falls
far, a probe takes b from requests that began inside it. If their time fell by nearly as much as the slots did, the
queue is still in the service, and the probe goes on with half of the slots again.

Where the congestion calls for less than L/2, the probe runs at what it calls for, g L. If that is as quick as b says, b
holds, and g L is the limit.

While many requests take long at the service (slots.py), it cannot drain, and is not probed.

Probes begin at multiples of `probe_every` of the clock, so that the workers of one service drain it together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from shield.policy.concurrency.evidence import ENOUGH, SURE, VERY_SURE, median
from shield.policy.concurrency.settings import ConcurrencySettings
from shield.policy.concurrency.slots import Slots

DEEPER: Final = 1.3  # times what the time falls to with fewer slots (Little's law): there is more congestion below
CONFIRMED: Final = 0.8  # of b, and the tolerance: between them a probe at the goal says that b still holds
PROBE_LONG: Final = 2.0  # seconds after which the least number of samples will do
PROBE_MOST: Final = 20.0  # seconds; then the probe is given up
PROBE_SHARE: Final = 0.2  # of the time, at most, is spent probing a slow service


@dataclass(frozen=True, slots=True)
class Deeper:
    """The probe goes on, with fewer slots."""

    slots: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The probe is over, and this is what it says of the limit and of b."""

    limit: int
    baseline: float


class Probe:
    """At most one at a time. `allowed`: whether the limit is heeded, so that a probe means something.

    `least`: slots that the limit never falls below; a probe goes down to half of that.
    """

    __slots__ = (
        "_allowed",
        "_at_goal",
        "_before",
        "_began",
        "_congested",
        "_deepest",
        "_least",
        "_next",
        "_settings",
        "_slots_before",
        "running",
    )

    def __init__(self, settings: ConcurrencySettings, least: int, allowed: bool) -> None:
        self._settings = settings
        self._allowed = allowed
        self._least = least
        self._deepest = max(1, least // 2)
        self.running = False
        self._began = 0.0
        self._next = 0.0  # not before that time, unless b is in doubt
        self._congested = 0.0  # x before it began
        self._before = 0.0  # x before the last step down ...
        self._slots_before = 1  # ... and the slots
        self._at_goal = False  # it runs at what L is to be if b holds

    def allow(self, allowed: bool) -> None:
        """Whether probes mean something from now on; one that has begun goes on."""
        self._allowed = allowed

    def due(self, limit: int, in_doubt: bool, now: float) -> bool:
        """Whether to probe a service that is congested. `in_doubt`: whether b still holds."""
        return self._allowed and limit > 1 and (in_doubt or now >= self._next)

    def begin(self, x: float, limit: int, baseline: float, now: float) -> int:
        """Begin, where requests take x at the limit; with how many slots."""
        self.running = True
        self._began = now
        self._before = self._congested = x
        self._slots_before = limit
        goal = int(limit * self._settings.tolerance * baseline / x)
        self._at_goal = goal < limit // 2
        return max(self._deepest, goal) if self._at_goal else limit // 2

    def plain(self, slots: Slots, blatant: float) -> bool:
        """Whether what came back leaves no doubt already. `blatant`: x that is far too slow."""
        if len(slots.fresh.ratios) < ENOUGH or not slots.enough():
            return False
        high = median(sorted(slots.fresh.ratios), VERY_SURE, slots.under_way())[2]
        return high < self._shallow(slots.size) or self._congested > blatant

    def read(self, slots: Slots, limit: int, baseline: float, now: float) -> Deeper | Ended | None:
        """What to do by what came back until now; None: wait."""
        took = now - self._began
        n = len(slots.fresh.ratios)
        if slots.many_long:
            return self._end(Ended(limit, baseline), now)
        if not (slots.enough() and n >= self._settings.probe_samples and (n >= ENOUGH or took >= PROBE_LONG)):
            return None if took < PROBE_MOST else self._end(Ended(limit, baseline), now)
        low, x, high = median(sorted(slots.fresh.ratios), SURE, slots.under_way())
        if self._at_goal and CONFIRMED * baseline < x < self._settings.tolerance * baseline:
            return self._end(Ended(max(self._least, slots.size), baseline), now)
        if x < self._shallow(slots.size) and slots.size > self._deepest and took < PROBE_MOST / 2:
            self._before, self._slots_before = x, slots.size
            self._at_goal = False
            return Deeper(max(self._deepest, slots.size // 2))
        return self._end(self._taught((low, x, high), n, slots.size, limit, baseline), now)

    def _shallow(self, slots: int) -> float:
        """x below which the time fell along with the slots (Little's law), so that the probe is not deep enough."""
        return DEEPER * self._before * slots / self._slots_before

    def _taught(self, measured: tuple[float, float, float], n: int, slots: int, limit: int, baseline: float) -> Ended:
        """b moves towards what n samples measured; the limit falls at once to what that b calls for."""
        slowest = max(baseline, self._congested)  # fewer slots make nothing slower
        low, x, high = (min(bound, slowest) for bound in measured)
        baseline = min(max(baseline, low), high)  # what a probe cannot deny, it need not unteach
        baseline += n / (n + ENOUGH) * (x - baseline)
        gradient = self._settings.tolerance * baseline / self._congested
        if gradient < 1.0 and n >= ENOUGH:  # but not below what the probe ran at
            limit = max(self._least, slots, int(limit * gradient))
        return Ended(limit, baseline)

    def _end(self, ended: Ended, now: float) -> Ended:
        self.running = False
        took, every = now - self._began, self._settings.probe_every
        rest = max(took / PROBE_SHARE - every, 0.0)
        self._next = ((now + rest) // every + 1) * every
        return ended
