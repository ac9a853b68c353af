"""What goes on by itself in one process, from one timer and one reading of the clock."""

from __future__ import annotations

import asyncio
from typing import Final

from shield.client.sweep import SWEEP_SECONDS
from shield.process.build import Parts, Setting
from shield.process.decisions import Decisions
from shield.process.dropper import Dropper
from shield.process.load_meter import LoadMeter, busy_clock

TICK_SECONDS: Final = 0.020
"""How often queued requests are looked at: half of the shortest time that one is kept (`queue.patience`)."""


class Timers:
    """Runs what is periodic from `start` to `stop`: the policy's ticks, deadlines, and what is done once a second."""

    __slots__ = (
        "_busy", "_decisions", "_dropper", "_due", "_meter", "_next_second", "_next_sweep", "_next_tick", "_parts",
        "_setting", "_timer",
    )  # fmt: skip

    def __init__(self, setting: Setting, parts: Parts, dropper: Dropper) -> None:
        self._setting = setting
        self._parts = parts
        self._dropper = dropper
        several = len(parts.places) > 1
        self._decisions = [
            Decisions(place.engine, parts.metrics, setting.log, place.site.name if several else "")
            for place in parts.places
        ]
        self._next_tick = self._next_second = self._next_sweep = 0.0
        self._busy = busy_clock()
        self._due = setting.clock()  # when the timer ought to run
        self._meter = LoadMeter(self._due, self._busy())
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Run now, and from now on."""
        self._timer = asyncio.get_running_loop().call_later(TICK_SECONDS, self.start)
        turns = self._parts.serving.forwarder.turns
        turns.now()  # what is done here is not time that the loop waits
        now = self._setting.clock()
        sideline = self._parts.serving.sideline
        sideline.notice(now - self._due)
        if self._meter.turn(now, self._due, sideline.behind(now)):
            self._meter.read(now, self._busy())
            behind, busy = self._meter.behind, self._meter.load.busy
            self._parts.serving.resting.read(behind, busy)
            sideline.read(behind, busy)
            self._parts.metrics.connections_aside = len(sideline)
        self._due = turns.due = now + TICK_SECONDS
        engines = self._parts.sites.engines
        if engines[0].shared or now >= self._next_tick or any(engine.waiting for engine in engines):
            self._tick(now)
        if self._parts.serving.resting:
            self._parts.serving.resting.sweep(now)
        if now >= self._next_sweep:
            self._sweep(now)
        if now >= self._next_second:
            self._second(now)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self, now: float) -> None:
        """Let the policy look at the queue, and once per window at everything."""
        if now >= self._next_tick:
            self._next_tick = now + self._setting.config.pressure.window
        for place in self._parts.places:
            place.serving.forwarder.resume(place.engine.tick(now, self._meter.load), now)
        for decisions in self._decisions:
            decisions.tell(now)

    def _sweep(self, now: float) -> None:
        """End what is beyond its deadline, and let those who wait overtake what takes long."""
        self._next_sweep = now + SWEEP_SECONDS
        serving = self._parts.serving
        serving.connections.sweep.sweep(now)
        serving.connections.streams.sweep(now)
        for place in self._parts.places:
            place.serving.forwarder.streams.sweep(now)
            place.serving.forwarder.make_way(now)
        for listener in self._parts.listeners:
            listener.retry()

    def _second(self, now: float) -> None:
        """What is done at each full second of the wall clock, as replies carry the date."""
        parts, wall = self._parts, now + self._setting.wall_offset
        self._next_second = now + 1.0 - wall % 1.0
        parts.replies.set_date(wall)
        for place in parts.places:
            place.pool.set_date(wall)
            place.pool.sweep(now)
        self._dropper.look()
        for listener in parts.listeners:
            listener.check()
            listener.expire(now)
        if parts.certificates is not None:
            parts.certificates.check(now)
        unbelieved = parts.serving.recognition.unbelieved
        if unbelieved.look(now):
            self._setting.log.event(
                "proxy_not_trusted",
                address=unbelieved.peer,
                share=round(unbelieved.share, 2),
                effect="all clients behind it are limited as one",
                setting="listen.trusted_proxies",
            )
