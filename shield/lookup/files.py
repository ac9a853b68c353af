"""Opening a file that somebody else writes, and noticing when it has changed."""

from __future__ import annotations

import os
import stat
from typing import BinaryIO, Final

Stamp = tuple[int, int, int]
GONE: Final[Stamp] = (0, 0, 0)


class UnusableError(ValueError):
    """A file that cannot be used. Says why, without its path."""


def open_file(path: str, most: int) -> BinaryIO:
    """Open a regular file of at most so many bytes; never waits, as a pipe would have us. OSError, UnusableError."""
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    status = os.fstat(number)
    if stat.S_ISREG(status.st_mode) and status.st_size <= most:
        return os.fdopen(number, "rb")
    os.close(number)
    raise UnusableError(f"has more than {most} bytes" if stat.S_ISREG(status.st_mode) else "is not a regular file")


def stamp_of(path: str) -> Stamp:
    """A value that changes with a file, however it is replaced. Of one that is not there it is GONE."""
    try:
        found = os.stat(path)  # noqa: PTH116 - of what a link leads to
    except OSError:
        return GONE
    return found.st_mtime_ns, found.st_ino, found.st_size
