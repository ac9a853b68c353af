"""What the one timer of a process tells the parts that go by how full Shield's own core is."""

from __future__ import annotations

import asyncio
import math
from types import SimpleNamespace
from typing import Any

from shield.client.resting import Resting
from shield.operator.metrics import Metrics
from shield.process.load_meter import MEASURED_SECONDS, PATIENT
from shield.process.timers import TICK_SECONDS, Timers
from shield.wire.sideline import LATE_ONCE, POSSIBLE, READINGS, Sideline
from shield.wire.turns import Turns


class Line(Sideline):
    """One on which so many wait for so long."""

    wait = 0.0
    aside = 0

    def behind(self, now: float) -> float:
        return self.wait

    def __len__(self) -> int:
        return self.aside


class Process:
    """A process of which only the timer is real, and what it tells of the load; `busy` all the time."""

    def __init__(self) -> None:
        self.now = 1000.0
        loop = asyncio.get_running_loop()
        turns = Turns(loop, lambda: self.now)
        self.sideline = Line(loop, turns, lambda: self.now)
        self.resting = Resting()
        self.ticks: list[Any] = []
        forwarder = SimpleNamespace(turns=turns, resume=lambda *_: None)
        serving = SimpleNamespace(sideline=self.sideline, resting=self.resting, forwarder=forwarder)
        engine: Any = SimpleNamespace(waiting=0, shared=False, tick=lambda _, load: self.ticks.append(load))
        site = SimpleNamespace(name="")
        place = SimpleNamespace(engine=engine, serving=serving, site=site)
        self.metrics = Metrics()
        parts: Any = SimpleNamespace(
            serving=serving,
            sites=SimpleNamespace(engines=[engine]),
            places=[place],
            metrics=self.metrics,
            listeners=(),
        )
        config = SimpleNamespace(pressure=SimpleNamespace(window=0.5))
        setting: Any = SimpleNamespace(clock=lambda: self.now, config=config, log=None, wall_offset=0.0)
        self.timers = Timers(setting, parts, None)  # type: ignore[arg-type]
        self.timers._next_sweep = self.timers._next_second = math.inf  # what it does besides
        self.timers._busy = lambda: self.now
        self.timers._decisions = []  # for the log

    def run(self, seconds: float, late: float = 0.0) -> None:
        """Have the timer run for so long, `late` each time."""
        end = self.now + seconds
        while self.now < end:
            self.now += TICK_SECONDS + late
            self.timers.stop()
            self.timers.start()
        self.timers.stop()
        self.sideline.close()


async def test_strangers_stand_aside_while_the_core_is_full_and_count_as_late_beyond_their_patience() -> None:
    process = Process()
    process.run(2 * MEASURED_SECONDS)
    assert not process.sideline.open
    assert process.resting.seconds == 0.0
    process.run(2 * MEASURED_SECONDS, late=0.03)
    assert process.sideline.open is POSSIBLE
    assert process.resting.seconds > 0.0, "strangers are served late"
    process.sideline.wait = PATIENT / 2
    process.run(4 * MEASURED_SECONDS)
    assert process.sideline.open is POSSIBLE, "they wait"
    assert process.ticks[-1].lag < 0.01, "and nobody else does"
    process.sideline.wait = PATIENT + 0.2
    process.run(4 * MEASURED_SECONDS)
    assert 0.19 < process.ticks[-1].lag < 0.21
    process.sideline.wait = 0.0
    process.run((READINGS + 2) * MEASURED_SECONDS)
    assert not process.sideline.open


async def test_a_single_stall_opens_the_sideline_for_a_moment() -> None:
    process = Process()
    process.run(0.1)
    process.run(0.01, late=2 * LATE_ONCE)
    assert process.sideline.open is POSSIBLE


async def test_how_many_stand_aside_is_counted() -> None:
    process = Process()
    process.sideline.aside = 2
    process.run(2 * MEASURED_SECONDS)
    assert process.metrics.counters().connections.aside == 2
