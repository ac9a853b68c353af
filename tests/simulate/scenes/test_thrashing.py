"""A service that does less the more it is given, and three times what it can do is asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shield.simulate.result import Result
from shield.simulate.scene import load
from shield.simulate.world import run


def check(result: Result, start: float, share: float) -> None:
    service = result.scene.service
    peak = service.thrash.beyond / service.time
    assert result.goodput(start, result.scene.seconds) >= share * peak
    assert result.population("people").share >= 0.99


@pytest.mark.scene
@pytest.mark.parametrize("seed", [1, 2])
def test_the_limit_is_found_within_seconds(seed: int) -> None:
    check(run(replace(load("thrashing"), seconds=50, calm=30), seed), 15, 0.82)


@pytest.mark.scene
@pytest.mark.parametrize("seed", [1, 2])
def test_a_service_that_thrashes_does_most_of_what_it_can(seed: int) -> None:
    check(run("thrashing", seed), 60, 0.85)


@pytest.mark.scene
def test_without_shield_it_does_next_to_nothing() -> None:
    scene = replace(load("thrashing"), seconds=90, calm=30)
    result = run(scene, 1, config={"dry_run": True})
    assert result.goodput(30, 90) < 0.2 * scene.service.thrash.beyond / scene.service.time
