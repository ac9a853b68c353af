"""Each way to be a nuisance has a name, and none goes on for ever."""

from __future__ import annotations

import asyncio
import random
import time

import pytest

from bench.common.guard import Target
from bench.load import hostile
from bench.load.hostile import WAYS, Hostile
from bench.origins import small_origin
from tests.bench.serving import SMALL, listening


def test_every_way_has_a_name_of_its_own() -> None:
    names = [getattr(way, "__name__", "") for way in WAYS]
    assert len(set(names)) == len(names) == 12


@pytest.mark.parametrize("way", WAYS)
async def test_a_way_sends_something_or_waits(way: hostile.Way) -> None:
    said: list[bytes] = []
    came = asyncio.Event()

    class Noting(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            if way is hostile.silent:
                came.set()

        def data_received(self, data: bytes) -> None:
            said.append(data)
            came.set()

    async with listening(Noting) as port:
        one = Hostile(Target("127.0.0.1", port), random.Random(1))
        task = asyncio.create_task(one.one(way))
        await asyncio.wait_for(came.wait(), 10)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert bool(said) == (way is not hostile.silent)
    assert one.attacks == {getattr(way, "__name__", ""): 1}


async def test_they_come_at_a_rate_and_are_gone_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hostile, "AT_ONCE", 5)
    async with listening(lambda: small_origin.Origin(SMALL)) as port:
        all_of_them = Hostile(Target("127.0.0.1", port), random.Random(1))
        before = len(asyncio.all_tasks())
        await all_of_them.harass(time.monotonic() + 0.25)
        assert len(asyncio.all_tasks()) == before
    assert 2 < sum(all_of_them.attacks.values()) < 100
