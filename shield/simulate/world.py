"""The world of a scene: the engine that serves, before a model of the service and of people, on a simulated clock.

What happens between a client and the engine (client/, replies/own_pages.py, process/service.py) is done here in the
same order: decide, forward or queue or refuse, learn, grant, mint, redeem, claim, tick. Shield's own core is a queue in
order, which the known pass, with so many microseconds for each thing that it does. Networks are fast and lose nothing.
Proof of work is not computed: solving takes the time that it would, and the engine is told how many parts of an answer
are right.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import takewhile
from math import inf
from random import Random
from typing import Any, Final

from shield.client.sweep import SWEEP_SECONDS
from shield.config.settings import Config
from shield.config.validation import validate
from shield.model import Action, Outcome, Verdict
from shield.operator.status import plain
from shield.policy.engine import Engine
from shield.policy.keys import Keys
from shield.policy.pass_tokens import TOKEN_CHARS
from shield.policy.request import Request
from shield.simulate.addresses import blocks
from shield.simulate.calendar import Calendar
from shield.simulate.core import Core
from shield.simulate.origin import Origin
from shield.simulate.past import remember
from shield.simulate.people import AGAIN, BEGINS, Crowd, Member, Page, Want
from shield.simulate.result import Result, Tally
from shield.simulate.scene import Scene, SceneError, load
from shield.simulate.solving import CheckedWork, Solving

WALL_OFFSET: Final = 1_700_000_000.0 - BEGINS
QUEUE_TICK: Final = 0.020
"""Seconds between ticks, as in service.py."""
SAMPLE: Final = 1.0
GC_THRESHOLDS: Final = (50_000, 50, 1000)  # a simulation makes no garbage in cycles worth looking for
ERRORS: Final = frozenset({502, 503, 504})

Progress = Callable[[float, str], None]
"""Called each simulated second with the time of the story and what is to be said of it."""


def run(
    scene: Scene | str,
    seed: int = 1,
    config: Config | Mapping[str, Any] | None = None,
    prepare: Callable[[Engine], None] | None = None,
    progress: Progress | None = None,
) -> Result:
    """Play a scene, given itself or by name.

    `config` takes the place of the scene's own; a mapping (in the words of config.toml) is laid over it instead.
    `prepare` gets the engine before anything happens, to put something else in a part's place. SceneError for a scene
    that makes no sense.
    """
    if isinstance(scene, str):
        scene = load(scene)
    if not isinstance(config, Config):
        config = settings(scene, config or {})
    thresholds = gc.get_threshold()
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        return World(scene, seed, config, prepare).play(progress)
    finally:
        gc.set_threshold(*thresholds)


def settings(scene: Scene, changes: Mapping[str, Any]) -> Config:
    """The config that a scene brings along, with changes laid over it."""
    config, mistakes = validate(Config, _merged(scene.config, changes), {})
    if config is None:
        raise SceneError(f"{scene.title}: config", mistakes)
    return config


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


class World:
    """One run of a scene. Everything inside is on the engine's clock, everything in `result` on the story's.

    It has more than 15 attributes because the engine, the service, Shield's core and the people meet here. Some are
    methods of theirs, which a scene calls a million times.
    """

    def __init__(
        self, scene: Scene, seed: int, config: Config, prepare: Callable[[Engine], None] | None = None
    ) -> None:
        self.scene = scene
        self.now = BEGINS - scene.calm
        self._end = BEGINS + scene.seconds
        self._settings = config.policy()
        self._window = config.pressure.window
        self._checked = CheckedWork()
        entropy = Random(f"{seed}/entropy")
        self._make_engine = partial(
            Engine,
            keys=Keys(entropy.randbytes(32)),
            entropy=entropy.randbytes,
            wall_offset=WALL_OFFSET,
            concurrency=config.upstream.max_concurrency,
            check_work=self._checked.check,
        )
        self.engine = self._make_engine(self._settings)
        self._core = Core(scene.costs, self.now)
        self.calendar = Calendar(self.now)
        self.origin = Origin(scene.service, self.calendar, Random(f"{seed}/service"), BEGINS, self._answered)
        self.result = Result(scene, seed, {})
        self.crowds: dict[str, Crowd] = {}
        for name, block in blocks(scene.populations).items():
            model = scene.populations[name]
            tally = self.result.populations[name] = Tally(model.kind, scene.seconds, scene.calm)
            self.crowds[name] = Crowd(name, model, block, self.origin, tally, BEGINS, f"{seed}/{name}")
        remember(self.engine, self._past_engine, self.crowds.values(), self.now, WALL_OFFSET)
        if prepare is not None:
            prepare(self.engine)
        self._decide = self.engine.decide
        self._learn = self.engine.learn
        self._work = self._core.work
        self._costs = scene.costs
        self._solving = Solving(
            self.engine, self.calendar, self._core, scene.costs, self._checked, config.challenge.lifetime, self
        )
        self._at_service: dict[Request, float] = {}  # and when each was sent, the first first
        self._next_tick = self._next_sweep = self.now

    def _past_engine(self) -> Engine:
        """One with the same keys, that gives passes in any mode."""
        challenge = replace(self._settings.challenge, mode="auto")
        return self._make_engine(replace(self._settings, dry_run=False, challenge=challenge))

    def play(self, progress: Progress | None = None) -> Result:
        """From the beginning of the calm to the end of the story."""
        began = time.perf_counter()
        self._progress = progress
        at = self.calendar.at
        at(self.now, self._tick, None)
        at(self.now, self._sample, None)
        for crowd in self.crowds.values():
            first = crowd.start(self.now)
            if first < inf:
                at(first, self._visit, crowd)
        self.calendar.run(self._end)
        self._sample(None, self._end)
        for crowd in self.crowds.values():
            for member in crowd.members.values():
                crowd.tally.locked_out(member.locked_out(self._end))
        self.result.status = plain(self.engine.status(self._end))
        self.result.verify_hashes = self._checked.hashes
        self.result.wall_seconds = time.perf_counter() - began
        return self.result

    # members

    def _member(self, crowd: Crowd, number: int, now: float) -> Member:
        """A member, made when it is first seen."""
        member = crowd.members.get(number)
        if member is not None:
            return member
        passes = crowd.model.passes
        token = None
        if passes != "none":
            text = crowd.tokens.get(0 if passes == "shared" else number, "A" * TOKEN_CHARS)
            token = self.engine.present(text, now)
        member = Member(crowd, crowd.identify(self.engine, number, now), token)
        if not crowd.model.fresh:
            crowd.members[number] = member
        return member

    # asking

    def _visit(self, crowd: Crowd, now: float) -> None:
        """Let somebody come."""
        following = crowd.after(now)
        if following < inf:
            self.calendar.at(following, self._visit, crowd)
        member = self._member(crowd, crowd.pick(), now)
        path = crowd.path()
        self.ask(Want(member, path.text(crowd.random), path.times, None, now), now)

    def ask(self, want: Want, now: float) -> None:
        """Make one try: it arrives, and waits for Shield to read it if that is late."""
        begins = self._core.arrive(now, want.member.is_stranger)
        if begins <= now:
            self._try(want, now)
        elif begins < inf:
            self.calendar.at(begins, self._try_late, want)
        else:
            crowd = want.member.crowd
            crowd.tally.lost += 1
            self.try_again(want, crowd.random.uniform(*AGAIN), now)

    def _try_late(self, want: Want, now: float) -> None:
        self._core.begin()
        self._try(want, now)

    def _try(self, want: Want, now: float) -> None:
        """Decide about a request that Shield has read."""
        member = want.member
        crowd = member.crowd
        model = crowd.model
        headers = crowd.headers if want.page is None else crowd.part_headers
        request = Request(member.client, model.method, want.path, headers, member.shown_pass, False, want)
        verdict = self._decide(request, now)
        crowd.tally.tries += 1
        if request.shown_pass is None:
            member.shown_pass = None
        if request.has_slot:
            self._forward(request, want, now)
        elif request.queued_at:
            self._work(self._costs.refuse, now)
        else:
            self._refused(request, want, verdict, now)
            return
        if model.leaves:
            want.request = request
            self.calendar.at(now + model.leaves, self._leave, request)

    def _forward(self, request: Request, want: Want, now: float) -> None:
        self._work(self._costs.forward, now)
        want.member.crowd.tally.forwarded += 1
        want.sent_at = now
        self._at_service[request] = now
        self.origin.enter(request, want.times, now)

    def _answered(self, request: Request, status: int, now: float) -> None:
        """Take the service's answer."""
        want: Want | None = request.owner
        if want is None:  # its client has left
            return
        del self._at_service[request]
        want.request = None
        seconds = now - want.sent_at
        self.result.upstream.add(now - BEGINS, seconds)
        released = self._learn(request, Outcome(status, seconds), now)
        if released:
            self._go_on(released, now)
        if status in ERRORS:
            self.try_again(want, want.member.crowd.random.uniform(*AGAIN), now)
            return
        if request.grant and status < 400:
            token = self.engine.grant(request, now)
            if token is not None:
                want.member.shown_pass = self.engine.present(token, now)
        self.ended(want, now, now - want.asked_at <= want.patience)

    def _go_on(self, requests: Sequence[Request], now: float) -> None:
        """Go on with requests that waited in the queue: each has a slot now, or was turned away."""
        for request in requests:
            if request.has_slot:
                self._forward(request, request.owner, now)
            else:
                request.owner.request = None
                self._refused(request, request.owner, request.verdict, now)

    def _leave(self, request: Request, now: float) -> None:
        """Let the client close the connection, if it waits still."""
        want: Want = request.owner
        if want is None or want.request is not request:
            return
        want.request = None
        request.owner = None
        at_work = self._at_service.pop(request, None) is not None
        self._go_on(self.engine.cancel(request, now, at_work), now)
        self.ended(want, now, False)

    def _refused(self, request: Request, want: Want, verdict: Verdict, now: float) -> None:
        crowd = want.member.crowd
        crowd.tally.refusals[verdict.reason] += 1
        if verdict.action is Action.CHALLENGE:
            crowd.tally.challenged += 1
            self._work(self._costs.challenge, now)
            if crowd.model.waits_out and want.page is None:
                self._solving.wait_out(want, request, now)
                return
            challenge = self.engine.mint(request, now)
            if want.page is not None and crowd.model.browser:
                self.ended(want, now, False)
            elif crowd.model.hash_rate or crowd.model.answers != "right":
                self._solving.solve(want, challenge, now)
            else:
                self.ended(want, now, False)
            return
        self._work(self._costs.refuse, now)
        if verdict.action is Action.BAN:
            self.ended(want, now, False)
        else:
            self.try_again(want, verdict.retry_after * crowd.random.uniform(1.0, 1.5), now)

    def try_again(self, want: Want, after: float, now: float) -> None:
        model = want.member.crowd.model
        retries = 0 if model.browser and want.page is not None else model.retries
        if want.tries < retries and now + after - want.asked_at < want.patience:
            want.tries += 1
            self.calendar.at(now + after, self.ask, want)
        else:
            self.ended(want, now, False)

    def ended(self, want: Want, now: float, served: bool) -> None:
        """Count a want that was had, or given up."""
        member = want.member
        crowd = member.crowd
        at_once = served and not want.tries and not want.challenged
        crowd.tally.ended(want.asked_at - BEGINS, now - BEGINS, served, at_once, want.page is None)
        if served:
            crowd.tally.locked_out(member.served(now))
        else:
            member.failed(want.asked_at)
        page = want.page
        if page is not None:
            page.missing -= served
            if served and not page.missing:
                crowd.tally.has_all(page.asked_at - BEGINS, now - BEGINS)
            if page.left:
                self._part(member, page, now)
        elif served and crowd.model.parts:
            page = Page(crowd.model.parts, want.asked_at)
            crowd.tally.pages += 1
            for _ in range(min(crowd.model.connections, page.left)):
                self._part(member, page, now)

    def _part(self, member: Member, page: Page, now: float) -> None:
        page.left -= 1
        path = member.crowd.part
        self.calendar.at(now, self.ask, Want(member, path.text(member.crowd.random), path.times, page, now))

    # time

    def _tick(self, _: None, now: float) -> None:
        """As the service's timer does."""
        self.calendar.at(now + QUEUE_TICK, self._tick, None)
        engine = self.engine
        self._core.turn(now)
        if now >= self._next_tick:
            self._next_tick = now + self._window
            self._core.read(self._window)
        elif not engine.waiting:
            return
        released = engine.tick(now, self._core.load)
        if released:
            self._go_on(released, now)
        if now >= self._next_sweep:
            self._next_sweep = now + SWEEP_SECONDS
            self._make_way(now)
        for name, details in engine.events():
            self.result.events.append((now - BEGINS, name, details))

    def _make_way(self, now: float) -> None:
        """Have requests that take long go on without their slots, as the forwarder does."""
        after = self.engine.long_after(now)
        if after < inf:
            silent = list(takewhile(lambda request: self._at_service[request] < now - after, self._at_service))
            released = self.engine.make_way(silent, now)
            if released:
                self._go_on(released, now)

    def _sample(self, _: None, now: float) -> None:
        """Keep the readings of this second."""
        self.calendar.at(now + SAMPLE, self._sample, None)
        status, load, origin = self.engine.status(now), self._core.load, self.origin
        models = (origin.inside, origin.answered, origin.answered - origin.failed, load.lag, load.busy)
        self.result.sample(now - BEGINS, status, models)
        if self._progress is not None:
            self._progress(now - BEGINS, f"pressure {status.pressure:.2f}")
