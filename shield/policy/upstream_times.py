"""What is learned from the time that the service took: congestion, what routes cost, and what the request cost."""

from __future__ import annotations

from typing import Final

from shield.model import UNIT_SECONDS
from shield.policy.concurrency.concurrency import Concurrency
from shield.policy.limits.limits import Limits
from shield.policy.long_requests import LongRequests
from shield.policy.queue.queue import Queue
from shield.policy.request import Request
from shield.policy.routes import Route, Routes, RoutesSettings, cost_of

UNKNOWN: Final = 0.0
"""The usual time of a route, where nobody knows it."""
VAGUE: Final = 0.01
"""s. That a time may be longer than is assumed, above which it is no reason to send the service more at once. People do
not notice less; and what Shield has to do in 10 ms takes enough slots to fill its core."""


class UpstreamTimes:
    """Takes each upstream time as a sample, and settles the request's cost by it."""

    __slots__ = (
        "_completed",
        "_concurrency",
        "_last_ratio",
        "_least_time",
        "_length",
        "_limits",
        "_long",
        "_routes",
        "_settings",
        "_settled",
        "_slots",
        "_usual_cost",
        "calm",
    )

    def __init__(
        self,
        settings: RoutesSettings,
        routes: Routes,
        concurrency: Concurrency,
        long: LongRequests,
        queue: Queue,
        limits: Limits,
    ) -> None:
        self._settings = settings
        self._settled = settings.settled
        self._least_time = settings.least_cost * UNIT_SECONDS
        self._routes = routes
        self._concurrency = concurrency
        self._slots = concurrency.slots
        self._length = queue.length
        self._long = long
        self._limits = limits
        self._last_ratio = 1.0  # of the last answer: its time over what is usual
        self._completed = 0.0  # units, in the window that is open
        self._usual_cost = 0.0  # of the same requests in calm weather
        self.calm = True  # changed with each window

    def learn(self, request: Request, rtt: float, error: bool, now: float, unsure: float = 0.0) -> None:
        """Learn from a request that has ended. `rtt` is in seconds, negative when no response head came. Of these, up
        to `unsure` seconds may be Shield's own: then the service is taken to have been as quick as usual, as far as
        that can be, and no route learns of what was assumed."""
        slots = self._slots
        if slots.mine and self._long.idles(request):
            self._learn_idle(request, rtt, now)
            return
        concurrency = self._concurrency
        route = request.route
        typical = self._routes.typical
        loaded = slots.in_flight >= slots.loaded_at
        if rtt < 0.0:
            if error and loaded:
                usual = self._usual(route)
                concurrency.sample(request.client.key, usual, usual, True, request.epoch)
            return
        assumed = False
        if unsure and rtt > self._least_time:
            usual = self._usual(route) * (concurrency.usual_ratio if loaded else 1.0)
            if rtt > usual:
                rtt -= unsure
                if rtt < usual:
                    rtt, assumed = usual, True
        self._last_ratio = 1.0
        if loaded:
            seconds = max(rtt, self._least_time)
            known = route.samples >= self._settled
            usual = route.usual(seconds, concurrency.usual_ratio) if known else typical.baseline
            if concurrency.away is not None and not known and typical.samples < self._settled:
                concurrency.sample(request.client.key, seconds, UNKNOWN, error, request.epoch)
            elif usual:
                self._last_ratio = seconds / usual
                vague = assumed and unsure > VAGUE
                concurrency.sample(request.client.key, seconds, usual, error, request.epoch, vague)
        self._length.sample(rtt)
        self._completed += request.cost
        self._usual_cost += route.usual_cost
        seconds = rtt / concurrency.congestion
        if not (error or assumed):
            route.weigh(seconds if loaded else rtt, loaded, now)
            # What is not loaded is undisturbed as it is: to divide it as well makes noise a lower baseline, and that
            # more congestion, in a circle.
            undisturbed = seconds if loaded else rtt
            if not loaded or (route.samples < self._settled and self._may_teach(request)):
                route.sample(undisturbed, now, self.calm)
            if not loaded or (typical.samples < self._settled and concurrency.away is None):
                typical.sample(undisturbed, now)
        if not route.fixed:
            units = cost_of(seconds, self._settings)
            if loaded and concurrency.congestion == 1.0:
                units = min(units, request.cost)  # congestion that nobody has measured yet is not the client's
            if units != request.cost:  # mostly they are equal: what is quick costs the least there is
                self._limits.settle(request, units, now)

    def learn_elsewhere(
        self, client: bytes, seconds: float, usual: float, error: bool, epoch: int, vague: bool, now: float
    ) -> None:
        """Take what another worker has seen under load. `usual`: the undisturbed time of the route, in seconds; or
        UNKNOWN, and it is compared with, and taught to, what all requests are taken for."""
        if usual == UNKNOWN:
            typical = self._routes.typical
            if not error and typical.samples < self._settled:
                typical.sample(seconds, now)
            usual = typical.baseline
        self._concurrency.sample(client, seconds, usual, error, epoch, vague)

    def occupied(self, request: Request, seconds: float, now: float) -> None:
        """Charge seconds that a request held its slot for besides its upstream time, up to what a request can cost."""
        units = min(seconds / self._concurrency.congestion / UNIT_SECONDS, self._settings.most_cost)
        if not request.route.fixed:
            self._limits.settle(request, request.cost + units, now)

    def usual(self, route: Route) -> float:
        """Seconds that a request of this route takes as things are now, as far as is known."""
        concurrency = self._concurrency
        return self._usual(route) * max(concurrency.usual_ratio * concurrency.congestion, self._last_ratio)

    def close_window(self) -> tuple[float, float]:
        """The units that were completed in the window that ends, and what they would have been in calm weather."""
        completed = self._completed, self._usual_cost
        self._completed = self._usual_cost = 0.0
        return completed

    def _learn_idle(self, request: Request, rtt: float, now: float) -> None:
        """Learn from a request for which the service did nothing: nothing of how much it takes. Of a route that is not
        known yet, it tells what its answers take by themselves."""
        route = request.route
        if rtt >= 0.0 and route.samples < self._settled:
            seconds = rtt / self._concurrency.congestion
            route.sample(seconds, now, self.calm)
            if not route.fixed:
                self._limits.settle(request, cost_of(seconds, self._settings), now)

    def _may_teach(self, request: Request) -> bool:
        """Whether the time of a request under load may be among the first of its route.

        It may where nothing else is known, or in a probe. A path that a flood is the first to ask for would be taken to
        be as slow as the flood makes it, and the congestion not be seen: a limit of 20 rose to 30 on a service of 4
        slots.
        """
        if self._concurrency.away is not None:
            return False  # the worker that leads has seen more
        return self._routes.typical.samples < self._settled or (
            self._concurrency.probing and request.epoch == self._slots.epoch
        )

    def _usual(self, route: Route) -> float:
        """Seconds that a route takes undisturbed, as far as is known."""
        return route.baseline if route.samples >= self._settled else self._routes.typical.baseline
