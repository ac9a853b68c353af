"""What a probe finds, and what becomes of the limit and of b."""

from __future__ import annotations

import pytest

from shield.policy.concurrency.concurrency import HASTE, Concurrency
from shield.policy.concurrency.probe import PROBE_MOST
from shield.policy.concurrency.settings import ConcurrencySettings
from tests.policy.concurrency.by_hand import START, WINDOW, fill, steady


def test_a_probe_of_which_nothing_comes_back_is_given_up() -> None:
    concurrency = Concurrency(ConcurrencySettings())
    steady(concurrency, 2.0, START)
    assert concurrency.probing
    assert (concurrency.limit, concurrency.slots.size, concurrency.slots.half) == (20, 10, 5.0)
    concurrency.close_window(WINDOW, False, START + WINDOW)
    assert concurrency.probing
    concurrency.close_window(WINDOW, False, START + PROBE_MOST)
    assert not concurrency.probing
    assert (concurrency.limit, concurrency.slots.size) == (20, 20)
    assert concurrency._congestion.baseline == 1.0


def test_a_probe_that_finds_the_service_slower_raises_the_baseline_and_keeps_the_limit() -> None:
    concurrency = Concurrency(ConcurrencySettings())
    steady(concurrency, 3.0, START)
    steady(concurrency, 2.9, START + WINDOW)
    assert not concurrency.probing
    assert concurrency._congestion.baseline > 2.8
    assert concurrency.limit == 20


def test_a_probe_that_finds_half_of_it_congested_too_goes_on_and_its_word_is_carried_out_at_once() -> None:
    concurrency = Concurrency(ConcurrencySettings(start=64))
    for i, (ratio, slots) in enumerate([(2.7, 32), (1.4, 16), (0.8, 8)]):
        steady(concurrency, ratio, START + i * WINDOW)
        assert concurrency.slots.size == slots
    steady(concurrency, 0.8, START + 2.0)
    assert not concurrency.probing
    assert concurrency.limit == concurrency.slots.size
    assert concurrency.limit == int(64 * 1.4 * concurrency._congestion.baseline / 2.7) < int(64 * 1.4 / 2.7)


def test_where_the_limit_has_to_fall_far_it_is_tried_at_once() -> None:
    concurrency = Concurrency(ConcurrencySettings(start=64))
    steady(concurrency, 8.0, START)
    assert concurrency.probing
    assert concurrency.slots.size == int(64 * 1.4 / 8)
    steady(concurrency, 1.3, START + WINDOW)
    assert not concurrency.probing
    assert concurrency.limit == concurrency.slots.size == int(64 * 1.4 / 8)
    assert concurrency._congestion.baseline == 1.0  # it held


@pytest.mark.parametrize(("ratio", "slots", "baseline"), [(1.6, 5, 1.0), (0.5, 5, 0.5), (8.0, 64, 8.0)])
def test_a_trial_that_denies_the_baseline_is_a_probe_like_others(ratio: float, slots: int, baseline: float) -> None:
    concurrency = Concurrency(ConcurrencySettings(start=64))
    steady(concurrency, 8.0, START)
    assert concurrency.slots.size == 11
    steady(concurrency, ratio, START + WINDOW)  # of 8 there were to be 8 * 11 / 64
    assert concurrency.slots.size == slots
    steady(concurrency, baseline, START + 2 * WINDOW)
    assert concurrency._congestion.baseline == pytest.approx(baseline, rel=0.1)


def test_a_probe_that_looks_slower_than_more_slots_did_teaches_no_more_than_these() -> None:
    """Bursts in calm weather looked so: b went from 1.1 to 2.2, and the flood that came met a limit of 10, not 5."""
    concurrency = Concurrency(ConcurrencySettings())
    steady(concurrency, 1.3, START)
    assert concurrency.probing
    steady(concurrency, 2.5, START + WINDOW)
    assert not concurrency.probing
    assert 1.0 < concurrency._congestion.baseline <= 1.3


def test_a_probe_that_need_not_go_deeper_ends_with_its_window() -> None:
    concurrency = Concurrency(ConcurrencySettings())
    steady(concurrency, 2.0, START)
    assert concurrency.probing
    fill(concurrency, 1.9)
    concurrency.hurry(START + HASTE)
    assert concurrency.probing
    assert concurrency.slots.size == 10
