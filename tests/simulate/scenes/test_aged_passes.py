"""Attackers that hold passes from two visits do not go before users of long standing, and leave something to newcomers."""

from __future__ import annotations

import pytest

from shield.simulate.world import run


@pytest.mark.scene
@pytest.mark.parametrize("seed", [1, 2])
def test_passes_of_two_visits_push_nobody_out(seed: int) -> None:
    result = run("aged-passes", seed)
    for name in ("returning", "recognised"):
        users = result.population(name)
        assert users.share >= 0.99
        assert users.latency(0.95) < 0.2
    assert result.population("returning").challenged == 0
    assert result.population("aged").share < 0.5
    # of newcomers as much as without any of the aged, or a tenth of it while those come before all who bought a pass
    assert result.population("strangers").share > 0.35
