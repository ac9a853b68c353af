"""Honest people know a right answer from a wrong one, and say what became of each request."""

from __future__ import annotations

import asyncio
import collections
import contextlib
from collections.abc import AsyncIterator

import pytest

from bench.common.guard import Target
from bench.common.processes import free_ports
from bench.load.honest import Honest, judged
from bench.load.ledger import Ledger
from bench.origins.falling_origin import FallingOrigin


@contextlib.asynccontextmanager
async def served(ledger: Ledger) -> AsyncIterator[tuple[FallingOrigin, Honest]]:
    """Somebody whose site is the falling origin itself."""
    (port,) = free_ports(1)
    origin = FallingOrigin(port, ledger.seen)
    await origin.rise()
    try:
        yield origin, Honest(Target("127.0.0.1", port), ledger, 3)
    finally:
        await origin.fall()


@pytest.mark.parametrize("kind", ["get", "large", "post", "chunked", "websocket"])
async def test_a_right_answer_is_one(kind: str) -> None:
    ledger = Ledger()
    async with served(ledger) as (_, person):
        person.random.choices = lambda kinds, weights: [kind]  # type: ignore[method-assign,assignment]
        await person.ask("one")
        await person.ask("two")
        for link in person.idle:
            link.close()
    assert ledger.outcomes == {"ok": 2}
    assert ledger.seen == ({} if kind == "websocket" else {"one": 1, "two": 1})
    assert (ledger.problems, ledger.miscounted()) == ([], [])


async def test_somebody_elses_answer_is_wrong() -> None:
    ledger = Ledger()
    async with served(ledger) as (_, person):
        link = await person.exchange(person.render("get", "mine", b""))
        assert link is not None
        link.name = "yours"
        assert judged(link, "mine", link.body) == "wrong"
        assert judged(link, "yours", b"else") == "wrong"
        assert judged(link, "yours", link.body) == "ok"
        link.close()


async def test_whoever_is_not_answered_says_so() -> None:
    ledger = Ledger()
    (port,) = free_ports(1)
    person = Honest(Target("127.0.0.1", port), ledger, 3)
    person.random.choices = lambda kinds, weights: ["get"]  # type: ignore[method-assign,assignment]
    await person.ask("one")
    assert ledger.outcomes == {"unanswered": 1}


async def test_a_fall_ends_connections_and_a_rise_lets_new_ones_in() -> None:
    seen: collections.Counter[str] = collections.Counter()
    (port,) = free_ports(1)
    origin = FallingOrigin(port, seen)
    await origin.rise()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /page HTTP/1.1\r\nHost: x\r\nX-Id: a\r\n\r\n")
    assert b"X-Id: a\r\n" in await reader.readuntil(b"\r\n\r\n")
    await origin.fall()
    await asyncio.wait_for(reader.read(), 5)
    assert reader.at_eof()
    writer.close()
    with pytest.raises(OSError, match=r"refused|Connect call failed"):
        await asyncio.open_connection("127.0.0.1", port)
    await origin.rise()
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()
    await origin.fall()
    assert seen == {"a": 1}
