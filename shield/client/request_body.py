"""The body of one request, as it comes from an HTTP/1 client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shield.http.framing import CHUNKED, ChunkedBody, LengthBody

if TYPE_CHECKING:
    from shield.client.collecting import Collecting


class IncomingBody:
    """Finds where the body ends. `received` is its payload so far, in bytes; `collecting` is whoever wants it whole,
    for a reply of Shield's own; without, it goes to the exchange, or to nobody. `framing` knows its trailers."""

    __slots__ = ("collecting", "framing", "received")

    def __init__(self, length: int, most: int, collecting: Collecting | None = None) -> None:
        """`length` is that of the head, or CHUNKED; then at most `most` bytes are allowed, 0 for any number."""
        self.framing: LengthBody | ChunkedBody = ChunkedBody(most) if length == CHUNKED else LengthBody(length)
        self.received = 0
        self.collecting = collecting

    def __repr__(self) -> str:
        return f"<IncomingBody {self.received} bytes{'' if self.framing.done else ' and more'}>"

    def feed(self, data: bytes, at: int) -> tuple[list[bytes], int, bool]:
        """The payload in data[at:], where reading stopped, and whether that was the end. Raises Broken."""
        framing = self.framing
        pieces, stop = framing.feed(data, at)
        for piece in pieces:
            self.received += len(piece)  # payload only: chunk framing is no progress
        return pieces, stop, framing.done

    def may_exceed(self, limit: int) -> bool:
        """Whether more than `limit` bytes may follow."""
        framing = self.framing
        return isinstance(framing, ChunkedBody) or framing.left > limit
