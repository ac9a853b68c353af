"""What the listeners of a process share with what happens on a connection before HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shield.wire.client_hello import Program
from shield.wire.proxy_protocol import Ends

if TYPE_CHECKING:
    from shield.client.crowding import Crowding
    from shield.operator.log import AccessLog
    from shield.operator.metrics import Metrics
    from shield.wire.sideline import Lane, Sideline
    from shield.wire.turns import Turns

MakeConnection = Callable[[Ends | None, Program, bool], asyncio.Protocol]
"""Makes the protocol that serves a client: (ends as a PROXY header tells them, program as the ClientHello shows it,
whether HTTP/2 was agreed on)."""


@dataclass(slots=True)
class Entrance:
    """One per process, built by process/build.py.

    `crowding` says who may have another connection, and whose is closed for it; `trusts`, whether an address is that of
    a trusted proxy. `on_room` is called when a connection is closed that had not come to HTTP yet. `turns` are those
    that the connections to servers have, too. While a lane of the `sideline` is held, new connections of strangers go
    there before anything of them is read.
    """

    loop: asyncio.AbstractEventLoop
    clock: Callable[[], float]
    metrics: Metrics
    log: AccessLog
    crowding: Crowding
    trusts: Callable[[str], bool]
    on_room: Callable[[], None]
    turns: Turns
    sideline: Sideline | None = None

    def lane_for(self, address: str) -> Lane | None:
        """Where a connection from `address` waits until its first request is read; None where it is read at once."""
        lane = None if self.sideline is None else self.sideline.held()
        return lane if lane is not None and self.crowding.stranger(address) else None
