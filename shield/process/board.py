"""The memory of the board (policy/board): made by the supervisor before its workers, and mapped by all of them.

It has no name that anybody else could open, and is gone with the last process that has it. It outlives each worker, so
one that takes the place of another knows what that has told.

Each site has a board of its own in it, the first one that of the clients, too. Which number a site's has is said once,
by the supervisor (`numbered`), and stays when the config is read again: for a moment some workers go by the config from
before. A number is used again as late as can be. What nobody uses takes no memory.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Mapping, Sequence
from typing import Final

from shield.config.site import MOST_SITES
from shield.policy.board.memory import PLACE_BYTES, Board
from shield.policy.board.seat import Seat

BOARDS: Final = 2 * MOST_SITES


def make(workers: int) -> int:
    """The descriptor of a new memory for so many workers. Raises OSError."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("shield-board", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    try:
        os.ftruncate(descriptor, BOARDS * _size(workers))  # zeros, which take no memory before they are written
        os.pwrite(descriptor, os.urandom(PLACE_BYTES), 0)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def attach(descriptor: int, workers: int, number: int = 0) -> Board:
    """The board of that number in the memory of a descriptor, which stays open. Raises OSError or ValueError."""
    size = _size(workers)
    return Board(memoryview(mmap.mmap(descriptor, size, offset=number * size)), workers)


def _size(workers: int) -> int:
    """Bytes of one board, in whole pages."""
    page = mmap.ALLOCATIONGRANULARITY
    return -(-Board.size(workers) // page) * page


def numbered(sites: Sequence[str], before: Mapping[str, int]) -> dict[str, int]:
    """The numbers of the boards of these sites, of which the first has that of the clients, 0. `before` are those that
    were given so far, also of sites that are no more; the result has these, too, as far as their numbers are left."""
    kept = {name: number for name, number in before.items() if number and name not in sites}
    given = {sites[0]: 0} | {name: before[name] for name in sites[1:] if before.get(name)}
    for name in sites[1:]:
        if name in given:
            continue
        free = set(range(1, BOARDS)).difference(given.values(), kept.values())
        free = free.difference(before.values()) or free  # not one that is another site's until a moment ago
        while not free:  # that of the site which was removed first
            free = {kept.pop(next(iter(kept)))}
        given[name] = min(free)
    return kept | given


class Seats:
    """The seats of one worker: one at each board that it uses. A seat is kept when the config is read again."""

    __slots__ = ("_descriptor", "_seats", "_worker", "_workers")

    def __init__(self, descriptor: int, workers: int, worker: int) -> None:
        self._descriptor = descriptor
        self._workers = workers
        self._worker = worker
        self._seats: dict[int, Seat] = {}

    def at(self, number: int) -> Seat:
        """That at the board of a number. Raises OSError or ValueError."""
        seat = self._seats.get(number)
        if seat is None:
            board = attach(self._descriptor, self._workers, number)
            seat = self._seats[number] = Seat(board, self._worker)
        return seat
