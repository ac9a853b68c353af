"""4,000 sleepers that visited twice before the flood are known, and rank below those who use the site."""

from __future__ import annotations

import pytest

from shield.simulate.world import run


@pytest.mark.scene
@pytest.mark.parametrize("seed", [1, 2])
def test_sleepers_do_not_push_out_the_users(seed: int) -> None:
    result = run("sleepers", seed)
    for name in ("returning", "recognised"):
        users = result.population(name)
        assert users.share >= 0.99
        assert users.latency(0.95) < 0.5
    assert result.population("returning").challenged == 0
    assert result.population("sleepers").share < 0.6
    assert result.goodput(20, 240) > 0.85 * 320  # what there is is used
