"""A connection on its way from accept() to HTTP, and the address that it comes from."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Final

from shield.wire.proxy_protocol import Ends

PATIENCE: Final = 2.0
"""s. What a connection is given before it may have to give way to a newcomer: two round trips of a slow mobile
network."""


class Handshaker:
    """An address (IPv4 /32, IPv6 /64) that begins handshakes: how often it has, as the `tat` of a token bucket
    (policy/bucket.py), and how many are `under_way`. An entry of a policy Table."""

    __slots__ = ("live", "queued", "tat", "under_way")

    def __init__(self) -> None:
        self.live = True
        self.queued = 0.0
        self.tat = 0.0
        self.under_way = 0

    def restrains(self, now: float) -> bool:
        """Whether forgetting it would give the address something back."""
        return self.tat > now


class Arrival:
    """One connection that has not come to HTTP yet. `peer` is its address, `ends` what a PROXY header tells."""

    __slots__ = ("ends", "expected", "handshaker", "peer", "shaking_since", "sock", "started", "step", "timer")

    def __init__(self, sock: socket.SocketType, peer: Any, started: float) -> None:
        self.sock = sock
        self.peer = peer
        self.ends: Ends | None = None
        self.started = started
        # while it is waited for
        self.step: Callable[[Arrival, bytes], int]  # reads what has come; returns the bytes needed to get further
        self.expected = 0  # bytes without which looking again is of no use; 0: the socket is not being watched
        self.timer: asyncio.TimerHandle | None = None
        # over TLS (handshakes.py)
        self.handshaker: Handshaker
        self.shaking_since = 0.0

    @property
    def address(self) -> str:
        """Its address, without the prefix of an IPv4 client on a dual-stack socket."""
        address: str = self.peer[0]
        return address.removeprefix("::ffff:")
