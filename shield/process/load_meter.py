"""What Shield itself has to carry: how late its event loop is, and for how much of the time it has something to do."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from shield.policy.pressure.window import OwnLoad

MEASURED_SECONDS: Final = 0.45
"""A reading covers at least this long: a little less than a window of the policy, which is not to see one twice."""
SCHEDSTAT: Final = Path("/proc/thread-self/schedstat")
"""Linux: nanoseconds that this thread ran, and that it waited for a core. Reading it takes 30 µs."""


def busy_clock(path: Path = SCHEDSTAT) -> Callable[[], float]:
    """A clock of the seconds in which the calling thread ran or was ready to.

    On a crowded machine a thread that is overloaded gets a third of a core and waits for the rest; what it used says
    nothing then. Where the kernel does not tell, the clock shows the CPU time.
    """

    def read() -> float:
        ran, waited, _ = path.read_bytes().split()
        return (int(ran) + int(waited)) * 1e-9

    try:
        read()
    except (OSError, ValueError):
        return time.thread_time
    return read


class LoadMeter:
    """Measures the load. A periodic timer tells it of each of its turns; whoever judges reads it."""

    __slots__ = ("_began", "_busy", "_late", "_turns", "_worst", "load")

    def __init__(self, now: float, busy: float) -> None:
        """Times in seconds: monotonic, and of `busy_clock`."""
        self.load = OwnLoad()
        self._worst = 0.0  # seconds
        self._begin(now, busy)

    def turn(self, now: float, due: float) -> bool:
        """Note that the timer that was due at `due` runs at `now`. Returns whether it is time to `read`."""
        self._turns += 1
        if now > due:
            self._late += now - due
            self._worst = max(self._worst, now - due)
        return now - self._began >= MEASURED_SECONDS

    def read(self, now: float, busy: float) -> None:
        """Work out the load since the last reading. Call it after a turn."""
        share = (busy - self._busy) / (now - self._began)
        self.load = OwnLoad(self._late / self._turns, min(max(share, 0.0), 1.0), self._worst)
        self._begin(now, busy)

    def _begin(self, now: float, busy: float) -> None:
        self._began = now
        self._busy = busy
        self._late = 0.0
        self._worst = 0.0
        self._turns = 0
