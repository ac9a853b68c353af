"""Who stands aside is served after all others, a few at a time, and nobody starves."""

from __future__ import annotations

import asyncio
import collections
import math
import socket
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from shield.wire import sideline as module
from shield.wire.sideline import AT_ONCE, BUSY, IN_TIME, LATE, LATE_ONCE, PAUSE_SECONDS, READINGS, Sideline
from shield.wire.turns import Turns

pytestmark = pytest.mark.skipif(not module.POSSIBLE, reason="there is no epoll")


class Clock:
    """Moved by hand: whoever is served takes its time."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Stranger:
    """A connection that always has something to read."""

    def __init__(self, clock: Clock, takes: float, served: list[int], number: int) -> None:
        self.clock = clock
        self.takes = takes
        self.served = served
        self.number = number
        self.near, self.far = socket.socketpair()
        self.near.setblocking(False)
        self.went_back = 0
        self.far.send(b"?")

    def on_readable(self) -> None:
        self.served.append(self.number)
        self.clock.now += self.takes

    def stand_aside(self, sideline: Sideline | None) -> None:
        assert sideline is None
        self.went_back += 1
        self.sideline.remove(self.near.fileno())

    def join(self, sideline: Sideline) -> None:
        self.sideline = sideline
        sideline.add(self.near.fileno(), self)

    def close(self) -> None:
        self.sideline.remove(self.near.fileno())
        self.near.close()
        self.far.close()


class Crowd:
    """Strangers who take half a slice for eight of them."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.turns = Turns(asyncio.get_running_loop(), self.clock)
        self.sideline = Sideline(asyncio.get_running_loop(), self.turns, self.clock)
        self.sideline.open = True
        self.sideline.known_at = math.inf  # somebody known asks all the time
        self.served: list[int] = []
        self.strangers: list[Stranger] = []

    def come(self, number: int, takes: float = module.SLICE_SECONDS / AT_ONCE / 2) -> None:
        for _ in range(number):
            self.strangers.append(Stranger(self.clock, takes, self.served, len(self.strangers)))
            self.strangers[-1].join(self.sideline)

    async def until(self, count: int) -> None:
        async with asyncio.timeout(5):
            while len(self.served) < count:
                await asyncio.sleep(0)


@pytest_asyncio.fixture
async def crowd() -> AsyncIterator[Crowd]:
    made = Crowd()
    yield made
    for each in made.strangers:
        each.close()
    made.sideline.close()


@pytest.mark.parametrize(("known", "groups"), [(math.inf, 2), (-math.inf, 8)])
async def test_in_a_turn_as_many_are_served_as_a_slice_allows(crowd: Crowd, known: float, groups: int) -> None:
    """More where nobody waits for them who is known."""
    crowd.sideline.known_at = known
    crowd.come(10 * AT_ONCE)
    slices: list[int] = []
    before, turn = 0, crowd.turns.current
    async with asyncio.timeout(5):
        while len(slices) < 5:
            await asyncio.sleep(0)
            if crowd.turns.current is not turn and len(crowd.served) > before:
                slices.append(len(crowd.served) - before)
                before, turn = len(crowd.served), crowd.turns.current
    most = groups * AT_ONCE
    assert min(slices) >= most - 1, "or one less, in which the mark came round"
    assert max(slices) <= most + AT_ONCE, "or some more, as seconds are no exact sum of parts"


async def test_nobody_is_served_twice_before_all_have_been(crowd: Crowd) -> None:
    crowd.come(50)
    await crowd.until(500)
    counts = collections.Counter(crowd.served)
    assert len(counts) == 50
    assert max(counts.values()) - min(counts.values()) <= 1


async def test_others_are_served_between_two_slices(crowd: Crowd) -> None:
    crowd.come(20 * AT_ONCE)
    near, far = socket.socketpair()
    near.setblocking(False)
    seen: list[int] = []
    asyncio.get_running_loop().add_reader(near.fileno(), lambda: seen.append(len(crowd.served)))
    await crowd.until(1)
    before = len(crowd.served)
    far.send(b"!")
    await crowd.until(before + 20 * AT_ONCE)
    asyncio.get_running_loop().remove_reader(near.fileno())
    near.close()
    far.close()
    assert seen[0] - before <= 4 * AT_ONCE


async def test_how_long_it_takes_until_all_were_served_is_known(crowd: Crowd) -> None:
    crowd.come(40 * AT_ONCE)
    assert crowd.sideline.behind(crowd.clock.now) == 0.0
    await crowd.until(200 * AT_ONCE)
    around = 40 * module.SLICE_SECONDS / 2
    assert crowd.sideline.behind(crowd.clock.now) == pytest.approx(around, rel=0.1)
    for each in crowd.strangers:
        each.far.close()
        each.near.recv(1)
        crowd.sideline.remove(each.near.fileno())
    near, far = socket.socketpair()
    far.send(b"!")
    last = Stranger(crowd.clock, 0.0, crowd.served, 0)
    last.join(crowd.sideline)
    count = len(crowd.served)
    await crowd.until(count + 5)
    assert crowd.sideline.behind(crowd.clock.now) == 0.0, "it alone never waits"
    for each in (last, near, far):
        each.close()


async def test_who_waits_for_long_is_seen_before_it_is_served(crowd: Crowd) -> None:
    crowd.come(4 * AT_ONCE)
    await crowd.until(2 * AT_ONCE)
    assert crowd.sideline.behind(crowd.clock.now + 1.0) > 1.0


async def test_one_that_leaves_while_another_is_served_is_not_called(crowd: Crowd) -> None:
    crowd.come(2)
    first, second = crowd.strangers
    first.on_readable = lambda: crowd.sideline.remove(second.near.fileno())  # type: ignore[method-assign]
    second.on_readable = lambda: crowd.sideline.remove(first.near.fileno())  # type: ignore[method-assign]
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(crowd.sideline) == 1
    crowd.sideline.remove(first.near.fileno())
    crowd.sideline.remove(first.near.fileno())


async def test_when_it_is_closed_each_goes_back_as_soon_as_it_is_readable(crowd: Crowd) -> None:
    crowd.come(3)
    crowd.sideline.open = False
    async with asyncio.timeout(5):
        while len(crowd.sideline):
            await asyncio.sleep(0)
    assert [each.went_back for each in crowd.strangers] == [1, 1, 1]
    assert not crowd.served
    assert repr(crowd.sideline) == "<Sideline closed, 0 aside, 0.0 ms behind>"


async def test_it_is_open_while_the_core_is_full_and_a_moment_longer() -> None:
    sideline = Sideline(asyncio.get_running_loop(), Turns(asyncio.get_running_loop(), time.monotonic), time.monotonic)
    for lag, busy in ((2 * LATE, BUSY / 2), (LATE / 2, 1.0), (0.0, 0.0)):
        sideline.read(lag, busy)
        assert not sideline.open
    sideline.read(2 * LATE, 1.0)
    assert sideline.open
    for _ in range(2):
        for _ in range(READINGS - 1):
            sideline.read(IN_TIME / 2, 1.0)
            assert sideline.open
        sideline.read(2 * IN_TIME, 1.0)
        assert sideline.open, "somebody waits, though for less than would have opened it"
    for _ in range(2 * READINGS):
        sideline.read(2 * IN_TIME, 0.5)
        assert sideline.open, "all of them at once would fill a turn again"
    for _ in range(READINGS):
        sideline.read(IN_TIME / 2, 0.5)
    assert not sideline.open
    sideline.close()


async def test_a_loop_that_is_very_late_once_opens_it_at_once() -> None:
    sideline = Sideline(asyncio.get_running_loop(), Turns(asyncio.get_running_loop(), time.monotonic), time.monotonic)
    sideline.notice(LATE_ONCE / 2)
    assert not sideline.open
    sideline.notice(2 * LATE_ONCE)
    assert sideline.open
    for _ in range(READINGS):
        sideline.read(0.0, 0.1)
    assert not sideline.open
    sideline.close()


async def test_while_enough_was_read_nobody_is_and_all_wait(crowd: Crowd) -> None:
    enough = True
    crowd.sideline = Sideline(asyncio.get_running_loop(), crowd.turns, crowd.clock, lambda: enough)
    crowd.sideline.notice(2 * LATE_ONCE)
    crowd.come(3)
    await asyncio.sleep(5 * PAUSE_SECONDS)
    assert not crowd.served
    assert crowd.sideline.behind(crowd.clock.now + 1.0) >= 1.0
    enough = False
    await crowd.until(3)
    enough = True
    crowd.sideline.read(1.0, BUSY / 2)
    await crowd.until(len(crowd.served) + 3)  # a loop that is not busy keeps nobody waiting


async def test_nobody_waits_for_enough_once_it_is_closed(crowd: Crowd) -> None:
    crowd.sideline = Sideline(asyncio.get_running_loop(), crowd.turns, crowd.clock, lambda: True)
    crowd.come(2)
    async with asyncio.timeout(5):
        while len(crowd.sideline):
            await asyncio.sleep(0)
    assert [each.went_back for each in crowd.strangers] == [1, 1]


@pytest.mark.parametrize("call", ["eventfd", "epoll"])
async def test_without_files_nobody_stands_aside(monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def none_left(*_: int) -> int:
        raise OSError(24, "Too many open files")

    sideline = Sideline(asyncio.get_running_loop(), Turns(asyncio.get_running_loop(), time.monotonic), time.monotonic)
    with monkeypatch.context() as patch:
        patch.setattr(module.os if call == "eventfd" else module.select, call, none_left)
        sideline.read(1.0, 1.0)
        assert not sideline.open
        sideline.notice(1.0)
        assert not sideline.open
    sideline.read(1.0, 1.0)
    assert sideline.open, "later there are files again"
    sideline.close()


async def test_without_epoll_nobody_stands_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POSSIBLE", False)
    sideline = Sideline(asyncio.get_running_loop(), Turns(asyncio.get_running_loop(), time.monotonic), time.monotonic)
    sideline.read(1.0, 1.0)
    sideline.notice(1.0)
    assert not sideline.open
