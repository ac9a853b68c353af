"""How long the queue is, by what the service can do."""

from __future__ import annotations

from shield.policy.queue.length import FIRST, QUICKEST, Length
from shield.policy.queue.settings import QueueSettings


def test_the_first_answers_say_how_much_may_wait_before_a_window_closes() -> None:
    length = Length(QueueSettings(), 20)
    before = length.most
    for _ in range(FIRST - 1):
        length.sample(0.0004)
    assert (length.most, length.median_rtt) == (before, 0.0)
    length.sample(0.0004)
    assert length.median_rtt == 0.0004
    assert length.most == 4096
    assert length.rate == 20 / QUICKEST


def test_later_ones_say_so_when_a_window_closes() -> None:
    length = Length(QueueSettings(), 20)
    for seconds in (0.0004, 0.3):
        for _ in range(4 * FIRST):
            length.sample(seconds)
    assert length.median_rtt == 0.0004
    length.measure(20)
    assert length.median_rtt == 0.3
