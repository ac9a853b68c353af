"""A crowd that fills Shield's own core: who uses the site waits for no turn that strangers fill."""

from __future__ import annotations

import pytest

from shield.simulate.world import run


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.scene)])
def test_users_do_not_wait_for_strangers(seed: int) -> None:
    result = run("full-core", seed)
    users, newcomers = result.population("returning"), result.population("newcomers")
    assert max(result.values("cpu")) == pytest.approx(1.0, rel=0.01), "the core is full"
    assert max(result.values("lag")) > 0.1, "strangers wait for more than 1.5 s"
    assert users.share >= 0.999
    assert users.challenged == 0
    assert users.latency(0.95, 0, 25) <= 1.5 * users.latency(0.95, -30, 0)
    assert newcomers.share >= 0.98
    assert newcomers.latency(0.5, 0, 25) < 4.0
    assert result.population("crowd").lost > 100
