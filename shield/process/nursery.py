"""Where workers come from: a process that has imported all they need, and forks itself for each.

A new interpreter needs half a second of processor time until it has imported Shield; a fork begins at once, and shares
the memory of what was imported. The nursery is forked from the supervisor before that has a loop or threads, and has
neither itself. Its workers run the code that the supervisor runs, also when a newer one has been installed meanwhile.

    supervisor -> nursery   a message for each worker: its number and environment as JSON, and its descriptors
    nursery -> supervisor   lines of JSON: {"pid": PID} for each message in turn, {"ended": PID, "status": S}

Its end of the socket reads as ended when the supervisor has gone; then the nursery goes as well, and its workers see to
themselves (worker.py). When the nursery has gone, new interpreters take its place (worker_handle.py).
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import fcntl
import gc
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

import orjson

MOST_BYTES: Final = 65_536
"""Of a message."""
MOST_DESCRIPTORS: Final = 253
"""Of one message: SCM_MAX_FD of the kernel."""
UNKNOWN: Final = 255
"""Exit status of a worker that ended when there was no nursery to tell it, or one that hung."""
NEWS_SECONDS: Final = 1.0
"""Within which the nursery says what became of a worker that has ended, which takes it a millisecond."""
FORK_SECONDS: Final = 5.0
"""Within which it forks one, which takes it milliseconds; else it hangs, and is killed, as a worker is."""
KEPT_OUT: Final = ("NOTIFY_SOCKET",)
"""Variables of the environment that are no business of a worker's."""
NOT_MEANT: Final = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM)
"""Signals that reach all processes of a terminal or unit. The nursery ends with its supervisor and not before."""


class Child:
    """A worker's process, with what is needed of asyncio.subprocess.Process.

    That it has ended, its pidfd tells; its exit status, only the nursery, which is its parent. A nursery that does not
    say so within NEWS_SECONDS hangs or is gone.
    """

    def __init__(self, pid: int) -> None:
        """In the running loop. Raises OSError when it has ended already."""
        self.pid = pid
        self.returncode: int | None = None
        self.alone = False  # nobody will tell its status
        self._pidfd = os.pidfd_open(pid)
        self._ended = asyncio.Event()
        self._news: asyncio.TimerHandle | None = None
        asyncio.get_running_loop().add_reader(self._pidfd, self._over)

    def _over(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._pidfd)
        self._news = loop.call_later(0.0 if self.alone else NEWS_SECONDS, self.end, UNKNOWN)

    def end(self, status: int) -> None:
        """It has ended."""
        if self.returncode is None:
            self.returncode = status
            asyncio.get_running_loop().remove_reader(self._pidfd)
            if self._news is not None:
                self._news.cancel()
            os.close(self._pidfd)
            self._ended.set()

    async def wait(self) -> int:
        """Its exit status, negative for a signal, once it has ended."""
        await self._ended.wait()
        assert self.returncode is not None  # noqa: S101 - see end()
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Raises ProcessLookupError when it has ended."""
        if self.returncode is not None:
            raise ProcessLookupError
        signal.pidfd_send_signal(self._pidfd, number)


class Nursery:
    """The supervisor's side: `open` in its loop, then `launch` as often as wanted, and `close`."""

    __slots__ = ("_asked", "_children", "_lock", "_pid", "_socket", "alive")

    def __init__(self, pid: int, ours: socket.socket) -> None:
        self._pid = pid
        self._socket = ours
        self._asked: asyncio.Future[Child] | None = None
        self._children: dict[int, Child] = {}
        self._lock = asyncio.Lock()
        self.alive = True

    def open(self) -> None:
        """Hear what the nursery says, in the running loop from now on."""
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    async def launch(self, number: int, control: int, descriptors: Sequence[int]) -> Child:
        """Have a worker begin whose standard input is `control`, and which has standard error and the other descriptors
        under the same numbers as this process. Raises OSError when there is no nursery any more."""
        async with self._lock:
            if not self.alive:
                raise ConnectionError("there is no nursery")
            self._asked = asyncio.get_running_loop().create_future()
            message = orjson.dumps({"number": number, "descriptors": list(descriptors)})
            socket.send_fds(self._socket, [message], [control, 2, *descriptors])
            try:
                async with asyncio.timeout(FORK_SECONDS):
                    return await asyncio.shield(self._asked)
            except TimeoutError:
                os.kill(self._pid, signal.SIGKILL)  # or it would fork one in the end
                return await self._asked

    async def close(self) -> None:
        """End the nursery. Its workers have ended, or are told otherwise."""
        loop = asyncio.get_running_loop()
        if self._socket.fileno() >= 0:
            loop.remove_reader(self._socket)
        await loop.run_in_executor(None, self.abandon)

    def abandon(self) -> None:
        """As `close`, where no loop runs. Idempotent."""
        self._socket.close()
        self.alive = False
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)

    def _read(self) -> None:
        try:
            data = self._socket.recv(MOST_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._lost()
            return
        said = orjson.loads(data)
        if "pid" in said:
            if self._asked is not None and not self._asked.done():
                self._born(said["pid"], self._asked)
        elif (child := self._children.pop(said["ended"], None)) is not None:
            child.end(said["status"])

    def _born(self, pid: int, asked: asyncio.Future[Child]) -> None:
        try:
            child = self._children[pid] = Child(pid)
        except OSError:
            asked.set_exception(ConnectionError("it ended at once"))
        else:
            asked.set_result(child)

    def _lost(self) -> None:
        """Somebody has killed it."""
        asyncio.get_running_loop().remove_reader(self._socket)
        self.alive = False
        if self._asked is not None and not self._asked.done():
            self._asked.set_exception(ConnectionError("the nursery was killed"))
        for child in self._children.values():
            child.alone = True
        self._children.clear()


def start(worker: Callable[[], int]) -> Nursery | None:
    """Fork the nursery, whose children run `worker`; None where the system has no pidfds.

    To be called before there are threads, a loop, or objects that hold descriptors: those that are open are closed.
    """
    if not hasattr(os, "pidfd_open"):
        return None
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        _become(_serve, ours, theirs, worker)
    theirs.close()
    ours.setblocking(False)
    return Nursery(pid, ours)


def _become(work: Callable[..., int], *arguments: Any) -> NoReturn:
    """Do this and end, whatever is below on the stack."""
    status = 1
    try:
        status = work(*arguments)
    except SystemExit as ending:
        status = ending.code if isinstance(ending.code, int) else 0 if ending.code is None else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stderr.flush()
        os._exit(status)


def _serve(ours: socket.socket, theirs: socket.socket, worker: Callable[[], int]) -> int:
    """The nursery, to its end."""
    ours.close()
    mine = theirs.fileno()
    os.closerange(3, mine)
    os.closerange(mine + 1, os.sysconf("SC_OPEN_MAX"))
    os.dup2(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC), 0)
    for name in KEPT_OUT:
        os.environ.pop(name, None)
    _name("shield-nursery")
    for number in NOT_MEANT:
        signal.signal(number, signal.SIG_IGN)
    told, telling = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(telling, warn_on_full_buffer=False)
    gc.collect()
    gc.freeze()  # so that the workers' memory stays shared
    while True:
        ready, _, _ = select.select([mine, told], [], [])
        if told in ready:
            os.read(told, MOST_BYTES)
        _reap(theirs)
        if mine in ready:
            data, descriptors = _receive(theirs)
            if not data:
                return 0
            os.dup2(
                descriptors[1], 2
            )  # it was another one if the supervisor has come in the place of one (inherited.py)
            pid = os.fork()
            if pid == 0:
                _become(_work, theirs, (told, telling), orjson.loads(data), descriptors, worker)
            for descriptor in descriptors:
                os.close(descriptor)
            _say(theirs, {"pid": pid})


def _reap(theirs: socket.socket) -> None:
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            _say(theirs, {"ended": found[0], "status": os.waitstatus_to_exitcode(found[1])})


def _say(theirs: socket.socket, line: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # the supervisor has ended: the next read says so
        theirs.sendall(orjson.dumps(line))


def _receive(theirs: socket.socket) -> tuple[bytes, list[int]]:
    numbers = array.array("i")
    try:
        data, messages, _, _ = theirs.recvmsg(MOST_BYTES, socket.CMSG_SPACE(MOST_DESCRIPTORS * numbers.itemsize))
    except OSError:
        return b"", []
    for level, kind, content in messages:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            numbers.frombytes(content[: len(content) - len(content) % numbers.itemsize])
    return data, list(numbers)


def _work(
    theirs: socket.socket,
    pipe: tuple[int, int],
    wanted: dict[str, Any],
    descriptors: list[int],
    worker: Callable[[], int],
) -> int:
    """A worker, to its end."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, *NOT_MEANT):
        signal.signal(number, signal.SIG_DFL)
    theirs.close()
    for descriptor in pipe:
        os.close(descriptor)
    _name(f"shield-worker-{wanted['number']}"[:15])
    places = [0, 2, *wanted["descriptors"]]
    above = max(places) + 1
    aside = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, above) for descriptor in descriptors]
    for descriptor in descriptors:
        os.close(descriptor)
    for descriptor, place in zip(aside, places, strict=True):
        os.dup2(descriptor, place, inheritable=place <= 2)
        os.close(descriptor)
    return worker()


def _name(text: str) -> None:
    """What ps(1) and top(1) show; the command line stays that of the supervisor."""
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(text)
