"""One machine of 64 cores behind 100,000 proxies buys passes: the price takes most of them out of its reach."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shield.simulate.result import Result
from shield.simulate.scene import Scene, load
from shield.simulate.world import run

NO_PRICE = {"challenge": {"most_hashes": 2**20}}
"""The highest price is the lowest."""


def shortened() -> Scene:
    scene = load("farm")
    farm = replace(scene.populations["farm"], rate=1000.0)
    return replace(scene, seconds=60, calm=40, populations={**scene.populations, "farm": farm})


def check(result: Result) -> None:
    for name in ("returning", "recognised"):
        known = result.population(name)
        assert known.share >= 0.99
        assert known.latency(0.95, 5) < 0.2
        assert known.challenged == 0


@pytest.mark.parametrize("seed", [1, 2])
def test_the_price_rises_to_its_highest_and_who_was_here_before_notices_nothing(seed: int) -> None:
    result = run(shortened(), seed)
    check(result)
    assert max(result.values("price")) == 2**25


@pytest.mark.scene
@pytest.mark.parametrize("seed", [1, 2])
def test_the_price_keeps_passes_for_newcomers(seed: int) -> None:
    result = run("farm", seed)
    check(result)
    assert result.population("neighbours").share_of_visits(120, 480) >= 0.85
    with_it = result.population("strangers").share_of_visits(120, 480)
    assert with_it >= 0.35
    without = run("farm", seed, config=NO_PRICE)
    check(without)
    newcomers = without.population("strangers").share_of_visits(120, 480)
    assert newcomers <= 0.5
    assert newcomers <= with_it / 3
