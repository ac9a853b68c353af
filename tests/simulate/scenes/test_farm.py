"""One machine of 64 cores behind 100,000 proxies buys passes: the price takes most of them out of its reach."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shield.simulate.result import Result
from shield.simulate.scene import Scene, load
from shield.simulate.world import run

NO_PRICE = {"challenge": {"most_hashes": 2**20}}
"""The highest price is the lowest."""


HURRIED = {"market": {"window": 1.0, "most_wait": 15.0}, "challenge": {"bought_life": 30.0}}
"""What takes minutes takes seconds: the way to the highest price, and what the farm bought before."""


def smaller() -> Scene:
    """An eighth of the service, its users and the machine; a quarter of the strangers, so that they can be counted."""
    scene = load("farm")
    populations = {name: replace(each, rate=each.rate / 8) for name, each in scene.populations.items()}
    populations["strangers"] = replace(populations["strangers"], rate=0.5)
    populations["farm"] = replace(populations["farm"], hash_rate=populations["farm"].hash_rate / 8)
    return replace(scene, calm=60, service=replace(scene.service, slots=2), populations=populations)


def shortened() -> Scene:
    """Two minutes, with strangers who wait for a third of the time."""
    scene = smaller()
    strangers = replace(scene.populations["strangers"], rate=1.0, waits=40.0)
    return replace(scene, seconds=120, calm=40, populations={**scene.populations, "strangers": strangers})


def check(result: Result) -> None:
    for name in ("returning", "recognised"):
        known = result.population(name)
        assert known.share >= 0.99
        assert known.latency(0.95, 5) < 0.2
        assert known.challenged == 0


@pytest.mark.scene
@pytest.mark.parametrize("seed", [1, 2])
def test_strangers_get_in_when_the_farm_has_to_pay_the_highest_price(seed: int) -> None:
    result = run(shortened(), seed, config=HURRIED)
    check(result)
    assert max(result.values("price")) == 2**25
    # visits that have ended when the story does; 0.48 and 0.50, and at the lowest price none
    assert result.population("strangers").share_of_visits(20, 80) >= 0.3


@pytest.mark.scene
@pytest.mark.parametrize("seed", [1, 2])
def test_the_price_keeps_passes_for_newcomers(seed: int) -> None:
    result = run("farm", seed)
    check(result)
    # visits begun until 480 have ended with the story: a newcomer waits for 120 s at most
    assert result.population("neighbours").share_of_visits(60, 480) >= 0.9  # all, and all
    assert result.population("strangers").share_of_visits(60, 480) >= 0.15  # 0.19 and 0.22


@pytest.mark.scene
@pytest.mark.parametrize("seed", [1, 2])
def test_without_the_price_newcomers_get_at_most_half_of_what_they_get_with_it(seed: int) -> None:
    without = run("farm", seed, config=NO_PRICE)
    check(without)
    assert without.population("strangers").share_of_visits(60, 480) <= 0.35 / 2
