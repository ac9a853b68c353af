"""How Shield speaks to whoever started it."""

from __future__ import annotations

import contextlib
import os


def say(text: str, descriptor: int = 2) -> None:
    """Write lines for people. A short text is one write(2), so that no log line gets between its lines.

    A full disk or a closed pipe is no error: Shield goes on whether or not anybody can read this.
    """
    with contextlib.suppress(OSError):
        data = f"{text}\n".encode(errors="backslashreplace")
        while data:
            data = data[os.write(descriptor, data) :]


def has_terminal() -> bool:
    """Whether this process has a controlling terminal."""
    with contextlib.suppress(OSError):
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
        return True
    return False
