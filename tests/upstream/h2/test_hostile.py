"""Servers of HTTP/2 that are hostile or broken: what each costs, whom, and by which name."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable

import pytest

from shield.http.response_head import MAX_HEAD_BYTES, MAX_INTERIM
from shield.http.settings import HttpSettings
from shield.upstream.h2.connection import CONNECTION_WINDOW, MOST_RESETS, MOST_STREAMS, STREAM_WINDOW
from shield.upstream.settings import UpstreamSettings
from tests.client.h2.peer import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    HEADERS,
    PING,
    PRIORITY,
    PUSH_PROMISE,
    SETTINGS,
    Peer,
    block,
    frame,
    headers,
    request,
    reset,
    settings,
    window,
)
from tests.harness import Shield, get, post, soon
from tests.upstream.h2.frames import OK, Asked, RawOrigin, data, goaway, head


def echo(asked: Asked) -> None:
    asked.answer(asked.body or asked.path.encode(), (b"content-type", b"text/plain"))


PUSH = frame(PUSH_PROMISE, END_HEADERS, 1, struct.pack(">I", 2) + block(request()))

# What ends the connection, and so each of its requests, at once.
FATAL: dict[str, bytes] = {
    "a frame that is too large": head(1) + frame(DATA, 0, 1, bytes(16_385)),
    "HTTP/1.1": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    "HPACK that cannot be": frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff"),
    "payload on a stream that nobody opened": frame(DATA, 0, 7, b"abc"),
    "a head on a stream that nobody opened": headers(OK, 8, 4),
    "a window that overflows": window(0, 2**31 - 1),
    "a window of the stream that overflows": window(1, 2**31 - 1),
    "a frame within a header block": frame(HEADERS, 0, 1, block(OK)) + frame(PING, 0, 0, bytes(8)),
    "CONTINUATION without end": frame(HEADERS, 0, 1, block(OK)) + frame(CONTINUATION, 0, 1, b"") * 100,
    "SETTINGS of half a size": frame(SETTINGS, 0, 0, bytes(5)),
    "an acknowledgement with something in it": frame(SETTINGS, ACK, 0, bytes(6)),
    "more SETTINGS than there are": frame(SETTINGS, 0, 0, struct.pack(">HI", 9, 1) * 1000),
    "a head that unpacks to megabytes": frame(
        HEADERS, END_HEADERS, 1, b"\x88\x40" + block([(b"a", b"b" * 3000)])[1:] + b"\xbe" * 8000
    ),
    "payload before a head": data(1, b"abc"),
    "a push": PUSH,
}


@pytest.mark.parametrize("what", FATAL)
async def test_what_breaks_http_2_ends_the_connection(what: str) -> None:
    """At once, for all of its requests; the next one takes another connection."""
    asked: list[Asked] = []
    async with (
        RawOrigin(asked.append) as origin,
        Shield(origin.url, http2=True) as shield,
        await Peer.open(shield) as peer,
    ):
        numbers = [await peer.begin(request("/", method="POST"), b"1") for _ in range(2)]
        await soon(lambda: len(asked) == 2)
        origin.links[0].send(FATAL[what])
        for number in numbers:
            answer = await peer.answer(number)
            assert answer.status == 502 or answer.reset is not None
        await soon(lambda: origin.links[0].closed)
        assert [rule for rule, *_ in shield.log.rules[-2:]] == ["connection_error"] * 2
        number = await peer.begin(request("/after"))
        await soon(lambda: len(asked) == 3)
        echo(asked[2])
        assert (await peer.answer(number)).body == b"/after"


# What ends one response.
PAIRS = (*OK, (b"content-length", b"3"))
BROKEN: dict[str, tuple[bytes, str]] = {
    "more than announced": (headers(PAIRS, 1, 4) + data(1, b"abcd", ended=True), "stream_error"),
    "less than announced": (headers(PAIRS, 1, 4) + data(1, b"ab", ended=True), "stream_error"),
    "no status": (headers([(b"a", b"b")], 1, 4), "stream_error"),
    "a status that is none": (headers([(b":status", b"2oo")], 1, 4), "stream_error"),
    "two statuses": (headers([*OK, *OK], 1, 4), "stream_error"),
    "a pseudo-field behind a field": (headers([*OK, (b"a", b"b"), (b":path", b"/")], 1, 4), "stream_error"),
    "upper case": (headers([*OK, (b"Name", b"b")], 1, 4), "stream_error"),
    "LF in a value": (headers([*OK, (b"a", b"b\nc: d")], 1, 4), "stream_error"),
    "a colon in a name": (headers([*OK, (b"a:b", b"c")], 1, 4), "stream_error"),
    "Transfer-Encoding": (headers([*OK, (b"transfer-encoding", b"chunked")], 1, 4), "stream_error"),
    "two lengths": (headers([*PAIRS, (b"content-length", b"4")], 1, 4), "stream_error"),
    "a length that is none": (headers([*OK, (b"content-length", b"+3")], 1, 4), "stream_error"),
    "101": (headers([(b":status", b"101")], 1, 4), "stream_error"),
    "an interim response that ends": (headers([(b":status", b"103")], 1, 5), "stream_error"),
    "a head that is too large": (
        headers([*OK, *[(b"a%d" % each, b"b" * 1000) for each in range(15)]], 1, 0)
        + b"".join(
            frame(CONTINUATION, flags, 1, block([(b"c%d" % flags, b"d" * 1000)] * 15))
            for flags in (0, 0, 0, 0, 0, 0, 0, 0, 4)
        ),
        "head_size",
    ),
    "interim responses for ever": (headers([(b":status", b"103")], 1, 4) * (MAX_INTERIM + 1), "interim_count"),
    "large ones": (headers([(b":status", b"103"), *[(b"a", b"b" * 1000)] * 15], 1, 4) * 9, "head_size"),
}


async def test_what_comes_behind_a_205_is_no_response_to_the_next_request() -> None:
    asked: list[Asked] = []
    async with RawOrigin(asked.append) as origin, Shield(origin.url) as shield, await shield.client() as client:
        await client.send(get("/reset"))
        await soon(lambda: len(asked) == 1)
        asked[0].send(head(1, status=b"205"), data(1, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL", ended=True))
        assert (await client.response()).status == 205
        await client.send(get("/next"))
        await soon(lambda: len(asked) == 2)
        echo(asked[1])
        assert (await client.response()).body == b"/next"


@pytest.mark.parametrize("what", BROKEN)
async def test_what_breaks_one_response_ends_that_alone(what: str) -> None:
    sent, rule = BROKEN[what]
    asked: list[Asked] = []
    async with (
        RawOrigin(asked.append) as origin,
        Shield(origin.url, http2=True) as shield,
        await Peer.open(shield) as peer,
    ):
        bad = await peer.begin(request("/", method="POST"), b"1")
        await soon(lambda: len(asked) == 1)
        other = await peer.begin(request("/other"))
        await soon(lambda: len(asked) == 2)
        origin.links[0].send(sent)
        answer = await peer.answer(bad)
        assert answer.status == 502 or answer.reset is not None
        assert shield.log.rules[-1][0] == rule
        echo(asked[1])
        assert (await peer.answer(other)).body == b"/other"
        assert len(origin.links) == 1


FLOODS: dict[str, Callable[[int], bytes]] = {
    "PING": lambda count: frame(PING, 0, 0, bytes(8)) * count,
    "SETTINGS": lambda count: settings(window=65_535) * count,
    "WINDOW_UPDATE": lambda count: window(1, 1) * count,
    "PRIORITY": lambda count: frame(PRIORITY, 0, 1, struct.pack(">IB", 0, 1)) * count,
    "frames of no known type": lambda count: frame(0xBB, 0, 0, b"") * count,
    "empty DATA": lambda count: frame(DATA, 0, 1) * count,
}


@pytest.mark.parametrize("what", FLOODS)
async def test_frames_that_answer_nothing_are_counted(what: str) -> None:
    """A few thousand are nothing; a flood of them ends the connection."""
    asked: list[Asked] = []
    async with RawOrigin(asked.append) as origin, Shield(origin.url) as shield, await shield.client() as client:
        asking = asyncio.create_task(client.ask(post("/", b"1")))
        await soon(lambda: len(asked) == 1)
        link = origin.links[0]
        if what == "empty DATA":
            link.send(head(1))
        link.send(FLOODS[what](1000))
        await soon(lambda: shield.pool.servers[0].connections)
        assert not link.closed
        for _ in range(200):
            if link.closed:
                break
            link.send(FLOODS[what](500))
            await asyncio.sleep(0)
        await soon(lambda: link.closed)
        if what != "empty DATA":  # whose head has reached the client
            assert (await asking).status == 502
        assert shield.log.rules[-1][0] == "frame_flood"
        asking.cancel()


async def test_what_is_sent_on_a_stream_that_is_over_costs_nobody_anything() -> None:
    """Nor does payload that comes for a request that was given up take of the connection's window."""
    asked: list[Asked] = []
    async with (
        RawOrigin(asked.append) as origin,
        Shield(origin.url, http2=True) as shield,
        await Peer.open(shield) as peer,
    ):
        for turn in range(6):
            number = await peer.begin(request("/"))
            await soon(lambda turn=turn: len(asked) == turn + 1)
            peer.connection.reset_stream(number)
            await peer.flush()
            await soon(lambda turn=turn: asked[turn].reset is not None)
            late = asked[turn]
            late.send(head(late.stream), *[data(late.stream, bytes(16_000))] * 8, reset(late.stream))
        link = origin.links[0]
        number = await peer.begin(request("/after"))
        await soon(lambda: len(asked) == 7)
        echo(asked[6])
        assert (await peer.answer(number)).body == b"/after"
        assert len(origin.links) == 1
        assert not link.closed


async def test_as_many_slow_readers_as_there_may_be_stall_nobody() -> None:
    """Each holds the window of its stream, and the window of the connection has room for that of all."""
    assert MOST_STREAMS * STREAM_WINDOW <= CONNECTION_WINDOW
    asked: list[Asked] = []

    def answer(one: Asked) -> None:
        asked.append(one)
        one.window = min(one.window, STREAM_WINDOW)
        one.answer(bytes(STREAM_WINDOW) if one.path == "/large" else b"small")

    http = HttpSettings(response_buffer_bytes=0)
    async with (
        RawOrigin(answer) as origin,
        Shield(origin.url, http2=True, http=http) as shield,
        await Peer.open(shield, reads=False, window=1000) as slow,
        await Peer.open(shield) as quick,
    ):
        for _ in range(MOST_STREAMS - 1):
            await slow.begin(request("/large"))
        await soon(lambda: len(asked) == MOST_STREAMS - 1)
        assert (await quick.ask(request("/small"))).body == b"small"
        assert len(origin.links) == 1


async def test_a_server_that_takes_no_requests_is_not_asked_for_ever() -> None:
    async with (
        RawOrigin(echo, first=settings(streams=0)) as origin,
        Shield(origin.url) as shield,
        await shield.client() as client,
    ):
        assert (await client.ask(get("/"))).status == 502
        assert len(origin.links) == 1


async def test_no_more_is_asked_than_a_server_takes_from_the_first_request_on() -> None:
    """It says so before it is asked for the first time."""
    waiting: list[Asked] = []
    origin = RawOrigin(waiting.append, first=settings(streams=2))
    async with origin, Shield(origin.url, http2=True) as shield, await Peer.open(shield) as peer:
        numbers = [await peer.begin(request(f"/{each}")) for each in range(7)]
        await soon(lambda: len(waiting) == 7)
        assert sorted(len(link.asked) for link in origin.links) == [1, 2, 2, 2]
        while waiting:
            echo(waiting.pop())
        for number in numbers:
            assert (await peer.answer(number)).status == 200


@pytest.mark.parametrize("acknowledges", [False, True])
async def test_a_server_that_does_not_say_what_it_takes_is_not_asked(acknowledges: bool) -> None:
    upstream = UpstreamSettings(connect_timeout=0.1)
    origin = RawOrigin(echo, first=None, acknowledges=acknowledges)  # to acknowledge first is an error
    async with origin, Shield(origin.url, upstream=upstream) as shield, await shield.client() as client:
        assert (await client.ask(get("/"))).status == (502 if acknowledges else 504)
        assert origin.asked == []
        await soon(lambda: origin.links[0].closed)


async def test_one_that_does_not_go_by_what_is_allowed_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shield.upstream.h2.connection.SETTINGS_SECONDS", 0.05)
    origin = RawOrigin(echo, acknowledges=False)
    async with origin, Shield(origin.url) as shield, await shield.client() as client:
        assert (await client.ask(get("/"))).status == 200
        await soon(lambda: origin.links[0].closed)
        assert [each.error_code for each in origin.links[0].said("GoAwayFrame")] == [4]


@pytest.mark.parametrize("alive", [False, True])
async def test_a_connection_that_is_silent_is_asked(alive: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a request that got no answer in time. Where nobody answers it is closed, with all that wait on it."""
    monkeypatch.setattr("shield.upstream.h2.connection.SILENT_SECONDS", 0.0)
    monkeypatch.setattr("shield.upstream.h2.connection.PING_SECONDS", 0.2)
    asked: list[Asked] = []

    def answer(one: Asked) -> None:
        asked.append(one)
        if one.path == "/":
            echo(one)

    async with (
        RawOrigin(answer, pongs=alive) as origin,
        Shield(origin.url, http2=True) as shield,
        await Peer.open(shield) as peer,
    ):
        assert (await peer.ask(request("/"))).status == 200
        first = await peer.begin(request("/first", method="POST"))
        other = await peer.begin(request("/other", method="POST"))
        await soon(lambda: len(asked) == 3)
        link = origin.links[0]
        peer.connection.reset_stream(first)
        await peer.flush()
        await soon(lambda: link.said("PingFrame"))
        if alive:
            await soon(lambda: shield.pool.servers[0].multiplexed and peer.answers)
            echo(asked[2])
            assert (await peer.answer(other)).status == 200
        else:
            assert (await peer.answer(other)).status == 502
            await soon(lambda: link.closed)
        assert (await peer.ask(request("/"))).status == 200


async def test_a_connection_over_which_much_was_given_up_is_left() -> None:
    """Before the server takes what somebody cancels for an attack, and cuts everybody off."""
    waiting: list[Asked] = []
    async with (
        RawOrigin(waiting.append) as origin,
        Shield(origin.url, http2=True) as shield,
        await Peer.open(shield) as peer,
        await Peer.open(shield) as other,
    ):
        long = await other.begin(request("/long"))
        await soon(lambda: len(waiting) == 1)
        for count in range(MOST_RESETS + 1):
            number = await peer.begin(request("/"))
            await soon(lambda count=count: len(waiting) == count + 2)
            peer.connection.reset_stream(number)
            await peer.flush()
            await soon(lambda: waiting[-1].reset is not None)
        assert [len(link.said("RstStreamFrame")) for link in origin.links] == [MOST_RESETS, 1]
        echo(waiting[0])
        assert (await other.answer(long)).body == b"/long"
        await soon(lambda: origin.links[0].closed)


async def test_a_goaway_with_an_error_is_no_fault_of_the_server_for_what_it_has_not_seen() -> None:
    asked: list[Asked] = []

    def answer(one: Asked) -> None:
        asked.append(one)
        if len(asked) == 1:
            one.send(goaway(0, 11))
        else:
            echo(one)

    async with RawOrigin(answer) as origin, Shield(origin.url) as shield, await shield.client() as client:
        assert (await client.ask(post("/", b"1"))).status == 200
        assert sum(shield.metrics.upstream(origin.url).failures.values()) == 0
        assert len(origin.links) == 2


def test_the_bounds_are_what_the_documents_say() -> None:
    assert (STREAM_WINDOW, CONNECTION_WINDOW, MAX_HEAD_BYTES) == (131_072, 13_107_200, 131_072)
