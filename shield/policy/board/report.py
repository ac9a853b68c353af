"""A report: what one worker has counted since it began, for whoever leads.

Sums are running, so a report that was missed is made up for by the next one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from shield.policy.pressure.window import IDLE, Asked, OwnLoad
from shield.policy.pricing.solves import NO_SOLVES, Solves
from shield.policy.rows import number

MOST_SUM: Final = 1e15


@dataclass(frozen=True, slots=True)
class Counted:
    """What one worker, or several, have counted in some time, and how they are at its end."""

    requests: int = 0
    asked: Asked = Asked()
    completed: float = 0.0  # units
    usual_cost: float = 0.0  # units that the same requests are in calm weather
    shed: int = 0
    bought: float = 0.0  # units that bought passes took
    solves: Solves = NO_SOLVES
    oldest_wait: float = 0.0  # seconds
    parts: float = 0.0  # requests of visits that wait, and count as T2
    own: OwnLoad = IDLE
    newcomers: tuple[float, float] = (0.0, 0.0)  # of calm weather, and those from known networks

    def sums(self) -> list[float]:
        """What adds up."""
        asked, solves = self.asked, self.solves
        counts = [self.requests, asked.units, asked.known, asked.top, asked.came, self.completed, self.usual_cost]
        counts += [self.shed, self.bought]
        return [*counts, solves.fresh, solves.networks, solves.known, solves.issued, *asked.ranks]

    def state(self) -> list[float]:
        """What is so at the end."""
        return [self.oldest_wait, self.own.lag, self.own.busy, self.own.worst, *self.newcomers, self.parts]


NOTHING: Final = Counted()
SUMS, STATES = len(NOTHING.sums()), len(NOTHING.state())


def counted(sums: Sequence[float], state: Sequence[float]) -> Counted:
    """What `Counted.sums` and `Counted.state` told."""
    requests, units, known, top, came, completed, usual_cost, *more = sums
    shed, bought, fresh, networks, of_known, issued, *ranks = more
    wait, lag, busy, worst, newcomers, newcomers_known, parts = state
    return Counted(
        requests=int(requests),
        asked=Asked(units, known, top, int(came), tuple(ranks)),
        completed=completed,
        usual_cost=usual_cost,
        shed=int(shed),
        bought=bought,
        solves=Solves(fresh, networks, of_known, issued),
        oldest_wait=wait,
        own=OwnLoad(lag, busy, worst),
        newcomers=(newcomers, newcomers_known),
        parts=parts,
    )


class Totals:
    """Running sums of one worker. When it began to report tells them from those of another one in its place."""

    __slots__ = ("_began", "_sums")

    def __init__(self) -> None:
        self._began = 0.0
        self._sums = NOTHING.sums()

    def add(self, more: Counted, now: float) -> bytes:
        """Add what was counted; the report."""
        self._began = self._began or now
        self._sums = [a + b for a, b in zip(self._sums, more.sums(), strict=True)]
        return orjson.dumps([self._began, self._sums, more.state()])


class Elsewhere:
    """Adds up what others have counted between two readings. `unread`: reports that made no sense."""

    __slots__ = ("_before", "unread")

    def __init__(self) -> None:
        self._before: dict[Any, tuple[float, list[float]]] = {}  # by worker or machine: its term, and its sums then
        self.unread = 0

    def read(self, reports: Mapping[Any, bytes | None]) -> Counted:
        """What those workers, of whom there are such reports now, have counted since the last call."""
        before, self._before = self._before, {}
        found, sums = NOTHING, NOTHING.sums()
        for worker, data in reports.items():
            try:
                term, theirs, state = _read(data)
            except (ValueError, TypeError):
                self.unread += data is not None  # none yet, or it is just being written
                if worker in before:
                    self._before[worker] = before[worker]
                continue
            self._before[worker] = term, theirs
            last_term, last = before.get(worker, (term, theirs))
            if last_term == term:  # of a worker that was not there, all is taken for counted
                sums = [total + max(a - b, 0.0) for total, a, b in zip(sums, theirs, last, strict=True)]
                found = worse(found, state)
        return found if found is NOTHING else counted(sums, found.state())


def worse(one: Counted, state: Sequence[float]) -> Counted:
    """How two are at the end, of which the other one's `state` is told. The wait is the longer one, the load that of
    the worker that has more to carry: lateness and a busy core together; and the worst moment is anybody's."""
    wait, lag, busy, worst, newcomers, known, parts = state
    own = one.own
    if lag * busy < own.lag * own.busy:
        lag, busy = own.lag, own.busy
    return replace(
        one,
        oldest_wait=max(one.oldest_wait, wait),
        own=OwnLoad(lag, busy, max(worst, own.worst)),
        newcomers=(one.newcomers[0] + newcomers, one.newcomers[1] + known),
        parts=one.parts + parts,
    )


def both(one: Counted, other: Counted) -> Counted:
    """What two have counted, and how they are (`worse`)."""
    sums = [a + b for a, b in zip(one.sums(), other.sums(), strict=True)]
    return counted(sums, worse(one, other.state()).state())


def _read(data: bytes | None) -> tuple[float, list[float], list[float]]:
    """Term, sums and state of a report. ValueError or TypeError when it makes no sense."""
    if data is None:
        raise ValueError("none")
    term, sums, state = orjson.loads(data)
    if len(sums) != SUMS or len(state) != STATES:
        raise ValueError("another form")
    if min(sums) < 0.0 or max(sums) > MOST_SUM or min(state) < 0.0 or max(state) > MOST_SUM:
        raise ValueError("out of bounds")
    return number(term), sums, state
