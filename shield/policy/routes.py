"""What a request costs before it has run: the route that its path belongs to, and what that route takes undisturbed.

A route is a method and a path template. In a template, segments that look like names of things (numbers, hexadecimal,
UUIDs, long mixed strings) are replaced by `*`. Templates are bounded by Space-Saving (Metwally, Agrawal and El Abbadi
2005): when there are too many, a new template takes the place, and the count, of the least counted one. So with k
entries every route that makes more than 1/k of the requests is known, and random paths only displace each other.

The baseline of a route is the median of its upstream times, by stochastic approximation on a log scale: each sample
moves it a step towards itself, 1/n at first (the frugal estimator of Ma, Muthukrishnan and Sandler 2013), so an outlier
moves it no more than any sample. Later it moves every `step_every` seconds, by `step` at most, towards the greater part
of the samples since: a flood that slows the service sends hundreds of slow samples before it is noticed, and must not
teach them as what is usual.

Cost in units = baseline / 10 ms, within `least_cost` and `most_cost`. A time below the least cost's says more of the
scheduler than of the service.

Some routes are **mixed**: some of their answers come from a cache, others take ten times as long. Their median goes
from the ones to the others as it changes who asks, and after that what is usual of the longer ones looks congested. So
a route knows its weighted median as well, `slow`: half of the seconds that the service spends on it go to answers that
take longer. Those who would move it must keep the service busy for longer than everybody else there. A time is compared
with it, and the quick ones say nothing of congestion.
"""

from __future__ import annotations

import heapq
import math
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Final

from annotated_types import Ge, Gt, Le, Lt
from typing_extensions import Doc

from shield.complaints import Complaint
from shield.marks import Unit, Why
from shield.model import UNIT_SECONDS
from shield.policy.rows import count, number, text
from shield.policy.status import RouteStatus, TableStatus

TEMPLATE_CHARS: Final = 128
TARGET_CHARS: Final = 256
"""Of a path as a key: an attacker could pin 8 KiB with each path otherwise."""
SPREAD: Final = 1.25
"""Weighted median over median, up to which the median is what is usual: log-normal times have it with a variation of
a half."""
QUICK: Final = 1.6
"""times quicker than usual: an answer of another kind."""
MIXED: Final = 3.0
"""Weighted median over median, above which most answers of the route are of another kind, and none of them counts. It
is 2.4 of exponential times."""
CLEAR: Final = 1 / 3
"""Lead of the longer or of the shorter times that is worth a whole step: two of three. With 60 of them in each step the
median strays by 2 %; where each step goes by one time only, by 8 %."""
_KEPT: Final = 0.9
"""of what was weighed, at each step: where answers are rare, the last ten or so say what it is."""

_THING: Final = re.compile(r"[0-9a-fA-F]{8,}(?:-[0-9a-fA-F]{4,}){0,4}|[0-9]+")
_MIXED: Final = re.compile(r"/(?=[^/]*[0-9])[A-Za-z0-9_=-]{20,}(?=/|$)")


@dataclass(frozen=True, slots=True)
class RoutesSettings:
    """What a request may cost, and how that is learned; a unit is 10 ms of undisturbed upstream time."""

    least_cost: Annotated[
        float,
        Gt(0),
        Unit("units"),
        Doc("Least that a request costs."),
        Why(
            "Chosen",
            "2 ms, which Shield and the kernel take as well: a shorter response time says more of the "
            "scheduler than of the service",
        ),
    ] = 0.2
    most_cost: Annotated[
        float,
        Gt(0),
        Unit("units"),
        Doc("Most that a request costs."),
        Why(
            "Chosen",
            "a quarter of a client's burst, so that one dear request keeps nobody out; a minute would be "
            "6,000, more than any bucket holds",
        ),
    ] = 50.0
    settled: Annotated[
        int,
        Ge(1),
        Le(1000),
        Unit("samples"),
        Doc("Samples after which a route's time is known. Until then the time of all routes is taken."),
        Why("Chosen", "as `concurrency.samples`"),
    ] = 8
    step: Annotated[
        float,
        Gt(0),
        Lt(1),
        Unit("share"),
        Doc("Most that a route's time then moves by at once, however far off the samples are."),
        Why("Paper", "Ma, Muthukrishnan and Sandler 2013 (frugal estimation), on a log scale"),
    ] = 0.02
    step_every: Annotated[
        float,
        Ge(0),
        Unit("s"),
        Doc("Time between two such steps: a flood's slowness must not become what is usual."),
        Why(
            "Chosen",
            "a flood that slows the service moves a cost by `routes.step` a second at most",
        ),
    ] = 1.0

    def complaints(self) -> Iterator[Complaint]:
        if self.most_cost < self.least_cost:
            yield ("most_cost",), f"at least routes.least_cost, which is {self.least_cost}"


def template(path: str) -> str:
    """The path with names of things replaced by `*`, cut to a bounded length."""
    return _THING.sub("*", _MIXED.sub("/*", path[: 4 * TEMPLATE_CHARS]))[:TEMPLATE_CHARS]


USUAL_SAMPLES: Final = 600
"""Over which the usual cost of a route is taken, one a second at most: ten minutes."""


class Route:
    """A route, its cost in units, and what is known of its time (seconds).

    It has more than 15 attributes because the usual time, the slow ones, and the usual cost are learned each by itself.
    """

    __slots__ = (
        "_held",
        "_idle",
        "_lead",
        "_lean",
        "_stepped",
        "_taught",
        "_weighed",
        "_weighed_at",
        "baseline",
        "cost",
        "count",
        "fixed",
        "live",
        "samples",
        "settings",
        "slow",
        "stepped_at",
        "template",
        "usual_cost",
    )

    def __init__(self, template: str, baseline: float, fixed: float | None, settings: RoutesSettings) -> None:
        self.settings = settings
        self.template = template
        self.count = 0
        self.baseline = baseline
        self.slow = baseline
        self._lean = 0.0  # seconds, of late, of answers that took longer than `slow`, less those of the others
        self._held = 0.0  # of those that took longer under load
        self._weighed = 0.0  # of all of them
        self._weighed_at = 0.0
        self._idle = 0  # answers weighed that came while the service was hardly asked
        self.samples = 0
        self.stepped_at = 0.0
        self._stepped = 0  # samples before that
        self._lead = 0  # of those since, those that took longer than the baseline, less those that took less
        self.fixed = fixed is not None
        self.cost = fixed if fixed is not None else cost_of(baseline, settings)
        self.usual_cost = self.cost  # in calm weather
        self._taught = 0  # samples that taught that
        self.live = True

    def fix(self, cost: float) -> None:
        """Have it cost so many units from now on, whatever is measured."""
        self.fixed = True
        self.cost = self.usual_cost = cost

    def learned(self, baseline: float, slow: float, samples: int) -> None:
        """Take what was known of its time before a restart."""
        self.baseline, self.slow = baseline, slow
        self.samples = self._stepped = samples
        if not self.fixed:
            self.cost = self.usual_cost = cost_of(baseline, self.settings)
        self._taught = USUAL_SAMPLES

    def sample(self, seconds: float, now: float, calm: bool = True) -> None:
        """Learn from an upstream time, congestion already taken out of it."""
        settings = self.settings
        samples = self.samples = self.samples + 1
        if seconds > self.baseline:
            self._lead += 1
        elif seconds < self.baseline:
            self._lead -= 1
        settled = samples > settings.settled
        if settled:
            if now - self.stepped_at < settings.step_every:
                return
            self.stepped_at = now
        least = settings.least_cost * UNIT_SECONDS
        if samples == 1:
            self.baseline = self.slow = max(seconds, least)
        else:
            lean = self._lead / (samples - self._stepped)
            step = _step(lean, settings) if settled else lean / samples
            self.baseline = max(self.baseline * math.exp(step), least)
        self._stepped = samples
        self._lead = 0
        if not self.fixed:
            self.cost = cost_of(self.baseline, settings)
        if not settled:
            self.usual_cost = self.cost
        elif calm:
            self._taught = min(self._taught + 1, USUAL_SAMPLES)
            self.usual_cost += (self.cost - self.usual_cost) / self._taught

    def weigh(self, seconds: float, loaded: bool, now: float) -> None:
        """Learn what is slow, from any upstream time. What took long under load is no reason to take more for usual,
        and one not to take less."""
        if not loaded:
            self._idle += 1
        self._weighed += seconds
        if seconds <= self.slow:
            self._lean -= seconds
        elif loaded:
            self._held += seconds
        else:
            self._lean += seconds
        settings = self.settings
        if now - self._weighed_at >= settings.step_every:
            self._weighed_at = now
            # Nobody knows what those that took longer under load would have taken without it.
            lean = max(self._lean, min(self._lean + self._held, 0.0))
            step = _step(lean / self._weighed, settings) if self._weighed else 0.0
            self.slow = max(self.slow * math.exp(step), settings.least_cost * UNIT_SECONDS)
            self._lean *= _KEPT
            self._held *= _KEPT
            self._weighed *= _KEPT

    def usual(self, seconds: float, slowness: float) -> float:
        """The undisturbed time to compare an upstream time with, 0 for none. Of an undisturbed service it is what
        `slowness` multiplies. Of a route that was never seen undisturbed the median is all there is to go by."""
        baseline, slow = self.baseline, self.slow
        if self._idle < self.settings.settled:
            return baseline
        usual = max(baseline, slow / SPREAD)
        if seconds * QUICK >= usual:
            return usual
        if slow > MIXED * baseline:
            return 0.0
        return seconds / min(slowness, 1.0)  # the service is no slower than usual, and no quicker


def _step(lean: float, settings: RoutesSettings) -> float:
    """A step on the log scale. `lean` is the share of what was longer less that of what was shorter, -1 to 1."""
    return settings.step * min(max(lean / CLEAR, -1.0), 1.0)


MOST_BASELINE: Final = 3600.0
"""Seconds; of a row of a file."""


def cost_of(seconds: float, settings: RoutesSettings) -> float:
    """Units for an upstream time."""
    units = seconds / UNIT_SECONDS
    return settings.least_cost if units < settings.least_cost else min(units, settings.most_cost)


class Routes(dict[str, Route]):
    """Finds the route of a request; a cache from `method + path`, over the sketch of templates.

    Two bounds: `paths` entries of the cache (first in, first out), `routes` templates. A dict, because every request
    reads it: a cachetools.Cache takes 0.2 µs more.
    """

    def __init__(self, settings: RoutesSettings, paths: int, routes: int, costs: dict[str, float]) -> None:
        super().__init__()
        self._settings = settings
        self._paths = paths
        self._most = routes
        self._costs = {template(path): cost for path, cost in costs.items()}  # by the operator
        self._order: deque[str] = deque()
        self._sketch: dict[str, Route] = {}
        self._least: list[tuple[int, int, Route]] = []  # heap by count as of when pushed
        self._pushed = 0
        self.typical = Route("", UNIT_SECONDS, None, settings)  # of all requests: what a new route is taken for

    def __missing__(self, target: str) -> Route:
        """The route of a method and path not seen lately."""
        if len(self) >= self._paths:
            del self[self._order.popleft()]
        self[target] = route = self._find(target)
        self._order.append(target)
        return route

    def again(self, target: str) -> Route:
        """The route of a path whose route has left the sketch."""
        self[target] = route = self._find(target)
        return route

    def at_cost(self, method: str, path: str, cost: float) -> Route:
        """The route of a request whose cost the operator has set where the path is, beside the one that other paths
        with the same template have."""
        target = f"{cost:g} {method}{path[:TARGET_CHARS]}"
        route = self[target]
        if not route.live:
            route = self.again(target)
        if not route.fixed or route.cost != cost:  # it was kept over a restart, or limits.costs names its template
            route.fix(cost)
        route.count += 1
        return route

    def status(self) -> TableStatus:
        """The fill of the sketch."""
        return TableStatus(entries=len(self._sketch), max=self._most, bytes_per_entry=ROUTE_BYTES)

    def top(self, n: int) -> list[RouteStatus]:
        """The most counted routes."""
        best = heapq.nlargest(n, self._sketch.values(), key=lambda route: route.count)
        return [
            RouteStatus(route=route.template, requests=route.count, baseline=route.baseline, cost=route.cost)
            for route in best
        ]

    def rows(self) -> Iterator[list[Any]]:
        """The routes whose time is known, as plain rows; first that of all requests, which has no template."""
        return (self.row(route) for route in (self.typical, *self._sketch.values()) if route.samples)

    def row(self, route: Route) -> list[Any]:
        """A route as a plain row."""
        return [route.template, route.count, route.baseline, route.slow, route.samples]

    def most_asked(self, n: int) -> list[Route]:
        """The most counted routes whose time is known, and that of all requests."""
        known = (route for route in self._sketch.values() if route.samples >= self._settings.settled)
        return [self.typical, *heapq.nlargest(n, known, key=lambda route: route.count)]

    def restore(self, row: list[Any]) -> bool:
        """Take one of these rows; whether there was room. ValueError when it makes no sense."""
        name, requests, baseline, slow, samples = row
        name, requests, samples = text(name), count(requests), count(samples)
        least = self._settings.least_cost * UNIT_SECONDS
        baseline, slow = number(baseline, least, MOST_BASELINE), number(slow, least, MOST_BASELINE)
        route = self._sketch.get(name) if name else self.typical
        if route is None:
            if len(self._sketch) >= self._most or len(name) > 2 * TEMPLATE_CHARS:
                return False
            path = name[name.find("/") :]
            route = self._enter(name, self._costs.get(path))
        if samples <= route.samples:
            return False
        route.count = max(route.count, requests)
        route.learned(baseline, slow, samples)
        return True

    def _find(self, target: str) -> Route:
        method, slash, path = target.partition("/")
        path = template(slash + path)
        route = self._sketch.get(method + path)
        return route if route is not None else self._enter(method + path, self._costs.get(path))

    def _enter(self, name: str, fixed: float | None) -> Route:
        route = Route(name, self.typical.baseline, fixed, self._settings)
        if len(self._sketch) >= self._most:
            route.count = self._evict()
        self._sketch[name] = route
        self._push(route)
        return route

    def _evict(self) -> int:
        """Take the least counted route out; its count, which its successor inherits."""
        while True:
            count, _, route = self._least[0]
            if route.count == count:
                break
            heapq.heappop(self._least)
            self._push(route)
        heapq.heappop(self._least)
        route.live = False
        del self._sketch[route.template]
        return count

    def _push(self, route: Route) -> None:
        self._pushed += 1
        heapq.heappush(self._least, (route.count, self._pushed, route))


ROUTE_BYTES: Final = 465
"""Bytes of a template of 40 characters, its route and its heap item, by tracemalloc; a cached path takes 120 more."""
