"""A store that is slow, silent, cut off, full or read-only is as good as lost: each node goes on by itself with its
part of the limits, says so, and is one with the others again once the store is back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from shield.cluster.store import LostError
from shield.model import Action
from tests.cluster.conftest import BAD, Machine, Machines, Proxy, Store, banned, misbehave, rounds, until


@pytest.fixture
async def proxy(store: Store) -> AsyncIterator[Proxy]:
    made = await Proxy(store.port).start()
    yield made
    await made.close()


def through(proxy: Proxy) -> str:
    return f"valkey://127.0.0.1:{proxy.port}"


def lose(one: Machine, seconds: float = 2.0) -> None:
    """Have it be so long ago that a round succeeded."""
    assert one.node.members._heard is not None
    one.node.members._heard -= seconds


async def slow(proxy: Proxy, store: Store) -> None:
    proxy.delay = 2.0


async def silent(proxy: Proxy, store: Store) -> None:
    proxy.silent = True


async def cut(proxy: Proxy, store: Store) -> None:
    proxy.cut = True
    proxy.drop()


async def full(proxy: Proxy, store: Store) -> None:
    store.do("CONFIG", "SET", "maxmemory", "1")


async def read_only(proxy: Proxy, store: Store) -> None:
    store.do("REPLICAOF", "127.0.0.1", "1")


FAULTS = [slow, silent, cut, full, read_only]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
async def test_without_a_store_a_node_takes_its_part_and_heals(
    fault: Callable[[Proxy, Store], Awaitable[None]], machines: Machines, proxy: Proxy, store: Store
) -> None:
    a, b = machines("a", through(proxy), deadline=0.2 if fault in (slow, silent) else 1.0), machines("b")
    await rounds(a, b)
    try:
        await fault(proxy, store)
        with pytest.raises(LostError):
            await a.node.round()
        assert a.node.status().connected, "one round that fails is no loss"
        lose(a)
        await a.node._wait_lost(0.0)
        assert a.log.names()[-1] == "cluster_lost"
        status = a.node.status()
        assert not status.connected
        assert status.error
        assert status.rates == status.bursts == 0.5
        let_in = sum(a.ask("192.0.2.8").verdict.action is Action.FORWARD for _ in range(300))
        assert 100 <= let_in <= 103, "half of the burst"
        misbehave(a)
    finally:
        proxy.delay, proxy.silent, proxy.cut = 0.0, False, False
        store.do("CONFIG", "SET", "maxmemory", "0")
        store.do("REPLICAOF", "NO", "ONE")
    a.start()
    await until(lambda: a.node.status().connected and a.log.names()[-1] == "cluster_joined")
    await rounds(b)
    await until(lambda: a.node.status().untold == 0)
    await rounds(b)
    assert banned(b), "what was learned meanwhile is told"


async def test_rounds_that_nobody_answers_cost_no_request_anything(machines: Machines, proxy: Proxy) -> None:
    a = machines("a", through(proxy), deadline=0.3)
    await rounds(a)
    proxy.silent = True
    asking = asyncio.create_task(a.node.round())
    for number in range(50):
        assert a.ask(f"192.0.2.{number}").verdict.action is Action.FORWARD
        await asyncio.sleep(0)
    assert not asking.done()
    with pytest.raises(LostError, match=r"no answer within 0\.3 s"):
        await asking


async def test_a_store_that_has_lost_everything_is_told_all_of_it_again(machines: Machines, store: Store) -> None:
    a, b = machines("a"), machines("b")
    await rounds(a, b)
    misbehave(a)
    await rounds(a, b)
    store.do("FLUSHALL")
    await rounds(a, b, times=3)
    late = machines("late")
    await rounds(late)
    assert banned(late)
    assert late.node.members.names == ("a", "b", "late")


async def test_what_waits_while_the_store_is_away_is_bounded(machines: Machines, store: Store) -> None:
    from shield.policy.cluster.side import MOST_UNTOLD

    a = machines("a")
    for number in range(MOST_UNTOLD + 10):
        a.side.tell(["pardon", "", f"192.0.2.{number}"])
    assert a.side.untold == MOST_UNTOLD
    assert a.side.lost == 10


async def test_old_news_that_somebody_puts_there_again_is_left_out(
    machines: Machines, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = machines("a"), machines("b")
    await rounds(a, b)
    monkeypatch.setattr(a.node, "_wall_offset", a.node._wall_offset - 120.0)  # as if it had been written then
    misbehave(a)
    await rounds(a, b, times=1)
    assert not banned(b)
    assert b.node.status().rejected["old"] >= 1
    assert BAD
