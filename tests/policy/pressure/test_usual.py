"""What is usual in calm weather: how many newcomers come, and what the service gets done."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shield.policy.concurrency.reading import Reading
from shield.policy.pressure.settings import PressureSettings
from shield.policy.pressure.usual import LEAST, Usual
from shield.policy.pressure.window import Asked, Window

SECONDS = 0.5
QUIET = Reading()
FULL = replace(QUIET, saturated=True)


def live(
    usual: Usual, seconds: float, *, came: float = 8.0, does: float = 100.0, full: bool = True, calm: bool = True
) -> None:
    """Let time pass in which so many newcomers come, and so many units are done, a second."""
    for i in range(int(seconds / SECONDS)):
        asked = Asked(came=int(came * SECONDS * (i + 1)) - int(came * SECONDS * i))
        service = FULL if full else QUIET
        usual.read(Window(0.0, SECONDS, asked=asked, usual_cost=does * SECONDS, service=service), calm)


@pytest.fixture
def usual() -> Usual:
    usual = Usual(PressureSettings())
    live(usual, LEAST + 100.0)
    return usual


def test_a_third_more_newcomers_are_more_than_usual(usual: Usual) -> None:
    live(usual, 120.0, came=9.5, calm=False)
    assert usual.as_usual
    live(usual, 120.0, came=12.0, calm=False)
    assert not usual.as_usual


def test_of_few_newcomers_some_more_are_chance() -> None:
    usual = Usual(PressureSettings())
    live(usual, LEAST + 100.0, came=0.1)
    live(usual, 120.0, came=0.15, calm=False)
    assert usual.as_usual


def test_nothing_is_said_before_it_is_known() -> None:
    usual = Usual(PressureSettings())
    live(usual, LEAST)
    assert not usual.as_usual
    live(usual, 10.0)
    assert usual.as_usual


def test_newcomers_that_grow_by_two_percent_a_minute_are_more_than_usual() -> None:
    usual = Usual(PressureSettings())
    for minute in range(90):
        live(usual, 60.0, came=10.0 * 1.02**minute)
    assert not usual.as_usual


def test_a_service_that_has_all_it_can_take_and_does_less_is_ill(usual: Usual) -> None:
    live(usual, 180.0, does=97.0, calm=False)
    assert not usual.does_less
    live(usual, 180.0, does=90.0, calm=False)
    assert usual.does_less
    live(usual, 180.0, does=90.0, full=False, calm=False)
    assert not usual.does_less, "less is asked of it"


@pytest.mark.untraced
def test_what_was_done_is_forgotten_over_days(usual: Usual) -> None:
    live(usual, 120.0, does=90.0, full=True, calm=True)
    assert usual.does_less
    live(usual, 20_000.0, does=90.0, full=True, calm=True)
    assert not usual.does_less


def test_what_is_usual_is_known_after_a_restart(usual: Usual) -> None:
    again = Usual(PressureSettings())
    again.restore(usual.row())
    assert again.as_usual
    live(again, 180.0, does=90.0, calm=False)
    assert again.does_less
    with pytest.raises(ValueError, match="no finite number"):
        again.restore([1.0, 1.0, float("nan"), 1.0, 1.0, 1.0])
