"""A pass is a budget however many use it, and an answer is worth something once."""

from __future__ import annotations

import pytest

from shield.model import UNIT_SECONDS, Reason
from shield.simulate.world import run

RATE, BURST = 20.0, 300.0
"""limits.pass"""


@pytest.mark.scene
@pytest.mark.parametrize("seed", [1, 2])
def test_all_who_share_a_pass_get_one_budget_and_all_who_share_an_answer_one_pass(seed: int) -> None:
    result = run("shared-pass", seed)
    budget = (BURST + RATE * result.scene.seconds) / (result.scene.service.time / UNIT_SECONDS)  # requests
    sharers, neighbours = result.population("sharers"), result.population("neighbours")
    assert sharers.forwarded <= 20  # then it was revoked
    assert result.first("pass_revoked") < 1.0
    assert sum(name == "pass_revoked" for _, name, _ in result.events) == 1  # eight networks are no proof
    assert neighbours.refusals[Reason.PASS_RATE] > 10_000
    assert 50 < neighbours.forwarded <= 1.3 * budget  # the learned cost is the median, a third below the mean or so
    assert sharers.solved == neighbours.solved == 0
    assert result.population("returning").share >= 0.99
    # and an answer is worth something once
    replayers = result.population("replayers")
    assert replayers.answers["foreign"] + replayers.answers["spent"] > 1000
    assert replayers.solved <= 12  # those who were at it before the first was done
