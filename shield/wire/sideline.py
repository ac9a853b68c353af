"""Sockets that are asked after all others, a few at a time, because Shield's own core is full.

The event loop serves everything that is readable before it asks its sockets again. With a thousand connections that ask
without a pause that takes a tenth of a second, and whoever sends something meanwhile waits for the end of it; so does
the service's answer. So while the core is full, connections of strangers stand on the sideline: a poller of its own
watches them, and in each turn of the loop only as many of them are served as SLICE_SECONDS allow. The loop then asks
all other sockets again: those of known clients, of the service, and those that listen.

    the loop's poller ---> known clients, servers, listeners, and as one more descriptor
                                                                |
                                        the bell <--------------+
                                           |
                                           +---> a poller for each lane ---> strangers, the longest waiting first

A lane has the strangers of one site. While what was read for that site is enough for a moment, its lane is *held*: the
bell does not ring for it, and it is looked at again at the end of each turn. The bell is a poller between the two, for
to change what it watches takes one system call, and to take a poller out of the loop's and put it back takes a walk
through all that is in it.

epoll hands out what is readable in the order in which it became so, and what it has handed out stands behind the
others. So nobody on the sideline starves, and a mark that is always readable comes round after as long as everybody
else. That is what a stranger waits, and how late Shield is (`behind`).

Where there is no epoll, nobody stands aside.

    Sideline   says whether strangers stand aside, and when they are served
    Lane       those of one site
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
LATE: Final = 0.005
"""s. How late strangers are served on average, from which on they stand aside: more than 64 connections make of a turn
of the loop that ask without a pause."""
LATE_ONCE: Final = 0.05
"""s. Or how late the loop is a single time: a crowd that comes at once is not to fill the queue before it is seen."""
BUSY: Final = 0.9
"""Share of the time for which the loop runs or waits for a core: one that is late without that was held up by something
else (pressure.own_busy)."""
STILL_BUSY: Final = 0.5
"""The same once it is busy, as it has less to do while strangers are not read. It has less still where the service is
slow, and it is the service that strangers wait for: then they wait in the queue, where the policy sees them."""
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

    def stand_aside(self, lane: Lane | None) -> object:
        """Have the socket watched on `lane`, or else by the loop."""


class Sideline:
    """The sockets of one loop that stand aside. `open`: strangers are sent here. When it is not, each goes back to the
    loop as soon as it is readable. `known_at`: when somebody known asked last, on the clock."""

    __slots__ = (
        "_bell", "_clock", "_easy", "_first", "_lanes", "_loop", "_mark", "_turns", "full", "known_at", "open",
    )  # fmt: skip

    def __init__(self, loop: Any, turns: Turns, clock: Callable[[], float]) -> None:
        """`clock` gives monotonic seconds. Nothing is opened before somebody stands aside."""
        self._loop = loop
        self._turns = turns
        self._clock = clock
        self._bell: Any = None  # a select.epoll
        self._mark = -1  # an eventfd
        self._lanes: list[Lane] = []
        self._first = 0  # the lane that is served first in the next turn
        self._easy = 0  # readings running in which nobody need have stood aside
        self.full = False  # the loop is busy
        self.known_at = -math.inf
        self.open = False

    def __len__(self) -> int:
        return sum(len(lane) for lane in self._lanes)

    def __repr__(self) -> str:
        behind = 1000 * max((lane.waited for lane in self._lanes), default=0.0)
        return f"<Sideline {'open' if self.open else 'closed'}, {len(self)} aside, {behind:.1f} ms behind>"

    def lane(
        self, enough: Callable[[], bool] = lambda: False, awaits: Callable[[int], object] = lambda _: None
    ) -> Lane:
        """One more lane. `enough` says whether what was read for its site is enough for a moment: it is asked while the
        loop is busy, as else it is not Shield that strangers wait for. `awaits` is told how many may wait unread
        because of that, and 0 when they are read again. To be called before anybody stands aside."""
        lane = Lane(self, enough, awaits)
        self._lanes.append(lane)
        return lane

    def read(self, late: float, busy: float) -> None:
        """Go by this load from now on: how late strangers are served, in seconds, and for what share of the time the
        loop is busy."""
        self.full = busy > (STILL_BUSY if self.full else BUSY)
        self._easy = self._easy + 1 if late < IN_TIME else 0
        if self.open:
            self.open = self._easy < READINGS
        else:
            self.open = POSSIBLE and late > LATE and busy > BUSY and self._ready()

    def notice(self, late: float) -> None:
        """Take note that the loop is late now, by so many seconds."""
        if late > LATE_ONCE:
            self.open = self.full = POSSIBLE and self._ready()
            self._easy = 0

    def behind(self, now: float) -> float:
        """Seconds that who stands aside waits from when its socket is readable until it is read."""
        return max([lane.behind(now) for lane in self._lanes], default=0.0)

    def close(self) -> None:
        """Let go of the pollers."""
        if self._bell is not None:
            self._turns.after = None
            self._loop.remove_reader(self._bell.fileno())
            self._let_go()

    def begin(self) -> None:
        """Open what is needed, unless it is. Raises OSError when no files are left."""
        if self._bell is not None:
            return
        self._mark = os.eventfd(1, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        try:
            self._bell = select.epoll()
            for lane in self._lanes:
                lane.begin(self._bell, self._mark)
        except OSError:
            self._let_go()
            raise
        self._loop.add_reader(self._bell.fileno(), self._on_readable)

    def held(self) -> Lane | None:
        """A lane for whose site enough was read, if there is one."""
        if not (self.open and self.full):
            return None
        return next((lane for lane in self._lanes if lane.enough()), None)

    def hold(self) -> None:
        """A lane is held: look at it at the end of each turn."""
        self._turns.after = self._look

    def _ready(self) -> bool:
        """Whether there are pollers. None is made while no files are left."""
        try:
            self.begin()
        except OSError:
            return False
        return True

    def _let_go(self) -> None:
        for lane in self._lanes:
            lane.end()
        if self._bell is not None:
            self._bell.close()
            self._bell = None
        os.close(self._mark)

    def _on_readable(self) -> None:
        """Somebody waits. It is their turn when all others have had theirs, and what they wrote has left."""
        if not self._turns.open:
            self._turns.begin()
        self._loop.call_soon(self._turns.apart, self._serve)

    def _look(self) -> None:
        """A turn has ended: serve lanes that need not be held any more."""
        held = [lane for lane in self._lanes if lane.held]
        if not held:
            self._turns.after = None
        elif not all(lane.enough() and len(lane) for lane in held):
            self._loop.call_soon(self._turns.apart, self._serve)

    def _serve(self) -> None:
        """Serve some of those that wait, on each lane for an equal part of the time."""
        if self._bell is None:
            return
        began = now = self._clock()
        left = SLICE_SECONDS if began < self.known_at + KNOWN_SECONDS else ALONE_SECONDS
        lanes = [lane for lane in self._lanes if lane.held or len(lane)]
        first = self._first = (self._first + 1) % max(len(lanes), 1)
        for i in range(len(lanes)):
            each = left / (len(lanes) - i)
            ended = lanes[(first + i) % len(lanes)].serve(now, now + each, self._clock)
            left -= ended - now
            now = ended


class Lane:
    """The strangers of one site. `held`: enough was read for it."""

    __slots__ = (
        "_armed", "_awaits", "_bell", "_enough", "_marked", "_poll", "_transports",
        "held", "mark", "sideline", "waited",
    )  # fmt: skip

    def __init__(self, sideline: Sideline, enough: Callable[[], bool], awaits: Callable[[int], object]) -> None:
        """See Sideline.lane()."""
        self.sideline = sideline
        self._enough = enough
        self._awaits = awaits
        self._transports: dict[int, Aside] = {}  # by descriptor
        self._bell: Any = None  # of the sideline
        self._poll: Any = None  # a select.epoll
        self.mark = -1  # the sideline's
        self._armed = False  # the mark is among those that wait
        self._marked = 0.0  # since when
        self.waited = 0.0  # s, that it took to come round
        self.held = False

    def __len__(self) -> int:
        return len(self._transports)

    def __repr__(self) -> str:
        return f"<Lane {len(self)} aside, {1000 * self.waited:.1f} ms behind{', held' if self.held else ''}>"

    def add(self, descriptor: int, transport: Aside) -> None:
        """Have `transport` read when it is its turn, whenever there is something to read."""
        self.sideline.begin()
        self._poll.register(descriptor, select.EPOLLIN)
        self._transports[descriptor] = transport

    def remove(self, descriptor: int) -> None:
        """Look after it no longer. To be called before it is closed."""
        if self._transports.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)

    def behind(self, now: float) -> float:
        """Seconds that who stands here waits from when its socket is readable until it is read."""
        return max(self.waited, now - self._marked) if self._armed else self.waited

    def enough(self) -> bool:
        """Whether nobody is to be read here for a moment."""
        return self.sideline.open and self.sideline.full and self._enough()

    def begin(self, bell: Any, mark: int) -> None:
        """Open a poller that rings the `bell`. Raises OSError when no files are left."""
        self._poll = select.epoll()
        self._bell, self.mark = bell, mark
        self._poll.register(mark, 0)
        bell.register(self._poll.fileno(), select.EPOLLIN)

    def end(self) -> None:
        """Let go of the poller."""
        self._transports.clear()
        if self._poll is not None:
            self._poll.close()
            self._poll = None
        self._armed = self.held = False

    def serve(self, began: float, until: float, clock: Callable[[], float]) -> float:
        """Serve some of those that wait here, from `began` on; when it ended, at `until` or before."""
        waiting, transports, sideline, now = self._poll.poll, self._transports, self.sideline, began
        while now < until:
            if self.enough():
                self._arm(began)
                self._hold(True)
                return now
            found = waiting(0, AT_ONCE)
            for descriptor, _ in found:
                transport = transports.get(descriptor)
                if transport is not None:
                    if sideline.open:
                        transport.on_readable()
                    else:
                        transport.stand_aside(None)
                elif descriptor == self.mark:
                    self._armed = False
                    self.waited = now - self._marked
            now = clock()
            if len(found) < AT_ONCE:  # nobody else waits
                if not self._armed:
                    self.waited = 0.0
                self._hold(False)
                return now
        self._arm(began)
        self._hold(False)
        return now

    def _hold(self, held: bool) -> None:
        """Have the bell ring for this lane, or no longer."""
        if held is not self.held:
            self.held = held
            self._bell.modify(self._poll.fileno(), 0 if held else select.EPOLLIN)
            self._awaits(len(self) if held else 0)
        if held:
            self.sideline.hold()

    def _arm(self, now: float) -> None:
        """Put in the mark, if it is not there."""
        if not self._armed:
            self._armed = True
            self._marked = now
            self._poll.modify(self.mark, select.EPOLLIN | select.EPOLLONESHOT)
