"""How late the event loop is, and how busy the process."""

from __future__ import annotations

import pytest

from shield.own_load import OwnLoadMeter


def test_it_knows_nothing_at_first() -> None:
    meter = OwnLoadMeter(1000.0, 5.0)
    assert (meter.load.lag, meter.load.cpu) == (0.0, 0.0)


def test_lag_is_the_average_and_cpu_what_was_used_of_the_time() -> None:
    meter = OwnLoadMeter(1000.0, 5.0)
    assert not meter.turn(1000.15, 1000.05)
    assert not meter.turn(1000.2, 1000.2)
    assert meter.turn(1000.6, 1000.4)
    meter.read(1000.6, 5.45)
    assert meter.load.lag == pytest.approx(0.1)
    assert meter.load.cpu == pytest.approx(0.75)


def test_each_reading_begins_anew() -> None:
    meter = OwnLoadMeter(1000.0, 5.0)
    assert meter.turn(1002.0, 1000.02)
    meter.read(1002.0, 7.0)
    assert meter.load.lag == pytest.approx(1.98)
    assert meter.turn(1002.5, 1002.51)  # a timer may also be early, by the resolution of the loop's clock
    meter.read(1002.5, 7.0)
    assert (meter.load.lag, meter.load.cpu) == (0.0, 0.0)
