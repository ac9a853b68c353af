"""A flood of new keys fills every table, pushes nobody's history out, and costs no newcomer the turn."""

from __future__ import annotations

import pytest

from shield.model import Reason
from shield.simulate.world import run


@pytest.mark.scene
@pytest.mark.parametrize("seed", [1, 2])
def test_new_keys_push_nobody_out(seed: int) -> None:
    result = run("new-keys", seed)
    tables = result.status["tables"]
    for name in ("addresses", "clients", "networks"):
        assert tables[name]["entries"] == tables[name]["max"]
        assert tables[name]["evictions"] > 50_000
        assert tables[name]["overflows"] == 0
    assert tables["history"]["entries"] >= 3000  # clients and passes of 2,000 people
    for name in ("returning", "recognised"):
        known = result.population(name)
        assert known.share >= 0.99
        assert known.challenged == 0
    # newcomers are told apart all the same: the shared entry of a full table limits none of them
    for name in ("visitors", "strangers", "forgers"):
        assert result.population(name).refusals[Reason.CLIENT_RATE] == 0
    assert result.population("visitors").share_between(-180, 0) >= 0.99
