"""Slow readers take what is idle, and nobody is turned away because of a neighbour."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import pytest

from shield.client.answering import WELL_BEGUN
from shield.client.watch import TimeoutSettings
from shield.exchange.slot import LEAST_PACE, PACE_SECONDS
from shield.http.settings import HttpSettings
from shield.model import Tier
from shield.policy.request import Request
from tests.harness import Client, FakeClient, Link, PermissiveEngine, Received, Shield, get, reply, shielded, soon

MIB = 1 << 20
BODY = b"x" * (6 * MIB)
NOTHING_AHEAD = HttpSettings(response_buffer_bytes=0)
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
        await soon(
            lambda: len(shield.accepted) == 20 and all(connection.flow.blocked for connection in shield.accepted)
        )
        await soon(lambda: shield.streams.laggards > 10)
        assert shield.ahead.total <= HTTP.response_buffers_bytes / 2, "one address takes half at most"
        people = [await ask(stack, shield, f"127.0.{number}.1") for number in (2, 3)]
        await soon(
            lambda: len(shield.accepted) == 22 and not any(connection._exchange for connection in shield.accepted[20:])
        )
        for person in people:  # whose downloads were over for the upstream before they had read any of them
            assert (await person.response()).body == BODY


class Queueing(PermissiveEngine):
    """With one request in the queue, which goes on as soon as a slot is free."""

    def wait(self, address: str) -> None:
        client: Any = FakeClient(address, "", "")
        self.next_waiting = Request(client, "GET", "/", {}, None, False, None)
        self.next_waiting.tier = Tier.T3

    def _free(self, request: Request) -> None:
        if id(request) in self.slots:
            self.next_waiting = None
        super()._free(request)


def open_from(shield: Shield, address: str) -> int:
    return sum(
        connection.peer.address == address and not connection.transport.is_closing() for connection in shield.accepted
    )


async def test_slow_readers_of_one_address_give_up_slots_and_places_as_others_need_them() -> None:
    """They had all places of laggards, and whoever was slow for a moment besides was reset in calm weather."""
    engine = Queueing()
    async with (
        shielded({"/": reply(BODY)}, http=NOTHING_AHEAD, engine=engine) as (shield, _),
        contextlib.AsyncExitStack() as stack,
    ):
        engine.concurrency_limit = 5
        for _ in range(12):
            await ask(stack, shield, "127.0.1.1")
        for number in (2, 3, 4):
            await ask(stack, shield, f"127.0.{number}.1")
        await soon(
            lambda: len(shield.accepted) == 15 and all(connection.flow.blocked for connection in shield.accepted)
        )
        assert (shield.streams.laggards, len(engine.slots)) == (5, 10)
        for _ in range(3):
            shield.advance(PACE_SECONDS + 0.1)
        assert shield.metrics.connections_open == 15, "nobody waits for what they have"
        engine.wait("127.0.1.1")
        shield.advance(PACE_SECONDS + 0.1)
        assert shield.metrics.connections_open == 15, "nor does anybody who has less"
        for number in range(1, 11):
            engine.wait(f"127.1.{number}.1")
            shield.advance(PACE_SECONDS + 0.1)
            await soon(lambda left=15 - number: shield.metrics.connections_open == left)
            assert engine.next_waiting is None, "there is a slot for each of ten, within a second"
        assert shield.metrics.faults["slow_reader"] == 10
        assert [open_from(shield, f"127.0.{number}.1") for number in (1, 2, 3, 4)] == [2, 1, 1, 1]
        assert (shield.streams.laggards, engine.slots) == (5, set()), "who is left has a place and no slot"


async def test_a_download_at_a_fair_pace_keeps_its_slot_where_no_place_is_left() -> None:
    engine = Queueing()
    async with (
        shielded({"/": reply(BODY)}, http=NOTHING_AHEAD, engine=engine) as (shield, _),
        contextlib.AsyncExitStack() as stack,
    ):
        engine.concurrency_limit = 1
        for _ in range(2):
            await ask(stack, shield, "127.0.1.1")
        person = await ask(stack, shield, "127.0.2.1")
        await soon(lambda: len(shield.accepted) == 3 and all(connection.flow.blocked for connection in shield.accepted))
        body = shield.accepted[2]
        for _ in range(3):
            engine.wait("127.0.3.1")
            before = body._exchange.body_sent
            while body._exchange and body._exchange.body_sent - before < 4 * LEAST_PACE:
                await person.more()
            shield.advance(PACE_SECONDS + 0.1)
        assert open_from(shield, "127.0.2.1") == 1
        assert (await person.response()).body == BODY


@pytest.mark.parametrize("http", [HTTP, NOTHING_AHEAD], ids=["read ahead", "nothing ahead"])
async def test_a_media_player_may_pause_for_a_minute_in_calm_weather(http: HttpSettings) -> None:
    async with (
        shielded({"/": reply(BODY)}, http=http, timeouts=TimeoutSettings()) as (shield, _),
        contextlib.AsyncExitStack() as stack,
    ):
        player = await ask(stack, shield, "127.0.1.1")
        await soon(lambda: shield.accepted and shield.accepted[0].flow.blocked)
        for _ in range(6):
            shield.advance(10)
        assert (await player.response()).body == BODY
        assert not shield.engine.signals


async def test_a_known_client_may_pause_under_pressure_too() -> None:
    async with (
        shielded({"/": reply(BODY)}, http=HTTP, timeouts=TimeoutSettings()) as (shield, _),
        contextlib.AsyncExitStack() as stack,
    ):
        shield.engine.pressed = True
        shield.engine.deserving = {""}  # who names no program
        player = await ask(stack, shield, "127.0.1.1")
        await soon(lambda: shield.accepted and shield.accepted[0].flow.blocked)
        for _ in range(6):
            shield.advance(10)
        assert (await player.response()).body == BODY


async def test_a_known_player_may_rest_as_long_as_a_connection_lives_while_there_is_room() -> None:
    """A browser reads sound for a minute ahead, and the kernels hold as much again: of what cannot be asked for in
    parts, a visitor with a pass heard the end after a minute and a half."""
    async with (
        shielded({"/": reply(8 * BODY)}, http=HTTP, timeouts=TimeoutSettings(connection=300.0)) as (shield, _),
        contextlib.AsyncExitStack() as stack,
    ):
        shield.engine.pressed = True
        shield.engine.deserving = {""}
        await ask(stack, shield, "127.0.1.1")
        await soon(lambda: shield.accepted and shield.accepted[0].flow.blocked and shield.streams.laggards)
        for _ in range(14):
            shield.advance(20)
        assert not shield.metrics.faults["read_timeout"]
        for _ in range(2):
            shield.advance(20)
        await soon(lambda: shield.metrics.connections_open == 0)


@pytest.mark.parametrize("why", ["", "pressure", "others", "unread"])
async def test_a_stranger_who_plays_may_rest_so_in_calm_weather(why: str) -> None:
    """A browser rests for two minutes from 64 kbit/s of speech, and from anything that its user has paused. After a
    minute and a half it was cut, and of what cannot be asked for in parts the end was not heard."""
    async with (
        shielded({"/": reply(8 * BODY)}, http=HTTP, timeouts=TimeoutSettings(connection=300.0)) as (shield, _),
        contextlib.AsyncExitStack() as stack,
    ):
        player = await ask(stack, shield, "127.0.1.1")
        while why != "unread" and len(player.buffer) < 2 * WELL_BEGUN:
            await player.more()
        await soon(lambda: shield.accepted and shield.accepted[0].flow.blocked and shield.streams.laggards)
        shield.engine.pressed = why == "pressure"
        if why == "others":
            shield.engine.concurrency_limit = 1
        for _ in range(14):
            shield.advance(20)
        assert shield.metrics.faults["read_timeout"] == bool(why)
        for _ in range(2):
            shield.advance(20)
        await soon(lambda: shield.metrics.connections_open == 0)


@pytest.mark.parametrize("short", ["places", "memory", "slot"])
async def test_it_may_not_where_it_holds_what_is_short(short: str) -> None:
    http = HTTP if short == "memory" else NOTHING_AHEAD
    async with (
        shielded({"/": reply(8 * BODY)}, http=http, timeouts=TimeoutSettings()) as (shield, _),
        contextlib.AsyncExitStack() as stack,
    ):
        shield.engine.concurrency_limit = 0 if short == "slot" else 100
        shield.engine.deserving = {""}
        await ask(stack, shield, "127.0.1.1")
        await soon(lambda: shield.accepted and shield.accepted[0].flow.blocked)
        await soon(lambda: short == "slot" or shield.streams.laggards)
        if short == "places":
            shield.streams.places.most = 1
        if short == "memory":
            shield.ahead.shares.most = 2 * shield.ahead.total - 1
        for _ in range(4):
            shield.advance(20)
        assert not shield.metrics.faults["read_timeout"]
        for _ in range(3):
            shield.advance(20)
        await soon(lambda: shield.metrics.connections_open == 0)
        assert shield.metrics.faults["read_timeout"] == 1


@pytest.mark.parametrize(("pressed", "seconds"), [(False, 100), (True, 25)])
async def test_a_client_that_reads_no_more_at_all_is_cut(pressed: bool, seconds: int) -> None:
    async with (
        shielded({"/": reply(BODY)}, timeouts=TimeoutSettings()) as (shield, _),
        contextlib.AsyncExitStack() as stack,
    ):
        shield.engine.pressed = pressed
        await ask(stack, shield, "127.0.1.1")
        await soon(lambda: shield.accepted and shield.accepted[0].flow.blocked and not shield.accepted[0]._exchange)
        for _ in range(seconds // 5 - 2):
            shield.advance(5)
            assert shield.metrics.connections_open == 1 or pressed
        for _ in range(2):
            shield.advance(5)
        await soon(lambda: shield.metrics.connections_open == 0)
        assert shield.metrics.faults["read_timeout"] == 1
        assert shield.log.faults == ["read_timeout"], "its request has had its line, as that had been answered"


async def test_who_plays_what_it_gets_is_not_taken_for_one_who_rests() -> None:
    """Our kernel takes more only when a third of its buffer of some megabytes is free again. At a phone's pace that
    took minutes: newcomers were cut after 20 s of pressure, others after 90 s."""
    async with (
        shielded({"/": reply(8 * BODY)}, http=HTTP, timeouts=TimeoutSettings()) as (shield, _),
        await Client.open(shield.port, source="127.0.1.1", receive_buffer=65_536) as player,
    ):
        shield.engine.pressed = True
        await player.send(get())
        await soon(lambda: shield.accepted and shield.accepted[0].flow.blocked)
        flow = shield.accepted[0].flow
        for _ in range(8):
            before = flow.taken()
            await player.more()  # some tens of KB
            await soon(lambda before=before: flow.taken() > before)
            shield.advance(20)
        assert shield.metrics.connections_open == 1
        assert not shield.metrics.faults["read_timeout"]


async def test_two_hundred_people_behind_one_address_download_at_once_and_nobody_is_reset() -> None:
    engine = Queueing()
    async with (
        shielded({"/": reply(BODY)}, http=HTTP, engine=engine) as (shield, _),
        contextlib.AsyncExitStack() as stack,
    ):
        engine.concurrency_limit = 20
        people = [await ask(stack, shield, "127.0.1.1") for _ in range(200)]
        await soon(
            lambda: len(shield.accepted) == 200 and all(connection.flow.blocked for connection in shield.accepted)
        )
        engine.wait("127.0.1.1")
        shield.advance(PACE_SECONDS + 0.1)
        assert shield.metrics.connections_open == 200
        for person in people[:3] + people[-3:]:
            assert (await person.response()).body == BODY
        assert not shield.metrics.faults["slow_reader"]
        assert not shield.metrics.faults["streams_full"]


class Radio:
    """A station: it sends as much as the test says, to all who listen."""

    def __init__(self, *fields: bytes) -> None:
        self.head = b"\r\n".join((b"HTTP/1.1 200 OK", *fields, b"", b""))
        self.links: list[Link] = []

    async def __call__(self, link: Link, _: Received) -> None:
        self.links.append(link)
        await link.send(self.head)
        await link.lost.wait()

    async def play(self, shield: Shield, size: int) -> None:
        """A second of it."""

        def heard() -> int:
            return sum(each._exchange.body_sent for each in shield.accepted if each._exchange)

        wanted = heard() + size * len(self.links)
        for link in self.links:
            await link.send(b"~" * size)
        await soon(lambda: heard() == wanted)
        shield.advance(PACE_SECONDS + 0.1)


@pytest.mark.parametrize("kind", [b"audio/mpeg", b"Video/webm", b"multipart/x-mixed-replace; boundary=x"])
async def test_live_radio_holds_no_slot_however_many_listen(kind: bytes) -> None:
    """At 192 kbit/s, which is more than a trickle, each listener held a slot for hours: thirty of them, and nobody got
    a page any more, in calm weather. At 128 kbit/s forty found a place."""
    engine, radio = Queueing(), Radio(b"Content-Type: " + kind)
    async with shielded(None, radio, engine=engine) as (shield, _), contextlib.AsyncExitStack() as stack:
        engine.concurrency_limit, engine.pressed = 2, True
        for number in range(6):
            await ask(stack, shield, f"127.0.{number // 3}.1")
        await soon(lambda: shield.streams.places.total == 6)
        assert (engine.slots, shield.streams.laggards) == (set(), 0)
        for size in (24_000, 16_000, 100):
            engine.wait("127.0.9.1")
            await radio.play(shield, size)
        assert shield.metrics.connections_open == 6, "and nobody is cut for anybody"


async def test_a_page_that_the_service_writes_so_keeps_its_slot() -> None:
    engine, radio = Queueing(), Radio(b"Content-Type: text/html")
    async with shielded(None, radio, engine=engine) as (shield, _), contextlib.AsyncExitStack() as stack:
        await ask(stack, shield, "127.0.1.1")
        await soon(lambda: radio.links and shield.accepted[0]._exchange)
        for _ in range(2):
            await radio.play(shield, 100_000)
        assert len(engine.slots) == 1


async def test_live_radio_keeps_its_slot_where_no_place_is_left() -> None:
    engine, radio = Queueing(), Radio(b"Content-Type: audio/mpeg")
    async with shielded(None, radio, engine=engine) as (shield, _), contextlib.AsyncExitStack() as stack:
        shield.streams.places.most = 1
        for _ in range(2):
            await ask(stack, shield, "127.0.1.1")
        await soon(lambda: len(radio.links) == 2 and all(connection._exchange for connection in shield.accepted))
        await radio.play(shield, 24_000)
        assert (len(engine.slots), shield.metrics.connections_open) == (1, 2)
