"""The window: the short time between two readings, and what happened in it. All parts of this folder read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from shield.model import Tier
from shield.policy.concurrency.reading import Reading

RANKS: Final = 33  # log2 of units served, 0 to 32
NONE: Final = (0.0,) * RANKS

T0, T1 = Tier.T0, Tier.T1  # names of their own: looking up a member of an Enum costs 70 ns


@dataclass(frozen=True, slots=True)
class OwnLoad:
    """What Shield itself has to carry, as the process measures it: over half a second or so."""

    lag: float = 0.0  # seconds that the event loop is late, on average
    busy: float = 0.0  # share of the time in which it runs or waits for a core
    worst: float = 0.0  # seconds that the event loop was late at the worst moment


IDLE: Final = OwnLoad()


@dataclass(frozen=True, slots=True)
class Asked:
    """Demand of a window, in units."""

    units: float = 0.0  # of everybody
    known: float = 0.0  # of T0 and T1
    top: float = 0.0  # of T0
    came: int = 0  # newcomers who had not asked for a minute
    ranks: tuple[float, ...] = NONE  # of those that go by rank, under pressure: T1, and T0 where it is merged


class Tally:
    """Demand of the window that is open. The judge counts every request here, those that it refuses too."""

    __slots__ = ("_known", "_ranks", "_top", "_units", "came")

    def __init__(self) -> None:
        self.came = 0  # newcomers
        self._units = self._known = self._top = 0.0
        self._ranks = list(NONE)

    def admitted(self, tier: Tier, units: float) -> None:
        """Count a request that was admitted regardless of the pressure."""
        self._units += units
        if tier is T1:
            self._known += units
        elif tier is T0:
            self._known += units
            self._top += units

    def asked(self, units: float) -> None:
        """Count a request that measures of pressure apply to. It counts for everybody, and for no tier."""
        self._units += units

    def ranked(self, rank: float, units: float) -> None:
        """Note by its rank what was counted already."""
        self._ranks[min(int(rank), RANKS - 1)] += units

    def so_far(self) -> Asked:
        """The sums until now."""
        return Asked(self._units, self._known, self._top, self.came, tuple(self._ranks))

    def close(self) -> Asked:
        """The sums of the window that ends; another begins."""
        asked = self.so_far()
        self._units = self._known = self._top = 0.0
        self.came = 0
        self._ranks[:] = NONE
        return asked


@dataclass(frozen=True, slots=True)
class Window:
    """What happened in a window, as the engine saw it."""

    now: float  # monotonic seconds at its end
    seconds: float  # that it lasted
    requests: int = 0
    asked: Asked = Asked()
    completed: float = 0.0  # units, at the cost of their routes: slowness is not to look like capacity
    usual_cost: float = 0.0  # units, at what their routes cost in calm weather
    shed: int = 0  # requests that the queue turned away
    oldest_wait: float = 0.0  # seconds; of those that are in the queue at the end
    own: OwnLoad = IDLE
    service: Reading = Reading()
