"""A rate that rises all of a sudden, and what is no such rise."""

from __future__ import annotations

import random

import pytest

from tests.policy.pressure.skies import Skies


def test_a_sudden_rate_is_an_onset_that_limits_nobody() -> None:
    weather = Skies()
    for _ in range(200):
        weather.window(20, 40)
    for _ in range(20):
        weather.window(600, 900)
    assert weather.seen.attack.on
    assert weather.seen.p == 0.0


@pytest.mark.parametrize(
    ("rate", "units", "why"),
    [(18, 900, "below twice the floor"), (600, 100, "of no weight"), (30, 900, "not twice the baseline")],
)
def test_what_is_no_onset(rate: float, units: float, why: str) -> None:
    weather = Skies()
    for _ in range(400):
        weather.window(rate * 0.8, 40)
    for _ in range(400):
        weather.window(rate, units)
    assert not weather.seen.attack.on, why


def test_the_first_minute_is_for_learning_what_is_usual() -> None:
    weather = Skies()
    for _ in range(100):
        weather.window()  # nobody yet: the minute has not begun
    for _ in range(119):
        weather.window(600, 900)
    assert not weather.seen.attack.on
    for _ in range(400):
        weather.window(600, 900)
    assert not weather.seen.attack.on


@pytest.mark.untraced
def test_a_rate_that_grows_with_the_day_is_no_onset() -> None:
    weather = Skies()
    for i in range(4 * 3600):  # from 20 to 320 requests/s in two hours
        rate = 20 * 2 ** (i / 3600)
        weather.window(rate, 2 * rate)
    assert not weather.seen.attack.on


def test_after_an_early_alarm_the_new_rate_is_the_usual_one() -> None:
    weather = Skies()
    for _ in range(200):
        weather.window(20, 40)
    while not weather.seen.attack.on:
        weather.window(600, 900)
    while weather.seen.attack.on:
        weather.window(600, 900)
    for _ in range(1000):
        weather.window(600, 900)
    assert not weather.seen.attack.on


def test_a_flash_of_noise_in_the_count_is_smoothed() -> None:
    rng = random.Random(1)
    weather = Skies()
    for _ in range(2000):
        weather.window(rng.choice([0, 0, 0, 160]), 200)
    assert not weather.seen.attack.on
