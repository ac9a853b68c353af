"""A service that is nine tenths used becomes a little slower: no weak attack, and nobody is locked out for it."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest

from shield.simulate.scene import Scene, load
from shield.simulate.world import run


def slower(times: float, seconds: float) -> Scene:
    """The scene, ending while the service is so many times as slow."""
    scene = load("slower")
    change = replace(scene.service.changes[0], slower=times)
    return replace(scene, seconds=seconds, calm=1900, service=replace(scene.service, changes=(change,)))


@pytest.mark.scene
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(("times", "users", "strangers"), [(1.3, 0.99, 0.3), (1.6, 0.9, 0.25)])
def test_programs_get_their_share(times: float, users: float, strangers: float, seed: int) -> None:
    """They got nothing for as long as it lasted."""
    result = run(slower(times, 360), seed)
    assert result.first("brownout", 60) < 240
    late = (240, 340)
    shares = {name: each.share_of_visits(*late) for name, each in result.populations.items()}
    assert shares["programs"] > 0.35
    assert min(shares["returning"], shares["recognised"]) > users
    assert shares["strangers"] > strangers


@pytest.mark.scene
@pytest.mark.parametrize("seed", [1, 2])
def test_a_weak_attack_is_no_brownout(seed: int) -> None:
    """The service is as quick as ever, and newcomers come who ask for 1.2 times what there is in all."""
    scene = slower(1.0, 360)
    bots = replace(scene.populations["strangers"], kind="attackers", rate=120.0, parts=0, from_=60.0, hash_rate=0.0)
    populations = {**scene.populations, "bots": replace(bots, members=100_000)}
    result = run(replace(scene, populations=populations, service=replace(scene.service, changes=())), seed)
    assert result.first("attack_onset", 60) < 90
    assert result.first("brownout", 60) == inf
    for name in ("returning", "recognised"):
        assert result.population(name).share_of_visits(90, 340) > 0.99
