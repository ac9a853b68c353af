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
from typing import Any, Final

import orjson

from shield.config.settings import Config
from shield.errors import StartError
from shield.policy.rules.rule import Rule
from shield.process.control import Order, Silence, send
from shield.process.dropper import Dropped
from shield.process.nursery import Child, Nursery
from shield.process.share import Share

FIRST_PAUSE: Final = 0.1
"""Seconds between a worker's death and its replacement; twice as long after each further death, up to LONGEST_PAUSE."""
LONGEST_PAUSE: Final = 5.0
MOST_DEATHS: Final = 5
"""Deaths of one worker within DEATHS_SECONDS that are no accident any more."""
DEATHS_SECONDS: Final = 60.0


class WorkerHandle:
    """One worker. It has one process, or none while it pauses after a death."""

    __slots__ = (
        "_answers", "_changed", "_control", "_deaths", "_dropped", "_listening", "_nursery", "_share", "_silence",
        "_spent", "_starts", "number", "process", "restarts",
    )  # fmt: skip

    def __init__(
        self,
        share: Share,
        dropped: Callable[[list[Dropped]], None],
        nursery: Nursery | None = None,
        changed: Callable[[dict[str, Any]], None] = lambda said: None,
    ) -> None:
        """`dropped` is called with the addresses whose connections are to be dropped, whenever they change, `changed`
        with what was changed at other machines. Without a `nursery` its processes are new interpreters."""
        self._nursery = nursery
        self._changed = changed
        self._dropped = dropped
        self.number = share.worker
        self.process: asyncio.subprocess.Process | Child | None = None
        self.restarts = 0
        self._share = share
        self._control: socket.socket | None = None  # its other end is the process's standard input
        self._answers: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()  # None: it has ended
        self._listening: asyncio.Task[None] | None = None
        self._silence = Silence()
        self._starts = False  # its process says nothing before it listens
        self._spent = ""  # of processor time, by a process that starts
        self._deaths: deque[float] = deque(maxlen=MOST_DEATHS)  # when; monotonic seconds

    async def launch(self, config: Config, rules: tuple[Rule, ...] = ()) -> None:
        """Start its process; returns when that listens. Raises StartError with what it says, or OSError."""
        await self._hang_up()
        self._control, theirs = socket.socketpair()
        self._control.setblocking(False)
        with theirs:
            share = self._share
            given = (*share.listeners, *share.redirects, *share.estates, share.board)
            self.process = await self._begin(theirs.fileno(), given)
        self._answers = asyncio.Queue()
        self._silence, self._starts = Silence(), True
        self._listening = asyncio.create_task(self._listen(self._control, self._answers))
        with contextlib.suppress(ConnectionError):
            await asyncio.get_running_loop().sock_sendall(
                self._control, Order("start", config, self._share, rules).data()
            )
        await self._answered("ended before it listened")
        self._starts = False

    async def _begin(self, control: int, given: tuple[int, ...]) -> asyncio.subprocess.Process | Child:
        """A process with this standard input and these other descriptors. Raises OSError."""
        if self._nursery is not None:
            with contextlib.suppress(OSError):  # it was killed
                return await self._nursery.launch(self.number, control, given)
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "shield.process.worker", str(self.number)),
            stdin=control,
            pass_fds=given,
            env=_environment(),
        )

    async def order(self, order: Order) -> dict[str, Any]:
        """Have the process carry out an order; its answer. Raises StartError with what it says, or when it has
        ended."""
        if self._control is None or self.process is None:
            return {}  # it pauses; the next one is launched by the config and the rules that hold then
        try:
            await send(self._control, order)
        except OSError as error:
            raise StartError(f"worker {self.number} cannot be told: {error.strerror}") from error
        return await self._answered("ended meanwhile")

    def share(self, share: Share) -> None:
        """Have this share from the next launch on."""
        self._share = share

    def hangs(self) -> bool:
        """Whether its process has said nothing for long, or has done nothing while it starts; to be called every
        BEAT_SECONDS."""
        if self.process is None:
            return False
        if self._starts and (spent := spent_by(self.process.pid)) != self._spent:
            self._spent = spent
            self._silence.heard()
        return self._silence.too_long()

    async def _answered(self, otherwise: str) -> dict[str, Any]:
        answer = await self._answers.get()
        if answer is None:
            self._answers.put_nowait(None)
            raise StartError(f"worker {self.number} {otherwise}")
        if error := answer.get("error", ""):
            raise StartError(error)
        return answer

    async def _listen(self, control: socket.socket, answers: asyncio.Queue[dict[str, Any] | None]) -> None:
        """Take what the process says, to its end."""
        loop, rest = asyncio.get_running_loop(), b""
        with contextlib.suppress(ConnectionError):
            while data := await loop.sock_recv(control, 65_536):
                self._silence.heard()
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    said = orjson.loads(line)
                    if "dropped" in said:
                        self._dropped([(name, until) for name, until in said["dropped"]])
                    elif "changes" in said:
                        self._changed(said)
                    elif "beat" not in said:
                        answers.put_nowait(said)
        self._dropped([])
        answers.put_nowait(None)

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
        await self._hang_up()

    async def _hang_up(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
        if self._control is not None:
            self._control.close()


def spent_by(pid: int) -> str:
    """The processor time of a process so far, by the kernel's ticks, as text; nothing where nobody knows."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return f"{fields[11]} {fields[12]}"
    return ""


@functools.cache
def _environment() -> dict[str, str]:
    """The environment of a worker: ours, with this package first, and without the service manager's socket."""
    package = str(Path(__file__).parents[2])
    path = os.environ.get("PYTHONPATH", "")
    environment = {**os.environ, "PYTHONPATH": f"{package}{os.pathsep}{path}" if path else package}
    environment.pop("NOTIFY_SOCKET", None)
    return environment
