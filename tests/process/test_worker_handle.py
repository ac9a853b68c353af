"""What the supervisor knows of a worker: that it hangs, also before it has said anything."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

import pytest

from shield.config.settings import Config
from shield.errors import StartError
from shield.process.control import MOST_SILENT
from shield.process.nursery import Nursery
from shield.process.share import Share
from shield.process.worker_handle import WorkerHandle, spent_by


class Process:
    """A process that has begun, and says only what it is told to."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.control: socket.socket | None = None

    async def launch(self, number: int, control: int, descriptors: Sequence[int]) -> Process:
        self.control = socket.socket(fileno=os.dup(control))
        return self

    def say(self, line: bytes) -> None:
        assert self.control is not None
        self.control.send(line)

    def end(self) -> None:
        if self.control is not None:
            self.control.close()

    async def wait(self) -> int:
        return 0


async def begun(process: Process) -> tuple[WorkerHandle, asyncio.Task[Any]]:
    handle = WorkerHandle(Share(0, (b"", None), ()), lambda _: None, cast("Nursery", process))
    launching = asyncio.create_task(handle.launch(Config()))
    while handle.process is None:
        await asyncio.sleep(0)
    return handle, launching


@pytest.fixture
async def idle() -> AsyncIterator[Process]:
    found = await asyncio.create_subprocess_exec("sleep", "60")
    process = Process(found.pid)
    yield process
    process.end()
    found.kill()
    await found.wait()


async def test_a_worker_that_does_nothing_while_it_starts_hangs(idle: Process) -> None:
    """Stopped before it listened, it was waited for without end, and so was each reload; the clients that the kernel
    brought to it were not served."""
    handle, launching = await begun(idle)
    looks = [handle.hangs() for _ in range(MOST_SILENT + 2)]
    assert looks == [False] * (MOST_SILENT + 1) + [True]
    idle.end()  # it is killed then
    with pytest.raises(StartError, match="ended before it listened"):
        await launching
    await handle.close()


async def test_a_worker_that_takes_long_to_start_does_not_hang() -> None:
    """What was learned of a million clients takes 20 s to read."""
    busy = Process(os.getpid())
    handle, launching = await begun(busy)
    for look in range(2 * MOST_SILENT):
        before = spent_by(busy.pid)
        while look % 5 == 0 and spent_by(busy.pid) == before:
            pass
        assert not handle.hangs()
    busy.say(b"{}\n")
    await launching
    assert not any(handle.hangs() for _ in range(MOST_SILENT)), "from now on it beats"
    busy.say(b'{"beat":true}\n')
    await asyncio.sleep(0.01)
    assert not handle.hangs()
    busy.end()
    await handle.close()


def test_a_process_that_is_not_there_has_spent_nothing() -> None:
    assert spent_by(2**22 + 1) == ""
