"""Who is at the service, and which requests speak for a round."""

from __future__ import annotations

from shield.policy.concurrency.settings import ConcurrencySettings
from shield.policy.concurrency.slots import Slots

NOW = 555_555.5


def slots(size: int) -> Slots:
    return Slots(ConcurrencySettings(), size)


def answer(slots: Slots, number: int, clients: int = 8) -> None:
    """So many responses of requests of this round."""
    for i in range(number):
        slots.fresh.add(bytes([i % clients]), 1.0, 0.0, False)


def test_saturated_is_when_all_were_taken_at_some_moment_of_the_window() -> None:
    two = slots(2)
    two.take()
    two.take()
    two.give()
    assert two.saturated
    two.open_window()
    assert not two.saturated
    two.take()
    two.open_window()
    assert two.saturated  # from the beginning


def test_a_round_begins_anew_when_all_are_taken_for_the_first_time() -> None:
    two = slots(2)
    two.take()
    answer(two, 5)
    two.take()
    assert (two.epoch, len(two.fresh), two.taken, two.reached) == (2, 0, 0, True)
    answer(two, 5)
    two.take()
    assert (two.epoch, len(two.fresh), two.taken, two.taken_full) == (2, 5, 1, 1)


def test_a_round_begins_whenever_their_number_changes_and_forgets_what_began_before() -> None:
    ten = slots(10)
    ten.take()
    answer(ten, 5)
    ten.resize(4, NOW)
    assert (ten.size, ten.half, ten.began, ten.taken, ten.epoch, len(ten.fresh)) == (4, 2.0, NOW, 0, 2, 0)


def test_who_has_one_too_many_keeps_it() -> None:
    ten = slots(10)
    for _ in range(6):
        ten.take()
    ten.resize(4, NOW)
    assert ten.in_flight == 6
    assert ten.reached


def test_the_first_round_begins_with_the_first_window() -> None:
    ten = slots(10)
    ten.start(NOW)
    ten.start(NOW + 1.0)
    assert ten.began == NOW


def test_a_round_speaks_when_three_times_as_many_have_ended_as_are_under_way() -> None:
    ten = slots(10)
    for _ in range(20):
        ten.take()
    answer(ten, 10)
    for _ in range(10):
        ten.give()
    assert ten.under_way() == 0  # the round began with the tenth
    ten.take()
    for _ in range(3):
        ten.take()
    assert ten.under_way() == 4
    assert not ten.enough()
    answer(ten, 2)
    assert ten.under_way() == 2
    assert ten.enough()


def test_a_round_of_few_clients_does_not_speak() -> None:
    ten = slots(10)
    answer(ten, 40, clients=3)
    assert not ten.enough()
    answer(ten, 40, clients=4)
    assert ten.enough()


def test_a_request_that_takes_long_gives_its_slot_back_and_is_at_the_service_all_the_same() -> None:
    ten = slots(10)
    for _ in range(8):
        ten.take()
    for stranger in (True, True, False):
        ten.takes_long(stranger)
    assert (ten.in_flight, ten.long, ten.strange) == (5, 3, 2)
    assert (ten.loaded_at, ten.reached_at) == (2.0, 7)
    assert ten.many_long
    assert ten.many_strange
    ten.ends_long(stranger=True)
    assert (ten.in_flight, ten.long, ten.strange, ten.many_long, ten.many_strange) == (5, 2, 1, True, False)


def test_who_is_not_read_until_a_slot_is_free_was_in_the_way_as_well() -> None:
    ten = slots(10)
    for _ in range(10):
        ten.take()
    for _ in range(5):
        ten.give()
    assert ten.taken_full == 0, "the round began with the tenth"
    ten.awaited = 7
    for _ in range(4):
        ten.take()
    assert (ten.taken, ten.taken_full) == (4, 4)
    ten.awaited = 0
    ten.give()
    ten.take()
    assert (ten.taken, ten.taken_full) == (5, 4)
