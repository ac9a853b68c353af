"""A botnet of 500 hosts in 400 networks buys passes: they are issued by network, so its many solves bring it few."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shield.simulate.result import Result
from shield.simulate.scene import Scene, load
from shield.simulate.world import run

WHO_COMES_FIRST = {"market": {"by_network": False}}
"""The operator's switch: networks do not matter."""


def shortened() -> Scene:
    scene = load("solvers")
    hosts = replace(scene.populations["hosts"], rate=1000.0)
    return replace(scene, seconds=60, calm=40, populations={**scene.populations, "hosts": hosts})


def check(result: Result) -> None:
    for name in ("returning", "recognised"):
        known = result.population(name)
        assert known.share >= 0.99
        assert known.latency(0.95, 5) < 0.2
        assert known.challenged == 0


@pytest.mark.parametrize("seed", [1, 2])
def test_newcomers_come_before_the_many_solves_of_a_few_networks(seed: int) -> None:
    result = run(shortened(), seed)
    check(result)
    assert result.population("strangers").share_of_visits() >= 0.5
    assert max(result.values("price")) <= 2**22


@pytest.mark.scene
@pytest.mark.parametrize("seed", [1, 2])
def test_issue_by_network_keeps_passes_for_newcomers(seed: int) -> None:
    result = run("solvers", seed)
    check(result)
    assert result.population("strangers").share_of_visits(0, 480) >= 0.9
    without = run("solvers", seed, config=WHO_COMES_FIRST)
    check(without)
    assert without.population("strangers").share_of_visits(0, 480) <= 0.2
