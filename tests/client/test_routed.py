"""What is set for single routes, as a client connection carries it out: sizes of bodies, deadlines, buffers."""

from __future__ import annotations

import asyncio

import pytest

from shield.client.routed import largest, too_long
from shield.client.watch import Limits, TimeoutSettings
from shield.http.framing import CHUNKED
from shield.http.settings import HttpSettings
from shield.model import Action, Reason
from shield.policy.concurrency.settings import ConcurrencySettings
from shield.policy.engine import Engine
from shield.policy.keys import Keys
from shield.policy.per_route.settings import Allowance, RouteLimit, RouteSettings
from shield.policy.settings import EngineSettings
from shield.upstream.settings import UpstreamSettings
from tests.harness import Link, Received, chunked, get, shielded, soon


def engine(*routes: RouteSettings) -> Engine:
    settings = EngineSettings(concurrency=ConcurrencySettings(adaptive=False), route=routes)
    return Engine(settings, Keys(b"k" * 32), lambda n: b"e" * n, 0.0, 10)


def post(path: str, size: int) -> bytes:
    return get(path, f"Content-Length: {size}", method="POST") + b"x" * size


UPLOAD = RouteSettings("/upload", body_bytes=5000)
NOTE = RouteSettings("/note", body_bytes=10)


@pytest.mark.parametrize("usual", [1000, 0])
async def test_a_route_may_take_larger_bodies_and_smaller_ones(usual: int) -> None:
    made = engine(UPLOAD, NOTE)
    async with shielded(engine=made, http=HttpSettings(max_body_bytes=usual)) as (shield, origin):

        async def status(path: str, size: int) -> int:
            async with await shield.client() as client:
                await client.send(post(path, size))
                return (await client.response()).status

        assert [await status("/upload", size) for size in (5000, 5001)] == [200, 413]
        assert [await status("/note", size) for size in (10, 11)] == [200, 413]
        assert await status("/x/../note", 11) == 413
        assert [await status("/", size) for size in (1000, 1001)] == [200, 413 if usual else 200]
        assert await status("/up%6Coad", 1001) == (413 if usual else 200)  # what allows more holds as written
        assert shield.metrics.rules["request"]["body_size"] == shield.metrics.faults["body_too_large"]
        assert {len(request.body) for request in origin.requests} >= {5000, 10, 1000}
        assert made.in_flight == 0


async def test_a_body_in_chunks_is_cut_off_where_its_route_says() -> None:
    async with shielded(engine=engine(NOTE)) as (shield, origin):
        async with await shield.client() as client:
            await client.send(get("/note", "Transfer-Encoding: chunked", method="POST") + chunked(b"12345", b"678901"))
            assert (await client.response()).status == 413
        assert not origin.requests


async def test_a_request_that_is_too_large_is_given_back_what_it_was_charged() -> None:
    made = engine(RouteSettings("/dear", cost=50, body_bytes=10))
    async with shielded(engine=made) as (shield, _):
        for _ in range(30):
            async with await shield.client() as client:
                await client.send(post("/dear", 11))
                response = await client.response()
                assert (response.status, response.get("Connection")) == (413, "close")


async def test_a_route_may_have_deadlines_of_its_own_and_the_next_request_has_not() -> None:
    route = RouteSettings("/export", first_byte_timeout=500, idle_timeout=400)
    go = asyncio.Event()

    async def answer(link: Link, request: Received) -> None:
        if request.target == "/quick":
            await link.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        elif request.target == "/export/part":
            await link.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart")
            await go.wait()
            await link.send(b" done")
        else:
            await link.lost.wait()

    upstream = UpstreamSettings(first_byte_timeout=30, idle_timeout=20)
    async with (
        shielded(None, answer, engine=engine(route), upstream=upstream) as (shield, origin),
        await shield.client() as client,
    ):
        await client.send(get("/export/part"))
        await client.until(b"part")
        shield.advance(390)
        go.set()
        assert (await client.until(b" done")) == b" done"
        await client.send(get("/export"))
        await soon(lambda: len(origin.requests) == 2)
        shield.advance(490)
        assert shield.metrics.connections_open == 1
        shield.advance(11)
        assert (await client.response()).status == 504
        await client.send(get("/slow"))
        await soon(lambda: len(origin.requests) == 3)
        shield.advance(31)
        assert (await client.response()).status == 504


async def test_a_route_may_keep_less_of_a_body_in_memory() -> None:
    async with shielded(engine=engine(RouteSettings("/big", body_buffer_bytes=100))) as (shield, origin):
        for path, opened in (("/small", 0), ("/big", 1)):
            async with await shield.client() as client:
                await client.send(get(path, "Content-Length: 2000", method="POST") + b"x" * 1000)
                await soon(lambda: any(one._exchange is not None for one in shield.accepted))
                await soon(lambda opened=opened: shield.forwarder.spools.open == opened)
                await client.send(b"x" * 1000)
                assert (await client.response()).status == 200
        assert [len(request.body) for request in origin.requests] == [2000, 2000]


async def test_a_request_of_a_route_that_is_tried_is_counted_once_with_a_body_too() -> None:
    few = RouteLimit(client=Allowance(1, 1))
    async with shielded(engine=engine(RouteSettings("/login", limit=few, dry_run=True))) as (shield, origin):
        for _ in range(3):
            async with await shield.client() as client:
                await client.send(post("/login", 3))
                assert (await client.response()).status == 200
        assert len(origin.requests) == 3
        counted = shield.metrics.verdicts
        assert counted[Action.LIMIT_DRY_RUN.value][Reason.ROUTE_RATE.value] == 2
        assert counted["forward"]["ok"] == 1


def test_sizes() -> None:
    assert too_long(11, 10)
    assert not too_long(10, 10)
    assert not too_long(CHUNKED, 10)
    assert not too_long(10**12, 0)
    assert largest(10, (None, 20, 5)) == 20
    assert largest(0, (20,)) == 0


def test_limits_differ_where_it_is_said() -> None:
    usual = Limits(TimeoutSettings(), UpstreamSettings())
    other = usual.but(1.0, None)
    assert (other.first_byte, other.idle, other.keep_alive) == (1.0, usual.idle, usual.keep_alive)
    assert usual.but(None, 2.0).idle == 2.0
    assert usual.first_byte != 1.0
