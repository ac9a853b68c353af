"""Runs a service as systemd would: holds its sockets, follows its main process, and starts it again when that ends.

As in deploy/shield.service and deploy/shield.socket: `Type=notify-reload`, `KillMode=process`, `Restart=on-failure`,
`RestartSec=100ms`. The processes of the service are those of the process group that it was started in. Linux only.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.common.processes import ROOT, prefer_alike

RESTART_SECONDS: Final = 0.1
READY_SECONDS: Final = 30.0
STOP_SECONDS: Final = 40.0
PR_SET_CHILD_SUBREAPER: Final = 36  # linux/prctl.h


class Manager:
    """`start`, then `stop`; everything between happens by itself. `main` is the main process, 0 while there is none.

    `sockets` are passed to the service, or none: then it binds its own.
    """

    def __init__(self, command: Sequence[str], folder: Path, log: Path, sockets: Sequence[socket.socket]) -> None:
        self.command = list(command)
        self.folder = folder
        self.log = log
        self.sockets = sockets
        self.main = 0
        self.starts = 0
        self.problems: list[str] = []
        self._groups: list[int] = []
        self._ready = asyncio.Event()
        self._wanted = False
        self._following: set[asyncio.Task[None]] = set()  # the end of each main process
        self._over = asyncio.Event()
        self._notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notified.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._notified.setblocking(False)

    async def start(self) -> None:
        """Start the service, and wait until it is ready. Raises TimeoutError."""
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # whose parents end is a child of this process
        self._notified.bind(str(self.folder / "notify"))
        asyncio.get_running_loop().add_reader(self._notified, self._read)
        self._wanted = True
        self._begin()
        await self.ready()

    async def ready(self) -> None:
        """Wait until the main process has said that it is ready. Raises TimeoutError."""
        async with asyncio.timeout(READY_SECONDS):
            await self._ready.wait()

    async def stop(self) -> None:
        """End it as `systemctl stop` does."""
        self._wanted = False
        if self.main:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.main, signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._over.wait()
        except TimeoutError:
            self.problems.append("it did not stop")
        self._kill_rest()
        await asyncio.gather(*self._following)
        asyncio.get_running_loop().remove_reader(self._notified)
        self._notified.close()
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)

    def processes(self) -> list[int]:
        """All that live of the service."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                    if int(fields[2]) in self._groups and fields[0] != "Z":
                        found.append(int(entry.name))
        return found

    def _begin(self) -> None:
        self._ready.clear()
        passed = [sock.fileno() for sock in self.sockets]
        command = self.command
        if passed:
            command = [sys.executable, "-m", "bench.common.activate", *map(str, passed), "--", *command]
        # What is installed has its bytecode; a checkout may be told to keep none, and to compile takes half of a start.
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "NOTIFY_SOCKET": str(self.folder / "notify")}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        with self.log.open("ab") as log:
            started = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stderr=log,
                cwd=self.folder,
                env=environment,
                pass_fds=passed,
                start_new_session=True,
            )
        self._groups.append(started.pid)
        prefer_alike(started.pid)
        self.starts += 1
        self._be_main(started.pid)

    def _be_main(self, pid: int) -> None:
        self.main = pid
        following = asyncio.create_task(self._follow(pid))
        self._following.add(following)
        following.add_done_callback(self._following.discard)

    async def _follow(self, pid: int) -> None:
        """Wait for the end of a main process; unless another one has taken its place by then, start it again."""
        status = await ended(pid)
        if self.main != pid:
            return
        self.main = 0
        if self._wanted:
            await asyncio.sleep(RESTART_SECONDS)
            self._begin()
            return
        if status != 0:
            self.problems.append(f"it ended with status {status}")
        self._over.set()

    def _kill_rest(self) -> None:
        """Whatever is left in the end: systemd would leave that alone, but the next test wants its ports."""
        while self._groups:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._groups.pop(), signal.SIGKILL)

    def _read(self) -> None:
        """NotifyAccess=main."""
        with contextlib.suppress(BlockingIOError):
            data, credentials, _, _ = self._notified.recvmsg(4096, socket.CMSG_SPACE(12))
            if int.from_bytes(credentials[0][2][:4], sys.byteorder) != self.main:
                return
            for line in data.decode().splitlines():
                name, _, value = line.partition("=")
                if name == "MAINPID":
                    self._be_main(int(value))
                elif name == "READY":
                    self._ready.set()
                elif name in ("RELOADING", "STOPPING"):
                    self._ready.clear()


async def ended(pid: int) -> int:
    """Wait for the end of a child, or of an orphan that this process takes in; its exit status."""
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return 0
    loop.add_reader(descriptor, over.set)
    try:
        await over.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        try:
            found, status = os.waitpid(pid, os.WNOHANG)  # noqa: ASYNC222 - it does not wait
        except ChildProcessError:  # it has another parent, which is about to end
            await asyncio.sleep(0.02)
            continue
        if found:
            return os.waitstatus_to_exitcode(status)
        await asyncio.sleep(0.02)
    return 0
