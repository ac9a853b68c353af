"""200,000 addresses, each of which asks once in forty seconds, without a proof of work from any of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shield.simulate.result import Result
from shield.simulate.scene import load
from shield.simulate.world import run


def check(result: Result, pressure: float) -> None:
    for name in ("returning", "recognised"):
        known = result.population(name)
        assert known.share >= 0.99
        assert known.share_at_once >= 0.99
        assert known.share_between(5, result.scene.seconds) >= 0.995  # the defence is up
        assert known.latency(0.95, 5) < 0.1
        assert known.challenged == 0
    assert result.first("attack_onset") <= 5.0
    assert result.value("pressure", 2.0) > 0.05  # in force: whoever is new is challenged
    assert result.value("pressure", 5.0) >= pressure
    botnet = result.population("botnet")
    assert botnet.served(5) <= 0.01 * botnet.asked(5)  # who was answered before, and asks again at once, goes on
    assert botnet.served(15) <= 0.001 * botnet.asked(15)
    for name in ("neighbours", "strangers"):
        assert result.population(name).share >= 0.95
    assert result.upstream.quantile(0.99, 5) < 0.1
    assert max(result.values("lag")) < 0.05


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.scene)])
def test_who_was_here_before_notices_nothing_of_the_first_minute(seed: int) -> None:
    scene = load("botnet")
    botnet = replace(scene.populations["botnet"], members=40_000, networks=10_000, rate=1500.0)
    short = replace(scene, seconds=45, calm=70, populations={**scene.populations, "botnet": botnet})
    check(run(short, seed), 0.25)  # 0.37 to 0.53 with four seeds


@pytest.mark.scene
@pytest.mark.parametrize("seed", [1, 2])
def test_who_was_here_before_notices_nothing(seed: int) -> None:
    result = run("botnet", seed)
    check(result, 0.7)  # 0.86 with two seeds
    for name in ("neighbours", "strangers"):  # the tables are full of those who ignore challenges by now
        assert result.population(name).share_of_visits(450, 600) >= 0.95


@pytest.mark.scene
def test_without_shield_hardly_anybody_is_served() -> None:
    scene = replace(load("botnet"), seconds=120)
    assert run(scene, 1, config={"dry_run": True}).population("returning").share_at_once < 0.3
