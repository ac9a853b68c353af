"""What a limit or a ban refuses, and a few failing requests, do not hold the pressure up after a flood."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shield.model import Reason
from shield.simulate.scene import load
from shield.simulate.world import run

STUBBORN = ("limited", "banned", "failing")


@pytest.mark.scene
@pytest.mark.parametrize("seed", [1, 2])
def test_the_pressure_falls_as_if_they_were_not_there(seed: int) -> None:
    scene = load("held-up")
    result = run(scene, seed)
    assert result.population("limited").refusals[Reason.CLIENT_RATE] > 10_000
    assert result.population("banned").refusals[Reason.CLIENT_BANNED] > 10_000
    alone = run(replace(scene, populations={k: v for k, v in scene.populations.items() if k not in STUBBORN}), seed)
    calm, calm_alone = (
        next(at for at, p in zip(r.times, r.series["pressure"], strict=True) if at > 60 and p <= 0.05)
        for r in (result, alone)
    )
    assert calm <= calm_alone + 10
    assert max(result.values("pressure", calm + 1)) <= 0.05
    strangers = result.population("strangers")
    assert strangers.share_between(int(calm) + 1, 420) >= 0.99
    assert sum(strangers.at_once_in[strangers._from(calm + 31) :]) >= 0.99 * strangers.asked(calm + 31)
