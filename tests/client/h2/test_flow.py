"""Backpressure over HTTP/2, both ways: one slow stream stalls no other, and what waits is bounded and counted."""

from __future__ import annotations

import asyncio

from shield.client.h2.session import STREAM_WINDOW
from shield.http.forwarded import Forwarding
from shield.http.settings import HttpSettings
from tests.client.h2.peer import DATA, END_HEADERS, END_STREAM, Frames, Peer, frame, headers, request, settings, window
from tests.harness import Link, Received, early, reply, shielded, soon

LARGE = bytes(2 << 20)


async def test_a_stream_that_is_not_read_stalls_no_other() -> None:
    http = HttpSettings(response_buffer_bytes=0)
    async with (
        shielded({"/large": reply(LARGE)}, http2=True, http=http) as (shield, _),
        await Peer.open(shield, reads=False, window=20_000) as peer,
    ):
        slow = [await peer.begin(request("/large")) for _ in range(3)]
        await peer.until(lambda: all(len(peer.answers[number].body) == 20_000 for number in slow))
        await soon(lambda: sum(stream.flow.blocked for stream in shield.connections.streams) == 3)  # type: ignore[attr-defined]
        assert shield.crowding.backlog.waiting < 3 * 192 * 1024
        assert (await peer.ask(request("/other"))).body == b"GET /other"
        for number in slow:  # and each goes on by itself
            peer.reads = True
            await peer.catch_up(number)
            assert (await peer.answer(number)).body == LARGE
        await soon(lambda: shield.crowding.backlog.waiting == 0)


async def test_what_is_read_ahead_of_a_slow_stream_is_set_aside_and_given_back() -> None:
    async with shielded({"/large": reply(LARGE)}, http2=True) as (shield, _):
        peer = await Peer.open(shield, reads=False, window=20_000)
        number = await peer.begin(request("/large"))
        await soon(lambda: shield.ahead.total >= len(LARGE) - 300_000)
        await soon(lambda: len(shield.engine.learned) == 1)  # the service is rid of it
        peer.reads = True
        await peer.until(lambda: len(peer.answers[number].body) == 20_000)
        await peer.catch_up(number)
        assert (await peer.answer(number)).body == LARGE
        await soon(lambda: (shield.ahead.total, shield.crowding.backlog.waiting) == (0, 0))
        peer.client.close()


async def test_what_waits_is_forgotten_with_its_client() -> None:
    async with shielded({"/large": reply(LARGE)}, http2=True) as (shield, _):
        peer = await Peer.open(shield, reads=False, window=20_000)
        await peer.begin(request("/large"))
        await soon(lambda: shield.crowding.backlog.waiting > 1_000_000)
        peer.client.close()
        await soon(lambda: (shield.ahead.total, shield.crowding.backlog.waiting) == (0, 0))


async def test_a_service_that_does_not_read_holds_up_its_upload_and_no_other_stream() -> None:
    @early
    async def deaf(link: Link, got: Received) -> None:
        if got.target == "/up":
            await asyncio.Event().wait()
        await link.send(reply(b"page"))

    http = HttpSettings(body_buffer_bytes=16384, body_spool_bytes=0)
    async with shielded(None, deaf, http2=True, http=http) as (shield, _):
        frames = await Frames.open(shield)
        await frames.send(headers(request("/up", method="POST"), 1, END_HEADERS))
        sent = 0

        def room() -> int:
            """What Shield has allowed so far and was not sent."""
            allowed = STREAM_WINDOW
            for each in frames.frames:
                if type(each).__name__ == "WindowUpdateFrame" and each.stream_id == 1:
                    allowed += each.window_increment  # type: ignore[attr-defined]
            return allowed - sent

        while room() >= 16384:
            await frames.send(frame(0, 0, 1, bytes(16384)))
            sent += 16384
            await frames.settled()
        stream = next(iter(shield.connections.streams))
        assert stream.flow.paused  # type: ignore[attr-defined]
        assert sent < 16 << 20
        await frames.send(headers(request("/next"), 3))
        assert 3 in (await frames.until(lambda told: 3 in told.answered)).answered
        frames.close()


async def test_windows_may_shrink_below_nothing() -> None:
    """RFC 9113 section 6.9.2: SETTINGS that make a window negative."""
    async with shielded({"/": reply(bytes(100_000))}, http2=True) as (shield, _):
        frames = await Frames.open(shield, settings(window=50_000), frame(4, 1, 0))
        await frames.send(headers(request()))
        await frames.until(lambda told: _received(told.frames) == 50_000)
        await frames.send(settings(window=10_000))
        await frames.settled()
        await frames.send(window(1, 60_000), window(0, 100_000))
        await frames.until(lambda told: _received(told.frames) == 70_000)
        await frames.send(window(1, 30_000))
        told = await frames.until(lambda told: _received(told.frames) == 100_000)
        assert told.goaways == []
        frames.close()


def _received(frames: list) -> int:  # type: ignore[type-arg]
    return sum(len(each.data) for each in frames if type(each).__name__ == "DataFrame")


async def test_uploads_that_wait_for_room_stall_no_others_of_a_proxys_clients() -> None:
    """A trusted proxy brings many clients' requests over one connection. Sixteen uploads that waited used up the window
    of all: no other client's upload came in until their deadline."""
    http = HttpSettings(body_buffer_bytes=1, body_spool_bytes=0)
    proxied = Forwarding(("127.0.0.1",), "x-forwarded-for")
    async with shielded({"/": reply(b"ok")}, http=http, http2=True, forwarding=proxied) as (shield, origin):
        shield.streams.places.most = 0
        frames = await Frames.open(shield)
        for number in range(1, 41, 2):
            bad = request("/", ("x-forwarded-for", "192.0.2.1"), method="POST")
            piece = frame(DATA, 0, number, bytes(16_384))
            await frames.send(headers(bad, number, END_HEADERS), piece * (STREAM_WINDOW // 16_384))
        await soon(lambda: len(shield.streams.waiting) == 20)
        good = request("/", ("x-forwarded-for", "198.51.100.1"), method="POST")
        await frames.send(headers(good, 41, END_HEADERS), frame(DATA, END_STREAM, 41, b"x"))
        told = await frames.until(lambda told: told.answered or told.closed)
        assert (told.answered, told.goaways) == ([41], [])
        assert [asked.body for asked in origin.requests] == [b"x"]
        frames.close()
