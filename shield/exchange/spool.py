"""Spools: request bodies that are too large for memory wait for their slot in unlinked temporary files.

A spool belongs to one body and is written at its end and read from its beginning, as often as the request is sent. It
has no name in the file system, so nothing is left of it when the process dies.

Bounds. A body's spool is at most `each` bytes, all of them `most`. How much of that a client's address and network may
have depends on what is left (policy/shares.py): one alone may fill half of an idle spool, and a newcomer finds room
however many hold it. So whoever holds most is the first who waits, and those with a history may hold more.

Writing goes to the page cache in pieces of a read or `http.body_buffer_bytes` (64 KiB: 20 µs); it blocks when the
kernel has too much to write back, as it does in nginx. A disk that fails is left alone for RETRY_SECONDS, and bodies
stay in memory meanwhile, up to `http.body_buffer_bytes`.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Final

from shield.policy.shares import Holding, Shares

if TYPE_CHECKING:
    from shield.operator.log import AccessLog
    from shield.policy.request import Request

PIECE: Final = 64 * 1024
"""bytes. Read from a spool at once."""
FILE_BYTES: Final = 1 << 20
"""bytes that a spool counts for at least, since it needs a descriptor: so a spool of 1 GiB needs at most 1,024."""
RETRY_SECONDS: Final = 60.0
"""s. After a failure of the disk; then it is tried again, and told of again."""


class Spools:
    """What all spools of a process have in common: who holds how many bytes of them, and the `directory`."""

    __slots__ = ("_clock", "_directory", "_log", "_off_until", "each", "open", "shares")

    def __init__(self, each: int, most: int, directory: str, log: AccessLog, clock: Callable[[], float]) -> None:
        """`directory` is where the files are; empty for the system's (TMPDIR, /tmp)."""
        self.each = each
        self.shares: Shares[None] = Shares(most, recallable=False)
        self._directory = directory or None
        self._log = log
        self._clock = clock
        self._off_until = 0.0
        self.open = 0

    def __repr__(self) -> str:
        return f"<Spools {self.open} open, {self.shares.total} of {self.shares.most} bytes>"

    def begin(self, request: Request) -> Spool | None:
        """An empty spool for the body of `request`; None where there is no room or no working disk."""
        if not self.each or self._clock() < self._off_until:
            return None
        client = request.client
        holding: Holding[None] = Holding(None, request.tier, client.key, client.home, client.network)
        if not self.shares.room(holding, FILE_BYTES):
            return None
        try:
            file = tempfile.TemporaryFile(buffering=0, dir=self._directory)  # noqa: SIM115 - the spool closes it
        except OSError as error:
            self.failed(error)
            return None
        return Spool(self, holding, file)

    def failed(self, error: OSError) -> None:
        """The disk, or the want of a descriptor, keeps bodies from being spooled. Told of once, however many bodies
        are being written when the disk is full."""
        now = self._clock()
        if now >= self._off_until:
            self._off_until = now + RETRY_SECONDS
            self._log.event("bodies_not_spooled", error=str(error))


class Spool:
    """A body in a file: `size` bytes, of which the next to be read begins at `at`."""

    __slots__ = ("_file", "_holding", "_spools", "at", "size")

    def __init__(self, spools: Spools, holding: Holding[None], file: IO[bytes]) -> None:
        """`holding` is that of its client, which holds nothing yet."""
        self._spools = spools
        self._holding = holding
        self._file = file
        self.size = self.at = 0
        spools.open += 1
        spools.shares.add(holding, FILE_BYTES)

    def __repr__(self) -> str:
        return f"<Spool {self.size} bytes, read up to {self.at}>"

    def append(self, data: bytes) -> bool:
        """Write `data` at the end. False when there is no room, or the disk did not take it: then nothing is changed
        that can be read."""
        spools, holding = self._spools, self._holding
        size = self.size + len(data)
        more = size - holding.amount
        if size > spools.each or (more > 0 and not spools.shares.room(holding, more)):
            return False
        descriptor = self._file.fileno()
        view = memoryview(data)
        at = self.size
        try:
            while view:
                written = os.pwrite(descriptor, view, at)
                at += written
                view = view[written:]
        except OSError as error:
            spools.failed(error)
            return False
        self.size = size
        spools.shares.add(holding, more)
        return True

    def read(self) -> bytes:
        """The next piece. Raises OSError when the disk does not give it back."""
        wanted = min(PIECE, self.size - self.at)
        data = os.pread(self._file.fileno(), wanted, self.at)
        if len(data) != wanted:
            raise OSError("a spooled body has become shorter")
        self.at += wanted
        return data

    def close(self) -> None:
        """The file is gone, and its room free."""
        self._file.close()
        self._spools.open -= 1
        self._spools.shares.give(self._holding, self._holding.amount)
