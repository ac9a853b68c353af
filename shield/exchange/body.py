"""A request's body on its way through: kept until the request may be sent, and sent again if that did not work."""

from __future__ import annotations


class RequestBody:
    """The body of one request: at most `limit` bytes and one read are kept.

    `size` is the payload that has come, in bytes; `done` is true when that is all. `replayable`: all that was sent of
    it is still here, so that another server can get it, too.
    """

    __slots__ = ("_limit", "done", "pieces", "replayable", "size")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.pieces: list[bytes] = []
        self.size = 0
        self.done = False
        self.replayable = True

    def __repr__(self) -> str:
        return f"<RequestBody {self.size} bytes{'' if self.done else ' and more'}>"

    def add(self, pieces: list[bytes], done: bool, keep: bool) -> None:
        """Payload has come. `keep` it, or it is sent at once."""
        self.size += sum(map(len, pieces))
        self.done = done
        if keep:
            self.pieces += pieces

    def full(self) -> bool:
        """Whether no more should be kept."""
        return self.size >= self._limit

    def sent(self) -> None:
        """What was kept has been sent. If it was not all, the rest is not kept, and so the beginning is of no use."""
        if not self.done:
            self.replayable = False
            self.pieces.clear()
