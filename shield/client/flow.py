"""Backpressure: how much waits to be sent to a client, whether more is read from it, and what is read ahead of it.

Flow        one client connection
ReadAhead   what all of them together may read ahead
"""

from __future__ import annotations

import asyncio
from typing import Final

WRITE_HIGH: Final = 256 * 1024
"""bytes. Unsent response at which the client is `blocked`."""


class ReadAhead:
    """bytes. `each` is what may be read ahead of one slow client, `most` of all together; `total` is now."""

    __slots__ = ("each", "most", "total")

    def __init__(self, each: int, most: int) -> None:
        self.each = each
        self.most = most
        self.total = 0

    def __repr__(self) -> str:
        return f"<ReadAhead {self.total} of {self.most} bytes>"


class Flow:
    """The flow over one client connection. `blocked`: more than WRITE_HIGH waits for the client; `paused`: nothing is
    read from it; `sent` bytes were given to the transport, `ahead` bytes of them are read ahead."""

    __slots__ = ("_shared", "_transport", "ahead", "blocked", "paused", "sent")

    def __init__(self, transport: asyncio.Transport, shared: ReadAhead) -> None:
        self._transport = transport
        self._shared = shared
        self.ahead = 0
        self.blocked = False
        self.paused = False
        self.sent = 0

    def __repr__(self) -> str:
        state = [word for word, true in (("blocked", self.blocked), ("paused", self.paused)) if true]
        return f"<Flow {' '.join(state) or 'free'}, {self.unsent()} bytes unsent>"

    def pause(self) -> None:
        """Read no more from the client until resume()."""
        if not self.paused and not self._transport.is_closing():
            self.paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self.paused:
            self.paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def unsent(self) -> int:
        """bytes that wait for the client."""
        return self._transport.get_write_buffer_size()

    def taken(self) -> int:
        """bytes that the client's kernel, or ours, has taken so far."""
        return self.sent - self._transport.get_write_buffer_size()

    def read_ahead(self) -> bool:
        """Whether there is room to read more of a response although the client is behind."""
        shared = self._shared
        unsent = self.unsent()
        more = unsent - self.ahead
        if unsent > shared.each or shared.total + more > shared.most:
            return False
        shared.total += more
        self.ahead = unsent
        return True

    def caught_up(self) -> None:
        """The client has taken what was read ahead of it, or is gone."""
        self.blocked = False
        self._shared.total -= self.ahead
        self.ahead = 0
