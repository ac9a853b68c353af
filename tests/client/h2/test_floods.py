"""What costs a client of HTTP/2 next to nothing and a server something: each has its bound, and what comes of it.

Nothing here leaves this machine's loopback.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import pytest

from shield.client.h2 import calm
from shield.client.h2.connection import FLOOD
from shield.client.h2.session import MOST_STREAMS
from shield.client.watch import TimeoutSettings
from shield.http.settings import HttpSettings
from shield.model import Reason, Signal, Verdict
from tests.client.h2.peer import (
    CANCEL,
    COMPRESSION_ERROR,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    HEADERS,
    NO_ERROR,
    PING,
    PRIORITY,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    SETTINGS,
    Frames,
    block,
    frame,
    headers,
    request,
    reset,
    settings,
    window,
)
from tests.harness import LIMITED, reply, shielded, soon

POST = request("/up", method="POST")
OPEN = headers(POST, flags=END_HEADERS)
PRIORITY_UPDATE = 0x10


@dataclass(frozen=True, slots=True)
class Flood:
    name: str
    first: bytes
    again: bytes
    times: int
    detail: str


FLOODS = [
    Flood("SETTINGS", b"", frame(SETTINGS, 0, 0), 1200, "control_flood"),
    Flood("PING", b"", frame(PING, 0, 0, bytes(8)), 1200, "control_flood"),
    Flood("PRIORITY_UPDATE", OPEN, frame(PRIORITY_UPDATE, 0, 0, struct.pack(">I", 1) + b"u=1"), 1200, "control_flood"),
    Flood("empty DATA", OPEN, frame(DATA, 0, 1), 1200, "control_flood"),
    Flood("one-byte windows", OPEN, window(1, 1), 1200, "control_flood"),
    Flood("windows of the connection", b"", window(0, 1), 1200, "control_flood"),
    Flood("PRIORITY", b"", frame(PRIORITY, 0, 3, bytes(5)), 20_000, "silent_flood"),
    Flood("unknown frames", b"", frame(0xFA, 0, 0, bytes(100)), 3000, "silent_flood"),
    Flood("SETTINGS between DATA", OPEN, frame(SETTINGS, 0, 0) * 8 + frame(DATA, 0, 1, b"x"), 200, "control_flood"),
    Flood("PRIORITY between DATA", OPEN, frame(PRIORITY, 0, 3, bytes(5)) * 9 + frame(DATA, 0, 1, b"x"), 2500, ""),
]


@pytest.mark.parametrize("flood", FLOODS, ids=lambda flood: flood.name)
async def test_a_flood_of_frames_ends_the_connection_and_is_held_against_the_client(flood: Flood) -> None:
    async with shielded({"/up": None}, http2=True) as (shield, _):
        frames = await Frames.open(shield)
        await frames.send(flood.first, flood.again * flood.times)
        told = await frames.until(lambda told: told.closed)
        assert told.goaways == [ENHANCE_YOUR_CALM]
        assert shield.log.faults[0] == FLOOD
        assert shield.log.details == [flood.detail or "silent_flood"]
        assert [signal for _, signal in shield.engine.signals] == [Signal.MALFORMED]
        assert shield.metrics.faults[FLOOD] == 1
        frames.close()
        await soon(lambda: len(shield.connections) == 0)


@pytest.mark.parametrize("flood", FLOODS, ids=lambda flood: flood.name)
async def test_as_much_as_honest_clients_may_need_is_no_flood(flood: Flood) -> None:
    async with shielded({"/up": None}, http2=True) as (shield, _):
        frames = await Frames.open(shield)
        await frames.send(flood.first)
        for _ in range(5):
            await frames.send(flood.again * (flood.times // 8))
            assert not (await frames.settled()).goaways
            shield.clock.offset += 30
        assert shield.engine.signals == []
        frames.close()


async def test_a_client_that_acknowledges_each_frame_of_a_long_response_is_none() -> None:
    body = bytes(4 << 20)
    async with shielded({"/": reply(body)}, http2=True) as (shield, _):
        frames = await Frames.open(shield)
        await frames.send(headers(request()))
        got = done = 0
        while got < len(body):
            told = await frames.until(lambda told: len(told.frames) > done)  # noqa: B023
            new, done = told.frames[done:], len(told.frames)
            assert not told.goaways
            for each in new:
                if type(each).__name__ == "DataFrame" and each.data:  # type: ignore[attr-defined]
                    got += len(each.data)  # type: ignore[attr-defined]
                    for stream in (0, 1):
                        await frames.send(window(stream, len(each.data)))  # type: ignore[attr-defined]
        assert got == len(body)
        assert shield.engine.signals == []
        frames.close()


async def test_continuations_without_end() -> None:
    async with shielded(http2=True) as (shield, origin):
        frames = await Frames.open(shield)
        await frames.send(frame(HEADERS, END_STREAM, 1, block(request())), frame(CONTINUATION, 0, 1) * 100)
        told = await frames.until(lambda told: told.closed)
        assert told.goaways == [ENHANCE_YOUR_CALM]
        assert [signal for _, signal in shield.engine.signals] == [Signal.MALFORMED]
        assert origin.requests == []
        frames.close()


async def test_a_header_bomb() -> None:
    """An entry of 4 KB in HPACK's table, and a thousand references to it: 4 MB from 5 KB."""
    async with shielded(http2=True) as (shield, origin):
        frames = await Frames.open(shield)
        entry = b"\x40\x01x\x7f\xa1\x1e" + b"y" * 4000  # literal with indexing, RFC 7541 section 6.2.1
        bomb = block(request()) + entry + b"\xbe" * 1000
        await frames.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, bomb))
        told = await frames.until(lambda told: told.closed)
        assert (told.goaways, told.answered) == ([ENHANCE_YOUR_CALM], [])
        assert origin.requests == []
        assert shield.engine.signals == []  # a page elsewhere can have a browser send as many cookies
        frames.close()


@pytest.mark.parametrize("comes", [1400, 16_400, 200_000], ids=["a packet of it", "a frame of it", "whole"])
async def test_a_target_that_is_too_long_for_hpack_is_no_strike(comes: int) -> None:
    """A page elsewhere had Chromium ask for a path of 70 KB. The library calls a field of more than 64 KiB a broken
    header block, and the visitor had a hard signal."""
    async with shielded(http2=True) as (shield, origin):
        frames = await Frames.open(shield)
        coded = block(request("/?" + "x" * 70_000))
        pieces = [coded[at : at + 16_384] for at in range(0, len(coded), 16_384)]
        sent = frame(HEADERS, END_STREAM, 1, pieces[0])
        sent += b"".join(frame(CONTINUATION, 0, 1, piece) for piece in pieces[1:-1])
        sent += frame(CONTINUATION, END_HEADERS, 1, pieces[-1])
        await frames.send(sent[:comes])
        told = await frames.until(lambda told: told.closed or told.goaways)
        assert told.goaways == [COMPRESSION_ERROR]
        assert (shield.engine.signals, origin.requests) == ([], [])
        frames.close()


def kept(name: bytes, value: bytes) -> bytes:
    """A field that HPACK remembers, a value of 128 to 4,000 bytes (RFC 7541 section 6.2.1)."""
    rest = len(value) - 127
    return b"\x40" + bytes((len(name),)) + name + b"\x7f" + bytes((rest % 128 + 128, rest // 128)) + value


async def test_a_few_bytes_of_hpack_that_make_a_large_head() -> None:
    """As large as one may be, of a field that is named again and again. It is not read: that would cost as much as if
    all of it had been sent. Named once or twice, the field is as good as any."""
    async with shielded({"/": reply(b"")}, http2=True) as (shield, origin):
        frames = await Frames.open(shield)
        for number, times in ((1, 0), (3, 1), (5, 2), (7, 8)):
            coded = block(request()) + (kept(b"x", b"y" * 3900) if number == 1 else b"\xbe" * times)
            await frames.send(frame(HEADERS, END_STREAM | END_HEADERS, number, coded))
            await frames.until(lambda told: number in told.answered)  # noqa: B023
        assert [len(each.all("x")) for each in origin.requests] == [1, 1, 2]
        assert shield.log.faults == ["head_too_large"]
        assert shield.engine.signals == []  # cookies of two paths may be equal
        frames.close()


async def test_a_large_head_that_is_sent_whole_is_read() -> None:
    """In several frames and reads, of which the last is short."""
    async with shielded({"/": reply(b"")}, http2=True) as (shield, origin):
        frames = await Frames.open(shield)
        coded = block(request("/", *((f"x-{number}", "y" * 300) for number in range(90))))
        pieces = [coded[at : at + 9000] for at in range(0, len(coded), 9000)]
        for at, piece in enumerate(pieces):
            before, last = shield.metrics.bytes_in, END_HEADERS if at == len(pieces) - 1 else 0
            await frames.send(frame(CONTINUATION if at else HEADERS, last | (0 if at else END_STREAM), 1, piece))
            await soon(lambda: shield.metrics.bytes_in >= before + len(piece))  # noqa: B023
        await frames.until(lambda told: 1 in told.answered)
        assert (len(origin.requests), shield.log.faults) == (1, [])
        frames.close()


async def test_a_large_head_that_begins_in_the_read_of_another_request() -> None:
    """As where a browser sends large cookies with each of many requests at once."""
    async with shielded({"/": reply(b"")}, http2=True) as (shield, origin):
        frames = await Frames.open(shield)
        first, second = (headers(request("/", ("cookie", letter * 15_000)), at) for letter, at in (("y", 1), ("z", 3)))
        before = shield.metrics.bytes_in
        await frames.send(first + second[:-10])
        await soon(lambda: shield.metrics.bytes_in >= before + 30_000)
        await frames.send(second[-10:])
        await frames.until(lambda told: 3 in told.answered)
        assert (len(origin.requests), shield.log.faults) == (2, [])
        frames.close()


async def test_a_banned_address_has_no_head_read_and_its_connection_ends() -> None:
    async with shielded({"/": reply(b"")}, http2=True) as (shield, origin):
        frames = await Frames.open(shield)
        await frames.send(headers(request()))
        await frames.until(lambda told: told.answered)
        shield.engine.shut = Verdict(Reason.ADDRESS_BANNED, 60)
        banned = await Frames.open(shield)
        await banned.send(headers(request("/again")), headers(request("/more"), 3))
        told = await banned.until(lambda told: told.closed)
        assert (told.answered, told.goaways) == ([1], [NO_ERROR])
        assert (shield.engine.unread, len(shield.engine.decided), len(origin.requests)) == (1, 1, 1)
        assert shield.log.refusals == [("address_banned", 403, "")]
        assert shield.log.versions[-1] == "2"
        assert shield.engine.signals == []
        spared = await Frames.open(shield)
        await spared.send(headers(request("/pass", ("cookie", "a=1; shield_pass=good"))))
        await spared.until(lambda told: told.answered)
        assert len(shield.engine.decided) == 2
        for each in (frames, banned, spared):
            each.close()


async def test_who_is_banned_meanwhile_is_heard_no_more() -> None:
    async with shielded({"/": reply(b"")}, http2=True) as (shield, _):
        frames = await Frames.open(shield)
        shield.engine.verdicts = {"/": Verdict(Reason.ADDRESS_BANNED, 60)}
        await frames.send(headers(request()))
        await frames.until(lambda told: told.answered)
        shield.engine.shut = shield.engine.verdicts["/"]
        await frames.send(headers(request(), 3))
        told = await frames.until(lambda told: told.closed)
        assert (told.answered, told.goaways) == ([1, 3], [NO_ERROR])
        assert (shield.engine.unread, len(shield.engine.decided)) == (1, 1)
        frames.close()


async def test_a_head_that_is_too_large_gets_its_answer() -> None:
    async with shielded(http2=True, http=HttpSettings(max_head_bytes=2048, max_fields=20)) as (shield, origin):
        frames = await Frames.open(shield)
        await frames.send(headers(request("/", ("cookie", "x" * 2048)), 1))
        await frames.send(headers(request("/", *((f"x-{number}", "") for number in range(25))), 3))
        await frames.send(headers(request("/" + "x" * 2040), 5))
        told = await frames.until(lambda told: len(told.answered) == 3)
        assert (sorted(told.answered), told.goaways, told.resets) == ([1, 3, 5], [], [])
        await soon(lambda: shield.log.faults == ["head_too_large", "head_too_large", "target_too_long"])
        assert (origin.requests, shield.engine.signals) == ([], [])
        frames.close()


async def test_a_stream_that_is_cancelled_at_once_has_cost_what_it_costs_and_the_service_is_spared() -> None:
    async with shielded(http2=True) as (shield, origin):
        frames = await Frames.open(shield)
        await frames.send(*(headers(request(f"/{number}"), number) + reset(number) for number in range(1, 100, 2)))
        await frames.settled()
        assert len(shield.engine.decided) == len(shield.engine.cancelled) == 50
        assert [line[2] for line in shield.log.requests] == [499] * 50
        assert len(shield.pool.servers[0].connections) == 0
        assert origin.requests == []
        frames.close()


async def test_rapid_reset() -> None:
    """A client that opens and cancels in a loop (CVE-2023-44487). A page elsewhere can have a browser do that, so it is
    not held against anybody."""
    async with shielded({"/": None}, http2=True) as (shield, _):
        frames = await Frames.open(shield)
        count = int(calm.RESETS_BURST) + 100
        loop = [headers(request(), number) + reset(number) for number in range(1, 2 * count, 2)]
        await frames.send(*loop)
        told = await frames.until(lambda told: told.closed)
        assert told.goaways == [ENHANCE_YOUR_CALM]
        assert shield.log.details == ["reset_flood"]
        assert shield.engine.signals == []
        assert len(shield.engine.decided) >= calm.RESETS_BURST
        assert len(shield.engine.cancelled) == len(shield.engine.decided)
        frames.close()


async def test_resets_that_a_client_provokes() -> None:
    """Requests that break the protocol once they are under way, so that it is Shield that resets (CVE-2025-8671)."""
    async with shielded({"/up": None}, http2=True) as (shield, _):
        frames = await Frames.open(shield)
        count = int(calm.ERRORS_BURST) + 20
        short = [(b"content-length", b"5"), (b"user-agent", b"flood")]
        for number in range(1, 2 * count, 2):
            await frames.send(headers([*POST, *short], number, END_HEADERS), frame(DATA, END_STREAM, number, b"x"))
        told = await frames.until(lambda told: told.closed)
        assert told.goaways == [ENHANCE_YOUR_CALM]
        assert shield.log.details == ["error_flood"]
        assert len(shield.engine.signals) >= calm.ERRORS_BURST
        assert set(shield.engine.blamed) == {"flood"}
        assert len(shield.engine.cancelled) == len(shield.engine.decided)
        frames.close()


async def test_what_an_upload_sends_on_before_it_hears_that_it_is_not_wanted_is_no_flood() -> None:
    """A refusal resets a stream on which as much as its window may be on its way."""
    async with shielded(http2=True) as (shield, _):
        shield.engine.verdicts = {"/limit": LIMITED}
        frames = await Frames.open(shield)
        for number in range(1, 21, 2):
            await frames.send(headers(request("/limit", method="POST"), number, END_HEADERS))
            await frames.send(*[frame(DATA, 0, number, bytes(16384))] * 16)
            told = await frames.until(lambda told: (number, NO_ERROR) in told.resets)  # noqa: B023
            assert (number in told.answered, told.goaways) == (True, [])
        await frames.settled()
        assert shield.engine.signals == []
        frames.close()


async def test_streams_beyond_the_limit_are_refused() -> None:
    async with shielded({"/": None}, http2=True) as (shield, origin):
        frames = await Frames.open(shield, settings())  # Shield's settings are not acknowledged yet
        await frames.send(*(headers(request(), number) for number in range(1, 2 * MOST_STREAMS + 4, 2)))
        told = await frames.settled()
        assert told.resets == [(2 * MOST_STREAMS + 1, REFUSED_STREAM), (2 * MOST_STREAMS + 3, REFUSED_STREAM)]
        await origin.got(MOST_STREAMS)
        assert shield.engine.signals == []
        await frames.send(frame(SETTINGS, 1, 0), headers(request(), 2 * MOST_STREAMS + 5))
        told = await frames.until(lambda told: told.closed)
        assert told.goaways == [PROTOCOL_ERROR]
        await soon(lambda: len(shield.engine.cancelled) == MOST_STREAMS)
        frames.close()


async def test_a_hundred_idle_streams_end_with_their_deadline() -> None:
    async with shielded(http2=True, timeouts=TimeoutSettings(pause=0, progress=5)) as (shield, origin):
        frames = await Frames.open(shield)
        await frames.send(*(headers(POST, number, END_HEADERS) for number in range(1, 200, 2)))
        await frames.settled()
        assert len(shield.connections.streams) == 100
        shield.advance(6)
        told = await frames.until(lambda told: len(told.resets) == 100)
        assert len(told.answered) == 100  # 408
        assert {code for _, code in told.resets} == {NO_ERROR}
        assert shield.metrics.faults["body_timeout"] == 100
        assert origin.requests == []
        await frames.settled()
        assert len(shield.connections.streams) == 0
        frames.close()


async def test_zero_windows_pin_little_and_end_with_their_deadline() -> None:
    body = bytes(300_000)
    timeouts = TimeoutSettings(pause=0, progress=5)
    http = HttpSettings(response_buffer_bytes=0)
    async with shielded({"/": reply(body)}, http2=True, timeouts=timeouts, http=http) as (shield, _):
        frames = await Frames.open(shield, settings(window=0), frame(SETTINGS, 1, 0))
        await frames.send(*(headers(request(), number) for number in range(1, 40, 2)))
        told = await frames.until(lambda told: len(told.answered) == 20)
        await soon(lambda: all(stream.flow.blocked for stream in shield.connections.streams))  # type: ignore[attr-defined]
        assert 20 * 64 * 1024 < shield.crowding.backlog.waiting < 20 * 192 * 1024
        await frames.send(window(1, 1) * 5)  # one byte at a time is no progress
        await frames.settled()
        shield.advance(6)
        told = await frames.until(lambda told: len(told.resets) == 20)
        assert len(told.resets) == 20
        await frames.settled()
        assert shield.crowding.backlog.waiting == 0
        assert [line[2] for line in shield.log.requests] == [200] * 20
        assert len(shield.engine.cancelled) == 20
        frames.close()


async def test_a_refusal_that_is_not_read_ends_too() -> None:
    """Answers of Shield's own wait for the windows as well."""
    async with shielded(http2=True, timeouts=TimeoutSettings(pause=0, progress=5)) as (shield, _):
        shield.engine.verdicts = {"/": LIMITED}
        frames = await Frames.open(shield, settings(window=0), frame(SETTINGS, 1, 0))
        await frames.send(*(headers(request(), number) for number in range(1, 40, 2)))
        await frames.settled()
        assert shield.crowding.backlog.waiting > 0
        shield.advance(6)
        told = await frames.until(lambda told: len(told.resets) == 20)
        assert {code for _, code in told.resets} == {CANCEL}
        await frames.settled()
        assert (shield.crowding.backlog.waiting, len(shield.connections.streams)) == (0, 0)
        frames.close()


async def test_a_client_that_reads_nothing_is_cut() -> None:
    """Its windows are wide, but it takes nothing from the socket."""
    timeouts = TimeoutSettings(pause=0, progress=5)
    http = HttpSettings(response_buffer_bytes=0)
    async with shielded({"/": reply(bytes(8 << 20))}, http2=True, timeouts=timeouts, http=http) as (shield, _):
        first = settings(window=1 << 30), frame(SETTINGS, 1, 0), window(0, 1 << 30)
        frames = await Frames.open(shield, *first, receive_buffer=4096)
        await frames.send(headers(request(), 1), headers(request(), 3))
        await soon(lambda: shield.crowding.backlog.waiting > 200_000)
        assert shield.crowding.backlog.waiting < 1 << 20

        def gone() -> bool:
            shield.advance(6)  # the deadline behind the last byte that the kernels' buffers have taken
            return len(shield.connections) == 0

        await soon(gone)
        assert shield.crowding.backlog.waiting == 0
        assert shield.metrics.faults["read_timeout"] >= 1
        frames.close()


async def test_acknowledgements_that_are_not_read() -> None:
    """PING after PING, at a pace that is no flood, from a client that takes nothing."""
    async with shielded({"/": reply(bytes(8 << 20))}, http2=True) as (shield, _):
        first = settings(window=1 << 30), frame(SETTINGS, 1, 0), window(0, 1 << 30)
        frames = await Frames.open(shield, *first, receive_buffer=4096)
        await frames.send(headers(request()))
        await soon(lambda: shield.crowding.backlog.waiting > 100_000)
        for _ in range(10):
            await frames.send(frame(PING, 0, 0, bytes(8)) * 200)
            shield.clock.offset += 1
        told = await frames.until(lambda told: told.closed)
        assert told.goaways in ([ENHANCE_YOUR_CALM], [])  # behind all that it has not read
        assert FLOOD in shield.log.faults
        frames.close()
