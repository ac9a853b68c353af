"""A plain connection, a client's or an upstream server's, read and written on the socket itself.

The transports of the loop cost a flood of short connections more than the requests do: each is made, registered with
the poller and torn down for a single read. Here the first bytes are read as the connection is accepted, and one that is
refused and closed at once never meets the poller (docs/platform.md has the figure).

What is written during one turn of the loop is sent at its end (turns.py), for all connections together: a peer that is
woken by the first message finds the others there, and need not be woken again. A large piece is sent at once, so that
backpressure is felt at once.

    Backlog            how much waits for sockets that take no more, of all connections together, and how much of that
                       in a file (spill.py)
    SocketTransport    what Shield's connections use of asyncio.Transport, with the same meaning
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Callable
from typing import Any, Final, cast

from shield.wire.sideline import Lane
from shield.wire.spill import LEAST_BYTES, Spill, Spilled
from shield.wire.splice import NOT_NOW, Shortcut
from shield.wire.turns import Turns

READ_BYTES: Final = 64 * 1024
"""bytes. Of one read: half of what malloc() takes from the kernel with each call (docs/platform.md)."""
AT_ONCE: Final = 16 * 1024
"""bytes. As soon as so much is unsent, it is sent, and does not wait for the end of the turn."""
WRITE_HIGH: Final = 64 * 1024
"""bytes. When more is unsent, the protocol is asked to pause, unless it has set another limit."""
MOST_PIECES: Final = 64
"""Pieces of one sendmsg(); the kernel takes 1,024."""

_DONTWAIT: Final = socket.MSG_DONTWAIT


class Backlog:
    """bytes that wait because sockets take no more, in all transports that share this: `waiting`, and the `most` that
    there may be. What the kernel takes at once is never counted. `spilled` of them are in the file of `spill`, where
    there is one. `bodies` are those of requests that are kept in memory until their slot; they count for `most`."""

    __slots__ = ("_on_over", "_told", "bodies", "most", "spill", "spilled", "waiting")

    def __init__(self) -> None:
        self.most = sys.maxsize
        self.waiting = 0
        self.bodies = 0
        self.spill: Spill | None = None
        self.spilled = 0
        self._told = False
        self._on_over: Callable[[], object] = lambda: None

    def __repr__(self) -> str:
        return f"<Backlog {self.waiting} and {self.bodies} of {self.most} bytes, {self.spilled} on disk>"

    def limit(self, most: int, on_over: Callable[[], object]) -> None:
        """Call `on_over()` when more than `most` waits, once until relieved(). It must close nothing itself, as it is
        called while something is being written."""
        self.most = most
        self._on_over = on_over

    def changed(self, more: int) -> None:
        """So many bytes more wait, or fewer."""
        self.waiting += more
        if self.waiting + self.bodies > self.most:
            self._tell()

    def keeps(self, more: int) -> None:
        """So many bytes more of bodies are in memory, or fewer."""
        self.bodies += more
        if self.waiting + self.bodies > self.most:
            self._tell()

    def full(self) -> bool:
        """Whether there is more than there may be."""
        return self.waiting + self.bodies > self.most

    def _tell(self) -> None:
        if not self._told:
            self._told = True
            self._on_over()

    def crowded(self) -> Spill | None:
        """The spill, if memory has as much as may wait there, and the disk works."""
        spill = self.spill
        if spill is None or self.waiting - self.spilled <= spill.in_memory or not spill.works():
            return None
        return spill

    def relieved(self) -> None:
        """Whoever was told has done what can be done."""
        self._told = False


class SocketTransport(asyncio.Transport):
    """One connection. Call start() once; it then calls the protocol as asyncio.Transport does.

    Unlike other transports it may call data_received() from within start(). It has more than 15 attributes because both
    directions and the end of a connection are one state: whether a descriptor may be closed depends on all of them.
    """

    __slots__ = (
        "_backlog",
        "_closing",
        "_counted",
        "_eof",
        "_error",
        "_fd",
        "_high",
        "_lane",
        "_loop",
        "_lost",
        "_out",
        "_paused",
        "_peer",
        "_protocol",
        "_queued",
        "_read_out",
        "_reading_out",
        "_reset",
        "_shortcut",
        "_shut",
        "_size",
        "_sock",
        "_spilled",
        "_throttled",
        "_turns",
        "_waiting",
        "_watched",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        turns: Turns,
        backlog: Backlog,
        sock: socket.SocketType,
        peer: Any,
        protocol: asyncio.Protocol,
        read_out: bool = False,
    ) -> None:
        """`peer` is its address. What cannot be sent is counted in `backlog`. The socket may be a blocking one.
        `read_out`: when the peer takes no more, what it has said before is read all the same, as a server may answer
        before it has the whole body."""
        self._loop = loop
        self._turns = turns
        self._backlog = backlog
        self._sock = sock
        self._fd = sock.fileno()
        self._peer = peer
        self._protocol: Any = protocol
        self._read_out = read_out
        self._out: list[bytes | memoryview] = []
        self._spilled: Spilled | None = None  # what is to be sent before _out
        self._size = 0  # bytes in both
        self._counted = 0  # those of them that are in the backlog
        self._high = WRITE_HIGH
        self._queued = False  # to be settled at the end of the turn
        self._waiting = False  # for the socket to take more
        self._throttled = False  # the protocol was told to pause
        self._shortcut: Shortcut | None = None  # for payload that has come
        self._paused = False  # the protocol wants to read no more for now
        self._watched = False  # a poller watches for input
        self._lane: Lane | None = None  # whose poller watches; None: the loop's
        self._eof = False  # the peer has closed its half
        self._shut = False  # our half is to be closed when everything is sent
        self._closing = False
        self._reset = False  # what is unsent is dropped
        self._reading_out = False  # the peer takes no more, but what it has said is still to be read
        self._lost = False
        self._error: BaseException | None = None

    def __repr__(self) -> str:
        state = "lost" if self._lost else "closing" if self._closing else "open"
        return f"<SocketTransport {self._peer} {state}, {self._size} unsent>"

    def start(self, first: Callable[[], None] | None = None, lane: Lane | None = None) -> None:
        """Begin: call connection_made(), then read what has come already, or call `first()` in place of that. The
        socket is watched on `lane` then, or, None, by the loop."""
        self._lane = lane
        try:
            self._protocol.connection_made(self)
            if first is not None and not self._closing:
                first()
            elif self.is_reading():
                self._read()
            self._watch()
        except Exception as error:
            self.fail(error)

    # reading

    def _read(self) -> None:
        if self._shortcut is not None and self._pass_on(self._shortcut):
            return
        try:
            data = self._sock.recv(READ_BYTES, _DONTWAIT)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._break(error)
            return
        if data:
            self._protocol.data_received(data)
            return
        if self._error is not None:  # not an orderly end: _look() has found a reset
            self._break(self._error)
            return
        self._eof = True
        self._watch()
        if not self._protocol.eof_received():
            self.close()

    def take(self, shortcut: Shortcut | None) -> None:
        """Pass payload on by `shortcut` from now on, where that can be. The protocol is told by data_passed() how many
        bytes have passed, and says by passable() how many may; of all others data_received() tells as ever."""
        self._shortcut = shortcut
        if shortcut is not None:
            self._sock.setblocking(False)

    def _pass_on(self, shortcut: Shortcut) -> bool:
        """Whether what has come was passed on. Else it is to be read."""
        most = self._protocol.passable()
        size = shortcut.pass_on(self._sock, most) if most > 0 else NOT_NOW
        if size > 0:
            self._protocol.data_passed(size)
        return size != NOT_NOW

    def on_readable(self) -> None:
        """Read what has come. For whoever watches the socket."""
        if not self._turns.open:
            self._turns.begin()
        try:
            self._read()
            if self._watched and self._lane is None and not self._queued:  # else sending will find a reset
                self._look()
        except Exception as error:
            self.fail(error)

    def _look(self) -> None:
        """Find out whether the connection was reset. After a reset uvloop calls back once and never again, however much
        there is still to read (docs/platform.md). A lane's poller tells of it again and again."""
        number = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            self._error = OSError(number, os.strerror(number))
            self._loop.remove_reader(self._fd)
            self._loop.add_reader(self._fd, self.on_readable)

    def _watch(self) -> None:
        """Have the poller watch for input, or no longer."""
        wanted = not (self._paused or self._eof or self._closing)
        if wanted != self._watched:
            self._watched = wanted
            if self._lane is not None:
                if wanted:
                    self._lane.add(self._fd, self)
                else:
                    self._lane.remove(self._fd)
            elif wanted:
                self._loop.add_reader(self._fd, self.on_readable)
            else:
                self._loop.remove_reader(self._fd)

    def stand_aside(self, lane: Lane | None) -> None:
        """Have the socket watched on `lane` from now on, or, None, by the loop."""
        if lane is not self._lane:
            paused, self._paused = self._paused, True
            self._watch()
            self._lane = lane
            self._paused = paused
            self._watch()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Call `protocol` from now on."""
        self._protocol = protocol

    def pause_reading(self) -> None:
        self._paused = True
        self._watch()

    def resume_reading(self) -> None:
        self._paused = False
        self._watch()

    def is_reading(self) -> bool:
        return not (self._paused or self._eof or self._closing)

    # writing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send `data`, which must not be changed afterwards; drop it if the connection or our half is closing."""
        if self._closing or self._shut or not data:
            return
        self._out.append(cast("bytes", data))
        self._size += len(data)
        if self._waiting:
            self._count()
            self._throttle()
        elif self._size >= AT_ONCE:
            self._send()
        elif not self._queued:
            self._queued = True
            self._turns.add(self)

    def write_eof(self) -> None:
        """Close our half when everything is sent."""
        self._shut = True
        self._queue()

    def idle_socket(self) -> socket.SocketType | None:
        """The socket, if it is open for writing and nothing waits to be sent (splice.Sink)."""
        return None if self._size or self._closing or self._shut else self._sock

    def can_write_eof(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        """bytes. What the kernel has not taken yet."""
        return self._size

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Pause the protocol above `high` bytes unsent, resume it at a quarter of that; `low` is ignored."""
        self._high = WRITE_HIGH if high is None else high

    def _send(self) -> None:
        """Give the kernel as much as it takes."""
        if self._spilled is not None and not self._send_spilled(self._spilled):
            return
        out = self._out
        try:
            sent = (
                self._sock.send(out[0], _DONTWAIT)
                if len(out) == 1
                else self._sock.sendmsg(out[:MOST_PIECES], (), _DONTWAIT)
                if out
                else 0  # all of it was in the file
            )
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as error:
            self._break(error)
            self._reading_out = self._read_out and not (self._paused or self._eof)
            return
        self._size -= sent
        if not self._size:
            out.clear()
            if self._waiting:
                self._waiting = False
                self._loop.remove_writer(self._fd)
                self._count()
            return
        gone = 0
        while sent >= len(out[gone]):
            sent -= len(out[gone])
            gone += 1
        del out[:gone]
        if sent:
            rest = memoryview(out[0])[sent:]
            # A view keeps all that it is a view of: a last byte that waits must not keep 64 KiB that nobody counts.
            out[0] = bytes(rest) if 2 * len(rest) < len(cast("bytes", rest.obj)) else rest
        if not self._waiting:
            self._waiting = True
            self._loop.add_writer(self._fd, self._on_writable)
        self._count()
        self._throttle()

    def _count(self) -> None:
        """Keep the backlog's account of what waits here."""
        more = self._size - self._counted
        self._counted = self._size
        backlog = self._backlog
        backlog.changed(more)
        if more > 0:
            spill = backlog.crowded()
            if spill is not None:
                self._spill(spill)

    def _spill(self, spill: Spill) -> None:
        """Let what waits in memory wait in the file, if it is worth that. A protocol that has a method fell_behind()
        is told when that begins."""
        spilled = self._spilled
        if self._size - (0 if spilled is None else spilled.size) < LEAST_BYTES:
            return
        if spilled is None:
            spilled = Spilled(spill)
        out, before, gone = self._out, spilled.size, 0
        while gone < len(out) and spilled.append(out[gone]):
            gone += 1
        del out[:gone]
        self._backlog.spilled += spilled.size - before
        self._spilled = spilled if spilled.size else None
        if not before and self._spilled is not None and hasattr(self._protocol, "fell_behind"):
            self._protocol.fell_behind()

    def _send_spilled(self, spilled: Spilled) -> bool:
        """Give the kernel a piece of what waits in the file; whether that was the last, and all of it was taken."""
        try:
            data = spilled.peek()
        except OSError as error:
            cast("Spill", self._backlog.spill).failed(error)
            self._break(error)
            return False
        try:
            sent = self._sock.send(data, _DONTWAIT)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as error:
            self._break(error)
            self._reading_out = self._read_out and not (self._paused or self._eof)
            return False
        spilled.sent(sent)
        self._size -= sent
        self._backlog.spilled -= sent
        if spilled.size:
            self._count()
            return False
        self._spilled = None
        return True

    def _on_writable(self) -> None:
        try:
            if self._reset:
                return
            self._send()
            if self._throttled and self._size <= self._high // 4 and not self._reset:
                self._throttled = False
                self._protocol.resume_writing()
            if not self._waiting:
                self._queue()
        except Exception as error:
            self.fail(error)

    def _throttle(self) -> None:
        if self._size > self._high and not self._throttled:
            self._throttled = True
            try:
                self._protocol.pause_writing()
            except Exception as error:  # not the fault of the caller, which may be another connection
                self.fail(error)

    # the end

    def _queue(self) -> None:
        if not self._queued:
            self._queued = True
            self._turns.add(self)

    def settle(self) -> None:
        """Send what was written in this turn, then end the connection or our half if that waits for it."""
        self._queued = False
        if self._lost:
            return
        if self._out and not self._waiting and not self._reset:
            self._send()
        if self._closing and (self._reset or not self._size):
            self._read_rest()
            self._end()
        elif self._shut and not self._size:
            with contextlib.suppress(OSError):  # the peer is gone; the next read says so
                self._sock.shutdown(socket.SHUT_WR)

    def _read_rest(self) -> None:
        while self._reading_out:
            try:
                data = self._sock.recv(READ_BYTES, _DONTWAIT)
            except OSError:
                return
            if not data:
                return
            self._protocol.data_received(data)

    def close(self) -> None:
        """Close when everything is sent. Read no more."""
        self._reading_out = False
        if not self._closing:
            self._closing = True
            self._watch()
            self._queue()

    def abort(self) -> None:
        """Close now, and drop what is unsent."""
        self._reset = True
        self.close()
        self._queue()

    def is_closing(self) -> bool:
        return self._closing

    def fail(self, error: BaseException) -> None:
        """End the connection because of a bug: a method of the protocol has raised. The loop's handler reports it."""
        self._loop.call_exception_handler(
            {"message": "Fatal error on a connection", "exception": error, "transport": self}
        )
        self._break(error)

    def _break(self, error: BaseException) -> None:
        if self._error is None:
            self._error = error
        self.abort()

    def _end(self) -> None:
        self._lost = True
        if self._waiting:
            self._waiting = False
            self._loop.remove_writer(self._fd)
        self._sock.close()
        self._out.clear()
        if self._spilled is not None:
            self._backlog.spilled -= self._spilled.size
            self._spilled.drop()
            self._spilled = None
        self._size = 0
        if self._counted:
            self._count()
        protocol, self._protocol = self._protocol, None  # or the two would be work for the garbage collector
        protocol.connection_lost(self._error)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """`peername` or `socket`."""
        if name == "peername":
            return self._peer
        return self._sock if name == "socket" else default
