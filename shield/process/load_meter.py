"""What Shield itself has to carry: how late its event loop is, and for how much of the time it has something to do."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from shield.policy.pressure.window import OwnLoad

MEASURED_SECONDS: Final = 0.45
"""A reading covers at least this long: a little less than a window of the policy, which is not to see one twice."""
PATIENT: Final = 1.5
"""s. For which strangers may wait on the sideline before Shield counts as late, and newcomers are challenged: while the
service is idle a wait is the smaller evil, and in that time a core serves 15,000 of them. Of newcomers beside a crowd
that a core cannot carry 96 % were served with 4 s, and 98 % with this (`shield simulate full-core`): a challenge is
their way out."""
MOST_WAITED: Final = 9.0
"""Of what a thread waits for a core, so many times what it ran in the meantime counts as its own load, and no more. An
idle Shield runs for a hundredth of the time. On a machine with ten busy processes for each core it waits for the rest,
which is no load of its own, and no attack; an overloaded one gets its tenth there."""
SCHEDSTAT: Final = Path("/proc/thread-self/schedstat")
"""Linux: nanoseconds that this thread ran, and that it waited for a core. Reading it takes 30 µs."""


def busy_clock(path: Path = SCHEDSTAT) -> Callable[[], float]:
    """A clock of the seconds in which the calling thread ran, or was ready to for its own load (MOST_WAITED).

    On a crowded machine a thread that is overloaded gets a third of a core and waits for the rest; what it used says
    nothing then. Where the kernel does not tell, the clock shows the CPU time.
    """

    def told() -> tuple[float, float]:
        ran, waited, _ = path.read_bytes().split()
        return int(ran) * 1e-9, int(waited) * 1e-9

    try:
        before = told()
    except (OSError, ValueError):
        return time.thread_time
    shown = 0.0

    def read() -> float:
        nonlocal before, shown
        former, before = before, told()
        ran = before[0] - former[0]
        shown += ran + min(before[1] - former[1], MOST_WAITED * ran)
        return shown

    return read


class LoadMeter:
    """Measures the load. A periodic timer tells it of each of its turns; whoever judges reads it."""

    __slots__ = ("_began", "_behind", "_busy", "_late", "_turns", "_worst", "behind", "load")

    def __init__(self, now: float, busy: float) -> None:
        """Times in seconds: monotonic, and of `busy_clock`."""
        self.load = OwnLoad()
        self.behind = 0.0  # s, that strangers waited on average, the loop's lateness included
        self._worst = 0.0  # seconds
        self._begin(now, busy)

    def turn(self, now: float, due: float, behind: float = 0.0) -> bool:
        """Note that the timer that was due at `due` runs at `now`, and that strangers are served `behind` seconds after
        all others. Returns whether it is time to `read`."""
        self._turns += 1
        late = max(now - due, 0.0)
        self._behind += late + behind
        late += max(behind - PATIENT, 0.0)
        self._late += late
        self._worst = max(self._worst, late)
        return now - self._began >= MEASURED_SECONDS

    def read(self, now: float, busy: float) -> None:
        """Work out the load since the last reading. Call it after a turn."""
        share = (busy - self._busy) / (now - self._began)
        self.load = OwnLoad(self._late / self._turns, min(max(share, 0.0), 1.0), self._worst)
        self.behind = self._behind / self._turns
        self._begin(now, busy)

    def _begin(self, now: float, busy: float) -> None:
        self._began = now
        self._busy = busy
        self._late = 0.0
        self._behind = 0.0
        self._worst = 0.0
        self._turns = 0
