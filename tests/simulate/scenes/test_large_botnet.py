"""20,000 hosts in 15,000 networks, each of which solves as people do: who was here before notices nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shield.simulate.result import Result
from shield.simulate.scene import Scene, load
from shield.simulate.world import run


def check(result: Result) -> None:
    seconds = int(result.scene.seconds)
    for name in ("returning", "recognised"):
        known = result.population(name)
        assert known.share >= 0.99
        assert known.share_at_once >= 0.99
        assert known.latency(0.95) < 0.2
        assert known.challenged == 0
        assert known.longest_lockout < 5
    assert result.first("attack_onset") <= 5.0
    # no oscillation: the defence stays up, the service is used, and the limit stays near its 16 slots
    assert min(result.values("pressure", 20, seconds)) > 0.9
    assert all(10 <= limit <= 32 for limit in result.values("concurrency", 20, seconds))
    for at in range(20, seconds - 19, 20):
        assert result.goodput(at, at + 20) > 0.7 * 800
    # of the newcomers those get in whose networks are known
    assert result.population("neighbours").share >= 0.8


def shortened(scene: Scene) -> Scene:
    populations = dict(scene.populations)
    populations["hosts"] = replace(populations["hosts"], rate=1000.0)
    populations["neighbours"] = replace(populations["neighbours"], rate=2.0)
    return replace(scene, seconds=40, calm=40, populations=populations)


@pytest.mark.scene
@pytest.mark.parametrize("seed", [1, 2])
def test_who_was_here_before_notices_nothing_of_the_first_seconds(seed: int) -> None:
    check(run(shortened(load("large-botnet")), seed))


@pytest.mark.scene
@pytest.mark.parametrize("seed", [1, 2])
def test_who_was_here_before_notices_nothing(seed: int) -> None:
    check(run("large-botnet", seed))
