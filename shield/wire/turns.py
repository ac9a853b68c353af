"""The turns of the event loop: what is sent at the end of one, and what its clock says of a server's time.

In a turn the loop waits for its sockets, and then calls whoever has something to read. What is written meanwhile leaves
at the end of the turn. Where a turn is long, because thousands of connections ask, an answer waits in the kernel until
its turn comes: that is Shield's time, and not the server's. So two bounds are known of when an answer came:

    not before `since`     the socket was asked then, and had nothing
    not after `began`      the socket was found readable

They are the same where the loop had nothing to do but to wait. Else the answer came at some moment of the turn before.
When the request had left is known as `settled`, for what was written in a turn is sent in one go.

    Turn      three clock readings
    Turns     the turn that is open, and what is sent at its end
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, Protocol

WAITED: Final = 0.0002
"""s. From the end of one turn to the first reading of the next one, above which the loop had nothing to do in between.
It takes some 10 µs when there is something to read already."""
LATE: Final = 0.005
"""s. By which the loop may miss its timer. Beyond that the machine had no core for it: it did not wait for sockets."""


class Settled(Protocol):
    """What has something left to send or to end."""

    def settle(self) -> None:
        """Do that."""

    def fail(self, error: BaseException) -> None:
        """That has raised."""


class Loop(Protocol):
    """What is needed of the event loop."""

    def call_soon(self, callback: Callable[[], object]) -> object:
        """Call it before the loop waits again."""


class Turn:
    """Monotonic seconds: when the turn `began`, when its sockets were last known to have nothing (`since`), when the
    loop had last `asked` them all (`began`, unless something else than a socket began it), and when what was written in
    it had left (`settled`; `began` until then)."""

    __slots__ = ("asked", "began", "settled", "since")

    def __init__(self, began: float, since: float, asked: float) -> None:
        self.began = self.settled = began
        self.since = since
        self.asked = asked

    def __repr__(self) -> str:
        return f"<Turn of {self.settled - self.began:.6f} s>"


class Turns:
    """The turns of one loop. All plain connections of a process share this, or the time that one half of them takes
    would look like a wait to the other half.

    `current` is the turn that is `open`, or the last one. `due` is when a timer is to wake the loop at the latest.
    `after` is called whenever one has ended, if it is set.
    """

    __slots__ = ("_clock", "_ending", "_loop", "after", "current", "due", "open")

    def __init__(self, loop: Loop, clock: Callable[[], float]) -> None:
        self._loop = loop
        self._clock = clock
        self._ending: list[Settled] = []
        self.current = Turn(0.0, 0.0, 0.0)
        self.due = math.inf
        self.after: Callable[[], object] | None = None
        self.open = False

    def begin(self) -> Turn:
        """Open a turn: a socket is readable, or a timer is due. Not to be called while one is open."""
        now, last = self._clock(), self.current
        waited = now - last.settled > WAITED and now < self.due + LATE
        return self._begin(now, now if waited else last.asked, now)

    def now(self) -> Turn:
        """The turn that is open; one begins if there is none."""
        return self.current if self.open else self.begin()

    def add(self, transport: Settled) -> None:
        """Settle `transport` before the loop waits again."""
        if not self.open:  # a task writes: the loop has not asked its sockets since the last turn
            asked = self.current.asked
            self._begin(self._clock(), asked, asked)
        self._ending.append(transport)

    def apart(self, work: Callable[[], object]) -> None:
        """Call `work()`, which serves sockets that the loop itself does not ask, as a turn of its own."""
        if self.open:  # a task has written
            self._settle()
        asked = self.current.asked
        self.current = Turn(self._clock(), asked, asked)
        self.open = True
        try:
            work()
        finally:
            self._settle()

    def _begin(self, now: float, since: float, asked: float) -> Turn:
        self._loop.call_soon(self._settle)
        self.open = True
        turn = self.current = Turn(now, since, asked)
        return turn

    def _settle(self) -> None:
        if not self.open:  # apart() has done it
            return
        while self._ending:  # what ends may have others send or end something
            ending, self._ending = self._ending, []
            for transport in ending:
                try:
                    transport.settle()
                except Exception as error:
                    transport.fail(error)
        self.open = False
        self.current.settled = self._clock()
        if self.after is not None:
            self.after()
