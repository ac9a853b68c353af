"""What waits to be sent is in a bound, and those go first for whom most of it waits."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from dataclasses import replace
from typing import Any

from shield.http.settings import HttpSettings
from tests.accept.test_tls import settings_for
from tests.client.h2.peer import DATA, END_HEADERS, END_STREAM, Frames, frame, headers, request
from tests.harness import Client, Shield, get, reply, shielded, soon

MOST = 6 << 20
BODY = b"x" * 150_000
HTTP = replace(HttpSettings(), unsent_bytes=MOST, response_buffers_bytes=1 << 20)


def small_buffers(shield: Shield) -> None:
    """Let the kernel take little of an answer that is not read; else it takes all of it."""
    for sock in shield.listener._sockets:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)


def on_stream(number: int, sent: bytes) -> bytes:
    """A frame, on another stream."""
    return sent[:5] + number.to_bytes(4, "big") + sent[9:]


async def test_unread_answers_of_thirty_addresses_are_counted_and_cost_nobody_else_anything() -> None:
    """Each was below what makes a client slow, and no bound counted them: 1,500 took 138 MB."""
    async with shielded({"/": reply(BODY)}, http=HTTP) as (shield, _), contextlib.AsyncExitStack() as stack:
        backlog = shield.crowding.backlog
        small_buffers(shield)

        async def ask(source: str) -> Client:
            client = await stack.enter_async_context(await Client.open(shield.port, source=source, receive_buffer=4096))
            await client.send(get())
            return client

        people = [await ask(f"127.0.{number}.1") for number in range(1, 4)]
        await soon(lambda: len(shield.accepted) == 3 and all(connection.held() for connection in shield.accepted))
        attackers = [await ask(f"127.1.{number % 30}.1") for number in range(120)]
        await soon(lambda: len(shield.accepted) == 123 and not shield.engine.slots and backlog.waiting <= MOST)
        counted = sum(connection.held() for connection in shield.accepted)
        assert counted == backlog.waiting <= MOST
        closed = shield.metrics.connections_closed["displaced_unsent"]
        assert 0 < closed == 123 - shield.metrics.connections_open
        assert shield.told("connections_displaced")
        for person in people:
            assert (await person.response()).body == BODY
        for attacker in attackers:
            attacker.close()
        await soon(lambda: not backlog.waiting)


async def test_unread_answers_over_tls_are_in_the_same_bound(tls: Any) -> None:
    """What the event loop had encrypted and not sent was seen by nobody, so such answers had none."""
    body = b"x" * 1_000_000
    most = 4 << 20
    http = replace(HTTP, unsent_bytes=most)
    async with shielded({"/": reply(body)}, http=http, tls=settings_for(tls)) as (shield, _):
        small_buffers(shield)
        context = ssl.create_default_context(cafile=str(tls.authority))
        writers = []

        async def ask(source: str) -> asyncio.StreamReader:
            client = await Client.open(shield.port, source=source, receive_buffer=4096)
            reader, writer = await asyncio.open_connection(
                sock=client.sock, ssl=context, server_hostname="localhost", limit=1000
            )
            writers.append(writer)
            writer.write(get())
            return reader

        backlog = shield.crowding.backlog
        try:
            person = await ask("127.0.1.1")
            await soon(lambda: backlog.waiting)
            for number in range(16):
                await ask(f"127.1.{number % 4}.1")
            await soon(lambda: shield.metrics.connections_closed["displaced_unsent"])
            await soon(lambda: len(shield.accepted) == 17 and backlog.waiting <= most)
            assert backlog.waiting == sum(connection.held() for connection in shield.accepted) > most // 2
            await person.readuntil(b"\r\n\r\n")
            assert await person.readexactly(len(body)) == body
        finally:
            for writer in writers:
                writer.transport.abort()
        await soon(lambda: not backlog.waiting)


async def test_what_waits_in_the_file_comes_whole_over_tls(tls: Any) -> None:
    """It is ciphertext, so a byte that is lost or out of order ends the connection."""
    body = bytes(number * number % 251 for number in range(3000)) * 400
    http = replace(HTTP, unsent_memory_bytes=0)
    async with shielded({"/": reply(body)}, http=http, tls=settings_for(tls)) as (shield, _):
        small_buffers(shield)
        context = ssl.create_default_context(cafile=str(tls.authority))
        backlog, readers, writers = shield.crowding.backlog, [], []
        for _ in range(3):
            client = await Client.open(shield.port, receive_buffer=4096)
            reader, writer = await asyncio.open_connection(
                sock=client.sock, ssl=context, server_hostname="localhost", limit=1000
            )
            writers.append(writer)
            readers.append(reader)
            writer.write(get())
        await soon(lambda: backlog.spilled > 1 << 18)
        for reader in readers:
            await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(len(body)) == body
        await soon(lambda: (backlog.waiting, backlog.spilled) == (0, 0))
        assert backlog.spill is not None
        assert backlog.spill.used == 0
        for writer in writers:
            writer.transport.abort()


async def test_who_falls_behind_is_served_on_although_nothing_is_kept_for_the_next_request() -> None:
    """Of 1,500 connections that read nothing, 0.9 KB of each were kept in case the same request comes again."""
    http = replace(HTTP, unsent_memory_bytes=0)
    cookie = "Cookie: a=1"
    async with shielded({"/": reply(BODY), "/small": reply(b"small")}, http=http) as (shield, origin):
        small_buffers(shield)
        client = await Client.open(shield.port, receive_buffer=4096)
        await client.send(get("/small", cookie))
        assert (await client.response()).body == b"small"
        heads = shield.accepted[0]._heads
        assert heads.kept is not None
        await client.send(get("/", cookie))
        await soon(lambda: shield.crowding.backlog.spilled)
        assert (heads.kept, heads.last, shield.accepted[0].peer.known_head) == (None, b"", None)
        assert (await client.response()).body == BODY
        await client.send(get("/small", cookie))
        assert (await client.response()).body == b"small"
        before, _, after = (request.fields[:-1] for request in origin.requests)  # the last is the request's id
        assert after == before
        client.close()


async def test_bodies_in_memory_are_in_the_same_bound() -> None:
    """A hundred streams of one connection of HTTP/2 keep 64 KiB each: thirty connections took 186 MB, and no bound
    counted them."""
    http = replace(HTTP, body_spool_bytes=0)
    opened = headers(request("/up", method="POST"), flags=END_HEADERS)
    piece = frame(DATA, 0, 1, bytes(15_000))
    async with shielded({"/": reply(b"")}, http=http, http2=True) as (shield, _):
        backlog, attackers = shield.crowding.backlog, []
        person = await Frames.open(shield, source="127.0.1.1")
        await person.send(opened, *[piece] * 3)
        for number in range(4):
            attackers.append(await Frames.open(shield, source=f"127.1.{number % 2}.1"))
            for stream in range(1, 81, 2):
                await attackers[-1].send(on_stream(stream, opened), *[on_stream(stream, piece)] * 4)
        await soon(lambda: shield.metrics.connections_closed["displaced_unsent"])
        assert backlog.bodies == sum(connection.held() for connection in shield.connections) <= MOST
        await person.send(frame(DATA, END_STREAM, 1, b"x"))
        assert (await person.until(lambda told: told.answered)).answered == [1]
        person.close()
        for attacker in attackers:
            attacker.close()
        await soon(lambda: not backlog.bodies)


async def test_the_service_works_for_nobody_who_has_hung_up(tls: Any) -> None:
    """Over TLS the end that a client said in the middle of a download was kept behind what it did not read: for two
    minutes the service sent gigabytes that Shield threw away, in a slot."""
    begun = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n" + b"x" * 600_000
    async with shielded({"/": begun}, tls=settings_for(tls)) as (shield, origin):
        small_buffers(shield)
        context = ssl.create_default_context(cafile=str(tls.authority))
        client = await Client.open(shield.port, receive_buffer=4096)
        _, writer = await asyncio.open_connection(
            sock=client.sock, ssl=context, server_hostname="localhost", limit=1000
        )
        try:
            writer.write(get())
            await soon(lambda: shield.accepted and shield.accepted[0].flow.ahead)
            client.half_close()
            await asyncio.wait_for(origin.links[0].lost.wait(), 5)
            assert not shield.engine.slots
            assert shield.accepted[0].held(), "it may still take what it was sent"
            for _ in range(6):  # timeouts.progress, then timeouts.pause
                shield.advance(21)
            await soon(lambda: not shield.metrics.connections_open)
        finally:
            writer.transport.abort()


async def test_who_has_a_history_may_have_four_times_as_much_unsent() -> None:
    async with shielded({"/": reply(BODY)}, http=HTTP) as (shield, _), contextlib.AsyncExitStack() as stack:
        small_buffers(shield)
        shield.engine.deserving = {"regular"}
        known = [
            await stack.enter_async_context(await Client.open(shield.port, source="127.0.1.1", receive_buffer=4096))
            for _ in range(2)
        ]
        for client in known:
            await client.send(get("/", "User-Agent: regular"))
        for number in range(60):
            client = await Client.open(shield.port, source=f"127.1.{number}.1", receive_buffer=4096)
            await stack.enter_async_context(client)
            await client.send(get())
        await soon(lambda: shield.metrics.connections_closed["displaced_unsent"])
        for client in known:
            assert (await client.response()).body == BODY
