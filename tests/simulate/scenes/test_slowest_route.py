"""All load on the slowest route: a few hundred reports a second, each of which costs as much as twenty pages."""

from __future__ import annotations

import pytest

from shield.simulate.world import run


@pytest.mark.scene
@pytest.mark.parametrize("seed", [1, 2])
def test_the_users_of_all_routes_are_served(seed: int) -> None:
    result = run("slowest-route", seed)
    assert result.first("attack_onset") < 10.0
    for name in ("returning", "recognised"):
        users = result.population(name)
        assert users.share >= 0.99
        assert users.latency(0.5) < 0.1
        assert users.challenged == 0
    assert result.population("strangers").share >= 0.95
    assert result.population("reporters").share < 0.05
    costs = {route["route"]: route["cost"] for route in result.status["routes"]}
    assert costs["GET/report/*"] > 10 * costs["GET/"]
