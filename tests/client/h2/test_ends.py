"""Deadlines of streams and of their connection, and how it ends."""

from __future__ import annotations

import asyncio
import base64
import hashlib

import pytest

from shield.client.h2.connection import Http2Connection
from shield.client.watch import TimeoutSettings
from shield.model import Fault, Signal
from shield.upstream.settings import UpstreamSettings
from tests.client.h2.peer import END_HEADERS, NO_ERROR, PING, Frames, Peer, frame, headers, request, settings, window
from tests.harness import Link, Received, Shield, early, reply, shielded, soon

ALL = 0x7FFFFFFF


def _only(shield: Shield) -> Http2Connection:
    (connection,) = shield.connections
    assert isinstance(connection, Http2Connection)
    return connection


async def test_an_idle_connection_ends_with_a_farewell_when_shield_stops() -> None:
    async with shielded(http2=True) as (shield, _):
        frames = await Frames.open(shield)
        await frames.send(headers(request(), 1))
        await frames.until(lambda told: told.answered == [1])
        shield.connections.drain(shield.clock())
        assert await _farewell(frames) == ([1], 1)


async def test_what_is_in_flight_ends_and_what_raced_with_the_notice_is_served() -> None:
    go = asyncio.Event()

    async def handle(link: Link, got: Received) -> None:
        await go.wait()
        await link.send(reply(got.target.encode()))

    async with shielded(None, handle, http2=True) as (shield, _):
        frames = await Frames.open(shield)
        await frames.send(headers(request("/one"), 1))
        await soon(lambda: len(shield.engine.decided) == 1)
        shield.connections.drain(shield.clock())
        told = await frames.until(lambda told: told.goaways)
        assert told.last == ALL
        ping = next(each for each in told.frames if type(each).__name__ == "PingFrame")
        await frames.send(headers(request("/two"), 3))  # it has not seen the notice
        await soon(lambda: len(shield.engine.decided) == 2)
        await frames.send(frame(PING, 1, 0, ping.opaque_data))  # type: ignore[attr-defined]
        told = await frames.until(lambda told: len(told.goaways) == 2)
        assert told.last == 3
        await frames.send(headers(request("/three"), 5))
        await frames.settled()
        assert len(shield.engine.decided) == 2
        go.set()
        told = await frames.until(lambda told: told.closed)
        assert sorted(told.answered) == [1, 3]
        frames.close()


async def test_a_client_that_does_not_answer_the_notice_is_waited_for_a_second() -> None:
    async with shielded(http2=True) as (shield, _):
        frames = await Frames.open(shield)
        await frames.settled()
        shield.connections.drain(shield.clock())
        await frames.until(lambda told: told.goaways)
        shield.advance(1.1)
        told = await frames.until(lambda told: told.closed)
        assert told.goaways == [NO_ERROR, NO_ERROR]
        frames.close()


async def test_after_a_reload_a_connection_ends_with_its_next_response() -> None:
    async with shielded(http2=True) as (shield, _):
        frames = await Frames.open(shield)
        await frames.send(headers(request(), 1))
        await frames.until(lambda told: told.answered == [1])
        shield.connections.draining = True
        await frames.send(headers(request(), 3))
        assert await _farewell(frames) == ([1, 3], 3)
        shield.connections.draining = False


async def test_a_connection_that_has_lived_long_enough_ends_with_its_next_response() -> None:
    timeouts = TimeoutSettings(pause=0, connection=60, keep_alive=100)
    async with shielded(http2=True, timeouts=timeouts) as (shield, _):
        frames = await Frames.open(shield)
        await frames.send(headers(request(), 1))
        await frames.until(lambda told: told.answered == [1])
        shield.advance(61)
        await frames.send(headers(request(), 3))
        assert await _farewell(frames) == ([1, 3], 3)
        assert shield.crowding._closed["expired"] == 1


async def _farewell(frames: Frames) -> tuple[list[int], int]:
    """Go along with the end in two steps. The streams that were answered, and the last one that was to be served."""
    told = await frames.until(lambda told: told.goaways)
    assert told.last == ALL
    told = await frames.until(lambda told: any(type(each).__name__ == "PingFrame" for each in told.frames))
    ping = next(each for each in told.frames if type(each).__name__ == "PingFrame")
    await frames.send(frame(PING, 1, 0, ping.opaque_data))  # type: ignore[attr-defined]
    told = await frames.until(lambda told: told.closed)
    assert told.goaways[1:] == [NO_ERROR] * len(told.goaways[1:])
    frames.close()
    return told.answered, told.last


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
@pytest.mark.parametrize("code", [0, 2, 13, 0xFF])
async def test_a_client_may_leave_for_any_reason(busy: bool, code: int) -> None:
    """Browsers say why they close: an error of theirs, a network that has changed. What is in flight ends before."""
    go = asyncio.Event()

    async def handle(link: Link, got: Received) -> None:
        if busy:
            await go.wait()
        await link.send(reply(b"page"))

    async with shielded(None, handle, http2=True) as (shield, origin):
        frames = await Frames.open(shield)
        await frames.send(headers(request(), 1))
        await origin.got()
        if not busy:
            await frames.until(lambda told: _data(told.frames, 1) == b"page")
        await frames.send(frame(7, 0, 0, bytes(7) + bytes((code,)) + b"network changed"))
        if busy:
            await frames.settled()
            go.set()
        told = await frames.until(lambda told: told.closed)
        assert _data(told.frames, 1) == b"page"
        assert (shield.log.faults, shield.engine.signals, told.resets) == ([], [], [])
        frames.close()


async def test_an_idle_connection_ends_after_keep_alive_whatever_it_pings() -> None:
    async with shielded(http2=True) as (shield, _):
        peer = await Peer.open(shield)
        assert (await peer.ask(request())).status == 200
        shield.advance(shield.timeouts.keep_alive - 1)
        peer.connection.ping(bytes(8))
        await peer.flush()
        await peer.read()
        assert not peer.goaways
        shield.advance(2)
        await peer.end()
        assert peer.goaways == [(1, NO_ERROR)]


async def test_a_connection_without_a_request_ends_after_the_time_for_one() -> None:
    async with shielded(http2=True) as (shield, _):
        peer = await Peer.open(shield)
        await peer.read()
        shield.advance(shield.timeouts.header + 1)
        await peer.end()
        assert peer.goaways == [(0, NO_ERROR)]


async def test_a_head_that_does_not_end_does_not_last_longer() -> None:
    async with shielded(http2=True) as (shield, origin):
        frames = await Frames.open(shield)
        await frames.send(headers(request())[:20])
        await soon(lambda: len(shield.connections) == 1)
        shield.advance(shield.timeouts.header + 1)
        await frames.until(lambda told: told.closed)
        assert origin.requests == []
        frames.close()


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
@pytest.mark.parametrize("whole", [False, True], ids=["frame", "block"])
async def test_a_head_that_drips_has_its_time_on_a_used_connection_too(busy: bool, whole: bool) -> None:
    """No event tells of it: half of HEADERS, or HEADERS behind which CONTINUATION does not end."""
    async with shielded({"/": None} if busy else None, http2=True) as (shield, origin):
        frames = await Frames.open(shield)
        await frames.send(headers(request(), 1))
        await origin.got()
        if not busy:
            await frames.until(lambda told: told.answered == [1])
        begun = headers(request(), 3)[:20]
        drips = [b"a", b"b"]
        if whole:
            begun = headers(request(), 3, 0)
            drips = [frame(9, 0, 3, b"\0"), frame(9, 0, 3, b"\1")]
        for piece in (begun, *drips):
            came = shield.metrics.bytes_in + len(piece)
            await frames.send(piece)
            await soon(lambda came=came: shield.metrics.bytes_in >= came)  # type: ignore[misc]
            shield.advance(shield.timeouts.header / 4)
        assert not shield.metrics.faults[Fault.HEAD_TIMEOUT.value]
        shield.advance(shield.timeouts.header / 2)
        told = await frames.until(lambda told: told.closed)
        assert told.goaways == [NO_ERROR]
        assert shield.metrics.faults[Fault.HEAD_TIMEOUT.value] == 1
        assert [signal for _, signal in shield.engine.signals] == [Signal.SLOW_ABORT]
        frames.close()


async def test_a_head_that_comes_in_time_is_served_and_the_connection_stays() -> None:
    async with shielded({"/": None}, http2=True) as (shield, origin):
        frames = await Frames.open(shield)
        await frames.send(headers(request(), 1))
        await origin.got()
        came, head = shield.metrics.bytes_in, headers(request("/two"), 3)
        await frames.send(head[:12])
        await soon(lambda: shield.metrics.bytes_in == came + 12)
        shield.advance(shield.timeouts.header - 1)
        await frames.send(head[12:])
        await frames.until(lambda told: told.answered == [3])
        shield.advance(shield.timeouts.header + 1)
        told = await frames.settled()
        assert (told.answered, told.closed) == ([3], False)
        frames.close()


async def test_a_slow_reader_is_not_cut_because_shield_stops() -> None:
    """Its connection cannot be told so yet, so nobody waits for what it says to that."""
    async with shielded({"/": reply(bytes(8 << 20))}, http2=True) as (shield, _):
        first = settings(window=1 << 30), frame(4, 1, 0), window(0, 1 << 30)
        frames = await Frames.open(shield, *first, receive_buffer=4096)
        await frames.send(headers(request()))
        await soon(lambda: any("client reading" in repr(each.watch) for each in shield.connections))
        shield.connections.drain(shield.clock())
        shield.advance(1.1)
        assert len(shield.connections) == 1
        told = await frames.until(lambda told: sum(len(each.data) for each in told.frames if each.type == 0) == 8 << 20)
        assert not told.resets
        frames.close()


async def test_a_service_that_says_nothing_is_504_on_its_stream_alone() -> None:
    upstream = UpstreamSettings(first_byte_timeout=10)
    async with (
        shielded({"/silent": None}, http2=True, upstream=upstream) as (shield, origin),
        await Peer.open(shield) as peer,
    ):
        number = await peer.begin(request("/silent"))
        await origin.got()
        shield.advance(11)
        assert (await peer.answer(number)).status == 504
        assert (await peer.ask(request("/next"))).status == 200
        assert shield.metrics.faults[Fault.UPSTREAM_TIMEOUT.value] == 1


async def test_a_body_that_is_too_slow_is_408_on_its_stream_alone() -> None:
    timeouts = TimeoutSettings(pause=0, progress=5)
    async with shielded(http2=True, timeouts=timeouts) as (shield, origin), await Peer.open(shield) as peer:
        slow = await peer.begin(request("/slow", method="POST"), b"x", ended=False)
        fast = await peer.begin(request("/fast", method="POST"), b"x" * 3000, ended=False)
        await soon(lambda: len(shield.engine.decided) == 2)
        shield.engine.pressed = True
        await asyncio.sleep(0.05)
        shield.advance(6)
        assert (await peer.answer(slow)).status == 408
        assert not peer.answers[fast].over
        await peer.send(fast, b"x")
        assert (await peer.answer(fast)).status == 200
        assert [signal for _, signal in shield.engine.signals] == [Signal.SLOW_ABORT]
        assert [got.target for got in origin.requests] == ["/fast"]


async def test_a_connection_gives_way_with_all_its_streams() -> None:
    async with shielded({"/": None}, http2=True) as (shield, origin):
        peer = await Peer.open(shield)
        for _ in range(3):
            await peer.begin(request())
        await origin.got(3)
        _only(shield).displace(shield.clock())
        await peer.end()
        assert [line[2] for line in shield.log.requests] == [499] * 3 or len(shield.engine.cancelled) == 3


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
async def test_a_grace_that_is_over_cuts(busy: bool) -> None:
    async with shielded({"/": None}, http2=True) as (shield, origin):
        peer = await Peer.open(shield)
        if busy:
            await peer.begin(request())
            await origin.got()
        else:
            await peer.ask(request("/other"))
        assert shield.connections.cut() == 1
        await peer.end()
        await soon(lambda: len(shield.engine.cancelled) == busy)


# WebSockets


def _connect(path: str = "/ws", *fields: tuple[str, str]) -> list[tuple[bytes, bytes]]:
    more = [(b":protocol", b"websocket"), *request(path, ("sec-websocket-version", "13"), *fields)[1:]]
    return [(b":method", b"CONNECT"), *more]


async def test_a_websocket_by_extended_connect() -> None:
    """RFC 8441: the service sees what it sees of a WebSocket over HTTP/1.1, and other streams go on beside it."""
    keys: list[str | None] = []

    @early
    async def echo(link: Link, got: Received) -> None:
        if got.target != "/ws":
            await link.send(reply(b"page"))
            return
        keys.append(got.get("Sec-WebSocket-Key"))
        assert (got.method, got.get("Upgrade"), got.get("Sec-WebSocket-Version")) == ("GET", "websocket", "13")
        await link.send(_agreed(got) + b"hello")
        while data := await link.read():
            await link.send(data)
        link.close()

    async with shielded(None, echo, http2=True) as (shield, _):
        frames = await Frames.open(shield)
        await frames.send(headers(_connect(), 1, END_HEADERS))
        told = await frames.until(lambda told: _data(told.frames, 1) == b"hello")
        assert told.answered == [1]
        await frames.send(frame(0, 0, 1, b" you"), headers(request("/page"), 3))
        await frames.until(lambda told: (_data(told.frames, 3), _data(told.frames, 1)) == (b"page", b"hello you"))
        await frames.send(frame(0, 1, 1))
        await soon(lambda: shield.metrics.tunnels_open == 0)
        told = await frames.settled()
        assert [each.flags for each in told.frames if each.stream_id == 1][-1] == {"END_STREAM"}
        assert shield.log.requests[-1][2] == 101 or shield.log.requests[0][2] == 101
        assert keys[0] is not None
        frames.close()


async def test_a_websocket_that_is_refused_gets_an_ordinary_answer() -> None:
    async with shielded(http2=True) as (shield, _):
        frames = await Frames.open(shield)
        await frames.send(headers(_connect(), 1, END_HEADERS))
        told = await frames.until(lambda told: (1, NO_ERROR) in told.resets)
        assert told.answered == [1]
        frames.close()


async def test_a_client_that_leaves_its_websocket_takes_the_service_s_end_with_it() -> None:
    lost = asyncio.Event()

    @early
    async def wait(link: Link, got: Received) -> None:
        await link.send(_agreed(got))
        await link.read()
        lost.set()
        link.close()

    async with shielded(None, wait, http2=True) as (shield, _):
        frames = await Frames.open(shield)
        await frames.send(headers(_connect(), 1, END_HEADERS))
        await soon(lambda: shield.metrics.tunnels_open == 1)
        await frames.send(frame(3, 0, 1, b"\0\0\0\x08"))
        await asyncio.wait_for(lost.wait(), 5)
        await soon(lambda: shield.metrics.tunnels_open == 0)
        frames.close()


def _agreed(got: Received) -> bytes:
    """101, with the proof for the key that came."""
    key = (got.get("Sec-WebSocket-Key") or "") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    proof = base64.b64encode(hashlib.sha1(key.encode()).digest())  # noqa: S324
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Accept: " + proof + b"\r\n\r\n"
    )


def _data(frames: list, stream: int) -> bytes:  # type: ignore[type-arg]
    return b"".join(each.data for each in frames if type(each).__name__ == "DataFrame" and each.stream_id == stream)
