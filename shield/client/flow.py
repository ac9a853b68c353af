"""Backpressure: how much waits to be sent to a client, whether more is read from it, and what is read ahead of it.

Flow        one client connection, or one stream of HTTP/2
ReadAhead   what all of them together may read ahead
"""

from __future__ import annotations

import fcntl
import struct
import termios
from typing import TYPE_CHECKING, Any, Final, Protocol

from shield.policy.shares import Holding, Shares

if TYPE_CHECKING:
    from shield.policy.request import Request

WRITE_HIGH: Final = 256 * 1024
"""bytes. Unsent response at which the client is `blocked`."""


STEP: Final = 256 * 1024
"""bytes. What is read ahead is accounted for in such steps, if there is room for a whole one."""


class ReadAhead:
    """bytes. `each` is what may be read ahead of one slow client; `shares` says who has how much of what there is for
    all together. It cannot be taken back from a client that does not read, so some of it is always kept free."""

    __slots__ = ("each", "shares")

    def __init__(self, each: int, most: int) -> None:
        self.each = each
        self.shares: Shares[None] = Shares(most, recallable=False)

    def __repr__(self) -> str:
        return f"<ReadAhead {self.total} of {self.shares.most} bytes>"

    @property
    def total(self) -> int:
        """What is set aside for all now."""
        return self.shares.total


class Wire(Protocol):
    """What is written to and read from: the transport of a connection, or a stream of HTTP/2."""

    def is_closing(self) -> bool:
        """Whether nothing more is read or written."""

    def pause_reading(self) -> None:
        """Take no more from the client."""

    def resume_reading(self) -> None:
        """Take more again."""

    def get_write_buffer_size(self) -> int:
        """bytes that wait for the client."""

    def get_extra_info(self, name: str) -> Any:
        """`socket`, if it is one."""


def _on_the_way(transport: Wire) -> int:
    """bytes in our kernel's buffer that the client's kernel has not acknowledged (SIOCOUTQ of tcp(7))."""
    sock = transport.get_extra_info("socket")
    if sock is None:  # a stream has none of its own
        return 0
    try:
        return int(struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)))[0])
    except (AttributeError, OSError, ValueError):  # it is closed
        return 0


class Flow:
    """The flow over one client connection, or one stream of it. `blocked`: more than WRITE_HIGH waits for the client;
    `paused`: nothing is read from it; `sent` bytes were given to the transport."""

    __slots__ = ("_ahead", "_shared", "_transport", "blocked", "paused", "sent")

    def __init__(self, transport: Wire, shared: ReadAhead) -> None:
        self._transport = transport
        self._shared = shared
        self._ahead: Holding[None] | None = None  # while something is read ahead
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
        """bytes that the client's kernel has taken so far.

        What ours has taken says little: it takes more only when a third of its buffer is free again, up to 1.4 MB. A
        client that plays 16 KB/s seemed not to read for a minute and a half.
        """
        return self.sent - self._transport.get_write_buffer_size() - _on_the_way(self._transport)

    def roomy(self) -> bool:
        """Whether half of what all may read ahead is free."""
        shares = self._shared.shares
        return 2 * shares.total <= shares.most

    @property
    def ahead(self) -> int:
        """bytes that are set aside for what is read ahead of the client."""
        return 0 if self._ahead is None else self._ahead.amount

    def read_ahead(self, request: Request) -> bool:
        """Whether there is room to read more of the response to `request` although the client is behind."""
        shared = self._shared
        unsent = self.unsent()
        if unsent > shared.each:
            return False
        holding = self._ahead
        if holding is None:
            client = request.client
            holding = Holding(None, request.tier, client.key, client.home, client.network)
        more = unsent - holding.amount
        if more > 0 and not (shared.shares.take(holding, max(more, STEP)) or shared.shares.take(holding, more)):
            return False
        self._ahead = holding
        return True

    def caught_up(self) -> None:
        """The client has taken what was read ahead of it, or is gone."""
        self.blocked = False
        holding = self._ahead
        if holding is not None:
            self._ahead = None
            self._shared.shares.give(holding, holding.amount)
