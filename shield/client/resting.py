"""Who is not read for a moment, because Shield's own core is full.

A refused client that asks again at once takes the core from those who are served. So while the core is full, a
connection that was refused a request is not read for a while: what it asks next waits in its own kernel, which costs
Shield nothing. Clients with a history are never among them (T0, T1), and who is refused nothing is not either.

How long that is doubles with each reading in which the event loop is late and busy, and fades when it is not.
"""

from __future__ import annotations

from collections import deque
from typing import Final, Protocol

LATE: Final = 0.02
"""s. After which strangers are served on average, from which on the core is full: as long as a tick of the policy."""
BUSY: Final = 0.9
"""Share of the time in which it runs or waits for a core: a late loop that is idle was held up by something else
(pressure.own_busy)."""
LEAST: Final = 0.1
"""s. The first rest: as long as people do not notice."""
MOST: Final = 1.0
"""s. A second of 4,000 connections is 4,000 requests/s, which a core can refuse beside its work."""
FADES: Final = 0.9
"""Factor for each reading, twice a second, in which the core was not full."""


class Rests(Protocol):
    """A client connection."""

    def rested(self) -> None:
        """Read on."""


class Resting:
    """The connections that rest, each at most once at a time; one that closes meanwhile is kept until then. `seconds`:
    for how long one rests that is refused now, 0 while the core is not full."""

    __slots__ = ("_until", "seconds")

    def __init__(self) -> None:
        self.seconds = 0.0
        self._until: deque[tuple[float, Rests]] = deque()  # the first may be a little late, after the time has changed

    def __len__(self) -> int:
        return len(self._until)

    def __repr__(self) -> str:
        return f"<Resting {len(self)} for {self.seconds:.2f} s>"

    def read(self, behind: float, busy: float) -> None:
        """Go by this load from now on: how late strangers are served, in seconds, and for what share of the time the
        event loop is busy."""
        if behind > LATE and busy > BUSY:
            self.seconds = min(max(2 * self.seconds, LEAST), MOST)
        else:
            self.seconds *= FADES
            if self.seconds < LEAST / 2:
                self.seconds = 0.0

    def rest(self, connection: Rests, now: float) -> None:
        """Have `connection` rest, which is not read any more."""
        self._until.append((now + self.seconds, connection))

    def sweep(self, now: float) -> None:
        """Read on where it is time."""
        until = self._until
        for _ in range(len(until)):  # who is refused again now rests anew
            if until[0][0] > now:
                return
            until.popleft()[1].rested()
