"""25 times the usual, among them a botnet that solves nothing and a farm that buys what it can."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shield.simulate.result import Result
from shield.simulate.scene import Scene, load
from shield.simulate.world import run


def check(result: Result, start: int, used: float) -> None:
    for name in ("returning", "recognised"):
        known = result.population(name)
        assert known.share >= 0.99
        assert known.challenged == 0
    service = result.scene.service
    assert result.goodput(start, result.scene.seconds) >= used * service.slots / service.time
    crowd = result.population("near")
    for name in ("botnet", "hosts"):
        attackers = result.population(name)
        assert attackers.served(start) < 0.05 * crowd.served(start)
    assert crowd.share_of_visits() > 0.3
    assert max(result.values("lag")) < 0.1


def shortened(scene: Scene) -> Scene:
    populations = dict(scene.populations)
    populations["botnet"] = replace(populations["botnet"], rate=1000.0, from_=10.0)
    populations["hosts"] = replace(populations["hosts"], rate=250.0, from_=15.0)
    return replace(scene, seconds=35, calm=80, populations=populations)


@pytest.mark.scene
@pytest.mark.parametrize("seed", [1, 2])
def test_the_first_seconds(seed: int) -> None:
    check(run(shortened(load("crowd-and-attack")), seed), 20, 0.75)


@pytest.mark.scene
@pytest.mark.parametrize("seed", [1, 2])
def test_the_crowd_gets_what_the_attackers_leave_of_it(seed: int) -> None:
    check(run("crowd-and-attack", seed), 30, 0.85)
