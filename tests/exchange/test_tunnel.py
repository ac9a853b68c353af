"""WebSocket tunnels whose ends do not behave: one that does not read, one that leaves, both that only send."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from shield.client.flow import WRITE_HIGH
from shield.client.watch import TimeoutSettings
from tests.exchange.test_exchange import SWITCHED, WEBSOCKET
from tests.harness import Client, Link, Received, Shield, early, get, shielded, soon

FLOOD = b"z" * (16 << 20)
ONE_READ = 256 * 1024
"""bytes. The most that one read of a transport brings."""


@early
async def chatter(link: Link, request: Received) -> None:
    """Sends and never reads."""
    await link.send(SWITCHED)
    with contextlib.suppress(ConnectionError):
        await link.send(FLOOD)
    await link.lost.wait()


@early
async def echo(link: Link, request: Received) -> None:
    await link.send(SWITCHED)
    while data := await link.read():
        await link.send(data)
    link.close()


async def opened(shield: Shield, receive_buffer: int = 0) -> Client:
    client = await shield.client(receive_buffer=receive_buffer)
    await client.send(get("/ws", *WEBSOCKET))
    return client


async def test_ends_that_only_send_pin_no_more_than_two_buffers() -> None:
    async with shielded(None, chatter) as (shield, _), await opened(shield, 65536) as client:
        await soon(lambda: shield.accepted and shield.accepted[0]._tunnel)
        sending = asyncio.create_task(client.feed(FLOOD))
        connection = shield.accepted[0]
        upstream = connection._tunnel._connection.transport
        await soon(lambda: connection.flow.blocked and connection.flow.paused)
        assert connection.transport.get_write_buffer_size() <= WRITE_HIGH + ONE_READ
        assert upstream.get_write_buffer_size() <= WRITE_HIGH + ONE_READ
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def test_a_client_that_does_not_read_is_cut_although_it_talks() -> None:
    """What it says moved its deadline, and so it could hold a server's unread bytes for ever."""
    timeouts = TimeoutSettings()
    async with shielded(None, chatter) as (shield, _), await opened(shield, 65536) as client:
        await soon(lambda: shield.accepted and shield.accepted[0].flow.blocked)
        for _ in range(4):
            received = shield.metrics.bytes_in
            await client.feed(b"still here")
            await soon(lambda received=received: shield.metrics.bytes_in > received or not shield.metrics.tunnels_open)
            shield.advance(timeouts.progress / 2)
        await soon(lambda: shield.metrics.tunnels_open == 0)
        assert shield.metrics.faults["read_timeout"] == 1
        assert [(line[2], line[-1]) for line in shield.log.requests] == [(101, "read_timeout")]
        assert not shield.engine.signals


async def test_ten_thousand_frames_at_once_come_back_in_order() -> None:
    frames = b"".join(b"\x82\x84\0\0\0\0%04d" % number for number in range(10_000))
    async with shielded(None, echo) as (shield, _), await opened(shield) as client:
        assert (await client.response()).status == 101
        sending = asyncio.create_task(client.send(frames))
        assert await client.exactly(len(frames)) == frames
        await sending


@pytest.mark.parametrize("leave", [Link.close, Link.reset])
async def test_a_server_that_dies_in_a_frame_ends_the_tunnel(leave: object) -> None:
    begun = b"\x82\x7f" + (1 << 40).to_bytes(8) + b"x" * 1000  # of a terabyte

    @early
    async def dying(link: Link, request: Received) -> None:
        await link.send(SWITCHED + begun)
        await link.read()
        leave(link)  # type: ignore[operator]

    async with shielded(None, dying) as (shield, _), await opened(shield) as client:
        assert (await client.response()).status == 101
        assert await client.exactly(len(begun)) == begun
        await client.send(b"go")
        assert await client.gone()
        assert shield.metrics.tunnels_open == 0


async def test_what_a_client_says_before_it_leaves_reaches_the_server() -> None:
    """It closes its half, which ends the tunnel: RFC 6455 section 7.1.1 has the server close first."""
    heard = bytearray()

    @early
    async def listen(link: Link, request: Received) -> None:
        await link.send(SWITCHED)
        while data := await link.read():
            heard.extend(data)
        link.close()

    async with shielded(None, listen) as (shield, _), await opened(shield) as client:
        assert (await client.response()).status == 101
        await client.send(FLOOD)
        client.half_close()
        await client.rest()
        await soon(lambda: shield.metrics.tunnels_open == 0)
        await soon(lambda: len(heard) == len(FLOOD))


async def test_one_address_cannot_have_all_websockets_once_others_ask() -> None:
    """They were first come first served: one address with `upstream.max_streams` of them kept everybody else out."""
    async with shielded(None, echo) as (shield, _), contextlib.AsyncExitStack() as stack:
        shield.streams.places.most = 4

        async def open_at(source: str) -> tuple[Client, int]:
            client = await stack.enter_async_context(await Client.open(shield.port, source=source))
            await client.send(get("/ws", *WEBSOCKET))
            return client, (await client.response()).status

        greedy = [await open_at("127.0.1.1") for _ in range(5)]
        assert [status for _, status in greedy] == [101] * 4 + [503]
        people = [await open_at(f"127.0.{number}.1") for number in (2, 3)]
        assert [status for _, status in people] == [101] * 2
        for client, _ in greedy[:2]:
            assert await client.gone()
        for client, _ in greedy[2:4] + people:
            await client.send(b"still here")
            assert await client.exactly(10) == b"still here"
        assert [(line[2], line[-1]) for line in shield.log.requests if line[2] == 101] == [(101, "streams_full")] * 2
        assert shield.metrics.tunnels_open == shield.metrics.streams_open == 4
