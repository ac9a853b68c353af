"""Attackers with passes from two visits do not go before users of long standing, and leave something to newcomers."""

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
    # a twentieth of the service is theirs and the botnet's; in the order of arrival the botnet left them a hundredth
    assert result.population("strangers").share > 0.35
