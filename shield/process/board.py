"""The memory of the board (policy/board): made by the supervisor before its workers, and mapped by all of them.

It has no name that anybody else could open, and is gone with the last process that has it. It outlives each worker, so
one that takes the place of another knows what that has told.
"""

from __future__ import annotations

import mmap
import os
import tempfile

from shield.policy.board.memory import PLACE_BYTES, Board


def make(workers: int) -> int:
    """The descriptor of a new memory for so many workers. Raises OSError."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("shield-board", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    try:
        os.ftruncate(descriptor, Board.size(workers))  # zeros, which take no memory before they are written
        os.pwrite(descriptor, os.urandom(PLACE_BYTES), 0)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def attach(descriptor: int, workers: int) -> Board:
    """The board in the memory of a descriptor, which stays open. Raises OSError or ValueError."""
    return Board(memoryview(mmap.mmap(descriptor, Board.size(workers))), workers)
