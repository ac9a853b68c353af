"""Which server gets a request, connections kept, ejection and return. Time is moved by hand."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import Any

from shield.model import Fault
from shield.operator.metrics import Metrics
from shield.upstream.connection import UpstreamConnection
from shield.upstream.pool import Pool
from shield.upstream.server import Server
from shield.upstream.settings import UpstreamSettings
from tests.harness import Link, Origin, Received, Shield, get, post, reply, shielded, soon


class FakeResolver:
    def __init__(self, *addresses: str) -> None:
        self.addresses = list(addresses)

    async def lookup(self, name: str) -> list[str]:
        return self.addresses


def pool(count: int = 3, **settings: Any) -> tuple[Pool, list[tuple[str, str]]]:
    notes: list[tuple[str, str]] = []
    names = [f"http://127.0.0.1:{port}" for port in range(1, count + 1)]
    made = Pool(
        UpstreamSettings(servers=tuple(names), **settings),
        names,
        Metrics(),
        FakeResolver(),
        UpstreamConnection,
        lambda event, server: notes.append((event, server)),
    )
    made._random = random.Random(7)
    return made, notes


def shares(made: Pool, now: float, turns: int = 3000) -> list[float]:
    """How often each server is chosen, when each request stays outstanding for a while."""
    counts = dict.fromkeys(made.servers, 0)
    busy: list[Server] = []
    for _ in range(turns):
        server = made.choose(now)
        assert server is not None
        counts[server] += 1
        server.outstanding += 1
        busy.append(server)
        if len(busy) > 30:
            busy.pop(0).outstanding -= 1
    for server in busy:
        server.outstanding -= 1
    return [counts[server] / turns for server in made.servers]


def test_load_is_spread_evenly() -> None:
    made, _ = pool()
    assert all(abs(share - 1 / 3) < 0.05 for share in shares(made, 0.0))


def test_of_two_the_less_busy_is_taken() -> None:
    made, _ = pool(2)
    made.servers[0].outstanding = 5
    assert {made.choose(0.0) for _ in range(50)} == {made.servers[1]}


def test_the_only_server_is_not_ejected() -> None:
    made, notes = pool(1, eject_after=3)
    (only,) = made.servers
    for _ in range(10):
        made.failed(only, Fault.UPSTREAM_CLOSED, 100.0)
    assert (notes, only.ejected_until, only.counters.ejections) == ([], 0.0, 0)
    assert only.counters.failures["upstream_closed"] == 10


def test_failures_in_a_row_eject_for_longer_each_time() -> None:
    made, notes = pool(eject_after=3, eject_seconds=10.0)
    bad = made.servers[0]
    now = 100.0
    for turn in (1, 2):
        for _ in range(3):
            made.failed(bad, Fault.UPSTREAM_CLOSED, now)
        assert bad.ejected_until == now + 10.0 * turn
        assert bad not in {made.choose(now + 10.0 * turn - 0.1) for _ in range(100)}
        now += 10.0 * turn + 20.0
        assert bad in {made.choose(now) for _ in range(100)}
    assert notes == [("upstream_ejected", bad.name)] * 2
    assert bad.counters.ejections == 2
    made.failed(bad, Fault.UPSTREAM_CLOSED, now)
    made.failed(bad, Fault.UPSTREAM_CLOSED, now)
    made.answered(bad, 500, now)
    made.failed(bad, Fault.UPSTREAM_CLOSED, now)
    assert bad.ejected_until < now, "not in a row"


def test_a_server_returns_slowly() -> None:
    made, _ = pool(2, eject_after=1, eject_seconds=10.0, slow_return=20.0)
    made.failed(made.servers[0], Fault.UPSTREAM_CLOSED, 0.0)
    early, later, full = (shares(made, now)[0] for now in (10.5, 20.0, 60.0))
    assert early < 0.2 < later < full
    assert abs(full - 0.5) < 0.05


def test_when_all_are_ejected_all_are_used() -> None:
    made, _ = pool(2, eject_after=1)
    for server in made.servers:
        made.failed(server, Fault.UPSTREAM_CLOSED, 0.0)
    assert {made.choose(1.0) for _ in range(50)} == set(made.servers)


def test_what_a_health_check_takes_out_stays_out() -> None:
    made, notes = pool(2, unhealthy_after=3)
    for _ in range(3):
        made.checked(made.servers[0], ok=False, now=0.0)
    assert {made.choose(1.0) for _ in range(50)} == {made.servers[1]}
    assert made.available(1.0)
    for _ in range(3):
        made.checked(made.servers[1], ok=False, now=0.0)
    assert made.choose(1.0) is None
    assert not made.available(1.0)
    made.checked(made.servers[0], ok=True, now=5.0)
    assert made.choose(5.0) is made.servers[0]
    names = [server.name for server in made.servers]
    assert notes == [("upstream_down", names[0]), ("upstream_down", names[1]), ("upstream_up", names[0])]


def test_a_server_that_was_tried_is_not_tried_again() -> None:
    made, _ = pool(2)
    assert {made.choose(0.0, (made.servers[0],)) for _ in range(20)} == {made.servers[1]}
    assert made.choose(0.0, tuple(made.servers)) is None
    single, _ = pool(1)
    assert single.choose(0.0, (single.servers[0],)) is None


def test_ejections_are_forgiven() -> None:
    made, _ = pool(eject_after=1, eject_seconds=10.0)
    made.failed(made.servers[0], Fault.UPSTREAM_CLOSED, 0.0)
    made.sweep(100.0)
    assert made.servers[0].ejections == 1
    made.sweep(200.0)
    assert made.servers[0].ejections == 0


async def test_kept_connections_are_bounded_and_closed_when_old() -> None:
    settings = UpstreamSettings(keep_alive_connections=2, keep_alive_seconds=30.0)
    hold = asyncio.Event()

    async def handle(link: Link, request: Received) -> None:
        await hold.wait()
        await link.send(reply(b"ok"))

    async with shielded(None, handle, upstream=settings) as (shield, origin), contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(await shield.client()) for _ in range(4)]
        for client in clients:
            await client.send(get())
        await origin.got(4)
        hold.set()
        for client in clients:
            await client.response()
        server = shield.pool.servers[0]
        assert len(server.idle) == 2
        shield.advance(20)
        assert (await clients[0].ask(get())).body == b"ok"  # the one used last is used again
        shield.advance(15)
        assert len(server.idle) == 1
        shield.advance(31)
        assert server.idle == []
        await soon(lambda: all(link.lost.is_set() for link in origin.links))


async def test_a_connection_that_the_server_closes_while_idle_is_forgotten() -> None:
    async with shielded() as (shield, origin), await shield.client() as client:
        await client.ask(get())
        assert len(shield.pool.servers[0].idle) == 1
        origin.links[0].close()
        await soon(lambda: not shield.pool.servers[0].idle)


async def test_a_post_takes_only_a_connection_that_was_just_used() -> None:
    async with shielded() as (shield, origin), await shield.client() as client:
        await client.ask(get())
        await client.ask(post("/", b"x"))
        assert len(origin.links) == 1
        shield.clock.offset += 2
        await client.ask(post("/", b"x"))
        assert len(origin.links) == 2


async def test_a_request_goes_on_to_the_next_server_when_one_refuses_connections() -> None:
    async with Origin() as dead:
        pass
    async with Origin() as origin, Shield(dead.url, origin.url) as shield, await shield.client() as client:
        shield.pool._random = random.Random(3)
        for _ in range(20):
            assert (await client.ask(get("/x"))).body == b"GET /x"
        assert (await client.ask(post("/x", b"never sent there"))).body == b"POST /x"
        counters = shield.pool.servers[0].counters
        assert counters.retries == counters.failures["upstream_refused"] > 0
        assert counters.ejections >= 1


async def test_answers_of_502_to_504_count_as_failures_and_500_does_not() -> None:
    answers: dict[str, bytes | None] = {
        f"/{status}": reply(b"", status=f"{status} X") for status in (500, 502, 503, 504)
    }
    async with shielded(answers) as (shield, _), await shield.client() as client:
        for path in ("/502", "/503", "/504"):
            await client.ask(get(path))
        assert shield.pool.servers[0].failures == 3
        await client.ask(get("/500"))
        assert shield.pool.servers[0].failures == 0
