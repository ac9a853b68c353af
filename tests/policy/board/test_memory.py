"""Records and rings in the memory that workers share: what is torn, foreign or too long is never taken for content."""

from __future__ import annotations

import random

import pytest

from shield.policy.board.memory import HEAD_BYTES, RECORD_BYTES, Board, Cell, Record, Ring, Time


def board(workers: int = 2) -> Board:
    return Board(memoryview(bytearray(Board.size(workers))), workers)


def test_the_parts_of_the_board_do_not_overlap() -> None:
    three = board(3)
    for kind in Cell:
        three.cells(kind)[:] = memoryview(bytes(24)).cast("q")
        for worker in range(3):
            three.cells(kind)[worker] = 100 * kind + worker
    for time in Time:
        for worker in range(3):
            three.times(time)[worker] = 1000.5 * (time + 1) + worker
    for worker in range(3):
        mark = b"%d" % worker
        assert three.reports[worker].write(b"report" + mark)
        assert three.orders[worker].write(b"orders" + mark)
        for rings in (three.samples, three.spent, three.news):
            for number in range(9000):
                rings[worker].write(b"%d of %d" % (number, worker))
    for worker in range(3):
        mark = b"%d" % worker
        assert (three.reports[worker].read(), three.orders[worker].read()) == (b"report" + mark, b"orders" + mark)
        for rings in (three.samples, three.spent, three.news):
            assert list(rings[worker].read(8999, 10)) == [(9000, b"8999 of " + mark)]
    assert [list(three.cells(kind)) for kind in Cell] == [[100 * kind + worker for worker in range(3)] for kind in Cell]
    assert [list(three.times(time)) for time in Time] == [
        [1000.5 * (time + 1) + worker for worker in range(3)] for time in Time
    ]


def record() -> tuple[Record, bytearray]:
    memory = bytearray(HEAD_BYTES + RECORD_BYTES)
    return Record(memoryview(memory)), memory


def test_a_record_is_what_was_written_last() -> None:
    one, _ = record()
    assert one.read() is None
    assert one.write(b"first, and longer")
    assert one.write(b"second")
    assert one.read() == b"second"
    assert not one.write(bytes(RECORD_BYTES + 1))
    assert one.read() == b"second"


def test_whoever_died_while_it_wrote_is_not_read_and_the_next_in_its_place_is() -> None:
    one, memory = record()
    one.write(b"whole")
    memory[0] |= 1  # odd: it is being written
    assert one.read() is None
    again = Record(memoryview(memory))
    again.write(b"anew")
    assert again.read() == one.read() == b"anew"


@pytest.mark.parametrize("seed", range(3))
def test_no_torn_record_is_ever_read(seed: int) -> None:
    """Two cores may see the bytes of a store in any order: each mixture of an old and a new state is tried at random,
    and what is read is the old or the new content, or nothing."""
    chance = random.Random(seed)
    one, memory = record()
    states = []
    for number in range(20):
        one.write(b"%d," % number * chance.randrange(1, 30))
        states.append((bytes(memory[:256]), one.read()))
    for _ in range(2000):
        (before, old), (after, new) = chance.sample(states, 2)
        cut = sorted(chance.sample(range(0, 256, 8), 2))  # a store of 8 bytes is not torn
        mixed = bytearray(before)
        mixed[cut[0] : cut[1]] = after[cut[0] : cut[1]]
        memory[:256] = mixed
        assert one.read() in {old, new, None}


@pytest.mark.parametrize("length", [0, RECORD_BYTES + 1, -1])
def test_a_record_of_a_nonsensical_length_is_none(length: int) -> None:
    one, memory = record()
    one.write(b"whole")
    memory[8:16] = length.to_bytes(8, "little", signed=True)
    assert one.read() is None


def ring(slots: int = 4, size: int = 16) -> tuple[Ring, bytearray]:
    memory = bytearray(8 + slots * (HEAD_BYTES + size))
    return Ring(memoryview(memory), slots, size), memory


def test_a_ring_is_read_in_order_and_in_parts() -> None:
    four, _ = ring()
    for entry in (b"a", b"", b"c"):
        assert four.write(entry)
    assert list(four.read(0, 2)) == [(1, b"a"), (2, b"")]
    assert list(four.read(2, 9)) == [(3, b"c")]
    assert list(four.read(3, 9)) == []
    assert not four.write(bytes(17))
    assert four.written == 3


def test_who_is_late_sees_what_is_lost() -> None:
    """Slot 5 is that of 1, and of the one that is being written next there is nothing to be relied upon."""
    four, _ = ring()
    for number in range(1, 7):
        four.write(b"%d" % number)
    assert four.oldest == 3
    assert list(four.read(1, 9)) == [(2, None), (3, b"3"), (4, b"4"), (5, b"5"), (6, b"6")]


def test_an_entry_that_is_half_written_is_lost() -> None:
    four, memory = ring()
    four.write(b"entry")
    begin = 8 + (HEAD_BYTES + 16)
    memory[begin + HEAD_BYTES] ^= 1
    assert list(four.read(0, 9)) == [(1, None)]


def test_who_leaves_takes_along_what_it_held_and_leaves_what_others_count_from() -> None:
    two = board()
    for kind in Cell:
        two.cells(kind)[1] = 7
    two.times(Time.BEAT)[1] = 5.0
    two.leave(1)
    assert two.times(Time.BEAT)[1] == 0.0
    left = {kind.name: two.cells(kind)[1] for kind in Cell}
    assert left == {
        "IN_FLIGHT": 0,
        "TAKEN": 7,
        "TAKEN_FULL": 7,
        "KNOWN_WAITING": 0,
        "OTHERS_WAITING": 0,
        "PASSES": 7,
        "SIZE": 7,
        "EPOCH": 7,
        "LONG": 0,
        "STRANGE": 0,
    }
