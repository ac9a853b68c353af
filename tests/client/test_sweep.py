"""One timer for all connections."""

from __future__ import annotations

import contextlib
import random

from shield.client.sweep import SHARDS, Sweep
from shield.client.watch import Limits, TimeoutSettings, Watch
from shield.upstream.settings import UpstreamSettings


class Thing:
    def __init__(self, deadline: float) -> None:
        self.watch = Watch(Limits(TimeoutSettings(), UpstreamSettings()), 0.0, last=False)
        self.watch.deadline = deadline
        self.called: list[float] = []

    def on_deadline(self, now: float) -> None:
        self.called.append(now)


def test_each_deadline_is_met_within_one_round_and_not_before() -> None:
    deadlines = Sweep()
    chance = random.Random(1)
    things = [Thing(chance.uniform(0, 50)) for _ in range(500)]
    for thing in things:
        deadlines.add(thing)
    wanted = {thing: thing.watch.deadline for thing in things}
    for step in range(60 * SHARDS):
        deadlines.sweep(step / SHARDS)
    for thing in things:
        assert len(thing.called) == 1
        assert 0 <= thing.called[0] - wanted[thing] <= 1.0 + 1 / SHARDS


def test_what_was_removed_is_left_alone() -> None:
    deadlines = Sweep()
    things = [Thing(1.0) for _ in range(20)]
    for thing in things:
        deadlines.add(thing)
    assert len(deadlines) == 20
    assert set(deadlines) == set(things)
    for thing in things[:10]:
        deadlines.remove(thing)
        deadlines.remove(thing)
    for _ in range(SHARDS):
        deadlines.sweep(2.0)
    assert [len(thing.called) for thing in things] == [0] * 10 + [1] * 10


def test_connections_are_spread_over_the_shards() -> None:
    deadlines = Sweep()
    for _ in range(80):
        deadlines.add(Thing(0.0))
    assert [len(shard) for shard in deadlines._shards] == [10] * SHARDS


def test_a_deadline_may_remove_itself_and_others() -> None:
    deadlines = Sweep()
    things: list[Thing] = []

    class Closer(Thing):
        def on_deadline(self, now: float) -> None:
            super().on_deadline(now)
            for thing in things:
                deadlines.remove(thing)

    things += [Closer(0.0) for _ in range(SHARDS * 3)]
    for thing in things:
        deadlines.add(thing)
    for _ in range(SHARDS):
        deadlines.sweep(1.0)
    assert len(deadlines) == 0


def test_one_that_fails_does_not_keep_the_others_waiting_for_ever() -> None:
    deadlines = Sweep()

    class Broken(Thing):
        def on_deadline(self, now: float) -> None:
            raise RuntimeError("a bug")

    things = [Broken(0.0) for _ in range(SHARDS)] + [Thing(0.0) for _ in range(SHARDS * 5)]
    for thing in things:
        deadlines.add(thing)
    for _ in range(SHARDS * 3):
        with contextlib.suppress(RuntimeError):
            deadlines.sweep(1.0)
    assert all(thing.called for thing in things[SHARDS:])
