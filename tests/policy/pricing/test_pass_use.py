"""How much of a bought pass is used."""

from __future__ import annotations

import pytest

from shield.policy.pricing.pass_use import PassUse
from shield.policy.pricing.settings import PricingSettings

WORTH = 100.0


def play(use: PassUse, seconds: float, each: float, passes: int = 10) -> None:
    """So many passes a second are issued, and `each` units are taken with each of them."""
    for _ in range(int(seconds)):
        for _ in range(passes):
            use.issue()
        use.read(each * passes, 1.0)


def test_until_enough_was_issued_the_first_share_holds() -> None:
    use = PassUse(PricingSettings(first_used=0.2, least_issued=8.0), WORTH)
    play(use, 3, 100.0, passes=2)
    assert use.share == 0.2
    assert use.rate > 0.0


def test_the_share_is_learned_and_has_a_least_and_a_most() -> None:
    use = PassUse(PricingSettings(first_used=0.2, least_used=0.01), WORTH)
    play(use, 300, 30.0)
    assert use.share == pytest.approx(0.3, abs=0.01)
    assert use.rate == pytest.approx(300.0, rel=0.01)
    play(use, 600, 0.0)
    assert use.share == pytest.approx(0.01, abs=0.001)
    play(use, 600, 500.0)
    assert use.share == pytest.approx(1.0, abs=0.01)


def test_more_use_is_learned_faster_than_less() -> None:
    more, less = (PassUse(PricingSettings(first_used=0.5), WORTH) for _ in range(2))
    play(more, 3, 100.0)
    play(less, 3, 0.0)
    assert more.share - 0.5 > 0.5 - less.share
