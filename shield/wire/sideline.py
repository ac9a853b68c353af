"""Sockets that are asked after all others, a few at a time, because Shield's own core is full.

The event loop serves everything that is readable before it asks its sockets again. With a thousand connections that ask
without a pause that takes a tenth of a second, and whoever sends something meanwhile waits for the end of it; so does
the service's answer. So while the core is full, connections of strangers stand on the sideline: a poller of its own
watches them, and in each turn of the loop only as many of them are served as SLICE_SECONDS allow. The loop then asks
all other sockets again: those of known clients, of the service, and those that listen.

    the loop's poller ---> known clients, servers, listeners, and as one more descriptor
                                                                |
                           the sideline's poller <--------------+
                                  |
                                  +---> strangers, the longest waiting first

epoll hands out what is readable in the order in which it became so, and what it has handed out stands behind the
others. So nobody on the sideline starves, and a mark that is always readable comes round after as long as everybody
else. That is what a stranger waits, and how late Shield is (`behind`).

Where there is no epoll, nobody stands aside.
"""

from __future__ import annotations

import math
import os
import select
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from shield.wire.turns import Turns

SLICE_SECONDS: Final = 0.001
"""s. For strangers, in each turn of the loop. People do not notice ten times as much."""
ALONE_SECONDS: Final = 0.004
"""s. The same while nobody who is known asks: the more are served together, the fewer system calls. With 1 ms a request
of 1,500 connections took 0.20 and 0.22 ms of processor time, with 3 ms 0.13 and 0.16 (crowded machine, two rounds)."""
KNOWN_SECONDS: Final = 1.0
"""s. From the last request of somebody known, until nobody is."""
AT_ONCE: Final = 8
"""Sockets that are asked for at a time, and served before the clock is read again."""
PAUSE_SECONDS: Final = 0.001
"""s. Until it is looked again, after enough had been read."""
LATE: Final = 0.005
"""s. How late strangers are served on average, from which on they stand aside: more than 64 connections make of a turn
of the loop that ask without a pause."""
LATE_ONCE: Final = 0.05
"""s. Or how late the loop is a single time: a crowd that comes at once is not to fill the queue before it is seen."""
BUSY: Final = 0.9
"""Share of the time for which the loop runs or waits for a core: one that is late without that was held up by something
else (pressure.own_busy)."""
IN_TIME: Final = 0.002
"""s. How late they are served when they need not stand aside any more, however busy the loop is: all of them at once
would fill a turn again ..."""
READINGS: Final = 4
"""... in so many readings of the load running, each of half a second: a flood that pauses for a moment goes on."""
POSSIBLE: Final = hasattr(select, "epoll") and hasattr(os, "eventfd")


class Aside(Protocol):
    """A transport, as the sideline knows it."""

    def on_readable(self) -> object:
        """Read. It must not raise."""

    def stand_aside(self, sideline: Sideline | None) -> object:
        """Have the socket watched by `sideline`, or else by the loop."""


class Sideline:
    """The sockets of one loop that stand aside. `open`: strangers are sent here. When it is not, each goes back to the
    loop as soon as it is readable. `known_at`: when somebody known asked last, on the clock."""

    __slots__ = (
        "_armed", "_behind", "_clock", "_easy", "_enough", "_full", "_loop", "_mark", "_marked", "_poll", "_transports",
        "_turns", "known_at", "open",
    )  # fmt: skip

    def __init__(
        self, loop: Any, turns: Turns, clock: Callable[[], float], enough: Callable[[], bool] = lambda: False
    ) -> None:
        """`clock` gives monotonic seconds. `enough` says whether what was read already is enough for a moment: it is
        asked while the loop is busy, as else it is not Shield that strangers wait for. Nothing is opened before
        somebody stands aside."""
        self._loop = loop
        self._turns = turns
        self._clock = clock
        self._enough = enough
        self._transports: dict[int, Aside] = {}  # by descriptor
        self._poll: Any = None  # a select.epoll
        self._mark = -1  # an eventfd
        self._armed = False  # the mark is among those that wait
        self._marked = 0.0  # since when
        self._behind = 0.0  # s, that it took to come round
        self._easy = 0  # readings running in which nobody need have stood aside
        self._full = False  # the loop is busy
        self.known_at = -math.inf
        self.open = False

    def __len__(self) -> int:
        return len(self._transports)

    def __repr__(self) -> str:
        return f"<Sideline {'open' if self.open else 'closed'}, {len(self)} aside, {1000 * self._behind:.1f} ms behind>"

    def read(self, late: float, busy: float) -> None:
        """Go by this load from now on: how late strangers are served, in seconds, and for what share of the time the
        loop is busy."""
        self._full = busy > BUSY
        self._easy = self._easy + 1 if late < IN_TIME else 0
        if self.open:
            self.open = self._easy < READINGS
        else:
            self.open = POSSIBLE and late > LATE and busy > BUSY and self._ready()

    def notice(self, late: float) -> None:
        """Take note that the loop is late now, by so many seconds."""
        if late > LATE_ONCE:
            self.open = self._full = POSSIBLE and self._ready()
            self._easy = 0

    def behind(self, now: float) -> float:
        """Seconds that who stands aside waits from when its socket is readable until it is read."""
        return max(self._behind, now - self._marked) if self._armed else self._behind

    def add(self, descriptor: int, transport: Aside) -> None:
        """Have `transport` read when it is its turn, whenever there is something to read."""
        if self._poll is None:
            self._begin()
        self._poll.register(descriptor, select.EPOLLIN)
        self._transports[descriptor] = transport

    def remove(self, descriptor: int) -> None:
        """Look after it no longer. To be called before it is closed."""
        if self._transports.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)

    def close(self) -> None:
        """Let go of the poller."""
        if self._poll is not None:
            self._transports.clear()
            self._loop.remove_reader(self._poll.fileno())
            self._poll.close()
            self._poll = None
            os.close(self._mark)

    def _ready(self) -> bool:
        """Whether there is a poller. None is made while no files are left."""
        try:
            if self._poll is None:
                self._begin()
        except OSError:
            return False
        return True

    def _begin(self) -> None:
        mark = os.eventfd(1, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        try:
            self._poll = select.epoll()
        except OSError:
            os.close(mark)
            raise
        self._mark = mark
        self._poll.register(mark, 0)
        self._watch()

    def _watch(self) -> None:
        if self._poll is not None:
            self._loop.add_reader(self._poll.fileno(), self._on_readable)

    def _on_readable(self) -> None:
        """Somebody waits. It is their turn when all others have had theirs, and what they wrote has left."""
        if not self._turns.open:
            self._turns.begin()
        self._loop.call_soon(self._turns.apart, self._serve)

    def _serve(self) -> None:
        """Serve some of those that wait."""
        if self._poll is None:
            return
        clock, waiting, transports = self._clock, self._poll.poll, self._transports
        began = now = clock()
        until = began + (SLICE_SECONDS if began < self.known_at + KNOWN_SECONDS else ALONE_SECONDS)
        while now < until:
            if self.open and self._full and self._enough():
                self._arm(began)
                self._loop.remove_reader(self._poll.fileno())
                self._loop.call_later(PAUSE_SECONDS, self._watch)
                return
            found = waiting(0, AT_ONCE)
            for descriptor, _ in found:
                transport = transports.get(descriptor)
                if transport is not None:
                    if self.open:
                        transport.on_readable()
                    else:
                        transport.stand_aside(None)
                elif descriptor == self._mark:
                    self._armed = False
                    self._behind = now - self._marked
            now = clock()
            if len(found) < AT_ONCE:  # nobody else waits
                if not self._armed:
                    self._behind = 0.0
                return
        self._arm(began)

    def _arm(self, now: float) -> None:
        """Put in the mark, if it is not there."""
        if not self._armed:
            self._armed = True
            self._marked = now
            self._poll.modify(self._mark, select.EPOLLIN | select.EPOLLONESHOT)
