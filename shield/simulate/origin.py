"""The service that is shielded: so many slots, a queue in order in front of them, log-normal times.

It knows nothing of Shield. Whoever enters gets an answer, unless the queue is too long (503 at once). A client that
has gone is served all the same, as services do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import exp, log, sqrt
from random import Random
from typing import TYPE_CHECKING, Any, Final

from shield.simulate.scene import Change, RouteModel, Service

if TYPE_CHECKING:
    from shield.simulate.calendar import Calendar

OVERLOADED: Final = 503
FINE: Final = 200


class Times:
    """The times of one route."""

    __slots__ = ("errors", "mean", "mu", "sigma", "status", "waits")

    def __init__(self, model: RouteModel) -> None:
        self.mean = model.time
        variance = log(1.0 + model.variation**2)
        self.mu = log(model.time) - variance / 2
        self.sigma = sqrt(variance)
        self.errors = model.errors
        self.status = model.status
        self.waits = model.waits

    def draw(self, random: Random) -> float:
        """Seconds that a request takes undisturbed."""
        return exp(self.mu + self.sigma * random.gauss()) if self.sigma else self.mean


class Origin:
    """The service: its slots and queue, what changes of it during a scene, and what it has done so far.

    `done(about, status, now)` is called when the answer to a request is there. It has more than 15 attributes because
    each request that it serves uses its load, what the scene changes of it, and its counts.
    """

    __slots__ = (
        "_backlog",
        "_calendar",
        "_changes",
        "_done",
        "_random",
        "_routes",
        "_thrash",
        "_usual",
        "answered",
        "busy",
        "errors",
        "failed",
        "inside",
        "most_waiting",
        "queue",
        "slots",
        "slower",
        "worked",
    )

    def __init__(
        self,
        model: Service,
        calendar: Calendar,
        random: Random,
        story_begins: float,
        done: Callable[[Any, int, float], None],
    ) -> None:
        self._calendar = calendar
        self._random = random
        self._done = done
        self._usual = Times(RouteModel(model.time, model.variation))
        self._routes = {path: Times(route) for path, route in model.routes.items()}
        self._thrash = model.thrash
        self.slots = model.slots
        self.slower = 1.0
        self.errors = model.errors
        self.most_waiting = model.backlog
        self.queue: deque[tuple[Any, Times]] = deque()
        self.busy = 0
        self.inside = 0  # busy, and waiting in the queue
        # so far
        self.answered = 0
        self.failed = 0  # of those
        self.worked = 0.0  # seconds of slots, as they would be undisturbed
        for change in model.changes:
            calendar.at(story_begins + change.at, self._change, change)

    def times(self, path: str) -> Times:
        """The times of the route that a population asks for by this path."""
        return self._routes.get(path, self._usual)

    def enter(self, about: Any, times: Times, now: float) -> None:
        """A request arrives."""
        if times.waits:
            self._calendar.at(now + times.draw(self._random), self._waited, (about, times))
        elif self.busy < self.slots:
            self.inside += 1
            self._begin(about, times, now)
        elif self.inside - self.busy < self.most_waiting:
            self.inside += 1
            self.queue.append((about, times))
        else:
            self.answered += 1
            self.failed += 1
            self._calendar.at(now, self._refused, about)

    def _begin(self, about: Any, times: Times, now: float) -> None:
        self.busy += 1
        seconds = times.draw(self._random)
        self.worked += seconds
        beyond = self._thrash.beyond
        if beyond and self.inside > beyond:
            seconds *= (self.inside / beyond) ** self._thrash.power
        self._calendar.at(now + seconds * self.slower, self._end, (about, times))

    def _end(self, what: tuple[Any, Times], now: float) -> None:
        about, times = what
        self.busy -= 1
        self.inside -= 1
        while self.queue and self.busy < self.slots:
            self._begin(*self.queue.popleft(), now)
        self._answer(about, times, now)

    def _waited(self, what: tuple[Any, Times], now: float) -> None:
        self._answer(*what, now)

    def _answer(self, about: Any, times: Times, now: float) -> None:
        self.answered += 1
        status = FINE
        if self.errors and self._random.random() < self.errors:
            status = OVERLOADED
        elif times.errors and self._random.random() < times.errors:
            status = times.status
        self.failed += status == OVERLOADED
        self._done(about, status, now)

    def _refused(self, about: Any, now: float) -> None:
        self._done(about, OVERLOADED, now)

    def _change(self, change: Change, now: float) -> None:
        if change.slots:
            self.slots = change.slots
            while self.queue and self.busy < self.slots:
                self._begin(*self.queue.popleft(), now)
        if change.slower:
            self.slower = change.slower
        if change.errors >= 0.0:
            self.errors = change.errors
