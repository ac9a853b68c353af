"""Payload that goes from one socket to another inside the kernel, by splice(2), and never becomes a Python object.

    Pipe        what all of it goes through: one for a process, and empty whenever no pass_on() is running
    Shortcut    the way from a connection that is being read to another connection

It is for a peer that keeps up. What this peer does not take at once is read out of the pipe and written as usual. So
nothing ever waits in the pipe, and all bounds on what waits for a client hold as they do without it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from typing import Final, Protocol

PIPE_BYTES: Final = 256 * 1024
"""bytes. So much passes at a time, at most; what the peer does not take of it waits as usual. It is what may wait for a
client before it counts as slow (client/flow.py)."""
NOT_NOW: Final = -1
"""What pass_on() returns if the bytes must be read as usual."""

_SUPPORTED: Final = hasattr(os, "splice")
_FLAGS: Final = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK if _SUPPORTED else 0


class Sink(Protocol):
    """The connection that payload goes to."""

    def idle_socket(self) -> socket.SocketType | None:
        """Its socket, if it is open and nothing waits to be sent before the payload."""

    def write(self, data: bytes) -> None:
        """Send what the socket has not taken."""


class Pipe:
    """A pipe of the kernel, opened when it is first needed. There is none while no files are left, and where the system
    has no splice()."""

    __slots__ = ("_entrance", "_exit", "size")

    def __init__(self) -> None:
        self._entrance = self._exit = -1
        self.size = 0

    def __repr__(self) -> str:
        return f"<Pipe of {self.size} bytes>"

    def open(self) -> bool:
        """Whether there is a pipe; one is made if there was none."""
        if self._exit < 0 and _SUPPORTED:
            try:
                self._exit, self._entrance = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError:
                return False
            try:
                self.size = fcntl.fcntl(self._entrance, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
            except OSError:  # this user has as much in pipes as pipe(7) allows
                self.size = fcntl.fcntl(self._entrance, fcntl.F_GETPIPE_SZ)
        return self._exit >= 0

    def __del__(self) -> None:
        if self._exit >= 0:
            os.close(self._exit)
            os.close(self._entrance)

    def fill(self, source: socket.SocketType, most: int) -> int:
        """Take up to `most` bytes in; how many. 0: the peer has closed its half. Raises OSError, of which
        BlockingIOError means that nothing is there."""
        return os.splice(source.fileno(), self._entrance, min(most, self.size), flags=_FLAGS)

    def drain(self, target: socket.SocketType, size: int) -> bytes:
        """Give all of the `size` bytes that are in it to `target`; what that has not taken. If it is broken, whoever
        writes the rest finds that out."""
        with contextlib.suppress(OSError):  # BlockingIOError among them
            size -= os.splice(self._exit, target.fileno(), size, flags=_FLAGS)
        rest = b""
        while len(rest) < size:
            rest += os.read(self._exit, size - len(rest))
        return rest


class Shortcut:
    """The way from whatever socket is given to pass_on() to one `sink`. The sockets must not be blocking ones."""

    __slots__ = ("_pipe", "_sink")

    def __init__(self, pipe: Pipe, sink: Sink) -> None:
        """`pipe` is open."""
        self._pipe = pipe
        self._sink = sink

    def pass_on(self, source: socket.SocketType, most: int) -> int:
        """Move up to `most` bytes that have come. How many: 0 where none have, and NOT_NOW where something else waits
        for the sink, or only a read can tell what has happened: an end, or an error."""
        target = self._sink.idle_socket()
        if target is None:
            return NOT_NOW
        try:
            size = self._pipe.fill(source, most)
        except BlockingIOError:
            return 0
        except OSError:
            return NOT_NOW
        if not size:
            return NOT_NOW
        rest = self._pipe.drain(target, size)
        if rest:
            self._sink.write(rest)
        return size
