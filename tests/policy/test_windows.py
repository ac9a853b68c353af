"""When a window is closed, what it takes with it, and who is told."""

from __future__ import annotations

from typing import Any

import pytest

from shield.model import Action
from shield.policy.pressure.settings import PressureSettings
from shield.policy.pressure.window import OwnLoad
from shield.policy.queue.settings import QueueSettings


def test_a_tick_between_windows_does_the_queue_only(world: Any) -> None:
    world.visit(world.client())
    world.engine.tick(world.now + 0.1)
    assert world.engine.status(world.now).requests_per_second == 0.0
    world.engine.tick(world.now + 0.5)
    assert world.engine.status(world.now).requests_per_second > 0.0


def test_at_three_in_the_morning_the_log_says_what_began_and_what_it_came_to(world: Any) -> None:
    world.storm(0.5)
    world.pass_time(20)
    world.lull()
    world.pass_time(600.5)
    assert not world.engine.attack
    onset, end = world.engine.events()
    assert onset[0] == "attack_onset"
    assert set(onset[1]) == {"cause", "pressure", "demand", "capacity", "overload", "requests_per_second"}
    assert onset[1]["cause"] == "demand"
    assert end[0] == "attack_end"
    assert end[1]["cause"] == "demand"
    assert end[1]["seconds"] == pytest.approx(20, abs=2), "the calm that ended it was no attack"
    assert end[1]["peak_pressure"] >= 0.5
    assert end[1]["pressure"] == 0.0
    assert world.engine.events() == []


def test_when_the_service_is_ill_by_itself_the_log_says_so_and_newcomers_are_let_in_again(world: Any) -> None:
    world.engine._windows._pressure._brownout.served = 100.0
    world.engine._windows._pressure._level.p = 0.5
    refused = 0
    for i in range(600):
        world.pass_time(0.5)
        world.engine._admission._shed_in_window = 1  # the queue turned somebody away
        if i % 20 == 0:
            newcomer = world.ask(world.client(f"198.51.100.{i // 20}"))
            refused += newcomer.verdict.action is Action.CHALLENGE
    assert refused == 6
    assert newcomer.verdict.action is Action.FORWARD
    for _ in range(100):
        world.engine._concurrency.slots.take()
    assert world.ask(world.client("198.51.100.99")).rank == -world.now  # after those who have been refused already
    assert world.engine._queue.pressed  # the better tier goes first all the same
    (onset, (name, fields)) = world.engine.events()
    assert (onset[0], name) == ("attack_onset", "brownout")
    assert fields["overload"] == ["shedding"]
    assert fields["served"] == pytest.approx(100, rel=0.01)
    status = world.engine.status(world.now)
    assert status.brownout
    assert status.strictness == 0.0
    assert status.pressure == pytest.approx(0.5, abs=0.01)


def test_shields_own_load_is_taken_with_each_window(world: Any) -> None:
    for _ in range(4):
        world.now += 0.5
        world.engine.tick(world.now, OwnLoad(lag=0.3, busy=1.0))
    status = world.engine.status(world.now)
    assert (status.own.lag, status.own.busy) == (0.3, 1.0)
    assert status.overload == ["self"]
    assert world.ask(world.client()).verdict.action is Action.CHALLENGE


def test_the_time_between_two_readings_is_a_setting(make: Any) -> None:
    world = make(pressure=PressureSettings(window=2.0))
    readings = 0
    for _ in range(16):
        before = world.engine._windows.weather
        world.pass_time(0.5)
        readings += world.engine._windows.weather is not before
    assert readings == 4


def test_everybody_is_told_what_the_weather_is(world: Any) -> None:
    engine = world.engine

    def told() -> tuple[bool, ...]:
        return engine._judge._tiers.pressed, engine._passes.pressed, engine._queue.pressed, engine._history.frozen

    assert told() == (False, False, False, False)
    world.storm(0.5)
    assert told() == (True, True, True, True)
    world.lull()
    assert told() == (False, False, False, True)  # the attack is not over yet
    world.pass_time(600.5)
    assert told() == (False, False, False, False)


def test_what_was_turned_away_counts_in_one_window_only(make: Any) -> None:
    world = make(1, queue=QueueSettings(length=0, ahead=0, least_length=0))
    occupant = world.ask(world.client())
    assert world.ask(world.client("192.0.2.2")).verdict.action is Action.SHED
    world.pass_time(0.5)
    assert world.engine.status(world.now).overload == ["shedding"]
    world.end(occupant)
    world.pass_time(0.5)
    assert world.engine.status(world.now).overload == []
