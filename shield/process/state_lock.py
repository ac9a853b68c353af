"""One Shield for a state directory: a second one would overwrite what the first has learned, and the operator's rules.

The directory itself is locked (flock(2)), and the kernel lets it go when the process has ended, however it did. Who
comes in the place of another Shield gets the lock once that has left it the rest. Where the file system has no locks,
Shield goes on without.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
from pathlib import Path
from typing import Final

from shield.config.state import StateSettings
from shield.errors import StartError

AGAIN_SECONDS: Final = 1.0
"""Between two attempts while the Shield from before lives on."""
_TAKEN: Final = frozenset({errno.EWOULDBLOCK, errno.EACCES})


class StateLock:
    """`take` at the start, `change` for a config that was read again, `close` at the end."""

    __slots__ = ("_descriptor", "_directory", "_timer")

    def __init__(self) -> None:
        self._directory = ""
        self._descriptor = -1  # none
        self._timer: asyncio.TimerHandle | None = None

    def take(self, settings: StateSettings, heir: bool = False) -> None:
        """Lock the directory. Raises StartError when another Shield has it; an `heir` gets it later."""
        self._directory = settings.directory
        try:
            self._descriptor = _lock(settings.directory)
        except StartError:
            if not heir:
                raise
            self._timer = asyncio.get_running_loop().call_later(AGAIN_SECONDS, self._again)

    def check(self, settings: StateSettings) -> None:
        """Whether a config can be gone by that may name another directory. Raises StartError."""
        if settings.directory != self._directory:
            _close(_lock(settings.directory))

    def change(self, settings: StateSettings) -> None:
        """Go by this config, which was checked."""
        if settings.directory != self._directory:
            self.close()
            self.take(settings, heir=True)

    def close(self) -> None:
        """Let go of it. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        _close(self._descriptor)
        self._descriptor = -1

    def _again(self) -> None:
        self._timer = None
        self.take(StateSettings(self._directory), heir=True)


def _lock(directory: str) -> int:
    """The descriptor of the locked directory; -1 where there is none. Raises StartError when it is locked."""
    if not directory:
        return -1
    try:
        Path(directory).mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return -1  # whoever needs the directory says so
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if error.errno not in _TAKEN:
            return -1
        raise StartError(
            f"state.directory: another Shield keeps its state in {directory}: stop that one first, or give this one a "
            "directory of its own"
        ) from None
    return descriptor


def _close(descriptor: int) -> None:
    if descriptor >= 0:
        os.close(descriptor)
