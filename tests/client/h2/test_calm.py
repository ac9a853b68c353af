"""The budgets of a connection of HTTP/2."""

from __future__ import annotations

from shield.client.h2.calm import (
    CONTROL_BURST,
    ERRORS_BURST,
    RESETS_BURST,
    RESETS_RATE,
    SILENCE_BURST,
    Budget,
    Calm,
)


def test_each_budget_has_its_word() -> None:
    calm = Calm(0.0)
    assert [calm.control() for _ in range(int(CONTROL_BURST))] == [None] * int(CONTROL_BURST)
    assert calm.control() is Budget.CONTROL
    assert [calm.reset() for _ in range(int(RESETS_BURST))] == [None] * int(RESETS_BURST)
    assert calm.reset() is Budget.RESETS
    assert [calm.error() for _ in range(int(ERRORS_BURST))] == [None] * int(ERRORS_BURST)
    assert calm.error() is Budget.ERRORS
    assert calm.read(int(SILENCE_BURST)) is None
    assert calm.read(1) is Budget.SILENCE


def test_time_fills_them_up_to_their_burst() -> None:
    calm = Calm(0.0)
    for _ in range(int(RESETS_BURST)):
        calm.reset()
    calm.pass_time(1.0)
    assert [calm.reset() for _ in range(int(RESETS_RATE))] == [None] * int(RESETS_RATE)
    assert calm.reset() is Budget.RESETS
    calm.pass_time(1e9)
    for _ in range(int(RESETS_BURST)):
        assert calm.reset() is None
    assert calm.reset() is Budget.RESETS
    calm.pass_time(0.0)  # a clock that goes back fills nothing
    assert calm.reset() is Budget.RESETS


def test_who_asks_and_who_reads_may_say_more() -> None:
    calm = Calm(0.0)
    for _ in range(10_000):  # each request, and each of its frames, is acknowledged
        calm.asked(100)
        assert calm.read(100) is None
        calm.sent(64 * 1024)
        for _ in range(10):
            assert calm.control() is None
            assert calm.read(13) is None


def test_bytes_of_payload_are_no_silence() -> None:
    calm = Calm(0.0)
    for _ in range(1000):
        for _ in range(11):
            assert calm.read(1449) is None
        calm.received(11 * 1449 - 9)
