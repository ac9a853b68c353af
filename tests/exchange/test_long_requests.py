"""Requests that the service lets wait go on without their slots, and others are served meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from shield.exchange.slot import LEAST_PACE
from shield.policy.concurrency.settings import ConcurrencySettings
from shield.policy.engine import Engine
from shield.policy.history import Record
from shield.policy.keys import Keys
from shield.policy.routes import RoutesSettings
from shield.policy.settings import EngineSettings
from tests.harness import Client, Link, Received, Shield, get, post, reply, shielded, soon

SLOTS = 4
LONG = 0.5  # s. More than what is long


class Waiting:
    """Answers what is below /wait when the test says so, and everything else at once."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def __call__(self, link: Link, request: Received) -> None:
        if request.target.startswith("/wait"):
            await self.go.wait()
        await link.send(reply(request.target.encode()))


def engine() -> Engine:
    """One that serves, which knows a client at 127.0.9.1 already."""
    made = Engine(
        EngineSettings(concurrency=ConcurrencySettings(adaptive=False)), Keys(b"k" * 32), lambda n: b"e" * n, 0.0, SLOTS
    )
    client = made.identify("127.0.9.1", "", "", "", 0.0)
    record = Record(client.key, client.home, client.network, 0.0, 0.0, 2, 50.0)
    client.entry.record = made._history.remember(record)
    return made


async def ask(stack: contextlib.AsyncExitStack, shield: Shield, source: str, request: bytes) -> Client:
    client = await stack.enter_async_context(await Client.open(shield.port, source=source))
    await client.send(request)
    return client


def tick(shield: Shield) -> None:
    """Let a timer of the service go by."""
    now = shield.clock()
    shield.forwarder.resume(shield.engine.tick(now), now)


async def test_users_are_served_beside_requests_that_wait_and_these_get_their_answers() -> None:
    """They held all slots, and users with a history got none of their answers for as long as that took."""
    origin = Waiting()
    async with shielded(None, origin, engine=engine()) as (shield, _), contextlib.AsyncExitStack() as stack:
        for _ in range(RoutesSettings().settled):
            await (await ask(stack, shield, "127.0.8.1", get("/page"))).response()
        held = [await ask(stack, shield, f"127.0.{i % 2}.1", get(f"/wait/{i}")) for i in range(SLOTS)]
        held += [await ask(stack, shield, "127.0.0.1", post("/wait", b"body"))]
        await soon(lambda: shield.engine.waiting == 1)
        user = await ask(stack, shield, "127.0.9.1", get("/page"))
        await soon(lambda: shield.engine.waiting == 2)
        shield.advance(LONG)
        tick(shield)
        assert (await user.response()).status == 200
        assert shield.engine.status(shield.clock()).long == SLOTS
        origin.go.set()
        assert [(await client.response()).status for client in held] == [200] * len(held)
        await soon(lambda: shield.engine.in_flight == 0)
        assert shield.engine.status(shield.clock()).long == 0


async def reported(shield: Shield) -> list[str]:
    """The paths of those that were to make way, after LONG."""
    shield.engine.made_way.clear()
    shield.advance(LONG)
    return sorted(shield.engine.made_way[-1])


async def test_it_is_asked_of_whatever_the_service_has_whole_and_is_silent_about() -> None:
    origin = Waiting()
    async with shielded(None, origin) as (shield, served), contextlib.AsyncExitStack() as stack:
        shield.engine.long = LONG / 2
        await (await ask(stack, shield, "127.0.1.1", get("/done"))).response()
        await ask(stack, shield, "127.0.1.1", get("/wait/get"))
        await ask(stack, shield, "127.0.1.1", post("/wait/post", b"body"))
        await ask(stack, shield, "127.0.1.1", post("/wait/part", b"body")[:-1])
        await served.got(3)
        shield.engine.long = 2 * LONG
        assert await reported(shield) == []
        shield.engine.long = LONG / 2
        assert await reported(shield) == ["/wait/get", "/wait/post"]
        origin.go.set()
        await soon(lambda: len(shield.engine.learned) == 3)
        assert await reported(shield) == []


async def test_nobody_is_asked_while_nothing_is_long() -> None:
    async with shielded({"/": None}) as (shield, served), await shield.client() as client:
        await client.send(get())
        await served.got()
        shield.advance(LONG)
        assert shield.engine.made_way == []


async def test_it_is_asked_of_responses_that_trickle_too() -> None:
    links: list[Link] = []

    async def begin(link: Link, request: Received) -> None:
        links.append(link)
        await link.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\nx")
        await link.lost.wait()

    async with shielded(None, begin) as (shield, _), await shield.client() as client:
        shield.engine.long = LONG / 2
        await client.send(get("/drip"))
        await client.until(b"\r\n\r\nx")
        await soon(lambda: shield.streams.paced)
        assert await reported(shield) == ["/drip"]
        size = 10 * LEAST_PACE
        await links[0].send(bytes(size))
        await client.exactly(size)
        exchange: Any = shield.accepted[0]._exchange
        await soon(lambda: exchange.body_sent > size)
        assert await reported(shield) == []
        links[0].close()


async def test_a_connection_that_is_gone_is_not_looked_at() -> None:
    async with shielded() as (shield, served), await shield.client() as client:
        await client.ask(get())
        (server,) = shield.pool.servers
        assert len(server.connections) == 1
        served.links[0].close()
        await soon(lambda: not server.connections)
