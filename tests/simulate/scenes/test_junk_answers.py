"""10,000 bad answers a second: checking them takes at most a quarter of a core, and holders of passes do not wait."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shield.policy.challenge.challenge import HASH_SECONDS
from shield.simulate.result import Result
from shield.simulate.scene import Scene, load
from shield.simulate.world import run


def check(result: Result) -> None:
    seconds = result.scene.seconds
    returning = result.population("returning")
    assert returning.share >= 0.99
    calm = returning.latency(0.5, -result.scene.calm, 0), returning.latency(0.95, -result.scene.calm, 0)
    flood = returning.latency(0.5, 0, seconds), returning.latency(0.95, 0, seconds)
    assert flood[0] <= 1.2 * calm[0]
    assert flood[1] <= 1.2 * calm[1]
    assert result.verify_hashes * HASH_SECONDS <= 0.25 * (seconds + 1)
    assert result.population("forgers").solved == result.population("almost").solved == 0


def answers(result: Result) -> int:
    return sum(sum(result.population(name).answers.values()) for name in ("forgers", "almost"))


def slighter(scene: Scene) -> Scene:
    """A tenth of it, and a tenth of the time to check it in."""
    populations = {
        name: replace(population, members=population.members // 10, rate=population.rate / 10)
        if population.kind == "attackers"
        else population
        for name, population in scene.populations.items()
    }
    return replace(scene, seconds=30, calm=70, populations=populations)


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.scene)])
def test_a_thousand_bad_answers_a_second(seed: int) -> None:
    result = run(slighter(load("junk-answers")), seed, config={"challenge": {"verify_share": 0.025}})
    check(result)
    assert result.verify_hashes * HASH_SECONDS <= 0.025 * 31
    assert answers(result) > 10_000


@pytest.mark.scene
@pytest.mark.parametrize("seed", [1, 2])
def test_ten_thousand_bad_answers_a_second(seed: int) -> None:
    result = run("junk-answers", seed)
    check(result)
    assert answers(result) > 200_000
    assert max(result.values("lag")) < 0.05
