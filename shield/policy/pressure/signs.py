"""Signs of overload: what shows it besides demand.

    latency    x is far above b, and the median request takes longer than people do not notice: a dozen browsers that
               load a page at once fill every slot for a second without being a flood. Not while Shield's own event
               loop is late, nor in the window after that: requests that were held up come to the service all at once
    errors     more of 502, 503, 504 and timeouts than chance explains, while a good part of the capacity is asked
               for: with less, it is not for the load that the service fails
    shedding   somebody was turned away by the queue
    waiting    the queue has not moved on for long: what its oldest waits beyond `long_wait`, summed over time without
               a break, is too much
    self       Shield's own event loop is late, and runs or waits for a core nearly all the time. Not one without the
               other: a busy loop that is in time has room, and a late one that is idle was held up by something else

`shedding` and `waiting` are there for clients that ask again when they were answered. Each of them counts once in the
demand, however long it was made to wait, so demand cannot exceed the capacity by much, and the service behind its slots
is never slow. `waiting` has to last because a few browsers with a page of many parts do the same for as long as it
takes to load.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from shield.policy.pressure.settings import PressureSettings
from shield.policy.pressure.window import OwnLoad, Window


@dataclass(frozen=True, slots=True)
class Overload:
    """What a window shows. No signs: nothing."""

    signs: tuple[str, ...] = ()
    lasts: bool = False  # some sign, in so many windows running that it is not chance
    crowded: bool = False  # the oldest in the queue waits for longer than people do not notice


SHAKEN: Final = 2  # windows: the one in which Shield's own loop was late, and the next


class Signs:
    """Looks at each window, and remembers for how long."""

    __slots__ = ("_late", "_running", "_settings", "_shaken", "_waited")

    def __init__(self, settings: PressureSettings) -> None:
        self._settings = settings
        self._late = 0  # windows running in which the loop was late
        self._shaken = 0  # windows for which that still counts
        self._running = 0  # windows with a sign
        self._waited = 0.0  # seconds beyond `long_wait`, times seconds

    @property
    def shaken(self) -> bool:
        """Whether Shield's own loop is late, or has just been: then latency says nothing of the service."""
        return self._shaken > 0

    @property
    def stalled(self) -> bool:
        """Whether that has not lasted: the machine stood still, and what was completed says nothing either."""
        return self._shaken > 0 and self._late < SHAKEN

    def heed(self, own: OwnLoad) -> None:
        """Take note of what Shield had to carry in a window. To be called before read()."""
        late = own.worst > self._settings.own_lag
        self._late = self._late + 1 if late else 0
        self._shaken = SHAKEN if late else max(0, self._shaken - 1)

    def read(self, window: Window, demand: float, capacity: float) -> Overload:
        """What a window shows, with so much demand for so much capacity (units/s)."""
        settings, times, own = self._settings, window.service.times, window.own
        slow = times.low > settings.slow_ratio * window.service.baseline and times.excess > settings.slow_excess
        crowded = window.oldest_wait > settings.slow_excess
        waited = self._waited + (window.oldest_wait - settings.long_wait) * window.seconds
        self._waited = max(0.0, waited) if crowded else 0.0
        signs = (
            ("latency", times.acted and slow and not self.shaken),
            ("errors", times.errors_act and demand > settings.light * capacity),
            ("shedding", window.shed > 0),
            ("waiting", self._waited > settings.most_waited),
            ("self", own.lag > settings.own_lag and own.busy > settings.own_busy),
        )
        shown = tuple(name for name, is_shown in signs if is_shown)
        self._running = self._running + 1 if shown else 0
        return Overload(shown, self._running >= settings.overload_windows, crowded)
