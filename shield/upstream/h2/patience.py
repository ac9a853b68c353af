"""How much a connection to a server may say that answers nothing.

HTTP/2 has much that costs its sender next to nothing: SETTINGS, PING, WINDOW_UPDATE, PRIORITY, frames of unknown types,
empty DATA. What honest servers send of it goes with what is asked of them and with what is sent to and fro, so these
earn what is spent on it. Who exceeds that is not asked any more over this connection.
"""

from __future__ import annotations

from typing import Final

BURST: Final = 256 * 1024.0
"""bytes. With frames of nothing but their heads some 29,000, which take 60 ms to read."""
RATE: Final = 4096.0
"""bytes/s."""
BY_REQUEST: Final = 1024.0
BY_PIECE: Final = 256.0
"""bytes, for each piece of payload, either way: a server may answer a small one with PING and two WINDOW_UPDATEs."""
FRAME_HEAD: Final = 9
"""bytes in front of each frame (RFC 9113 section 4.1)."""
SENT_PART: Final = 64
"""bytes of payload that are sent, for which a server may say one byte."""


class Patience:
    """What is left of it, in bytes; `now` is in monotonic seconds."""

    __slots__ = ("_left", "_seen", "_unwanted")

    def __init__(self, now: float) -> None:
        self._left = BURST
        self._seen = now
        self._unwanted = 0  # bytes that may still come for requests that were given up

    def __repr__(self) -> str:
        return f"<Patience for {self._left:.0f} bytes>"

    def read(self, size: int, now: float) -> bool:
        """`size` bytes were read. Whether there is any left, after what was in them has earned its part."""
        if self._unwanted:
            spared = min(size, self._unwanted)
            self._unwanted -= spared
            size -= spared
        left = self._left + max(0.0, now - self._seen) * RATE - size
        self._seen = now
        self._left = left = min(BURST, left)
        return left >= 0.0

    def asked(self) -> None:
        """A request was sent."""
        self._left += BY_REQUEST

    def answered(self, size: int) -> None:
        """A final head or trailers came, in a read of `size` bytes."""
        self._left += size

    def received(self, size: int) -> None:
        """So many bytes of payload came in one frame."""
        if size:
            self._left += size + FRAME_HEAD + BY_PIECE

    def unwanted(self, size: int) -> None:
        """A request is given up of whose response so much may be on its way, which nobody sees."""
        self._unwanted += size

    def sent(self, size: int) -> None:
        """So many bytes of payload are on their way."""
        self._left += BY_PIECE + size / SENT_PART
