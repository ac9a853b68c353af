"""What Shield itself has to carry: how late its event loop is, and how much of a core its process uses."""

from __future__ import annotations

from typing import Final

from shield.policy.engine import OwnLoad

MEASURED_SECONDS: Final = 0.45
"""A reading covers at least this long: a little less than a window of the policy, which is not to see one twice."""


class OwnLoadMeter:
    """Told of each turn of a periodic timer, and asked by whoever judges. CPU time is that of the whole process."""

    __slots__ = ("_began", "_cpu", "_late", "_turns", "load")

    def __init__(self, now: float, cpu: float) -> None:
        """Times in seconds: monotonic, and of CPU used so far."""
        self.load = OwnLoad()
        self._begin(now, cpu)

    def turn(self, now: float, due: float) -> bool:
        """The timer that was due at `due` runs at `now`; whether it is time to `read`."""
        self._turns += 1
        if now > due:
            self._late += now - due
        return now - self._began >= MEASURED_SECONDS

    def read(self, now: float, cpu: float) -> None:
        """Work out the load since the last reading. Call it after a turn."""
        self.load = OwnLoad(self._late / self._turns, max(0.0, cpu - self._cpu) / (now - self._began))
        self._begin(now, cpu)

    def _begin(self, now: float, cpu: float) -> None:
        self._began = now
        self._cpu = cpu
        self._late = 0.0
        self._turns = 0
