"""Junk answers, a farm in one network and a few very fast machines, to make challenges too dear for others."""

from __future__ import annotations

import pytest

from shield.simulate.world import run

LOWEST = 2**20


@pytest.mark.scene
@pytest.mark.parametrize("seed", [1, 2])
def test_the_price_stays_the_lowest(seed: int) -> None:
    result = run("price-inflation", seed)
    assert result.first("attack_onset") < 5.0
    assert min(result.values("pressure", 20)) > 0.5  # so there is a price to pay when they come
    assert set(result.values("price")) == {LOWEST}
    for name in ("neighbours", "strangers"):
        newcomers = result.population(name)
        assert newcomers.share >= 0.95
        assert newcomers.solving.quantile(0.95, 20) < 3.0
    for name in ("wrong", "almost", "forged"):
        assert result.population(name).solved == 0
    assert result.population("farm").solved > 100  # right answers, and many
    assert result.population("returning").share >= 0.99
