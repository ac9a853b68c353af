"""How many requests may be at the service beyond the limit, while others take long there."""

from __future__ import annotations

import pytest

from shield.policy.concurrency.concurrency import Concurrency
from shield.policy.concurrency.evidence import ENOUGH
from shield.policy.concurrency.headroom import BEARABLE, MOST_DOUBLINGS, Headroom
from shield.policy.concurrency.settings import ConcurrencySettings
from shield.policy.concurrency.slots import Slots
from tests.policy.concurrency.by_hand import START, WINDOW, steady

SETTINGS = ConcurrencySettings()
QUICK, SLOW = 1.0, 2 * BEARABLE * SETTINGS.tolerance


def with_long(size: int, long: int, strangers: bool = True) -> tuple[Slots, Headroom]:
    slots = Slots(SETTINGS, size)
    take_long(slots, long, strangers)
    return slots, Headroom(SETTINGS, slots)


def take_long(slots: Slots, number: int, strangers: bool = True) -> None:
    for _ in range(number):
        slots.take()
        slots.takes_long(strangers)


def answers(headroom: Headroom, ratio: float, number: int = SETTINGS.samples) -> None:
    for _ in range(number):
        headroom.sample(ratio, 1.0, False)


@pytest.mark.parametrize(("size", "grows"), [(20, [5, 10, 20, 20]), (4, [1, 2, 4, 4]), (1, [1, 1, 1, 1])])
def test_it_is_a_quarter_of_the_limit_and_doubles_up_to_the_limit_while_answers_are_quick(
    size: int, grows: list[int]
) -> None:
    slots, headroom = with_long(size, size)
    found = []
    for _ in range(4):
        found.append(slots.headroom)
        answers(headroom, QUICK)
    assert found == grows
    assert slots.doublings == MOST_DOUBLINGS


def test_it_is_halved_when_answers_are_slow_and_forgotten_with_the_last_long_request() -> None:
    slots, headroom = with_long(20, 10)
    answers(headroom, QUICK, 2 * SETTINGS.samples)
    answers(headroom, SLOW)
    assert slots.headroom == 10
    answers(headroom, SLOW, 2 * SETTINGS.samples)
    assert slots.headroom == 5
    answers(headroom, QUICK)
    headroom.forget()
    assert slots.headroom == 5


def test_answers_that_leave_it_open_wait_for_more() -> None:
    slots, headroom = with_long(20, 10)
    for _ in range(ENOUGH // 2 - 1):
        answers(headroom, QUICK, 1)
        answers(headroom, SLOW, 1)
    assert slots.doublings == 0
    answers(headroom, QUICK, 2)
    assert slots.doublings == 1, "then the middle one is believed"
    for _ in range(ENOUGH // 2 - 1):
        answers(headroom, QUICK, 1)
        answers(headroom, SLOW, 1)
    answers(headroom, SLOW, 2)
    assert slots.doublings == 0


def test_errors_are_no_quick_answers() -> None:
    slots, headroom = with_long(20, 10)
    answers(headroom, QUICK)
    for _ in range(SETTINGS.samples):
        headroom.sample(QUICK, 1.0, True)
    assert slots.doublings == 0


def test_a_few_long_requests_say_nothing_of_more() -> None:
    slots, headroom = with_long(20, 4)
    answers(headroom, QUICK, 100)
    assert slots.doublings == 0


def sample(concurrency: Concurrency, number: int, ratio: float = QUICK, vague: bool = False) -> None:
    for i in range(number):
        concurrency.sample(bytes([i % 8]), 0.1 * ratio, 0.1, False, concurrency.slots.epoch, vague)


def test_times_that_are_only_assumed_prove_nothing() -> None:
    concurrency = Concurrency(SETTINGS)
    take_long(concurrency.slots, 20)
    concurrency.slots.guarded = True
    sample(concurrency, 100, vague=True)
    assert concurrency.slots.doublings == 0
    sample(concurrency, SETTINGS.samples)
    assert concurrency.slots.doublings == 1


def test_what_takes_long_counts_for_the_limit_until_it_is_proved_that_it_does_nothing() -> None:
    slots, headroom = with_long(20, 15)
    assert slots.reached_at == 5
    answers(headroom, QUICK)
    assert slots.reached_at == 20
    take_long(slots, 12, strangers=False)
    assert slots.reached_at == 8, "those of known clients count: for them the limit may rise"
    take_long(slots, 12, strangers=False)
    assert slots.reached_at == 1


def test_a_service_that_cannot_drain_is_not_probed() -> None:
    concurrency = Concurrency(SETTINGS)
    take_long(concurrency.slots, 10)
    steady(concurrency, 1.39, START)
    assert not concurrency.probing
    assert concurrency.limit == 20


def test_a_probe_is_given_up_when_requests_take_long() -> None:
    """It waited for answers of requests that none was let in, for twenty seconds."""
    concurrency = Concurrency(SETTINGS)
    steady(concurrency, 2.0, START)
    assert concurrency.probing
    take_long(concurrency.slots, 10)
    concurrency.close_window(WINDOW, False, START + WINDOW)
    assert not concurrency.probing
    assert (concurrency.limit, concurrency.slots.size) == (20, 20)


def test_nothing_is_done_in_haste_while_requests_take_long() -> None:
    concurrency = Concurrency(SETTINGS)
    take_long(concurrency.slots, 10)
    concurrency.slots.begin(START)
    for _ in range(12):
        concurrency.slots.take()
    sample(concurrency, 40, SLOW)
    concurrency.hurry(START + 1.0)
    assert concurrency.limit == 20
