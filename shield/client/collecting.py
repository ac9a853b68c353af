"""The body of a request on which Shield's own reply depends (`BodyWanted`), while it is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shield.http.head import Head
    from shield.replies.reply import BodyWanted, Reply


class Collecting:
    """The pieces so far, at most `wanted.limit` bytes and one read, and the `head` that they belong to. `request_id` is
    what the reply names it by."""

    __slots__ = ("_left", "_pieces", "_wanted", "head", "request_id")

    def __init__(self, wanted: BodyWanted, head: Head, request_id: bytes) -> None:
        self.head = head
        self.request_id = request_id
        self._wanted = wanted
        self._pieces: list[bytes] = []
        self._left = wanted.limit

    def add(self, pieces: list[bytes]) -> bool:
        """Keep `pieces`. Whether more may follow: False once there is more than is wanted."""
        self._pieces += pieces
        self._left -= sum(map(len, pieces))
        return self._left >= 0

    def reply(self, now: float) -> Reply:
        """The reply, once the body has ended or is longer than wanted."""
        return self._wanted.reply(b"".join(self._pieces) if self._left >= 0 else None, now)
