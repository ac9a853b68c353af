"""A standing queue: one in which nobody got through for a whole interval without waiting (CoDel, RFC 8289)."""

from __future__ import annotations

from shield.policy.queue.settings import QueueSettings


class Standing:
    """Takes the shortest wait of each interval."""

    __slots__ = ("_ends", "_settings", "_shortest", "on")

    def __init__(self, settings: QueueSettings) -> None:
        self._settings = settings
        self.on = False
        self._shortest: float | None = None  # seconds; of those who left in this interval, None for nobody
        self._ends = 0.0  # monotonic seconds

    def begin(self, now: float) -> None:
        """Begin an interval: somebody waits again."""
        self._shortest = None
        self._ends = now + self._settings.interval

    def departed(self, wait: float, empty: bool) -> None:
        """A request left the queue after so many seconds. A queue that ran empty does not stand, whatever it was."""
        if empty:
            self._shortest = 0.0
        elif self._shortest is None or wait < self._shortest:
            self._shortest = wait

    def over(self, now: float) -> bool:
        """Whether the interval is over, and `judge` wants to be asked."""
        return now >= self._ends

    def judge(self, oldest_wait: float, now: float) -> None:
        """End the interval. `oldest_wait` counts when nobody left: they all wait still."""
        shortest = oldest_wait if self._shortest is None else self._shortest
        self.on = shortest > self._settings.target
        self.begin(now)

    def clear(self) -> None:
        """Nobody waits."""
        self.on = False
