"""Where lines of the log go: a descriptor, a file, syslog. Each is used by one thread, that of its LogWriter.

A file is opened again when another one is at its path, or none: it is looked before each write, so that a line is in
the old file or in the new one, and in no third place, however the rotation goes (rename, then a signal or none). Where
it cannot be opened again, the old one is written on, and that is said.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import socket
import stat
import time
from collections.abc import Callable
from typing import Final, Protocol

from shield.errors import StartError

PIPE_BYTES: Final = select.PIPE_BUF
"""What one write puts into a pipe undivided (pipe(7)); 4096 on Linux."""

FILE_MODE: Final = 0o640
MOST_SYSLOG_BYTES: Final = 8192
"""Of a line: what rsyslog takes unless told otherwise. A longer one is cut."""
DEV_LOG: Final = "/dev/log"
SYSLOG_TAG: Final = "shield"
FACILITIES: Final = {
    "user": 1,
    "daemon": 3,
    **{f"local{number}": 16 + number for number in range(8)},
}
"""Numbers of RFC 5424 section 6.2.1."""
_SEVERITIES: Final = {b"debug": 7, b"info": 6, b"warning": 4, b"error": 3}
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_LEVEL: Final = re.compile(rb'"level":"([a-z]+)"')
_LEVEL_WITHIN: Final = 160
"""Bytes from the beginning of a line in which its level stands; what a client has sent comes later, with its quotes
escaped."""


class Output(Protocol):
    """A place for lines. `write` returns how many bytes it took, or raises OSError; BlockingIOError: `fileno` tells by
    poll(2) when there is room again."""

    def write(self, data: bytes | memoryview) -> int: ...
    def fileno(self) -> int: ...
    def close(self) -> None: ...


def write_whole_lines(fd: int, data: bytes | memoryview) -> int:
    """os.write of as many whole lines as a pipe takes undivided, so that several processes may share `fd`.

    A longer line goes alone, and may be torn by others when the pipe is full.
    """
    if len(data) > PIPE_BYTES:
        end = bytes(data[:PIPE_BYTES]).rfind(b"\n") + 1
        data = data[: end or bytes(data).find(b"\n") + 1]
    return os.write(fd, data)


class Descriptor:
    """A descriptor of somebody else's. `write` is os.write, write_whole_lines, or a test's stand-in."""

    __slots__ = ("_fd", "_write")

    def __init__(self, fd: int = 2, write: Callable[[int, bytes | memoryview], int] = os.write) -> None:
        self._fd = fd
        self._write = write

    def write(self, data: bytes | memoryview) -> int:
        return self._write(self._fd, data)

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        """It stays open."""


class File:
    """A file that lines are appended to; also by other processes. Raises StartError when it cannot be opened.

    `failed` is called, in any thread, with the path and the reason when it cannot be opened again.
    """

    __slots__ = ("_again", "_failed", "_fd", "_regular", "_trouble", "_which", "path")

    def __init__(self, path: str, failed: Callable[[str, str], None]) -> None:
        self.path = path
        self._failed = failed
        self._again = False
        self._trouble = ""
        try:
            self._fd = _open(path)
        except OSError as error:
            raise StartError(f"cannot write the log to {path}: {error.strerror}") from error
        self._look()

    def reopen(self) -> None:
        """Open it again before the next write; may be called in any thread."""
        self._again = True

    def write(self, data: bytes | memoryview) -> int:
        if self._again or self._moved():
            self._open_again()
        return os.write(self._fd, data) if self._regular else write_whole_lines(self._fd, data)

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        os.close(self._fd)

    def _moved(self) -> bool:
        try:
            found = os.stat(self.path)  # noqa: PTH116 - of what a link leads to, each time
        except OSError:
            return True
        return (found.st_dev, found.st_ino) != self._which

    def _open_again(self) -> None:
        self._again = False
        try:
            fd = _open(self.path)
        except OSError as error:
            trouble = error.strerror or "unknown"
            if trouble != self._trouble:
                self._trouble = trouble
                self._failed(self.path, trouble)
            return
        self._trouble = ""
        os.close(self._fd)
        self._fd = fd
        self._look()

    def _look(self) -> None:
        found = os.fstat(self._fd)
        self._which = found.st_dev, found.st_ino
        self._regular = stat.S_ISREG(found.st_mode)


def _open(path: str) -> int:
    """The descriptor of a file to append to. A FIFO that nobody reads is an error, and not waited for."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
    return os.open(path, flags, FILE_MODE)


class Syslog:
    """A syslog daemon of this machine, at a unix socket for datagrams. A line is a message as RFC 3164 has it, which
    all daemons read at /dev/log, journald too; what it says is the line. Raises StartError when nobody is there.

    The daemon may be started anew: then the next line connects again.
    """

    __slots__ = ("_facility", "_path", "_pid", "_second", "_socket", "_stamp")

    def __init__(self, path: str = DEV_LOG, facility: str = "daemon") -> None:
        self._path = path
        self._facility = FACILITIES[facility] << 3
        self._pid = os.getpid()
        self._second = -1
        self._stamp = ""
        try:
            self._socket = self._connect()
        except OSError as error:
            raise StartError(f"cannot send the log to syslog at {path}: {error.strerror}") from error

    def write(self, data: bytes | memoryview) -> int:
        """Send the first line."""
        line, newline, _ = bytes(data).partition(b"\n")
        if line:
            message = self._message(line)
            try:
                self._socket.send(message)
            except BlockingIOError:
                raise
            except OSError:  # the daemon went, and perhaps another one has come
                fresh = self._connect()
                self._socket.close()
                self._socket = fresh
                self._socket.send(message)
        return len(line) + len(newline)

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def _connect(self) -> socket.socket:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            made.setblocking(False)
            made.connect(self._path)
        except OSError:
            made.close()
            raise
        return made

    def _message(self, line: bytes) -> bytes:
        level = _LEVEL.search(line, 0, _LEVEL_WITHIN)
        severity = 6 if level is None else _SEVERITIES.get(level[1], 6)
        head = f"<{self._facility | severity}>{self._time()} {SYSLOG_TAG}[{self._pid}]: ".encode()
        return head + line[: MOST_SYSLOG_BYTES - len(head)]

    def _time(self) -> str:
        """As RFC 3164 section 4.1.2 has it: local time, without the year."""
        now = int(time.time())
        if now != self._second:
            self._second = now
            local = time.localtime(now)
            month = _MONTHS[local.tm_mon - 1]
            self._stamp = f"{month} {local.tm_mday:2d} {time.strftime('%H:%M:%S', local)}"
        return self._stamp


def close_quietly(output: Output) -> None:
    """Close it, whatever it says."""
    with contextlib.suppress(OSError):
        output.close()
