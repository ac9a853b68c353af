"""Seventy people open a page of sixty parts within a second: those who get it get all of it, and the others soon."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shield.simulate.result import Result
from shield.simulate.scene import load
from shield.simulate.world import run


def people(rate: float, seed: int) -> Result:
    scene = load("first-visits")
    return run(replace(scene, populations={"people": replace(scene.populations["people"], rate=rate)}), seed)


@pytest.mark.parametrize("seed", range(1, 6))
def test_most_get_all_of_the_page(seed: int) -> None:
    """Once nobody did: two fifths lost parts to the full queue, and the others to challenges, which no part can show.
    The ideal is 1 page in 0.3 s."""
    result = people(70.0, seed)
    tally = result.population("people")
    assert tally.share_of_visits() == 1.0
    assert tally.share_of_whole() >= 0.7  # 0.93 on average of twelve seeds
    assert max(tally.whole.times) <= 1.5 * sum(tally.visits_in) * 61 / 200


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_forty_get_all_of_it_without_having_to_ask_again(seed: int) -> None:
    """After seven seconds of waiting there is pressure, and the parts that had not come yet were challenged."""
    tally = people(40.0, seed).population("people")
    assert tally.share_of_whole() == 1.0
    assert tally.share_at_once >= 0.95
