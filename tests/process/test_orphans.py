"""Whether another supervisor has taken over the sockets of one that was killed."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator

import pytest

from shield.process import orphans
from shield.process.orphans import ORPHAN_SECONDS, claim, claimed, followed


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


class Other:
    """Another process, which claims a socket until `end`."""

    def __init__(self, sock: socket.socket) -> None:
        ready, self._go = os.pipe(), os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._go[1])
            os.write(ready[1], b"y" if claim(sock) else b"n")
            os.read(self._go[0], 1)
            os._exit(0)
        self.claims = os.read(ready[0], 1) == b"y"
        for descriptor in (*ready, self._go[0]):
            os.close(descriptor)

    def end(self) -> None:
        os.close(self._go[1])
        os.waitpid(self._pid, 0)


def test_one_process_at_a_time_claims_a_socket_and_only_while_it_lives(listening: socket.socket) -> None:
    assert not claimed(listening.fileno())
    other = Other(listening)
    assert other.claims
    assert claimed(listening.fileno())
    assert not claim(listening)
    other.end()
    assert not claimed(listening.fileno())
    assert claim(listening)
    assert claim(listening), "again"
    second = Other(listening)
    assert not second.claims
    second.end()


async def test_orphans_wait_for_the_next_supervisor_and_no_longer(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, others = [0.0], []
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        now[0] += seconds
        if now[0] >= 2.0 and not others:
            others.append(Other(listening))
        await real(0)

    monkeypatch.setattr(orphans.asyncio, "sleep", sleep)
    assert await followed(listening.fileno(), lambda: now[0])
    assert 2.0 <= now[0] < 2.2
    others[0].end()
    now[0] = 10.0
    assert not await followed(listening.fileno(), lambda: now[0])
    assert now[0] == pytest.approx(10.0 + ORPHAN_SECONDS, abs=0.1)
