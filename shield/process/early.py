"""Signals that come while nothing can be done about them yet, or any more.

SIGHUP, SIGUSR1 and SIGUSR2 end a process that does not handle them, without a line. It takes Shield half a second until
it does (signals.py). Those that come before are kept, and come again then. Imports next to nothing, so as to be first.
"""

from __future__ import annotations

import os
import signal
from typing import Any, Final

from shield.terminal import has_terminal

KEPT: Final = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)

_came: set[int] = set()


def keep() -> None:
    """Keep those that would end this process, from now until others handle them. At a terminal SIGHUP says that it was
    closed, and is not kept."""
    for number in KEPT:
        default = signal.getsignal(number) is signal.SIG_DFL
        if default and not (number is signal.SIGHUP and has_terminal()):
            signal.signal(number, _note)


def come_again() -> None:
    """All of them are handled now."""
    while _came:
        os.kill(os.getpid(), _came.pop())


def _note(number: int, _: Any) -> None:
    _came.add(number)
