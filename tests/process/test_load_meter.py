"""How late the event loop is, and how busy the process."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from shield.process.load_meter import PATIENT, LoadMeter, busy_clock


def test_it_knows_nothing_at_first() -> None:
    meter = LoadMeter(1000.0, 5.0)
    assert (meter.load.lag, meter.load.busy) == (0.0, 0.0)


def test_lag_is_the_average_and_busy_the_share_of_the_time() -> None:
    meter = LoadMeter(1000.0, 5.0)
    assert not meter.turn(1000.15, 1000.05)
    assert not meter.turn(1000.2, 1000.2)
    assert meter.turn(1000.6, 1000.4)
    meter.read(1000.6, 5.45)
    assert meter.load.lag == pytest.approx(0.1)
    assert meter.load.busy == pytest.approx(0.75)
    assert meter.load.worst == pytest.approx(0.2)


def test_what_strangers_wait_counts_as_late_beyond_their_patience() -> None:
    meter = LoadMeter(1000.0, 5.0)
    meter.turn(1000.3, 1000.2, PATIENT / 2)
    meter.turn(1000.6, 1000.6, PATIENT + 0.2)
    meter.read(1000.6, 5.6)
    assert meter.load.lag == pytest.approx(0.15)
    assert meter.load.worst == pytest.approx(0.2)
    assert meter.behind == pytest.approx((0.1 + PATIENT / 2 + PATIENT + 0.2) / 2)


def test_each_reading_begins_anew() -> None:
    meter = LoadMeter(1000.0, 5.0)
    assert meter.turn(1002.0, 1000.02)
    meter.read(1002.0, 7.0)
    assert meter.load.lag == pytest.approx(1.98)
    assert meter.turn(1002.5, 1002.51)  # a timer may also be early, by the resolution of the loop's clock
    meter.read(1002.5, 7.0)
    assert (meter.load.lag, meter.load.busy, meter.load.worst) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("ran", "waited", "busy"),
    [
        (0.25, 0.25, 0.5),
        (0.05, 0.45, 0.5),  # an overloaded one, on a machine with nine others for its core
        (0.005, 0.49, 0.05),  # an idle one there: an attack was told of with no request at all
        (0.0, 0.5, 0.0),
    ],
)
def test_what_a_thread_ran_and_waited_for_its_own_load_is_what_it_was_busy(
    tmp_path: Path, ran: float, waited: float, busy: float
) -> None:
    told = tmp_path / "schedstat"
    told.write_text("1500000000 2500000000 7\n")
    clock = busy_clock(told)
    began = clock()
    told.write_text(f"{1_500_000_000 + round(ran * 1e9)} {2_500_000_000 + round(waited * 1e9)} 8\n")
    assert clock() - began == pytest.approx(busy)


@pytest.mark.parametrize("text", [None, "", "no numbers here"])
def test_where_the_kernel_does_not_tell_it_is_the_cpu_time(tmp_path: Path, text: str | None) -> None:
    told = tmp_path / "schedstat"
    if text is not None:
        told.write_text(text)
    assert busy_clock(told) is time.thread_time


def test_the_share_is_never_more_than_all_and_never_less_than_nothing() -> None:
    meter = LoadMeter(1000.0, 5.0)
    meter.turn(1001.0, 1001.0)
    meter.read(1001.0, 6.5)  # the two clocks do not tick together
    assert meter.load.busy == 1.0
    meter.turn(1002.0, 1002.0)
    meter.read(1002.0, 6.4)
    assert meter.load.busy == 0.0
