"""Starting new code in the place of this process when SIGUSR2 asks for it (inherited.py has the other side).

The command that started this process is started again. It finds the code and the config as they are now, and is given
the listening sockets, what is kept in memory alone, and all that was learned. It says when everything is built; only
then does it accept connections, beside this process for a moment, and this process accepts none any more. Whatever
goes wrong before that, the new process ends and this one goes on.

The new process is a child of whoever takes in orphans, as this one is, so that the service manager sees its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Final, Protocol

from shield.errors import StartError
from shield.process import inherited, systemd
from shield.process.inherited import Legacy
from shield.process.signals import Tell
from shield.terminal import say

READY_SECONDS: Final = 120.0
"""Within which the new process must be ready; what was learned of a million clients takes 20 s."""
BEGIN_SECONDS: Final = 30.0
"""Within which it must have begun after that, which takes milliseconds."""
LAST_LINES: Final = 6
"""Of what it said before it could log, in the line that says why it did not come to serve."""
MOST_SAID: Final = 1 << 20
"""Bytes of that which are read."""
OF_THIS_PROCESS: Final = ("WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
"""In the environment: what holds for this process alone."""

ORPHAN: Final = """\
import os, sys
told, command = int(sys.argv[1]), sys.argv[2:]
pid = os.fork()
if pid:
    os.write(told, b"%d\\n" % pid)
else:
    os.close(told)
    os.execv(command[0], command)
"""
"""A program that starts another one, says its process id, and ends."""


class Giver(Protocol):
    """What is to go over to another process: a process that serves alone, or a supervisor."""

    def legacy(self, estates: list[socket.socket]) -> Legacy:
        """What is given at once. `estates` are the heir's ends, one for each worker."""
        ...

    @property
    def workers(self) -> int:
        """How many there are."""
        ...

    async def give(self, ends: list[socket.socket]) -> None:
        """Give what was learned over these ends, one for each worker. An end that breaks is no error."""
        ...

    def let_go(self) -> None:
        """Have the kernel drop nobody any more."""
        ...

    def go_on(self) -> None:
        """The heir does not begin: be as before."""
        ...

    async def leave(self, ends: list[socket.socket]) -> None:
        """The heir has begun: accept nothing more, give the rest, and end with the last connection."""
        ...


class Upgrading:
    """`ask` as often as wanted. `changing` is held meanwhile: the config does not change. `leave` is called once the
    heir has begun, and says whether it is to read the config again."""

    __slots__ = ("_changing", "_giver", "_leave", "_over", "_task", "_tell")

    def __init__(self, giver: Giver, changing: asyncio.Lock, tell: Tell, leave: Callable[[], bool]) -> None:
        self._leave = leave
        self._giver = giver
        self._changing = changing
        self._tell = tell
        self._task: asyncio.Task[None] | None = None
        self._over = False  # for this process

    def ask(self) -> None:
        """Have new code take over; not while that is being done."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    def cancel(self) -> None:
        """Let go of what has begun, unless the heir accepts connections already."""
        if self._task is not None and not self._over:
            self._task.cancel()

    async def close(self) -> None:
        """Begin no more, and let go of what has begun; but once the heir accepts connections, see it through."""
        self.cancel()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        async with self._changing:
            heir = Heir()
            try:
                self._tell("upgrading", command=heir.command)
                heir_pid = await self._upgrade(heir)
                self._tell("upgraded", heir=heir_pid, pid=os.getpid())
            except (StartError, OSError) as error:
                self._refuse(str(error), heir)
            except Exception as error:
                self._refuse(f"a bug in Shield: {error!r}", heir)
                raise
            finally:
                heir.close()

    def _refuse(self, error: str, heir: Heir) -> None:
        heir.end()
        self._tell("upgrade_refused", error=error, said=heir.said(), effect="this process goes on")

    async def _upgrade(self, heir: Heir) -> int:
        """Raises StartError or OSError while this process goes on."""
        giver = self._giver
        if os.getpid() == 1:
            raise StartError("this is process 1, whose end would be that of its container")
        pairs = [socket.socketpair() for _ in range(giver.workers)]
        ends = [ours for ours, _ in pairs]
        for ours in ends:
            ours.setblocking(False)
        giving: asyncio.Task[None] | None = None
        try:
            legacy = giver.legacy([theirs for _, theirs in pairs])
            try:
                await heir.start(legacy)
            finally:
                legacy.close()
            giving = asyncio.create_task(giver.give(ends))
            await heir.ready()
            await giving
            giver.let_go()
            try:
                await heir.begin()
            except BaseException:
                giver.go_on()
                raise
            self._over = True
            leaving = asyncio.create_task(giver.leave(ends))
            await asyncio.wait([leaving])
            systemd.notify(f"MAINPID={heir.pid}")
            os.environ.pop("NOTIFY_SOCKET", None)  # nothing more is to be said of this process
            await heir.is_main()
            leaving.result()
            if self._leave():
                heir.reload()
            return heir.pid
        finally:
            if giving is not None:
                giving.cancel()
                await asyncio.gather(giving, return_exceptions=True)
            for ours in ends:
                ours.close()


class Heir:
    """The process that is to come in the place of this one."""

    __slots__ = ("_link", "_pidfd", "_pipe", "_reading", "_said", "command", "pid")

    def __init__(self) -> None:
        self.command = [sys.executable, *sys.orig_argv[1:]]
        self.pid = 0
        self._pidfd = -1
        self._link: socket.socket | None = None
        self._pipe = -1  # what it says before it has a log
        self._said = b""
        self._reading = False

    async def start(self, legacy: Legacy) -> None:
        """Start it, and send what it is given. Raises OSError or StartError."""
        self._link, theirs = socket.socketpair()
        self._link.setblocking(False)
        self._pipe, writing = os.pipe()
        told, telling = os.pipe()
        try:
            environment = {name: value for name, value in os.environ.items() if name not in OF_THIS_PROCESS}
            environment[inherited.VARIABLE] = str(theirs.fileno())
            starter = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", "-c", ORPHAN, str(telling), *self.command),
                pass_fds=(theirs.fileno(), telling),
                stderr=writing,
                env=environment,
            )
        finally:
            theirs.close()
            os.close(writing)
            os.close(telling)
        try:
            os.set_blocking(self._pipe, False)
            asyncio.get_running_loop().add_reader(self._pipe, self._read)
            self._reading = True
            await starter.wait()
            self.pid = int(os.read(told, 20) or b"0")
        finally:
            os.close(told)
        if not self.pid:
            raise StartError("it cannot be started")
        if hasattr(os, "pidfd_open"):
            with contextlib.suppress(OSError):
                self._pidfd = os.pidfd_open(self.pid)
        try:
            async with asyncio.timeout(READY_SECONDS):
                await inherited.bequeath(self._link, legacy)
        except TimeoutError:
            self._kill(signal.SIGKILL)
            raise StartError(f"it did not take over within {READY_SECONDS:.0f} s") from None
        except OSError:
            return  # it has ended, as `ready` says

    async def ready(self) -> None:
        """Wait until it has everything that it needs to begin. Raises StartError."""
        await self._answers("ready", READY_SECONDS)

    async def begin(self) -> None:
        """Let it accept connections. Raises StartError."""
        assert self._link is not None  # noqa: S101 - it was started
        await inherited.say(self._link, {"begin": True})
        await self._answers("begun", BEGIN_SECONDS)

    async def is_main(self) -> None:
        """Tell it that this process has left."""
        assert self._link is not None  # noqa: S101 - it was started
        with contextlib.suppress(OSError):
            await inherited.say(self._link, {"main": True})
        say_all(self._said)
        self._said = b""

    async def _answers(self, expected: str, seconds: float) -> None:
        assert self._link is not None  # noqa: S101 - it was started
        try:
            async with asyncio.timeout(seconds):
                answer = await inherited.heard(self._link)
        except TimeoutError:
            self._kill(signal.SIGKILL)
            raise StartError(f"it was not {expected} within {seconds:.0f} s") from None
        if error := answer.get("error", ""):
            raise StartError(str(error))
        if expected not in answer:
            raise StartError(f"it ended before it was {expected}")

    def said(self) -> list[str]:
        """The last lines that it said before it had a log."""
        if self._reading:
            self._read()
        return self._said.decode(errors="replace").splitlines()[-LAST_LINES:]

    def reload(self) -> None:
        """Have it read the config once more."""
        self._kill(signal.SIGHUP)

    def end(self) -> None:
        """Have it end, if it was started."""
        self._kill(signal.SIGTERM)

    def close(self) -> None:
        """Let go of it: it goes on if it has begun."""
        if self._reading:
            asyncio.get_running_loop().remove_reader(self._pipe)
            self._reading = False
        if self._pipe >= 0:
            os.close(self._pipe)
        if self._pidfd >= 0:
            os.close(self._pidfd)
        self._pipe = self._pidfd = -1
        if self._link is not None:
            self._link.close()

    def _read(self) -> None:
        """Take what it says; once it has a log, nobody writes into the pipe any more."""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._pipe, 65_536):
                self._said = (self._said + data)[-MOST_SAID:]
            asyncio.get_running_loop().remove_reader(self._pipe)
            self._reading = False

    def _kill(self, number: signal.Signals) -> None:
        with contextlib.suppress(OSError):
            if self._pidfd >= 0:
                signal.pidfd_send_signal(self._pidfd, number)


def say_all(data: bytes) -> None:
    """Say to whoever started this process what the new one has said."""
    if text := data.decode(errors="replace").rstrip("\n"):
        say(text)


def own_pidfd() -> list[int]:
    """This process as its heirs can signal it, where the system has such a thing."""
    if hasattr(os, "pidfd_open"):
        with contextlib.suppress(OSError):
            return [os.pidfd_open(os.getpid())]
    return []
