"""Workers whose supervisor was killed: whether others have taken over the sockets that they accept from.

Where a service manager holds the listening sockets, it gives the same ones to the supervisor that it starts next. So
until that has workers which listen, the orphans can go on, and nobody waits. They know by a lock: a supervisor whose
workers all listen holds one on each of its sockets (fcntl(2), F_SETLK: it belongs to the process, and ends with it).
"""

from __future__ import annotations

import asyncio
import fcntl
from collections.abc import Callable
from typing import Final, Protocol

ORPHAN_SECONDS: Final = 30.0
"""For which orphans wait for the next supervisor: the longest `RestartSec` of the unit, and a start on a busy machine.
Then they end, too."""
LOOK_SECONDS: Final = 0.05


class Descriptor(Protocol):
    def fileno(self) -> int: ...


def claim(sock: Descriptor) -> bool:
    """Lock a socket for this process, until that ends or closes it; False while another process has done so."""
    try:
        fcntl.lockf(sock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def claimed(descriptor: int) -> bool:
    """Whether another process has locked the socket of a descriptor."""
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    fcntl.lockf(descriptor, fcntl.LOCK_UN)
    return False


async def followed(descriptor: int, clock: Callable[[], float]) -> bool:
    """Wait for the next supervisor, up to ORPHAN_SECONDS; whether it has come. `clock` gives monotonic seconds."""
    end = clock() + ORPHAN_SECONDS
    while not claimed(descriptor):
        if clock() >= end:
            return False
        await asyncio.sleep(LOOK_SECONDS)
    return True
