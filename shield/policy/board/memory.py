"""The layout of the board, and the records and rings in it.

    cells     a whole number for each worker and kind; those of a kind stand side by side, so that their sum is one call
    times     likewise, in seconds
    records   a worker's report and its orders: the last one only. A version, odd while it is written
    rings     what must reach everybody, one after the other: whoever reads keeps count, and sees how many it missed

Each is written by its worker alone, by aligned stores of 8 bytes where a number must not be torn. Whatever is read is
checked by a digest over number and content, so half-written content is seen on every machine, whatever the order in
which its cores see each other's stores.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from hashlib import blake2b
from typing import Final

WORD: Final = 8
DIGEST_BYTES: Final = 8
PLACE_BYTES: Final = 2
HEAD_BYTES: Final = 3 * WORD  # version or number, length, digest
TRIES: Final = 3  # readings of a record that is being written; writing takes a few µs

RECORD_BYTES: Final = 4096
"""A report takes 1 KB, orders 2 KB."""
SAMPLES: Final = (256, 256)
"""Slots of a ring and bytes in each. Eight upstream times stand in one (crew.py): 2,048, twice what a window reads."""
SPENT: Final = (8192, 40)
"""A ring of spent challenges: ten seconds at 800 solves/s (`tables.spent`)."""
NEWS: Final = (4096, 256)
"""A ring of plain rows (remembered.py), of which the longest has 230 bytes."""


class Cell(enum.IntEnum):
    """Whole numbers of a worker."""

    IN_FLIGHT = 0  # requests at the service
    TAKEN = 1  # slots taken so far
    TAKEN_FULL = 2  # of these, those that took the last one
    KNOWN_WAITING = 3  # requests of T0 and T1 in the queue
    OTHERS_WAITING = 4
    PASSES = 5  # bought passes issued so far
    SIZE = 6  # of the leader: slots in all
    EPOCH = 7  # of the leader: of its round
    LONG = 8  # requests at the service without a slot
    STRANGE = 9  # of these, those of T2 to T4


class Time(enum.IntEnum):
    """Times of a worker, in monotonic seconds, which are those of the machine."""

    BEAT = 0  # when it was last seen
    ORDERED = 1  # when it last gave orders


class Board:
    """The parts of a memory that so many workers share. `memory` is writable, and has `size(workers)` bytes."""

    __slots__ = ("_cells", "_place", "_times", "news", "orders", "reports", "samples", "spent", "workers")

    def __init__(self, memory: memoryview, workers: int) -> None:
        self.workers = workers
        numbers = memory.cast("B")
        self._place = numbers[:PLACE_BYTES]
        at = WORD
        self._cells: list[memoryview] = []
        for _ in Cell:
            self._cells.append(numbers[at : at + WORD * workers].cast("q"))
            at += WORD * workers
        self._times: list[memoryview[float]] = []
        for _ in Time:
            self._times.append(numbers[at : at + WORD * workers].cast("d"))
            at += WORD * workers
        self.reports: list[Record] = []
        self.orders: list[Record] = []
        self.samples: list[Ring] = []
        self.spent: list[Ring] = []
        self.news: list[Ring] = []
        for _ in range(workers):
            for records in (self.reports, self.orders):
                records.append(Record(numbers[at : at + HEAD_BYTES + RECORD_BYTES]))
                at += HEAD_BYTES + RECORD_BYTES
            for rings, (slots, bytes_) in ((self.samples, SAMPLES), (self.spent, SPENT), (self.news, NEWS)):
                end = at + _ring_bytes(slots, bytes_)
                rings.append(Ring(numbers[at:end], slots, bytes_))
                at = end

    @property
    def place(self) -> int:
        """A number that tells this board from others: whoever made the memory drew it by lot."""
        return int.from_bytes(self._place, "big")

    @place.setter
    def place(self, place: int) -> None:
        """Come in the place of another board. All workers do so alike."""
        self._place[:] = place.to_bytes(PLACE_BYTES, "big")

    @staticmethod
    def size(workers: int) -> int:
        """Bytes of the memory for so many workers: 1.6 MB each, of which most is touched only where it is used."""
        rings = sum(_ring_bytes(*each) for each in (SAMPLES, SPENT, NEWS))
        return WORD + workers * (WORD * (len(Cell) + len(Time)) + 2 * (HEAD_BYTES + RECORD_BYTES) + rings)

    def cells(self, kind: Cell) -> memoryview:
        """The numbers of a kind, by worker."""
        return self._cells[kind]

    def times(self, kind: Time) -> memoryview[float]:
        """The times of a kind, by worker."""
        return self._times[kind]

    def leave(self, worker: int) -> None:
        """Nobody is at this place any more: to be called by whoever knows that its process has ended, or is to begin.

        What others go on counting from stays.
        """
        for kind in (Cell.IN_FLIGHT, Cell.KNOWN_WAITING, Cell.OTHERS_WAITING, Cell.LONG, Cell.STRANGE):
            self._cells[kind][worker] = 0
        self._times[Time.BEAT][worker] = 0.0


class Record:
    """The last content that one worker wrote."""

    __slots__ = ("_data", "_digest", "_words")

    def __init__(self, memory: memoryview) -> None:
        self._words = memory[: 2 * WORD].cast("q")  # version, length
        self._digest = memory[2 * WORD : HEAD_BYTES]
        self._data = memory[HEAD_BYTES:]

    def write(self, data: bytes) -> bool:
        """Replace the content; False when it is too long, and nothing was written."""
        if len(data) > len(self._data):
            return False
        words = self._words
        writing = words[0] | 1  # it is odd already where the worker before us died while it wrote
        words[0] = writing
        words[1] = len(data)
        self._data[: len(data)] = data
        self._digest[:] = _digest(writing + 1, data)
        words[0] = writing + 1
        return True

    def read(self) -> bytes | None:
        """The content; None when there is none, or none that makes sense."""
        words = self._words
        for _ in range(TRIES):
            version, length = words[0], words[1]
            if version & 1 or not 0 < length <= len(self._data):
                continue
            data = bytes(self._data[:length])
            if _digest(version, data) == self._digest:
                return data
        return None


class Ring:
    """What one worker wrote, one entry after the other; the last `slots` of them are there."""

    __slots__ = ("_bytes", "_head", "_memory", "_slots")

    def __init__(self, memory: memoryview, slots: int, bytes_: int) -> None:
        self._head = memory[:WORD].cast("q")  # entries written so far
        self._memory = memory[WORD:]
        self._slots = slots
        self._bytes = HEAD_BYTES + bytes_

    @property
    def written(self) -> int:
        """Entries so far."""
        count: int = self._head[0]
        return count

    @property
    def oldest(self) -> int:
        """The number before that of the oldest entry that can be read."""
        return max(0, self.written - self._slots + 1)  # the next one may be being written

    def write(self, data: bytes) -> bool:
        """Add an entry; False when it is too long, and nothing was written."""
        number = self.written + 1
        begin = (number % self._slots) * self._bytes
        if len(data) > self._bytes - HEAD_BYTES:
            return False
        head = number.to_bytes(WORD, "little") + len(data).to_bytes(WORD, "little") + _digest(number, data)
        self._memory[begin : begin + HEAD_BYTES + len(data)] = head + data
        self._head[0] = number
        return True

    def read(self, since: int, most: int) -> Iterator[tuple[int, bytes | None]]:
        """The entries after the one with that number, up to `most`: number and content, None where that is lost."""
        for number in range(since + 1, min(self.written, since + most) + 1):
            begin = (number % self._slots) * self._bytes
            entry = bytes(self._memory[begin : begin + self._bytes])
            length = int.from_bytes(entry[WORD : 2 * WORD], "little")
            data = entry[HEAD_BYTES : HEAD_BYTES + length]
            whole = entry[2 * WORD : HEAD_BYTES] == _digest(number, data)
            yield number, data if whole else None


def _ring_bytes(slots: int, bytes_: int) -> int:
    return WORD + slots * (HEAD_BYTES + bytes_)


def _digest(number: int, data: bytes) -> bytes:
    return blake2b(number.to_bytes(WORD, "little") + data, digest_size=DIGEST_BYTES).digest()
