"""Windows and rounds made by hand, without a service."""

from __future__ import annotations

from typing import Final

from shield.policy.concurrency.concurrency import Concurrency

WINDOW: Final = 0.5
START: Final = 555_555.5


def steady(concurrency: Concurrency, ratio: float, now: float, clients: int = 8) -> None:
    """A window in which the limit was reached, and many requests ended after `ratio` times their baseline."""
    while concurrency.slots.in_flight < concurrency.slots.size:
        concurrency.slots.take()
    for i in range(max(40, 4 * concurrency.slots.size)):
        concurrency.slots.take()
        concurrency.sample(bytes([i % clients]), 0.1 * ratio, 0.1, False, concurrency.slots.epoch)
        concurrency.slots.give()
    concurrency.close_window(WINDOW, False, now)
    while concurrency.slots.in_flight:
        concurrency.slots.give()


def fill(concurrency: Concurrency, ratio: float, count: int = 80) -> None:
    """So many requests that ended after `ratio` times their baseline, the limit reached, and no window closed."""
    while concurrency.slots.in_flight < concurrency.slots.size:
        concurrency.slots.take()
    for i in range(count):
        concurrency.slots.take()
        concurrency.sample(bytes([i % 8]), 0.1 * ratio, 0.1, False, concurrency.slots.epoch)
        concurrency.slots.give()
    while concurrency.slots.in_flight:
        concurrency.slots.give()
