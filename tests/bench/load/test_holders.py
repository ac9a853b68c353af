"""Connections that hold something do it at their pace, and come back when they are ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bench.common import guard
from bench.load import holders
from bench.load.holders import Holders
from bench.origins import small_origin
from tests.bench.serving import Answering, capacity, listening

HOSTS = ["127.16.0.1", "127.16.0.2"]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holders, "STEP", dict.fromkeys(holders.KINDS, 0.01))
    monkeypatch.setattr(holders, "AGAIN", 0.01)


@asynccontextmanager
async def at_work(held: Holders) -> AsyncIterator[None]:
    task = asyncio.create_task(held.run(time.monotonic(), 60.0))
    async with asyncio.timeout(10):
        yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


class TestHolders:
    async def test_an_upload_sends_at_its_pace_and_waits_for_no_answer(self) -> None:
        async with capacity() as (site, service):
            held = Holders(site, "upload", HOSTS, 2, pace=2000.0, opens=0.0)
            async with at_work(held):
                began = time.monotonic()
                while held.counts["bytes"] < 200:
                    await asyncio.sleep(0)
                assert held.counts["bytes"] % 20 == 0  # what a step of 10 ms is at this pace
                assert time.monotonic() - began > 0.03
                assert (service.taken, service.busy, held.open) == (2, 0, 2)

    async def test_an_upload_that_is_refused_comes_again(self) -> None:
        answer = small_origin.render(b"no").replace(b"200 OK", b"413 Too large", 1)
        async with listening(lambda: Answering(answer)) as port:
            held = Holders(guard.Target("127.0.0.1", port), "upload", HOSTS, 1, pace=100.0, opens=0.0)
            async with at_work(held):
                while held.statuses["413"] < 2:
                    await asyncio.sleep(0)
        assert held.counts["ended"] >= 2

    async def test_an_unread_answer_stays_where_it_is(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(holders.PATHS, "unread", "/large")  # the system takes all of a small one
        async with capacity() as (site, service):
            held = Holders(site, "unread", HOSTS, 3, pace=0.0, opens=0.0)
            async with at_work(held):
                while service.served < 3 or held.statuses["200"] < 3:
                    await asyncio.sleep(0)
                assert held.open == service.taken == 3

    async def test_so_many_are_opened_in_a_second_and_no_more(self) -> None:
        async with capacity() as (site, _):
            held = Holders(site, "reader", HOSTS, 50, pace=600.0, opens=100.0)
            began = time.monotonic()
            async with at_work(held):
                while held.counts["sent"] < 5:
                    await asyncio.sleep(0)
                assert time.monotonic() - began >= 0.035, "a timer may be a millisecond early"
                assert held.counts["sent"] <= 100 * (time.monotonic() - began) + 2

    async def test_a_waiter_asks_again_when_it_has_its_answer(self) -> None:
        async with listening(lambda: Answering(small_origin.render(b"at last"))) as port:
            held = Holders(guard.Target("127.0.0.1", port), "waiter", HOSTS, 1, pace=0.0, opens=0.0)
            async with at_work(held):
                while held.statuses["200"] < 2:
                    await asyncio.sleep(0)
        assert held.head().startswith(b"GET /wait ")
