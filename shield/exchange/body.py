"""A request's body on its way through: kept until the request may be sent, and sent again if that did not work.

    client -> memory (http.body_buffer_bytes) -> spool (http.body_spool_bytes) -> upstream

When memory is full, all of it goes to the spool (spool.py); where that has no room, the body waits or is streamed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from shield.exchange.spool import Spool, Spools
    from shield.policy.request import Request
    from shield.wire.transport import Backlog


NO_TRAILERS: Final[list[bytes]] = []


class RequestBody:
    """The body of one request. In memory are at most `limit` bytes and what has come in the meantime; `backlog` counts
    them.

    `size` is the payload that has come, in bytes; `done` is true when that is all. `replayable`: all that was sent of
    it is still here, so that another server can get it, too. `pieces` are in memory, and come after the spool;
    `trailers` come after them, each a line with its CRLF. `kept` are the bytes in memory.
    """

    __slots__ = (
        "_backlog",
        "_limit",
        "_spool",
        "_taken",
        "done",
        "kept",
        "pieces",
        "replayable",
        "size",
        "trailers",
    )

    def __init__(self, limit: int, backlog: Backlog) -> None:
        self._limit = limit
        self._backlog = backlog
        self.kept = 0
        self._taken = 0  # pieces that were sent
        self._spool: Spool | None = None
        self.pieces: list[bytes] = []
        self.size = 0
        self.done = False
        self.replayable = True
        self.trailers = NO_TRAILERS

    def __repr__(self) -> str:
        return (
            f"<RequestBody {self.size} bytes{'' if self.done else ' and more'}{f' {self._spool}' * bool(self._spool)}>"
        )

    def add(self, pieces: list[bytes], done: bool) -> None:
        """Keep payload that has come."""
        size = sum(map(len, pieces))
        self.size += size
        self.done = done
        self.pieces += pieces
        self.kept += size
        self._backlog.keeps(size)

    def passed(self, pieces: list[bytes]) -> None:
        """Payload has come and is sent at once."""
        self.size += sum(map(len, pieces))

    def full(self) -> bool:
        """Whether no more should be kept in memory. To be asked before anything is sent."""
        spool = self._spool
        return self.size - (0 if spool is None else spool.size) >= self._limit

    def in_memory(self) -> bool:
        """Whether all of it is here, and nothing of it in a spool."""
        return self.done and self._spool is None

    def spill(self, spools: Spools, request: Request) -> bool:
        """Move what is in memory to the spool. Whether there was room."""
        spool = self._spool
        if spool is None:
            spool = self._spool = spools.begin(request)
        if spool is None or not spool.append(b"".join(self.pieces)):
            return False
        self._drop_pieces()
        return True

    def _drop_pieces(self) -> None:
        self.pieces.clear()
        self._backlog.keeps(-self.kept)
        self.kept = 0

    def empty(self) -> bool:
        """Whether all that is here has been taken."""
        return self._taken == len(self.pieces) and (self._spool is None or self._spool.at == self._spool.size)

    def take(self) -> list[bytes]:
        """What is to be sent next. Raises OSError when the disk does not give it back."""
        spool = self._spool
        if spool is not None and spool.at < spool.size:
            return [spool.read()]
        taken, self._taken = self._taken, len(self.pieces)
        return self.pieces[taken:]

    def rewind(self) -> None:
        """Send it from the beginning."""
        self._taken = 0
        if self._spool is not None:
            self._spool.at = 0

    def forget(self) -> None:
        """What was here has been sent, and the rest is not kept: so the beginning is of no use."""
        self.replayable = False
        self.close()

    def close(self) -> None:
        """Nothing of it is needed any more."""
        self._drop_pieces()
        self._taken = 0
        if self._spool is not None:
            self._spool.close()
            self._spool = None
