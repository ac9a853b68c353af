"""Signals that come before anybody can do what they ask."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from shield.process import early

NUMBERS = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in NUMBERS}
    for number in NUMBERS:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_they_are_kept_until_somebody_handles_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGHUP ended a Shield that was about to start, without a line."""
    monkeypatch.setattr(early, "has_terminal", lambda: False)
    early.keep()
    for number in NUMBERS:
        os.kill(os.getpid(), number)
    came: list[int] = []
    for number in NUMBERS:
        signal.signal(number, lambda number, _: came.append(number))
    early.come_again()
    assert sorted(came) == sorted(NUMBERS)
    early.come_again()
    assert len(came) == len(NUMBERS), "once"


def test_what_somebody_ignores_or_handles_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(early, "has_terminal", lambda: False)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # nohup(1)
    early.keep()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_a_terminal_that_is_closed_ends_a_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(early, "has_terminal", lambda: True)
    early.keep()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGUSR2) is not signal.SIG_DFL
