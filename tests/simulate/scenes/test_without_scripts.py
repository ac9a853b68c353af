"""A botnet that waits instead of solving: it costs nobody anything who was here before, or who solves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shield.simulate.scene import load
from shield.simulate.world import run


@pytest.mark.scene
@pytest.mark.parametrize("seed", [1, 2])
def test_who_solves_or_was_here_before_notices_nothing_of_those_who_wait(seed: int) -> None:
    result = run("without-scripts", seed)
    returning, strangers, readers = (result.population(name) for name in ("returning", "strangers", "readers"))
    assert returning.share >= 0.99
    assert returning.latency(0.95) < 0.2
    assert strangers.share >= 0.95
    assert strangers.latency(0.95) < 5
    # With 6,000 hosts that wait, too, chance lets some of those in who have no choice.
    assert 0.15 < readers.share < 0.9
    assert result.population("hosts").solved <= 0.05 * 200 * 300


@pytest.mark.scene
def test_without_a_botnet_that_waits_all_who_wait_get_in() -> None:
    scene = load("without-scripts")
    hosts = replace(scene.populations["hosts"], waits_out=False)
    result = run(replace(scene, populations={**scene.populations, "hosts": hosts}), 1)
    assert result.population("readers").share > 0.95
    assert result.population("strangers").share > 0.95


def test_who_waits_gets_in_after_the_time_that_was_told() -> None:
    scene = load("without-scripts")
    populations = {name: scene.populations[name] for name in ("readers",)}
    result = run(
        replace(scene, seconds=20, calm=1, populations=populations, config={"challenge": {"mode": "always"}}), 1
    )
    readers = result.population("readers")
    assert readers.challenged > 0
    assert readers.solved > 0
    assert 5 < readers.latency(0.5) < 7


def test_where_the_operator_wants_none_nobody_gets_in_by_waiting() -> None:
    scene = load("without-scripts")
    config = {"challenge": {"mode": "always"}, "market": {"waited_share": 0.0}}
    populations = {name: scene.populations[name] for name in ("readers",)}
    result = run(replace(scene, seconds=20, calm=1, populations=populations, config=config), 1)
    assert result.population("readers").share == 0
