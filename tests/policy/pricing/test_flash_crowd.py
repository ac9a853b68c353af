"""Who solves: people who come all at once, or a botnet."""

from __future__ import annotations

from typing import Any

from shield.policy.pricing.flash_crowd import FlashCrowd
from shield.policy.pricing.settings import PricingSettings


def crowd(**settings: Any) -> FlashCrowd:
    return FlashCrowd(PricingSettings(least_solves=8.0, flash_share=0.5, flash_kept=0.5, least_usual=0.1, **settings))


def solve(seen: FlashCrowd, networks: int, known: int, usual: float | None = 0.5) -> bool:
    """A window in which so many networks solve, so many of them known; whether they are a crowd."""
    for i in range(networks):
        seen.solved(f"network {i}", i < known)
    seen.close_window(usual)
    return seen.on


def test_half_of_the_usual_share_of_known_networks_makes_a_crowd() -> None:
    assert solve(crowd(), 100, 25)
    assert not solve(crowd(), 100, 24)


def test_a_crowd_remains_one_while_its_known_networks_leave() -> None:
    seen = crowd(solves_kept=1e-9)
    assert solve(seen, 100, 25)
    assert solve(seen, 100, 13)
    assert not solve(seen, 100, 12)


def test_few_solvers_or_an_unusual_share_tell_nothing() -> None:
    assert not solve(crowd(), 7, 7)
    assert not solve(crowd(), 100, 100, usual=0.09)
    assert not solve(crowd(), 100, 100, usual=None)
