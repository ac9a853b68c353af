"""The slots of several workers are one pool, in which each has its share."""

from __future__ import annotations

import pytest

from shield.policy.board.memory import Board
from shield.policy.board.seat import STALE, Seat
from shield.policy.concurrency.settings import ConcurrencySettings
from shield.policy.concurrency.shared_slots import SharedSlots, deal

NOW = 555_555.5


class Pool:
    """Workers that look at the board whenever it is said."""

    def __init__(self, size: int, workers: int = 3) -> None:
        board = Board(memoryview(bytearray(Board.size(workers))), workers)
        self.seats = [Seat(board, number) for number in range(workers)]
        self.slots = [SharedSlots(ConcurrencySettings(), size, seat) for seat in self.seats]
        self.look()
        self.look()

    def look(self, now: float = NOW) -> None:
        for seat, slots in zip(self.seats, self.slots, strict=True):
            seat.beat(now)
            slots.sync(now)

    def take(self, worker: int, most: int = 1000) -> int:
        """As many slots as a worker gets, up to so many."""
        taken = 0
        while taken < most and not self.slots[worker].exhausted:
            self.slots[worker].take()
            taken += 1
        return taken

    def give(self, worker: int, number: int) -> None:
        for _ in range(number):
            self.slots[worker].give()


def test_one_worker_may_have_what_the_others_leave() -> None:
    pool = Pool(12)
    assert pool.take(1) == 12
    assert [slots.in_flight for slots in pool.slots] == [12, 12, 12]
    assert [slots.held for slots in pool.slots] == [0, 12, 0]


def test_who_comes_later_gets_what_is_guaranteed_and_the_sum_is_bounded() -> None:
    """An eighth of an equal part, rounded up: 1 of 12 for each of three."""
    pool = Pool(12)
    pool.take(1)
    assert (pool.take(0), pool.take(2), pool.take(1)) == (1, 1, 0)
    assert pool.slots[0].in_flight == 14
    pool.give(1, 2)
    assert pool.take(1) == 0, "not before the sum is below the limit"
    pool.give(1, 1)
    assert pool.take(1) == 1


def test_shares_go_by_who_waits_those_with_a_history_first() -> None:
    pool = Pool(12)
    pool.take(1)
    pool.slots[0].say_waiting(0, 30)
    pool.slots[1].say_waiting(0, 60)
    pool.look()
    assert [slots.share for slots in pool.slots] == [4, 8, 0]
    pool.slots[2].say_waiting(5, 0)
    pool.look()
    assert [slots.share for slots in pool.slots] == [2, 5, 5]
    assert (pool.slots[0].waiting_elsewhere, pool.slots[2].waiting_elsewhere) == (65, 90)
    pool.slots[1].say_waiting(5, 60)
    pool.look()
    assert [slots.share for slots in pool.slots] == [0, 7, 5]


def test_the_share_holds_while_others_have_too_much() -> None:
    pool = Pool(12)
    pool.take(1)
    pool.slots[0].say_waiting(0, 50)
    pool.slots[1].say_waiting(0, 50)
    pool.look()
    assert pool.take(0) == 2, "one for each other worker above the limit"
    pool.give(1, 1)
    assert (pool.take(1), pool.take(0)) == (0, 1)
    pool.give(1, 5)
    assert (pool.take(0), pool.take(1)) == (3, 0)
    assert [slots.held for slots in pool.slots] == [6, 6, 0]


@pytest.mark.parametrize("workers", [2, 3, 8])
@pytest.mark.parametrize("size", [1, 4, 20, 100])
def test_never_are_there_more_than_the_slots_and_twice_what_is_guaranteed(size: int, workers: int) -> None:
    """Whoever asks, in whatever order, after the others have lent what they had."""
    pool = Pool(size, workers)
    most = 0
    for turn in range(60):
        busy = turn % workers
        for worker in range(workers):
            pool.give(worker, pool.slots[worker].held // 2)
            pool.slots[worker].say_waiting(0, 50 * (worker == busy))
        pool.look()
        pool.take(busy)
        for worker in range(workers):
            pool.take(worker, 3)
        most = max(most, pool.slots[0].in_flight)
    least = -(-size // (8 * workers))
    assert most <= size + 2 * (workers - 1) * least


def test_what_a_dead_worker_held_does_not_count() -> None:
    pool = Pool(12)
    pool.take(1)
    dead = pool.seats.pop(1), pool.slots.pop(1)
    later = NOW + STALE
    pool.look(later)
    assert pool.slots[0].in_flight == 0
    assert pool.take(0) == 12
    dead[0].beat(later)
    pool.look(later)
    assert pool.slots[0].in_flight == 24, "it was not dead, and they are at the service"
    assert pool.take(0) == 0


def test_the_round_is_that_of_all() -> None:
    pool = Pool(4)
    zero, one, two = pool.slots
    pool.take(1, 3)
    assert (zero.taken, one.taken) == (0, 3)
    pool.look()
    zero.fresh.add(b"1", 1.0, 0.0, False)
    assert (zero.taken, zero.reached, zero.under_way()) == (3, False, 2)
    two.take()
    assert (two.saturated, two.epoch, zero.reached) == (True, 1, False)
    pool.look()
    assert (zero.saturated, zero.reached, zero.epoch, zero.taken, len(zero.fresh)) == (True, True, 2, 0, 0)
    pool.look()
    assert [slots.epoch for slots in pool.slots] == [2, 2, 2]
    one.give()
    two.take()
    pool.look()
    assert (zero.taken, zero.taken_full) == (1, 1)
    zero.open_window()
    assert zero.saturated, "from the beginning"
    one.give()
    zero.open_window()
    assert not zero.saturated


def test_those_who_follow_have_as_many_as_the_worker_that_leads_says() -> None:
    pool = Pool(20)
    zero, one, _ = pool.slots
    zero.resize(10, NOW)
    pool.look(NOW)
    assert [slots.size for slots in pool.slots] == [10, 10, 10]
    assert (one.half, one.epoch, one.part) == (5.0, zero.epoch, 1 / 3)
    zero.resize(10, NOW)
    pool.look(NOW)
    assert one.epoch == zero.epoch


@pytest.mark.parametrize(
    ("slots", "needs", "dealt"),
    [
        (5, [43, 99, 0], [2, 3, 0]),
        (5, [0, 0], [0, 0]),
        (0, [3, 3], [0, 0]),
        (-2, [3, 3], [0, 0]),
        (7, [1, 1, 1], [3, 2, 2]),
        (1, [1000, 1], [1, 0]),
    ],
)
def test_slots_are_dealt_out_in_proportion(slots: int, needs: list[int], dealt: list[int]) -> None:
    assert deal(slots, needs) == dealt


def test_who_waits_unread_counts_as_waiting_up_to_as_many_as_there_are_slots() -> None:
    pool = Pool(12, workers=2)
    pool.slots[0].say_waiting(0, 12)
    pool.slots[1].awaited = 1000
    pool.slots[1].say_waiting(0, 0)
    pool.look()
    assert [slots.share for slots in pool.slots] == [6, 6]
    pool.slots[1].take()
    assert pool.slots[1].taken_full == 1, "it found no slot before"
    pool.slots[1].awaited = 0
    pool.slots[1].take()
    assert pool.slots[1].taken_full == 1
