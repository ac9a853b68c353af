"""What signals do: SIGTERM, SIGINT and SIGQUIT stop, SIGHUP reads the config again, SIGUSR1 opens the files of the log
again, and SIGUSR2 starts new code. SIGHUP and SIGUSR2 do nothing in a process that is about to end, or in whose place
another one has come.

Each of them would end a process that does not handle it, without a line and without a drain. Those that come before
this process can handle them are kept (early.py).
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import Any, Final, Protocol

from shield.process import early
from shield.terminal import has_terminal

STOPPING: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


class Tell(Protocol):
    """Logs an event."""

    def __call__(self, name: str, **fields: Any) -> None: ...


def handle(
    stop: Callable[[], None],
    reload: Callable[[], None] | None,
    upgrade: Callable[[], None] | None,
    tell: Tell,
    reopen: Callable[[], list[str]] | None = None,
) -> None:
    """Handle all of them in the running loop from now on; nothing is done for those without a function. `reopen`
    returns the paths of the files that are opened again; without it, SIGUSR1 does what it did."""
    loop = asyncio.get_running_loop()
    for number in STOPPING:
        loop.add_signal_handler(number, stop)
    if upgrade is None:
        loop.add_signal_handler(signal.SIGUSR2, ignore, signal.SIGUSR2, tell)
    else:
        loop.add_signal_handler(signal.SIGUSR2, upgrade)

    if reopen is not None:
        loop.add_signal_handler(signal.SIGUSR1, _open_again, reopen, tell)
    had_terminal = has_terminal() and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN  # as under nohup(1)

    def hang_up() -> None:
        """A config that has changed, or a terminal that was closed: then nobody is there to stop Shield later."""
        if had_terminal and not has_terminal():
            stop()
        elif reload is None:
            ignore(signal.SIGHUP, tell)
        else:
            reload()

    loop.add_signal_handler(signal.SIGHUP, hang_up)
    early.come_again()


def _open_again(reopen: Callable[[], list[str]], tell: Tell) -> None:
    if files := reopen():
        tell("log_reopened", files=files)
    else:
        ignore(signal.SIGUSR1, tell)


def ignore(number: signal.Signals, tell: Tell) -> None:
    """Say that a signal came which means nothing here."""
    tell("signal_ignored", signal=number.name)


async def first(*awaited: asyncio.Event | asyncio.Future[Any]) -> None:
    """Wait for the first of several things."""
    waiting = [
        asyncio.ensure_future(each.wait()) if isinstance(each, asyncio.Event) else asyncio.shield(each)
        for each in awaited
    ]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for each in waiting:
        each.cancel()
