"""The spill: what waits for peers that take no more goes to a file, once memory holds enough of it.

A peer that asks and does not read costs its sender nothing, and would cost memory until its deadline. So beyond
`in_memory` bytes of all connections together, what waits for one is written to a file that all of them share, and read
again when the socket takes more. The file has no name in the file system, so nothing is left of it when the process
dies. It is a row of blocks; each belongs to one connection, and is given to another one when it has been read. Freed
blocks are used first, and an empty file is closed, so it is no longer than what has waited in it at once.

    Spill      the file, and which of its blocks are free
    Spilled    what one connection has in it, in order

Writing and reading go to the page cache, 16 KiB at a time (4 µs); they block when the kernel has too much to write
back, as with request bodies (exchange/spool.py). What a block holds is copied to the socket and never lent to it
(sendfile): the kernel may have it unsent still, when the block belongs to somebody else. A disk that fails is left
alone for RETRY_SECONDS, and what waits stays in memory meanwhile.
"""

from __future__ import annotations

import os
import tempfile
from array import array
from collections.abc import Callable
from typing import IO, Final

BLOCK_BYTES: Final = 16 * 1024
"""bytes. A connection's last block is not full, mostly: half of this is lost for each, on disk."""
LEAST_BYTES: Final = 4 * 1024
"""bytes. Less of a connection stays in memory: it would free little, as the connection itself takes as much."""
READ_BYTES: Final = 64 * 1024
"""bytes. Read from the file at once, for a socket that takes more."""
RETRY_SECONDS: Final = 60.0
"""s. After a failure of the disk; then it is tried again, and told of again."""


class Spill:
    """One per process. `in_memory`: bytes that may wait in memory before anything goes to the file."""

    __slots__ = ("_blocks", "_clock", "_directory", "_file", "_free", "_off_until", "_on_failed", "in_memory")

    def __init__(
        self, in_memory: int, directory: str, clock: Callable[[], float], on_failed: Callable[[OSError], object]
    ) -> None:
        """`directory` is where the file is; empty for the system's (TMPDIR, /tmp)."""
        self.in_memory = in_memory
        self._directory = directory or None
        self._clock = clock
        self._on_failed = on_failed
        self._file: IO[bytes] | None = None  # open while something waits in it
        self._blocks = 0  # in the file
        self._free: list[int] = []  # of these; the one that was freed last is the first to be used
        self._off_until = 0.0

    def __repr__(self) -> str:
        return f"<Spill {self.used} of {self._blocks} blocks>"

    @property
    def used(self) -> int:
        """Blocks in which something waits."""
        return self._blocks - len(self._free)

    def works(self) -> bool:
        """Whether the disk has not failed lately."""
        return self._clock() >= self._off_until

    def take(self) -> int:
        """A free block. Raises OSError when no file can be opened."""
        if self._file is None:
            self._file = tempfile.TemporaryFile(buffering=0, dir=self._directory)  # noqa: SIM115 - give() closes it
        if self._free:
            return self._free.pop()
        self._blocks += 1
        return self._blocks - 1

    def give(self, block: int) -> None:
        """A block is free again."""
        self._free.append(block)
        if len(self._free) == self._blocks and self._file is not None:
            self._file.close()
            self._file = None
            self._blocks = 0
            self._free.clear()

    def write(self, data: memoryview, at: int) -> int:
        """Write to the place `at`, in a block that was taken; how many bytes were. Raises OSError."""
        assert self._file is not None  # noqa: S101 - a block is taken
        return os.pwrite(self._file.fileno(), data, at)

    def read(self, size: int, at: int) -> bytes:
        """The bytes at `at`, in a block that was taken. Raises OSError."""
        assert self._file is not None  # noqa: S101 - a block is taken
        data = os.pread(self._file.fileno(), size, at)
        if len(data) != size:
            raise OSError("what waits in the file has become shorter")
        return data

    def failed(self, error: OSError) -> None:
        """The disk does not take what waits, or does not give it back. Told of once in RETRY_SECONDS."""
        if self.works():
            self._off_until = self._clock() + RETRY_SECONDS
            self._on_failed(error)


class Spilled:
    """What waits in the file for one connection: `size` bytes."""

    __slots__ = ("_at", "_blocks", "_end", "_spill", "size")

    def __init__(self, spill: Spill) -> None:
        self._spill = spill
        self._blocks = array("I")  # an empty deque takes 0.7 KB, of each client, and five numbers in a list 0.3
        self._at = 0  # bytes of the first block that are gone
        self._end = BLOCK_BYTES  # bytes of the last block that are written
        self.size = 0

    def __repr__(self) -> str:
        return f"<Spilled {self.size} bytes in {len(self._blocks)} blocks>"

    def append(self, data: bytes | memoryview) -> bool:
        """Write `data` at the end. False when the disk did not take it: then nothing is changed that can be read."""
        view = memoryview(data)
        before, end = len(self._blocks), self._end
        try:
            while view:
                if self._end == BLOCK_BYTES:
                    self._blocks.append(self._spill.take())
                    self._end = 0
                piece = view[: BLOCK_BYTES - self._end]
                written = self._spill.write(piece, self._blocks[-1] * BLOCK_BYTES + self._end)
                self._end += written
                view = view[written:]
        except OSError as error:
            while len(self._blocks) > before:
                self._spill.give(self._blocks.pop())
            self._end = end
            self._spill.failed(error)
            return False
        self.size += len(data)
        return True

    def peek(self) -> bytes:
        """What is next, up to READ_BYTES of it. Raises OSError when the disk does not give it back."""
        pieces: list[bytes] = []
        wanted, at = min(READ_BYTES, self.size), self._at
        for block in self._blocks:
            piece = min(BLOCK_BYTES - at, wanted)
            pieces.append(self._spill.read(piece, block * BLOCK_BYTES + at))
            wanted -= piece
            at = 0
            if not wanted:
                break
        return b"".join(pieces)

    def sent(self, size: int) -> None:
        """So many bytes are gone."""
        self.size -= size
        self._at += size
        if not self.size:
            self.drop()
        while self._at >= BLOCK_BYTES:
            self._at -= BLOCK_BYTES
            self._spill.give(self._blocks.pop(0))

    def drop(self) -> None:
        """Free what is left."""
        while self._blocks:
            self._spill.give(self._blocks.pop(0))
        self.size = self._at = 0
        self._end = BLOCK_BYTES
