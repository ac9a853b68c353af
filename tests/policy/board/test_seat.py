"""Who is at the board, who leads, and what a reader misses."""

from __future__ import annotations

from shield.policy.board.memory import NEWS, Board, Cell
from shield.policy.board.seat import STALE, Reader, Seat

NOW = 5000.0


def seats(number: int = 3) -> list[Seat]:
    board = Board(memoryview(bytearray(Board.size(number))), number)
    return [Seat(board, worker) for worker in range(number)]


def test_the_lowest_number_that_is_alive_leads() -> None:
    zero, one, two = seats()
    for seat in (two, one, zero):
        seat.beat(NOW)
    for seat in (zero, one, two):
        seat.beat(NOW)
    assert [seat.leader for seat in (zero, one, two)] == [0, 0, 0]
    assert (zero.leads, one.leads, zero.part, zero.live) == (True, False, 1 / 3, (0, 1, 2))
    later = NOW + STALE
    two.beat(later)
    one.beat(later)
    two.beat(later)
    assert (one.live, one.leads, two.leader) == ((1, 2), True, 1)
    zero.beat(later)
    one.beat(later)
    assert one.leader == 0


def test_a_beat_of_another_clock_does_not_count() -> None:
    zero, one, _ = seats()
    zero.beat(NOW + 100.0)
    one.beat(NOW)
    assert one.live == (1,)


def test_whoever_takes_a_seat_begins_with_nothing_in_flight() -> None:
    zero, one, _ = seats()
    one.add(Cell.IN_FLIGHT, 3)
    zero.add(Cell.IN_FLIGHT, 2)
    assert zero.total(Cell.IN_FLIGHT) == 5
    Seat(one.board, 1)
    assert zero.total(Cell.IN_FLIGHT) == 2


def test_the_last_engine_that_joined_speaks() -> None:
    zero, *_ = seats()
    old, new = object(), object()
    zero.join(old)
    assert zero.speaks(old)
    zero.join(new)
    assert (zero.speaks(old), zero.speaks(new)) == (False, True)


def test_a_reader_hears_everybody_but_itself_and_what_was_said_before_it_came() -> None:
    zero, one, two = seats()
    zero.board.news[0].write(b"mine, before")
    one.board.news[1].write(b"before")
    reader = Reader(zero, zero.board.news)
    zero.board.news[0].write(b"mine")
    two.board.news[2].write(b"after")
    assert reader.read(1) == [b"mine, before", b"before", b"after"]
    one.board.news[1].write(b"b")
    one.board.news[1].write(b"c")
    assert reader.read(1) == [b"b"]
    assert (reader.read(9), reader.read(9), reader.missed) == ([b"c"], [], 0)


def test_a_reader_counts_what_came_too_fast() -> None:
    zero, one, _ = seats()
    reader = Reader(zero, zero.board.news)
    slots = NEWS[0]
    for number in range(slots + 10):
        one.board.news[1].write(b"%d" % number)
    heard = reader.read(slots)
    assert heard[0] == b"11"
    assert reader.missed == 11
    assert len(heard) + reader.missed == slots + 10


def test_a_reader_counts_what_was_half_written() -> None:
    memory = bytearray(Board.size(2))
    board = Board(memoryview(memory), 2)
    zero = Seat(board, 0)
    reader = Reader(zero, board.news)
    board.news[1].write(b"a plain row")
    memory[memory.index(b"a plain row")] ^= 1
    assert (reader.read(9), reader.missed) == ([], 1)


def test_a_reader_bears_a_ring_that_begins_anew() -> None:
    memory = bytearray(Board.size(2))
    board = Board(memoryview(memory), 2)
    board.news[1].write(b"a")
    board.news[1].write(b"b")
    reader = Reader(Seat(board, 0), board.news)
    assert reader.read(9) == [b"a", b"b"]
    again = Board(memoryview(memory), 2)
    again.news[1]._head[0] = 0
    again.news[1].write(b"c")
    assert reader.read(9) == [b"c"]
