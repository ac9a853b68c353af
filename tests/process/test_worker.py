"""What a worker tells its supervisor: whole lines, whatever else is on its way."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import orjson
import pytest

from shield.process.worker import MOST_DROPPED, Teller

DROPPED = [(f"2001:db8:{number:x}:0::/64", 1790000000.25) for number in range(MOST_DROPPED)]


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for end in (ours, theirs):
            end.setblocking(False)
        yield ours, theirs


async def lines(end: socket.socket, count: int) -> list[dict[str, object]]:
    data, loop = b"", asyncio.get_running_loop()
    while data.count(b"\n") < count:
        data += await loop.sock_recv(end, 65_536)
    return [orjson.loads(line) for line in data.splitlines()]


async def test_a_long_list_is_told_whole_while_the_supervisor_is_busy(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    """A beat in the middle of it would make a line that nobody can read, and the last that is heard of that worker."""
    ours, theirs = ends
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    teller = Teller(ours)
    assert teller(DROPPED)
    await asyncio.sleep(0)
    teller.beat()
    answering = asyncio.create_task(teller.answer({"error": "no"}))
    await asyncio.sleep(0)
    assert not teller(DROPPED), "the last list is still on its way"
    teller.beat()
    told = await lines(theirs, 3)
    await answering
    assert told == [{"dropped": [list(one) for one in DROPPED]}, {"beat": True}, {"error": "no"}]
    assert teller(DROPPED[:1])
    assert await lines(theirs, 1) == [{"dropped": [list(DROPPED[0])]}]


async def test_a_supervisor_that_is_gone_is_told_nothing(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    theirs.close()
    await Teller(ours).answer({})
