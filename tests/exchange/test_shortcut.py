"""Large bodies pass from socket to socket: the client sees, and Shield counts, what it would without."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Iterator
from typing import Any

import pytest

from shield.wire.splice import NOT_NOW, Shortcut
from tests.harness import Client, Closed, Link, Received, get, reply, shielded, soon

MIB = 1 << 20
BODY = random.Random(8).randbytes(6 * MIB)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """What each attempt to pass something on came to."""
    seen: list[int] = []
    real = Shortcut.pass_on

    def pass_on(self: Shortcut, source: Any, most: int) -> int:
        seen.append(real(self, source, most))
        return seen[-1]

    monkeypatch.setattr(Shortcut, "pass_on", pass_on)
    return seen


def passed(passes: list[int]) -> int:
    return sum(size for size in passes if size > 0)


async def test_a_large_body_comes_whole_and_the_connections_stay(passes: list[int]) -> None:
    async with shielded({"/": reply(BODY), "/small": reply(b"small")}) as (shield, origin):
        async with await shield.client() as client:
            for _ in range(3):
                answer = await client.ask(get())
                assert hashlib.sha256(answer.body).digest() == hashlib.sha256(BODY).digest()
                assert (await client.ask(get("/small"))).body == b"small"
            assert len(shield.accepted) == 1
        assert len(origin.links) == 1
        assert passed(passes) > MIB, "most of it went past Python"
        assert shield.metrics.bytes_out > 3 * len(BODY)
        assert [line[4] for line in shield.log.requests if line[1] == "/"] == 3 * [len(BODY)]


async def test_a_client_that_reads_slowly_is_slow_as_ever(passes: list[int]) -> None:
    async with shielded({"/": reply(BODY)}) as (shield, _):
        client = await Client.open(shield.port, receive_buffer=4096)
        async with client:
            await client.send(get())
            await soon(lambda: shield.accepted and shield.accepted[0].flow.blocked)
            assert (await client.response()).body == BODY


async def test_what_follows_a_body_reaches_nobody(passes: list[int]) -> None:
    """A second response behind the first one, which nobody has asked for."""

    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY)
    both = head + BODY + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    async with shielded({"/": both, "/small": reply(b"small")}) as (shield, _), await shield.client() as client:
        assert (await client.ask(get())).body == BODY
        assert (await client.ask(get("/small"))).body == b"small"
        assert passed(passes) > 0


async def test_a_body_that_breaks_off_is_cut(passes: list[int]) -> None:
    async def half(link: Link, request: Received) -> None:
        await link.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY))
        for at in range(0, 3 * MIB, MIB // 4):
            await link.send(BODY[at : at + MIB // 4])
            await asyncio.sleep(0.001)
        link.close()

    async with shielded(handle=half) as (shield, _), await shield.client() as client:
        await client.send(get())
        with pytest.raises((Closed, ConnectionResetError)):
            await client.response()
        assert passed(passes) > 0
        await soon(lambda: shield.metrics.faults["upstream_closed"] == 1)


async def test_a_client_that_leaves_ends_it(passes: list[int]) -> None:
    async with shielded({"/": reply(BODY)}) as (shield, _):
        client = await Client.open(shield.port, receive_buffer=4096)
        async with client:
            await client.send(get())
            await client.until(b"\r\n\r\n")
            client.reset()
        await soon(lambda: not shield.connections)
        async with await shield.client() as other:
            assert (await other.ask(get())).body == BODY


async def test_what_is_still_to_be_sent_goes_first(passes: list[int]) -> None:
    """The head waits for the end of the turn; nothing of the body may overtake it."""
    async with shielded({"/": reply(BODY)}) as (shield, _), await shield.client() as client:
        answer = await client.ask(get())
        assert answer.status == 200
        assert answer.body == BODY
    assert NOT_NOW in passes or passes[0] >= 0
