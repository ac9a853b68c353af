"""An attack that grows by 2 % a minute: no jump, and armed before more is asked for than there is."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest

from shield.simulate.result import Result
from shield.simulate.scene import Scene, load
from shield.simulate.world import run


def armed_at(result: Result) -> float:
    """When the pressure first acts on anybody."""
    return next((at for at, p in zip(result.times, result.series["pressure"], strict=True) if p > 0.05), inf)


def asked_for(result: Result, start: float, end: float) -> float:
    """Requests/s of everybody, without those that try again."""
    return sum(tally.asked(start, end) for tally in result.populations.values()) / (end - start)


def check(result: Result) -> None:
    service = result.scene.service
    capacity = service.slots / service.time
    armed = armed_at(result)
    assert asked_for(result, armed - 60, armed) < capacity
    assert asked_for(result, armed - 60, armed) > 0.7 * capacity  # and not long before
    assert result.first("attack_onset", armed - 60) <= armed
    assert asked_for(result, result.scene.seconds - 60, result.scene.seconds) > 1.1 * capacity
    for name in ("returning", "recognised"):
        users = result.population(name)
        assert users.share >= 0.99
        assert users.latency(0.95) < 0.3
    # the attackers' passes, earned while they behaved, are worth no more than those that newcomers buy
    assert result.population("strangers").share >= 0.99
    assert result.first("brownout") == inf
    # what is usual is still known: 20 ms on average, 18 in the middle
    routes = {route["route"]: route["baseline"] for route in result.status["routes"]}
    assert routes["GET/"] == pytest.approx(0.018, rel=0.3)


def shortened(scene: Scene) -> Scene:
    """The last half hour or so."""
    creeping = replace(scene.populations["creeping"], rate=120.0)
    return replace(scene, seconds=2100, populations={**scene.populations, "creeping": creeping})


@pytest.mark.scene
@pytest.mark.parametrize("seed", [1, 2])
def test_the_end_of_it(seed: int) -> None:
    check(run(shortened(load("creeping")), seed))


@pytest.mark.scene
@pytest.mark.parametrize("seed", [1, 2])
def test_two_hours_of_it(seed: int) -> None:
    check(run("creeping", seed))
