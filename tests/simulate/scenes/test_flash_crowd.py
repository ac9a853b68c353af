"""25 times the usual from one moment to the next, and nobody attacks: people wait, and do not hash for long."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shield.simulate.result import Result
from shield.simulate.scene import load
from shield.simulate.world import run

MOST_HASHING = 5.0  # seconds, of a phone that does 4 million hashes a second


def check(result: Result, start: int) -> None:
    for name in ("returning", "recognised"):
        known = result.population(name)
        assert known.share >= 0.99
        assert known.challenged == 0
    for name in ("neighbours", "strangers", "near", "far"):
        assert result.population(name).hashing.quantile(0.95, 0) <= MOST_HASHING
    service = result.scene.service
    assert result.goodput(start, result.scene.seconds) >= 0.85 * service.slots / service.time
    assert max(result.values("lag")) < 0.1


@pytest.mark.scene
@pytest.mark.parametrize("seed", [1, 2])
def test_nobody_hashes_for_long_in_the_first_minute(seed: int) -> None:
    check(run(replace(load("flash-crowd"), seconds=45, calm=100), seed), 30)


def test_answers_for_which_there_is_no_room_come_again_at_a_rate_that_can_be_read() -> None:
    """Every two seconds, they came to 7,000 a second within half a minute, and to 22,000 within five."""
    seconds = 30
    small = {"waiting": 1000, "spent": 2000}
    result = run(replace(load("flash-crowd"), seconds=seconds, calm=60), 1, config={"tables": small})
    turned_away = sum(result.population(name).answers["busy"] for name in ("near", "far"))
    first, again = 480, 1000  # a second
    assert 10_000 < turned_away < (first + again) * seconds


@pytest.mark.scene
@pytest.mark.parametrize("seed", [1, 2])
def test_the_service_is_used_and_nobody_hashes_for_long(seed: int) -> None:
    check(run("flash-crowd", seed), 30)
