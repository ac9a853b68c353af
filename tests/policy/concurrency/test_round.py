"""What a round says of the number of slots."""

from __future__ import annotations

import pytest

from shield.policy.concurrency.evidence import ENOUGH
from shield.policy.concurrency.round import Finding, read
from shield.policy.concurrency.settings import ConcurrencySettings
from shield.policy.concurrency.slots import Slots


def finding(
    ratios: list[float],
    *,
    errors: int = 0,
    full: float = 1.0,
    can_grow: bool = True,
    late: int = 0,
    baseline: float = 1.0,
    vague: int = 0,
) -> Finding:
    """Of a round of so many requests, a share `full` of which found the last slot or none."""
    settings = ConcurrencySettings()
    slots = Slots(settings, 20)
    for i, ratio in enumerate(ratios):
        slots.fresh.add(bytes([i % 8]), ratio, ratio - 1.0, i < errors)
    slots.fresh.vague = vague
    slots.taken = 100
    slots.taken_full = int(100 * full)
    return read(slots, baseline, late, can_grow, settings)


@pytest.mark.parametrize(
    ("ratio", "down", "up"),
    [(1.0, False, True), (1.26, False, True), (1.3, False, False), (1.39, False, False), (1.41, True, False)],
)
def test_there_are_too_many_slots_beyond_the_tolerance_and_too_few_well_below_it(
    ratio: float, down: bool, up: bool
) -> None:
    found = finding([ratio] * 40)
    assert (found.down, found.up, found.x) == (down, up, ratio)
    assert found.gradient == pytest.approx(1.4 / ratio)


def test_few_samples_act_only_when_the_bounds_say_the_same() -> None:
    mixed = [0.5, 0.6, 0.7, 1.6, 1.7, 2.0, 2.1, 2.2]
    doubt = finding(mixed)
    assert (doubt.down, doubt.up, doubt.sure, doubt.held) == (False, False, False, False)
    enough = finding(mixed * (ENOUGH // len(mixed)))
    assert enough.sure
    assert enough.down
    assert finding([3.0] * 8).down
    assert finding([1.0] * 8).up


def test_a_limit_that_was_not_in_the_way_does_not_rise() -> None:
    found = finding([1.0] * 40, full=0.49)
    assert (found.in_the_way, found.up, found.held) == (False, False, False)


def test_a_limit_that_may_not_rise_further_is_held() -> None:
    found = finding([1.0] * 40, can_grow=False)
    assert not found.up
    assert found.held


def test_too_many_errors_call_for_fewer_slots_however_quick_the_rest() -> None:
    found = finding([1.0] * 40, errors=10)
    assert (found.errors, found.down, found.up, found.gradient) == (True, True, False, 0.8)


def test_where_all_failed_the_times_are_taken_to_be_undisturbed() -> None:
    found = finding([9.0] * 40, errors=40, baseline=2.0)
    assert (found.x, found.down, found.congested) == (2.0, True, False)


@pytest.mark.parametrize(("ratio", "full", "congested"), [(1.05, 1.0, False), (1.2, 1.0, True), (1.2, 0.1, False)])
def test_slowness_that_is_worth_a_probe(ratio: float, full: float, congested: bool) -> None:
    assert finding([ratio] * 40, full=full).congested is congested


def test_those_under_way_count_as_slower_than_most() -> None:
    half = [1.0] * 20 + [2.0] * 20
    assert finding([*half, 1.0]).x == 1.0
    assert finding([*half, 1.0], late=8).x == 2.0


def test_times_that_were_only_assumed_raise_nothing_and_hold_nothing() -> None:
    """A core that is full of refusals sees answers late, and takes the service to be as quick as usual."""
    found = finding([1.0] * 40, vague=21)
    assert (found.up, found.held, found.down) == (False, False, False)
    assert finding([1.0] * 40, vague=20).up
    assert finding([3.0] * 40, vague=40).down
