"""What the supervisor knows of one worker: its process, its end of the socket between them, and its deaths."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

import orjson

from shield.config.settings import Config
from shield.errors import StartError
from shield.process.share import Share
from shield.process.worker import hand_over

FIRST_PAUSE: Final = 0.1
"""Seconds between a worker's death and its replacement; twice as long after each further death, up to LONGEST_PAUSE."""
LONGEST_PAUSE: Final = 5.0
MOST_DEATHS: Final = 5
"""Deaths of one worker within DEATHS_SECONDS that are no accident any more."""
DEATHS_SECONDS: Final = 60.0


class WorkerHandle:
    """One worker. It has one process, or none while it pauses after a death."""

    __slots__ = ("_control", "_deaths", "_share", "number", "process", "restarts")

    def __init__(self, share: Share) -> None:
        self.number = share.worker
        self.process: asyncio.subprocess.Process | None = None
        self.restarts = 0
        self._share = share
        self._control: socket.socket | None = None  # its other end is the process's standard input
        self._deaths: deque[float] = deque(maxlen=MOST_DEATHS)  # when; monotonic seconds

    async def launch(self, config: Config) -> None:
        """Start its process; returns when that listens. Raises StartError with what it says, or OSError."""
        self._hang_up()
        self._control, theirs = socket.socketpair()
        self._control.setblocking(False)
        with theirs:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "shield.process.worker", str(self.number)),
                stdin=theirs.fileno(),
                pass_fds=(*self._share.listeners, *self._share.redirects),
                env=_environment(),
            )
        loop = asyncio.get_running_loop()
        answer = b""
        with contextlib.suppress(ConnectionError):
            await loop.sock_sendall(self._control, hand_over(config, self._share))
            while not answer.endswith(b"\n") and (data := await loop.sock_recv(self._control, 4096)):
                answer += data
        if not answer.endswith(b"\n"):
            raise StartError(f"worker {self.number} ended before it listened")
        error = orjson.loads(answer).get("error", "")
        if error:
            raise StartError(error)

    async def hear(self, dropped: Callable[[list[str]], None]) -> None:
        """Listen to the running process until it ends: `dropped` is called with the addresses whenever they change."""
        loop, control = asyncio.get_running_loop(), self._control
        assert control is not None  # noqa: S101 - it was launched
        line = b""
        with contextlib.suppress(ConnectionError):
            while data := await loop.sock_recv(control, 65_536):
                *lines, line = (line + data).split(b"\n")
                if lines:
                    dropped(orjson.loads(lines[-1])["dropped"])
        dropped([])

    def signal(self, number: signal.Signals) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)

    def pause(self, now: float) -> float | None:
        """Note a death at `now`: seconds to wait, or None when there were too many."""
        self._deaths.append(now)
        lately = sum(now - at < DEATHS_SECONDS for at in self._deaths)
        return min(FIRST_PAUSE * 2 ** (lately - 1), LONGEST_PAUSE) if lately < MOST_DEATHS else None

    async def close(self) -> None:
        """Wait for the process, which was told to end, so that it is no zombie."""
        if self.process is not None:
            await self.process.wait()
        self._hang_up()

    def _hang_up(self) -> None:
        if self._control is not None:
            self._control.close()


@functools.cache
def _environment() -> dict[str, str]:
    """The environment of a worker: ours, with this package first, and without the service manager's socket."""
    package = str(Path(__file__).parents[2])
    path = os.environ.get("PYTHONPATH", "")
    environment = {**os.environ, "PYTHONPATH": f"{package}{os.pathsep}{path}" if path else package}
    environment.pop("NOTIFY_SOCKET", None)
    return environment
