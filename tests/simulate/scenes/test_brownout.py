"""The service becomes slow, and later fails, by itself: nobody is locked out for more than two minutes."""

from __future__ import annotations

import pytest

from shield.model import Reason
from shield.simulate.world import run

SLOW, FAILING = (60, 360), (900, 1200)


@pytest.mark.scene
@pytest.mark.parametrize("seed", range(1, 7))
def test_nobody_is_locked_out_of_an_ill_service(seed: int) -> None:
    result = run("brownout", seed)
    for begins, ends in (SLOW, FAILING):
        assert begins + 40 < result.first("brownout", begins) < begins + 75
        programs = result.population("programs")
        for at in range(begins, ends - 120, 10):
            assert programs.share_between(at, at + 120) > 0.1
    # half of what is asked for can be done, and it is shared out: more to those who use the site
    late = (SLOW[0] + 120, SLOW[1] - 30)
    shares = [
        result.population(name).share_between(*late) for name in ("returning", "recognised", "programs", "strangers")
    ]
    assert min(shares[:2]) > 0.65
    assert min(shares[2:]) > 0.25
    assert result.goodput(*late) > 0.9 * 40
    # who asks every ten seconds or so is locked out for little longer than it takes to see what is the matter
    for name in result.populations:
        assert result.population(name).longest_lockout <= 120
    assert result.population("programs").refusals[Reason.BAD_REPUTATION] == 0
    # two thirds of the answers are good, and most are after two tries more
    for name in result.populations:
        assert result.population(name).share_between(FAILING[0] + 120, FAILING[1]) > 0.93
    # and afterwards all is as it was
    for name in result.populations:
        for start, end in ((SLOW[1] + 20, FAILING[0] - 40), (FAILING[1] + 20, 1440)):
            assert result.population(name).share_between(start, end) >= 0.99
