"""The second reading: the engine that serves decides about each request of the logs, at the time at which it came.

    the engine      the one that serves, with a clock that is the log's; the dry run of the whole config is left out.
                    One for each site, by the host of a line
    the service     so many requests at the same time, others wait in it, in order; each takes the median of its route
                    (survey.py), and has the status that the log tells
    the visitors    ask for what they asked for, when they did, whatever they are answered: nobody tries again, and
                    nobody stays away. Regulars with a browser answer challenges, and keep the passes that they get
    left out        connections, bodies and Shield's own load

What a browser would say of a request is in few logs. Where the User-Agent is a browser's and nothing else is known, the
request is taken to be for a page, or for a part of one by the ending of its path.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import takewhile
from math import inf
from random import Random
from typing import Any, Final

from shield.client.sweep import SWEEP_SECONDS
from shield.config.settings import Config
from shield.lookup.known import Known
from shield.model import Action, Outcome, Verdict
from shield.policy.challenge.challenge import Challenge, Redeemed, Redemption
from shield.policy.engine import Engine
from shield.policy.entries import Pass
from shield.policy.identity import Client
from shield.policy.keys import Keys
from shield.policy.provoked import could_answer
from shield.policy.request import Request
from shield.replay.hosts import Hosts
from shield.replay.lines import Line
from shield.replay.outcome import OfSite, Outcomes
from shield.replay.survey import Places, Survey, is_browser
from shield.simulate.calendar import Calendar
from shield.simulate.origin import OVERLOADED, Origin, Times
from shield.simulate.people import BEGINS, ROUND_TRIP
from shield.simulate.scene import RouteModel, Service
from shield.simulate.solving import CheckedWork
from shield.simulate.world import QUEUE_TICK

HASH_RATE: Final = 4e6
"""Hashes/s of a visitor's browser, as in the simulator."""
PATIENCE: Final = 120.0
"""Seconds that somebody waits for a pass."""
MOST_HANDLES: Final = 100_000
"""Clients of which the engine's handle is kept; others are identified again."""
BACKLOG: Final = 4096
MOST_TIMES: Final = 10_000
"""Routes of which it is remembered how long they take."""
PART: Final = re.compile(
    r"\.(?:css|m?js|png|jpe?g|gif|svg|webp|avif|ico|woff2?|ttf|map|json|mp[34]|webm|wasm)$", re.IGNORECASE
)
_PAGE: Final[Mapping[str, str]] = {
    "Accept": "text/html,*/*;q=0.8",
    "Accept-Language": "*",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
}
_PART: Final[Mapping[str, str]] = {
    "Accept": "*/*",
    "Accept-Language": "*",
    "Sec-Fetch-Mode": "no-cors",
    "Sec-Fetch-Dest": "image",
}


class Place:
    """One site: the engine that decides, and the service behind it, of which `survey` tells."""

    __slots__ = ("engine", "origin", "survey", "times")

    def __init__(self, engine: Engine, survey: Survey) -> None:
        self.engine = engine
        self.survey = survey
        self.times: dict[str, Times] = {}
        self.origin: Origin

    def times_of(self, route: str) -> Times:
        """How long a route takes."""
        times = self.times.get(route)
        if times is None:
            if len(self.times) > MOST_TIMES:
                self.times.clear()
            times = self.times[route] = Times(RouteModel(self.survey.time_of(route), 0.0))
        return times


class Driver:
    """One config, with an engine for each of its sites, on the way through the logs.

    It has more than 15 attributes because the engines, the services and the visitors meet here.
    """

    def __init__(
        self,
        config: Config,
        survey: Survey,
        answering: Collection[int],
        hosts: Hosts,
        services: Mapping[str, Survey],
        seed: int = 1,
    ) -> None:
        """`answering`: the keys of those who answer challenges; `services`: what is known of the service of each site,
        which `hosts` finds."""
        self._first = survey.first
        self._survey = survey
        self._answering = answering
        self._work = CheckedWork()
        self._window = config.pressure.window
        random = Random(f"{seed}/entropy")  # noqa: S311 - a replay is to come out the same again
        self._random = Random(f"{seed}/visitors")  # noqa: S311
        keys = Keys(random.randbytes(32))
        self._hosts = hosts
        self._calendar = Calendar(BEGINS)
        self._at: dict[str, Place] = {}
        first: Engine | None = None
        for site in hosts.sites:
            engine = Engine(
                replace(site.policy, dry_run=False),
                keys=keys,
                entropy=random.randbytes,
                wall_offset=survey.first - BEGINS,
                concurrency=site.upstream.max_concurrency,
                check_work=self._work.check,
                site=site.name,
                beside=first,
            )
            first = first or engine
            place = self._at[site.name] = Place(engine, services[site.name])
            service = Service(slots=place.survey.slots, backlog=BACKLOG)
            place.origin = Origin(service, self._calendar, self._random, BEGINS, partial(self._answered, place))
        self.engine = self._at[hosts.sites[0].name].engine
        known = Known(config.identity, config.listen.trusted_proxies)
        if known.sources:
            known.load()
            for place in self._at.values():
                place.engine.know(known.standing(), BEGINS)
        self._one = None if config.site else self._at[hosts.sites[0].name]
        self.outcomes = Outcomes(survey)
        if config.site:
            self.outcomes.sites = {site.name: OfSite() for site in hosts.sites}
        self._routes = Places()
        self._handles: dict[int, Client] = {}
        self._passes: dict[int, Pass] = {}
        self._solving: set[int] = set()
        self._at_service: dict[Request, tuple[float, Place]] = {}  # and when each was sent where, the first first
        self._next_tick = BEGINS
        self._next_sweep = BEGINS
        self._resting = True

    def ask(self, line: Line) -> bool:
        """Let a request come, after all that was to happen before; whether its client has an address at all."""
        now = line.at - self._first + BEGINS
        if self._resting:
            self._resting = False
            self._next_tick = now
            self._calendar.at(now, self._tick, None)
        self._calendar.run(now)
        key = line.key
        client = self._handles.get(key)
        if client is None:
            client = self._meet(line, now)
            if client is None:
                return False
        shown = self._passes.get(key)
        request = Request(client, line.method, line.path, _fields(line), shown, False, line)
        place = self._one or self._find(request, line, now)
        if place is None:
            return True
        verdict = place.engine.decide(request, now)
        if shown is not None and request.shown_pass is None:
            del self._passes[key]
        if request.has_slot:
            self._forward(place, request, now)
        elif request.queued_at:
            if self._next_tick > now + QUEUE_TICK:
                self._next_tick = now + QUEUE_TICK
                self._calendar.at(self._next_tick, self._tick, None)
        else:
            self._refused(place, request, verdict, now)
        return True

    def _find(self, request: Request, line: Line, now: float) -> Place | None:
        """Where a request goes, if there are several sites. What is for none of them is charged, and answered 421."""
        site = self._hosts.of(line)
        if site is None:
            self.engine.toll(request, now)
            self.outcomes.nobodys(line)
            return None
        self.outcomes.sites[site.name].requests += 1
        return self._at[site.name]

    def close(self) -> None:
        """Let everything end that is under way."""
        self._calendar.run(self._survey.last - self._first + BEGINS + PATIENCE)

    def _meet(self, line: Line, now: float) -> Client | None:
        try:
            client = self.engine.identify(line.address, line.agent or line.who, line.language, "", now)
        except ValueError:
            return None
        if len(self._handles) >= MOST_HANDLES:
            self._handles.clear()
        self._handles[line.key] = client
        return client

    # the service

    def _forward(self, place: Place, request: Request, now: float) -> None:
        line: Line = request.owner
        self.outcomes.decided(request, line, now - (line.at - self._first + BEGINS))
        self._at_service[request] = now, place
        place.origin.enter(request, place.times_of(self._routes.of(line)), now)

    def _answered(self, place: Place, request: Request, status: int, now: float) -> None:
        seconds = now - self._at_service.pop(request)[0]
        line: Line = request.owner
        if status != OVERLOADED:
            status = line.status or status
        released = place.engine.learn(request, Outcome(status, seconds, status == 101), now)
        if released:
            self._go_on(place, released, now)
        if request.grant and status < 400 and line.key in self._answering:
            token = place.engine.grant(request, now)
            if token is not None:
                self._keep(line.key, token, now)

    def _go_on(self, place: Place, requests: Sequence[Request], now: float) -> None:
        for request in requests:
            if request.has_slot:
                self._forward(place, request, now)
            else:
                self._refused(place, request, request.verdict, now)

    # those who ask

    def _refused(self, place: Place, request: Request, verdict: Verdict, now: float) -> None:
        line: Line = request.owner
        self.outcomes.refused(request, verdict, line)
        if self._one is None:
            self.outcomes.sites[place.engine.site].refused += 1
        if verdict.action is not Action.CHALLENGE:
            return
        challenge = place.engine.mint(request, now)
        key = line.key
        if key in self._answering and key not in self._solving and could_answer(request):
            self._solving.add(key)
            shape, scale = challenge.k, challenge.expected_hashes / challenge.k / HASH_RATE
            done = now + self._random.gammavariate(shape, scale) + ROUND_TRIP
            self._calendar.at(done, self._answer, (place, request.client, key, challenge, now))

    def _answer(self, what: tuple[Place, Client, int, Challenge, float], now: float) -> None:
        place, client, key, challenge, since = what
        found = place.engine.redeem(client, challenge.token, (challenge.k,) * challenge.k, now)
        self._redeemed(place, client, key, found, since, now)

    def _claim(self, what: tuple[Place, Client, int, str, float], now: float) -> None:
        place, client, key, ticket, since = what
        self._redeemed(place, client, key, place.engine.claim(client, ticket, now), since, now)

    def _redeemed(self, place: Place, client: Client, key: int, found: Redemption, since: float, now: float) -> None:
        if found.result is Redeemed.WAITING and now - since < PATIENCE:
            self._calendar.at(now + found.retry_after, self._claim, (place, client, key, found.ticket, since))
            return
        self._solving.discard(key)
        if found.result is Redeemed.ACCEPTED:
            self.outcomes.solved(key, now - since)
            self._keep(key, found.pass_token, now)

    def _keep(self, key: int, token: str, now: float) -> None:
        shown = self.engine.present(token, now)
        if shown is not None:
            self._passes[key] = shown

    # time

    def _tick(self, _: Any, now: float) -> None:
        if now != self._next_tick:
            return  # another was put before it
        waiting, calm = 0, not self._at_service
        sweep = now >= self._next_sweep
        for place in self._at.values():
            engine = place.engine
            released = engine.tick(now)
            if released:
                self._go_on(place, released, now)
            if sweep:
                self._next_sweep = now + SWEEP_SECONDS
                self._make_way(place, now)
            self.outcomes.look(engine, now - BEGINS + self._first, self._window)
            waiting += engine.waiting
            calm = calm and not engine.attack and engine.pressure < 0.001
        if calm and not waiting and not self._at_service:
            self._resting = True  # nothing can happen before the next request
            return
        self._next_tick = now + (QUEUE_TICK if waiting else self._window)
        self._calendar.at(self._next_tick, self._tick, None)

    def _make_way(self, place: Place, now: float) -> None:
        after = place.engine.long_after(now)
        if after < inf:
            at_service = self._at_service
            silent = list(takewhile(lambda request: at_service[request][0] < now - after, at_service))
            if self._one is None:
                silent = [request for request in silent if at_service[request][1] is place]
            released = place.engine.make_way(silent, now)
            if released:
                self._go_on(place, released, now)


def _fields(line: Line) -> dict[str, str]:
    """The fields of a request, as far as the log tells them, or its User-Agent and path let expect."""
    fields: dict[str, str] = {"Host": line.host, "User-Agent": line.agent}
    if line.fields:
        fields.update(line.fields)
        if line.language:
            fields["Accept-Language"] = line.language
    elif is_browser(line.agent):
        fields.update(_PART if PART.search(line.path) else _PAGE)
    if line.referer:
        fields["Referer"] = line.referer
    return fields
