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
from shield.wire.sideline import AT_ONCE, BUSY, IN_TIME, LATE, LATE_ONCE, READINGS, STILL_BUSY, Lane, Sideline
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

    def stand_aside(self, lane: Lane | None) -> None:
        assert lane is None
        self.went_back += 1
        self.lane.remove(self.near.fileno())

    def join(self, lane: Lane) -> None:
        self.lane = lane
        lane.add(self.near.fileno(), self)

    def close(self) -> None:
        self.lane.remove(self.near.fileno())
        self.near.close()
        self.far.close()


class Crowd:
    """Strangers who take half a slice for eight of them."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.turns = Turns(asyncio.get_running_loop(), self.clock)
        self.sideline = Sideline(asyncio.get_running_loop(), self.turns, self.clock)
        self.enough = False
        self.awaited: list[int] = []
        self.lane = self.sideline.lane(lambda: self.enough, self.awaited.append)
        self.sideline.open = True
        self.sideline.known_at = math.inf  # somebody known asks all the time
        self.served: list[int] = []
        self.strangers: list[Stranger] = []

    def come(self, number: int, takes: float = module.SLICE_SECONDS / AT_ONCE / 2) -> None:
        for _ in range(number):
            self.strangers.append(Stranger(self.clock, takes, self.served, len(self.strangers)))
            self.strangers[-1].join(self.lane)

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
        crowd.lane.remove(each.near.fileno())
    near, far = socket.socketpair()
    far.send(b"!")
    last = Stranger(crowd.clock, 0.0, crowd.served, 0)
    last.join(crowd.lane)
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
    first.on_readable = lambda: crowd.lane.remove(second.near.fileno())  # type: ignore[method-assign]
    second.on_readable = lambda: crowd.lane.remove(first.near.fileno())  # type: ignore[method-assign]
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(crowd.sideline) == 1
    crowd.lane.remove(first.near.fileno())
    crowd.lane.remove(first.near.fileno())


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
    crowd.enough = True
    crowd.sideline.notice(2 * LATE_ONCE)
    assert crowd.sideline.held() is crowd.lane
    crowd.come(3)
    await some_turns(crowd.turns)
    assert not crowd.served
    assert crowd.lane.held
    assert crowd.awaited == [3]
    assert repr(crowd.lane) == "<Lane 3 aside, 0.0 ms behind, held>"
    assert crowd.sideline.behind(crowd.clock.now + 1.0) >= 1.0
    crowd.enough = False
    await some_turns(crowd.turns)
    assert len(crowd.served) >= 3, "it is seen at the end of a turn"
    assert crowd.awaited == [3, 0]
    assert crowd.sideline.held() is None
    assert "held" not in repr(crowd.lane)


async def test_a_loop_that_has_less_to_do_keeps_nobody_waiting(crowd: Crowd) -> None:
    crowd.enough = True
    crowd.sideline.notice(2 * LATE_ONCE)
    crowd.come(3)
    crowd.sideline.read(1.0, (BUSY + STILL_BUSY) / 2)
    await some_turns(crowd.turns)
    assert not crowd.served, "it had less to do because nobody was read"
    crowd.sideline.read(1.0, STILL_BUSY / 2)
    await some_turns(crowd.turns)
    assert len(crowd.served) >= 3
    crowd.sideline.read(1.0, (BUSY + STILL_BUSY) / 2)
    before = len(crowd.served)
    await some_turns(crowd.turns)
    assert len(crowd.served) >= before + 3


async def test_who_stands_on_one_lane_does_not_wait_for_another() -> None:
    crowd = Crowd()
    other = crowd.sideline.lane()
    crowd.enough = True
    crowd.sideline.notice(2 * LATE_ONCE)
    crowd.come(2)
    one = Stranger(crowd.clock, module.SLICE_SECONDS / 4, crowd.served, 7)
    one.join(other)
    await crowd.until(20)
    assert set(crowd.served) == {7}
    assert len(crowd.sideline) == 3
    crowd.enough = False
    await some_turns(crowd.turns)
    await crowd.until(len(crowd.served) + 50)
    counts = collections.Counter(crowd.served[-40:])
    assert set(counts) == {0, 1, 7}
    assert 0.1 < counts[7] / 40 < 0.9, "each lane has half of the time"
    for each in (one, *crowd.strangers):
        each.close()
    crowd.sideline.close()


async def test_a_lane_that_everybody_has_left_is_held_no_longer(crowd: Crowd) -> None:
    crowd.enough = True
    crowd.sideline.notice(2 * LATE_ONCE)
    crowd.come(1)
    await some_turns(crowd.turns)
    assert crowd.lane.held
    crowd.lane.remove(crowd.strangers[0].near.fileno())
    crowd.enough = False
    await some_turns(crowd.turns)
    assert not crowd.lane.held
    assert crowd.awaited == [1, 0]
    assert crowd.turns.after is None, "nobody need look any more"


async def test_nobody_waits_for_enough_once_it_is_closed(crowd: Crowd) -> None:
    crowd.enough = True
    crowd.come(2)
    crowd.sideline.open = False
    async with asyncio.timeout(5):
        while len(crowd.sideline):
            await asyncio.sleep(0)
    assert [each.went_back for each in crowd.strangers] == [1, 1]


async def some_turns(turns: Turns) -> None:
    """Let the loop have so many turns that all is done that is to be done in them."""
    for _ in range(20):
        turns.now()
        await asyncio.sleep(0)


@pytest.mark.parametrize("call", ["eventfd", "epoll"])
async def test_without_files_nobody_stands_aside(monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def none_left(*_: int) -> int:
        raise OSError(24, "Too many open files")

    sideline = Sideline(asyncio.get_running_loop(), Turns(asyncio.get_running_loop(), time.monotonic), time.monotonic)
    sideline.lane()
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
