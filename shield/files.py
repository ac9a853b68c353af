"""Opening a file that somebody else writes or names, without ever waiting for it, and noticing when it has changed."""

from __future__ import annotations

import os
import stat
from typing import BinaryIO, Final

Stamp = tuple[int, int, int]
GONE: Final[Stamp] = (0, 0, 0)


class UnusableError(ValueError):
    """A file that cannot be used. Says why, without its path."""


def open_file(path: str | os.PathLike[str], most: int | None = None) -> BinaryIO:
    """Open a regular file, of at most `most` bytes if given. Raises OSError where the system refuses, UnusableError for
    a larger file and for what is none: to open a FIFO would be to wait for who writes it."""
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    status = os.fstat(number)
    wrong = ""
    if not stat.S_ISREG(status.st_mode):
        wrong = "is not a regular file"
    elif most is not None and status.st_size > most:
        wrong = f"has more than {most} bytes"
    if wrong:
        os.close(number)
        raise UnusableError(wrong)
    return os.fdopen(number, "rb")


def why_not(error: OSError | UnusableError) -> str:
    """What `open_file` has raised, in words that follow the file's name."""
    return f"cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)


def unreadable(path: str | os.PathLike[str], most: int | None = None) -> str:
    """Why `open_file` would not open a file; empty when it would."""
    try:
        open_file(path, most).close()
    except (OSError, UnusableError) as error:
        return why_not(error)
    return ""


def stamp_of(path: str) -> Stamp:
    """A value that changes with a file, however it is replaced. Of one that is not there it is GONE."""
    try:
        found = os.stat(path)  # noqa: PTH116 - of what a link leads to; certbot changes the link
    except OSError:
        return GONE
    return found.st_mtime_ns, found.st_ino, found.st_size
