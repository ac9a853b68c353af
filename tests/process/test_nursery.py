"""Where workers come from, when it hangs: what the supervisor sees of it and of its children."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from shield.process import nursery
from shield.process.nursery import UNKNOWN, Child, Nursery

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pidfds are Linux's")


@pytest.fixture
def idle() -> Iterator[subprocess.Popen[bytes]]:
    """A process that does nothing."""
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


async def test_a_worker_that_has_ended_is_noticed_without_a_word_from_the_nursery(
    idle: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A nursery that was stopped (SIGSTOP) said nothing of a worker that died, whose clients waited for ever."""
    monkeypatch.setattr(nursery, "NEWS_SECONDS", 0.01)
    child = Child(idle.pid)
    child.send_signal(signal.SIGKILL)
    async with asyncio.timeout(10):
        assert await child.wait() == UNKNOWN
    with pytest.raises(ProcessLookupError):
        child.send_signal(signal.SIGKILL)


async def test_what_the_nursery_says_of_its_end_counts(idle: subprocess.Popen[bytes]) -> None:
    child = Child(idle.pid)
    idle.kill()
    await asyncio.to_thread(idle.wait)
    await asyncio.sleep(0.01)  # its pidfd is seen
    child.end(-signal.SIGKILL)
    assert await child.wait() == -signal.SIGKILL


async def test_a_nursery_that_hangs_is_killed_and_forks_nothing_later(
    idle: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nursery, "FORK_SECONDS", 0.01)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    made = Nursery(idle.pid, ours)
    made.open()
    with theirs:
        launching = asyncio.create_task(made.launch(0, theirs.fileno(), ()))
        status = await asyncio.to_thread(idle.wait)
        assert status == -signal.SIGKILL
        theirs.shutdown(socket.SHUT_RDWR)  # as the kernel does for a process that has ended
        with pytest.raises(ConnectionError, match="killed"):
            await launching
        with pytest.raises(ConnectionError, match="no nursery"):
            await made.launch(0, theirs.fileno(), ())
    ours.close()
