"""A botnet of 500 hosts in 400 networks buys passes: they are issued by network, so its many solves bring it few."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shield.simulate.result import Result
from shield.simulate.scene import Scene, load
from shield.simulate.world import run

WHO_COMES_FIRST = {"market": {"by_network": False}}
"""The operator's switch: networks do not matter."""


def smaller(part: int) -> Scene:
    """1 / part of the service, its users and the botnet, and 2 / part of the strangers, so that they can be counted."""
    scene = load("solvers")
    populations = {name: replace(each, rate=each.rate / part) for name, each in scene.populations.items()}
    populations["strangers"] = replace(populations["strangers"], rate=4.0 / part)
    populations["hosts"] = replace(populations["hosts"], members=16_000 // part, networks=400 // part)
    return replace(scene, calm=60, service=replace(scene.service, slots=16 // part), populations=populations)


def shortened() -> Scene:
    """70 s, with strangers who wait for a quarter of the time."""
    scene = smaller(4)
    strangers = replace(scene.populations["strangers"], waits=30.0)
    return replace(scene, seconds=70, calm=40, populations={**scene.populations, "strangers": strangers})


def check(result: Result) -> None:
    for name in ("returning", "recognised"):
        known = result.population(name)
        assert known.share >= 0.99
        assert known.latency(0.95, 5) < 0.2
        assert known.challenged == 0


@pytest.mark.scene
@pytest.mark.parametrize("seed", [1, 2])
def test_newcomers_come_before_the_many_solves_of_a_few_networks(seed: int) -> None:
    result = run(shortened(), seed)
    check(result)
    strangers = result.population("strangers")
    assert strangers.solved >= 0.7 * strangers.challenged  # 0.97 and 0.90; without issue by network one gets in
    assert strangers.share_of_visits(5, 40) >= 0.4  # that have ended when the story does; 0.70 and 0.59, or none
    assert max(result.values("price")) <= 2**22


@pytest.mark.scene
@pytest.mark.parametrize("seed", [1, 2])
def test_issue_by_network_keeps_passes_for_newcomers(seed: int) -> None:
    result = run("solvers", seed)
    check(result)
    # visits begun until 480 have ended with the story: a newcomer waits for 120 s at most
    assert result.population("strangers").share_of_visits(0, 480) >= 0.9  # 1.00


@pytest.mark.scene
@pytest.mark.parametrize("seed", [1, 2])
def test_without_issue_by_network_newcomers_get_at_most_a_fifth(seed: int) -> None:
    result = run("solvers", seed, config=WHO_COMES_FIRST)
    check(result)
    strangers = result.population("strangers")
    # the market issues enough for all until it has seen what such passes are used for: 0.28 and 0.22 from 60 to 180 s
    assert strangers.share_of_visits(60, 480) <= 0.2  # 0.17 and less
    assert strangers.share_of_visits(300, 480) <= 0.15  # 0.10 and 0.05
    assert max(result.values("price")) == 2**25  # which hosts of 160 million hashes/s pay


@pytest.mark.scene
@pytest.mark.parametrize("seed", [1, 2])
def test_an_eighth_of_it_with_issue_by_network_and_without(seed: int) -> None:
    result, without = run(smaller(8), seed), run(smaller(8), seed, config=WHO_COMES_FIRST)
    check(result)
    check(without)
    strangers, last = result.population("strangers"), without.population("strangers")
    assert strangers.share_of_visits(60, 480) >= 0.9  # 1.00
    assert last.share_of_visits(60, 480) <= 0.35  # 0.22 and 0.24
    assert last.share_of_visits(300, 480) <= 0.2  # 0.10
