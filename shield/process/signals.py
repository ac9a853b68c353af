"""What signals do: SIGTERM, SIGINT and SIGQUIT stop, SIGHUP reads the config again, SIGUSR1 and SIGUSR2 do nothing.

Each of them would end a process that does not handle it, without a line and without a drain.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from typing import Any, Final, Protocol

STOPPING: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
IGNORED: Final = (signal.SIGUSR1, signal.SIGUSR2)


class Tell(Protocol):
    """Logs an event."""

    def __call__(self, name: str, **fields: Any) -> None: ...


def handle(stop: Callable[[], None], reload: Callable[[], None], tell: Tell) -> None:
    """Handle all of them in the running loop from now on."""
    loop = asyncio.get_running_loop()
    for number in STOPPING:
        loop.add_signal_handler(number, stop)
    for number in IGNORED:
        loop.add_signal_handler(number, ignore, number, tell)
    had_terminal = has_terminal() and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN  # as under nohup(1)

    def hang_up() -> None:
        """A config that has changed, or a terminal that was closed: then nobody is there to stop Shield later."""
        if had_terminal and not has_terminal():
            stop()
        else:
            reload()

    loop.add_signal_handler(signal.SIGHUP, hang_up)


def ignore(number: signal.Signals, tell: Tell) -> None:
    """Say that a signal came which means nothing here."""
    tell("signal_ignored", signal=number.name)


def has_terminal() -> bool:
    """Whether this process has a controlling terminal."""
    with contextlib.suppress(OSError):
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
        return True
    return False
