"""What a flood leaves behind, and challenges that are ignored, keep nobody out for longer than a minute."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shield.simulate.result import Result
from shield.simulate.scene import Scene, load
from shield.simulate.world import run


def check(result: Result, flood_ends: float) -> None:
    over = flood_ends + 60
    leftover = result.population("leftover")
    assert leftover.challenged > 1000
    assert leftover.solved == 0
    assert max(result.values("pressure", over)) <= 0.05
    returning = result.population("returning")
    assert returning.share >= 0.999
    assert returning.latency(0.95, 0) <= 1.5 * returning.latency(0.95, -result.scene.calm, 0)
    assert returning.challenged == 0
    for name in ("strangers", "programs"):
        newcomers = result.population(name)
        assert newcomers.share_of_visits(int(over)) >= 0.95
        assert newcomers.latency(0.95, over) < 0.1


def shortened(scene: Scene) -> Scene:
    """Twenty seconds of the flood, at less than half of its rate."""
    populations = dict(scene.populations)
    populations["flood"] = replace(populations["flood"], until=20.0, rate=700.0)
    return replace(scene, seconds=120, calm=60, populations=populations)


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.scene)])
def test_newcomers_come_in_a_minute_after_a_short_flood(seed: int) -> None:
    check(run(shortened(load("leftover")), seed), 20.0)


@pytest.mark.scene
@pytest.mark.parametrize("seed", [1, 2])
def test_newcomers_come_in_a_minute_after_the_flood(seed: int) -> None:
    check(run("leftover", seed), 60.0)
