"""The first reading of the logs: how long each route takes, what the service can do, and who comes regularly.

A logged duration contains the time that a request has waited in the service, so a route is taken to need the median of
its durations in minutes in which few waited. Where half of the requests that end within a second take twice that or
more, the service is at its limit: what it gets done then, in seconds of work each second, is how many requests it works
on at the same time.

A visitor is an address with a User-Agent (in a log of Shield: its client). Whoever comes back, gets good answers and is
not in a hurry looks like a regular: see `is_regular`. At most MOST_VISITORS are told apart; when there are more, those
that came once and are gone the longest are forgotten.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from functools import lru_cache
from math import expm1, log, sqrt
from random import Random
from typing import Final

from shield.policy.routes import template
from shield.replay.lines import Line

MOST_ROUTES: Final = 1000
OTHER: Final = "other"
"""The route of what is beyond MOST_ROUTES."""
SAMPLES: Final = 501
"""Durations that are kept of a route, drawn from all of them."""
MOST_PATHS: Final = 50_000
"""Paths of which the route is remembered."""
MOST_VISITORS: Final = 400_000
UNKNOWN_TIME: Final = 0.05
"""Seconds that a route is taken to need of which no log says how long it takes."""
LEAST_TIME: Final = 0.001
FEW: Final = 64
"""Durations of a route, until which they count one by one, and not minute by minute."""
UNDISTURBED: Final = 0.25
"""Of the minutes in which a route was asked for, in this part at least nobody waited."""
QUARTILES: Final = 1.349
"""Standard deviations of a normal distribution from its lower to its upper quartile."""
MOST_VARIATION: Final = 2.0
LONGEST: Final = 60.0
"""Seconds. What takes longer is a stream, a long poll or a large transfer, and no sample of a time."""
BUSY: Final = 8
"""Requests that must end within a second for it to say whether the service is at its limit."""
SLOW: Final = 2.0
"""times its median, from which on a request is slow."""
LEAST_SATURATED: Final = 10
"""Seconds at its limit, without which what the service can do is not known."""
MOST_SATURATED: Final = 100_000
ENDING: Final = 120
"""Seconds, of which it is counted what ends in them, at a time."""
ROOM: Final = 2.0
"""times the most that it did: what a service is taken to be able to do whose limit was not seen."""
LEAST_SLOTS: Final = 4

COMES_BACK: Final = 120.0
"""Seconds from the first to the last request of a regular, at least."""
MINUTES: Final = 2
GOOD: Final = 0.8
HURRY: Final = 120.0
"""Requests a minute, in the minutes in which they come, that regulars do not exceed: two large pages."""


class RouteTimes:
    """What the logs say of one route. `errors`: answers of 500 and above. `median`: seconds that it takes undisturbed.

    That is a low one among the medians of the minutes: a flood of some minutes has more requests than the rest of the
    day, and all of them waited.
    """

    __slots__ = ("_in_minute", "_minute", "_seen_minutes", "count", "errors", "median", "medians", "samples", "seen")

    def __init__(self) -> None:
        self.count = 0
        self.errors = 0
        self.seen = 0  # durations
        self.samples = array("f")  # of all of them
        self.medians = array("f")  # of minutes
        self.median = UNKNOWN_TIME
        self._seen_minutes = 0
        self._minute = -1
        self._in_minute = array("f")

    def add(self, at: float, seconds: float, random: Random) -> None:
        """Take the duration of a request that came then."""
        minute = int(at // 60)
        if minute != self._minute:
            self._end_minute(random)
            self._minute = minute
        self.seen += 1
        _keep(self.samples, seconds, self.seen, SAMPLES, random)
        if len(self._in_minute) < SAMPLES:
            self._in_minute.append(seconds)
        if self.seen < FEW:
            self.median = max(quantile(self.samples, 0.5), LEAST_TIME)

    def _end_minute(self, random: Random) -> None:
        if not self._in_minute:
            return
        self._seen_minutes += 1
        _keep(self.medians, quantile(self._in_minute, 0.5), self._seen_minutes, SAMPLES, random)
        self._in_minute = array("f")
        self.median = max(quantile(self.medians, UNDISTURBED), LEAST_TIME)

    def settle(self, random: Random) -> None:
        """There are no more."""
        self._end_minute(random)

    @property
    def variation(self) -> float:
        """Standard deviation over mean, about, of log-normal times whose quartiles lie as those of the samples do."""
        low, high = quantile(self.samples, 0.25), quantile(self.samples, 0.75)
        sigma = log(high / low) / QUARTILES if 0 < low < high else 0.0
        return min(sqrt(expm1(min(sigma, 2.0) ** 2)), MOST_VARIATION)


def _keep(samples: array[float], value: float, seen: int, most: int, random: Random) -> None:
    """Keep a value, or not: each of those seen is kept with the same chance (reservoir sampling)."""
    if len(samples) < most:
        samples.append(value)
    elif (at := int(random.random() * seen)) < most:
        samples[at] = value


def quantile(values: Iterable[float], part: float) -> float:
    """The value below which that part of them lies; 0 of none."""
    found = sorted(values)
    return found[min(int(part * len(found)), len(found) - 1)] if found else 0.0


class Visitor:
    """Who asks. Times are Unix time; `minutes` are those in which something was asked for."""

    __slots__ = ("address", "agent", "first", "good", "last", "minutes", "parts", "requests", "who")

    def __init__(self, line: Line) -> None:
        self.address = line.address
        self.agent = line.agent
        self.who = line.who
        self.first = self.last = line.at
        self.minutes = 1
        self.requests = self.good = 0
        self.parts = 0  # of pages, among the requests

    @property
    def is_regular(self) -> bool:
        """Whether it came in several minutes, over a while, in no hurry, and got mostly good answers."""
        return (
            self.minutes >= MINUTES
            and self.last - self.first >= COMES_BACK
            and self.good >= GOOD * self.requests
            and self.requests <= HURRY * self.minutes
        )

    @property
    def is_browser(self) -> bool:
        """Whether it says so, and is no crawler by its own words."""
        return is_browser(self.agent)


@lru_cache(maxsize=10_000)
def is_browser(agent: str) -> bool:
    """Whether a User-Agent is that of a browser, and not of a crawler by its own words."""
    return agent.startswith("Mozilla/") and "bot" not in agent.lower()


class Places:
    """The routes of paths: a look-up for each path that was seen of late."""

    __slots__ = ("_routes",)

    def __init__(self) -> None:
        self._routes: dict[str, str] = {}

    def of(self, line: Line) -> str:
        target = f"{line.method} {line.path}"
        route = self._routes.get(target)
        if route is None:
            if len(self._routes) >= MOST_PATHS:
                self._routes.clear()
            route = self._routes[target] = f"{line.method} {template(line.path)}"
        return route


class Survey:
    """What the first reading has found.

    It has more than 15 attributes because each thing that is found is one.
    """

    def __init__(self, seed: int = 1) -> None:
        self.requests = 0
        self.first = self.last = 0.0  # Unix time
        self.routes: dict[str, RouteTimes] = {}
        self.visitors: dict[int, Visitor] = {}
        self.forgotten = 0  # visitors
        self.peak = 0  # requests in one second
        self.timed = 0  # requests of which it is known how long they took
        self.saturated = array("f")  # seconds of work, in each second at the limit
        self.most_work = 0.0
        self.work = 0.0
        self._places = Places()
        self._random = Random(f"{seed}/survey")  # noqa: S311 - it is to come out the same again
        self._second = -1
        self._in_second = 0
        self._ending: dict[int, list[float]] = {}  # by second: requests, slow ones, seconds of work

    def add(self, line: Line) -> None:
        """Take the next line."""
        self.serve(line)
        self._meet(line, line.status)

    def serve(self, line: Line) -> None:
        """Take what the next line says of the service, and not who asked."""
        at = line.at
        if not self.requests:
            self.first = at
        self.requests += 1
        self.last = at
        second = int(at)
        if second != self._second:
            self._turn(second)
        self._in_second += 1
        route = self._route(self._places.of(line))
        route.count += 1
        status = line.status
        if status >= 500:
            route.errors += 1
        seconds = line.service if line.service >= 0 else line.seconds
        if status and 0 <= seconds <= LONGEST and status != 101:
            self.timed += 1
            usual = route.median if route.seen else seconds
            ends = self._ending.setdefault(int(at + seconds), [0.0, 0.0, 0.0])
            ends[0] += 1
            ends[1] += seconds >= SLOW * usual
            ends[2] += usual
            self.work += usual
            if status < 500:
                route.add(at, seconds, self._random)

    def _route(self, name: str) -> RouteTimes:
        route = self.routes.get(name)
        if route is None:
            if len(self.routes) >= MOST_ROUTES:
                name = OTHER
            route = self.routes.setdefault(name, RouteTimes())
        return route

    def _meet(self, line: Line, status: int) -> None:
        visitor = self.visitors.get(line.key)
        if visitor is None:
            if len(self.visitors) >= MOST_VISITORS:
                self._forget(line.at)
            visitor = self.visitors[line.key] = Visitor(line)
        elif int(visitor.last // 60) != int(line.at // 60):
            visitor.minutes += 1
        visitor.last = line.at
        visitor.requests += 1
        visitor.good += 0 < status < 400 or not status

    def _forget(self, now: float) -> None:
        """Forget the half that is gone the longest of those who came once, or half of all."""
        kept = {key: one for key, one in self.visitors.items() if one.minutes > 1}
        rest = sorted((one.last, key) for key, one in self.visitors.items() if one.minutes == 1)
        if len(kept) > MOST_VISITORS // 2:
            order = sorted(kept, key=lambda key: kept[key].last)
            for key in order[: len(order) // 2]:
                del kept[key]
        for _, key in rest[len(rest) // 2 :][: MOST_VISITORS // 2]:
            kept[key] = self.visitors[key]
        self.forgotten += len(self.visitors) - len(kept)
        self.visitors = kept

    def _turn(self, second: int) -> None:
        self.peak = max(self.peak, self._in_second)
        self._second, self._in_second = second, 0
        if len(self._ending) > ENDING:
            for done in sorted(each for each in self._ending if each < second - ENDING // 2):
                self._read(self._ending.pop(done))

    def _read(self, ended: list[float]) -> None:
        requests, slow, work = ended
        self.most_work = max(self.most_work, work)
        if requests >= BUSY and slow >= requests / 2 and len(self.saturated) < MOST_SATURATED:
            self.saturated.append(work)

    def close(self) -> None:
        """There are no more lines."""
        self._turn(-1)
        for ended in self._ending.values():
            self._read(ended)
        self._ending.clear()
        for route in self.routes.values():
            route.settle(self._random)

    @property
    def seconds(self) -> float:
        """From the first to the last request."""
        return max(self.last - self.first, 0.0)

    @property
    def limit_seen(self) -> bool:
        """Whether the service was at its limit for long enough to say what that is."""
        return len(self.saturated) >= LEAST_SATURATED

    @property
    def slots(self) -> int:
        """Requests that the service works on at the same time: as seen at its limit, or more than it ever did."""
        if self.limit_seen:
            found = sorted(self.saturated)
            return max(round(found[len(found) // 2]), 1)
        return max(int(ROOM * self.most_work + 0.999), LEAST_SLOTS)

    def time_of(self, route: str) -> float:
        """Seconds that a route takes undisturbed."""
        found = self.routes.get(route) or self.routes.get(OTHER)
        return found.median if found is not None else UNKNOWN_TIME

    def regulars(self) -> Iterator[tuple[int, Visitor]]:
        """Who looks like a regular, by the key of their lines."""
        return ((key, one) for key, one in self.visitors.items() if one.is_regular)
