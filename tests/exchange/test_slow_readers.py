"""Slow readers take what is idle, and nobody is turned away because of a neighbour."""

from __future__ import annotations

import contextlib
from dataclasses import replace

from shield.http.settings import HttpSettings
from tests.harness import Client, Shield, get, reply, shielded, soon

MIB = 1 << 20
BODY = b"x" * (6 * MIB)
HTTP = replace(HttpSettings(), response_buffers_bytes=32 * MIB)


async def ask(stack: contextlib.AsyncExitStack, shield: Shield, source: str, path: str = "/") -> Client:
    """Somebody at an address of their own asks, and does not read yet."""
    client = await Client.open(shield.port, source=source, receive_buffer=4096)
    await stack.enter_async_context(client)
    await client.send(get(path))
    return client


async def test_twenty_slow_readers_of_one_address_leave_others_room_to_read_ahead() -> None:
    """They had all that may be read ahead, and most downloads of newcomers were reset in calm weather."""
    async with shielded({"/": reply(BODY)}, http=HTTP) as (shield, _), contextlib.AsyncExitStack() as stack:
        for _ in range(20):
            await ask(stack, shield, "127.0.1.1")
        await soon(lambda: len(shield.gates) == 20 and all(gate.flow.blocked for gate in shield.gates))
        await soon(lambda: shield.streams.laggards > 10)
        assert shield.ahead.total <= HTTP.response_buffers_bytes / 2, "one address takes half at most"
        people = [await ask(stack, shield, f"127.0.{number}.1") for number in (2, 3)]
        await soon(lambda: len(shield.gates) == 22 and not any(gate._exchange for gate in shield.gates[20:]))
        for person in people:  # whose downloads were over for the upstream before they had read any of them
            assert (await person.response()).body == BODY
