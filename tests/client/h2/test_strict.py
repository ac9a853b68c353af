"""Raw frames that break HTTP/2, whole and byte by byte: what Shield says to them, and that the service sees nothing.

Sections are those of RFC 9113, and of RFC 7541 where HPACK is meant.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import pytest

from shield.model import Signal
from tests.client.h2.peer import (
    ACK,
    COMPRESSION_ERROR,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    GOAWAY,
    HEADERS,
    NO_ERROR,
    PADDED,
    PING,
    PRIORITY,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    STREAM_CLOSED,
    WINDOW_UPDATE,
    Frames,
    Pairs,
    block,
    frame,
    headers,
    request,
    reset,
    settings,
    window,
)
from tests.harness import Shield, shielded, soon


@dataclass(frozen=True, slots=True)
class Case:
    """What is sent, and the error that comes of it: of stream 1 (`reset`), of the connection (`goaway`), or a status.

    `seen`: requests that reach the service. `charged`: it is held against the client.
    """

    name: str
    frames: tuple[bytes, ...]
    reset: int | None = None
    goaway: int | None = None
    status: int = 0
    charged: bool = True
    seen: int = 0


POST = request("/", method="POST")


def _other(name: str, *value: str) -> Pairs:
    """A request with another value for a pseudo-field, or without it."""
    changed: list[tuple[bytes, bytes]] = []
    for key, old in request():
        if key.decode() == name:
            changed += [(key, one.encode("latin-1")) for one in value]
        else:
            changed.append((key, old))
    return changed


def _malformed(name: str, pairs: Pairs, charged: bool = True) -> Case:
    return Case(name, (headers(pairs),), reset=PROTOCOL_ERROR, charged=charged)


def _of_connection(name: str, *frames: bytes, code: int = PROTOCOL_ERROR) -> Case:
    return Case(name, frames, goaway=code)


FIELDS = [
    _malformed("8.2.1 upper case in a name", request("/", ("X-Upper", "1"))),
    _malformed("8.2.1 CR in a value", request("/", ("x-a", "a\rb"))),
    _malformed("8.2.1 LF in a value", request("/", ("x-a", "a\nb"))),
    _malformed("8.2.1 a request in a value", request("/", ("x-a", "b\r\n\r\nGET /evil HTTP/1.1\r\nHost: a\r\n\r\n"))),
    _malformed("8.2.1 NUL in a value", request("/", ("x-a", "a\0b"))),
    _malformed("8.2.1 LF in a name", request("/", ("x\na", "b"))),
    _malformed("8.2.1 CR and LF in a name", request("/", ("x: 1\r\ny", "b"))),
    _malformed("8.2.1 NUL in a name", request("/", ("x\0a", "b"))),
    _malformed("8.2.1 a space in a name", request("/", ("x a", "b"))),
    _malformed("8.2.1 a colon in a name", request("/", ("x:a", "b"))),
    _malformed("8.2.1 an empty name", request("/", ("", "b"))),
    _malformed("8.2.1 a name beyond ASCII", request("/", ("x-\xe4", "b"))),
    _malformed("8.2.1 a value that begins with a space", request("/", ("x-a", " b"))),
    _malformed("8.2.1 a value that ends with a tab", request("/", ("x-a", "b\t"))),
    _malformed("8.2.2 connection", request("/", ("connection", "close"))),
    _malformed("8.2.2 keep-alive", request("/", ("keep-alive", "1"))),
    _malformed("8.2.2 proxy-connection", request("/", ("proxy-connection", "close"))),
    _malformed("8.2.2 transfer-encoding", request("/", ("transfer-encoding", "chunked"))),
    _malformed("8.2.2 upgrade", request("/", ("upgrade", "h2c"))),
    _malformed("8.2.2 http2-settings", request("/", ("http2-settings", "AAAA"))),
    _malformed("8.2.2 te: gzip", request("/", ("te", "gzip"))),
    _malformed("8.2.2 te: trailers, gzip", request("/", ("te", "trailers, gzip"))),
    Case("RFC 9110 8.6 disguised framing", (headers(request("/", ("content--length", "5"))),), reset=PROTOCOL_ERROR),
]

PSEUDO = [
    _malformed("8.3 an unknown one", [*request(), (b":status", b"200")]),
    _malformed("8.3 one of one's own", [(b":x", b"1"), *request()]),
    _malformed("8.3 a late one", [*request(), (b"x-a", b"b"), (b":path", b"/b")]),
    _malformed("8.3 :method twice", _other(":method", "GET", "GET")),
    _malformed("8.3 :scheme twice", _other(":scheme", "http", "http")),
    _malformed("8.3 :authority twice", _other(":authority", "a.example", "b.example")),
    _malformed("8.3 :path twice", _other(":path", "/", "/b")),
    _malformed("8.3.1 no :method", _other(":method")),
    _malformed("8.3.1 no :scheme", _other(":scheme")),
    _malformed("8.3.1 no :path", _other(":path")),
    _malformed("8.3.1 an empty :method", _other(":method", "")),
    _malformed("8.3.1 a :method with a space", _other(":method", "GET /x")),
    _malformed("8.3.1 a :method with LF", _other(":method", "GET\r\nX")),
    _malformed("8.3.1 an empty :path", _other(":path", "")),
    _malformed("8.3.1 a :path without a slash", _other(":path", "a")),
    _malformed("8.3.1 an absolute :path", _other(":path", "http://b.example/")),
    _malformed("8.3.1 a :path *", _other(":path", "*")),
    _malformed("8.3.1 a :path with a space", _other(":path", "/ HTTP/1.1")),
    _malformed("8.3.1 a :path with CR and LF", _other(":path", "/ HTTP/1.1\r\nX: y\r\n\r\n")),
    _malformed("8.3.1 a :scheme that lies", _other(":scheme", "https"), charged=False),
    _malformed("8.3.1 another :scheme", _other(":scheme", "ftp"), charged=False),
    _malformed("8.3.1 an empty :scheme", _other(":scheme", "")),
    _malformed("8.3.1 neither :authority nor host", _other(":authority")),
    _malformed("8.3.1 another host", request("/", ("host", "b.example")), charged=False),
    _malformed("8.3.1 two hosts", request("/", ("host", "a.example"), ("host", "a.example"))),
    _malformed("8.3.1 an :authority with a space", _other(":authority", "a b")),
    _malformed("8.3.1 an :authority with a slash", _other(":authority", "a/b")),
    _malformed("8.3.1 userinfo", _other(":authority", "u@a.example")),
    Case("8.3.1 a port beyond 65535", (headers(_other(":authority", "a:65536")),), status=400, charged=False),
    Case("8.5 CONNECT", (headers([(b":method", b"CONNECT"), (b":authority", b"a:1")]),), status=405, charged=False),
    _malformed("8.5 CONNECT with a path", [(b":method", b"CONNECT"), *request()[1:]]),
    _malformed("RFC 8441 4 a :protocol without CONNECT", [*request(), (b":protocol", b"websocket")]),
    Case(
        "RFC 8441 4 another :protocol",
        (headers([(b":method", b"CONNECT"), (b":protocol", b"x"), *request()[1:]], flags=END_HEADERS),),
        reset=NO_ERROR,  # after the answer: no more is wanted
        status=405,
        charged=False,
    ),
]

LENGTHS = [
    Case(
        "8.1.1 content-length without a body",
        (headers([*POST, (b"content-length", b"5")]),),
        reset=PROTOCOL_ERROR,
    ),
    Case(
        "8.1.1 less than content-length",
        (headers([*POST, (b"content-length", b"5")], flags=END_HEADERS), frame(DATA, END_STREAM, 1, b"abc")),
        reset=PROTOCOL_ERROR,
    ),
    Case(
        "8.1.1 more than content-length",
        (headers([*POST, (b"content-length", b"5")], flags=END_HEADERS), frame(DATA, END_STREAM, 1, b"abcdef")),
        reset=PROTOCOL_ERROR,
    ),
    _malformed("8.1.1 two lengths", request("/", ("content-length", "0"), ("content-length", "0"))),
    _malformed("8.1.1 a length with a sign", request("/", ("content-length", "+0"))),
    _malformed("8.1.1 a list of lengths", request("/", ("content-length", "0, 0"))),
    _malformed("8.1.1 an empty length", request("/", ("content-length", ""))),
]

TRAILERS = [
    Case(
        f"8.1 trailers with {name}",
        (headers(POST, flags=END_HEADERS), frame(DATA, 0, 1, b"abc"), headers([pair], flags=flags)),
        reset=PROTOCOL_ERROR,
    )
    for name, pair, flags in (
        ("a pseudo-field", (b":path", b"/"), END_HEADERS | END_STREAM),
        ("upper case", (b"X-T", b"1"), END_HEADERS | END_STREAM),
        ("LF", (b"x-t", b"1\n2"), END_HEADERS | END_STREAM),
        ("no end", (b"x-t", b"1"), END_HEADERS),
    )
]

OPEN = headers(POST, flags=END_HEADERS)

CONNECTION = [
    _of_connection("4.2 a frame that is too large", b"\0\x40\x01" + frame(DATA, 0, 1, b"x")[3:], code=6),
    _of_connection("4.3 a header block that is none", frame(HEADERS, 5, 1, b"\xff" * 12), code=COMPRESSION_ERROR),
    _of_connection("RFC 7541 6.1 index 0", frame(HEADERS, 5, 1, b"\x80"), code=COMPRESSION_ERROR),
    _of_connection("RFC 7541 2.3.3 an index beyond the table", frame(HEADERS, 5, 1, b"\xfe"), code=COMPRESSION_ERROR),
    _of_connection("RFC 7541 6.3 a table that is too large", frame(HEADERS, 5, 1, b"\x3f\xe2\x1f"), code=9),
    _of_connection(
        "RFC 7541 4.2 a table that changes late",
        frame(HEADERS, 5, 1, block(request()) + b"\x20"),
        code=COMPRESSION_ERROR,
    ),
    _of_connection("RFC 7541 5.2 padding of Huffman", frame(HEADERS, 5, 1, b"\x00\x01x\x82\x1f\xff"), code=9),
    _of_connection("RFC 7541 5.2 EOS in Huffman", frame(HEADERS, 5, 1, b"\x00\x01x\x84\xff\xff\xff\xff"), code=9),
    _of_connection("4.3 a block that ends in the middle", frame(HEADERS, 5, 1, b"\x00\x05x"), code=COMPRESSION_ERROR),
    _of_connection("5.1 DATA on an idle stream", frame(DATA, 0, 1, b"x")),
    _of_connection("5.1 RST_STREAM on an idle stream", reset(1)),
    _of_connection("5.1 WINDOW_UPDATE on an idle stream", window(1, 1)),
    _of_connection("5.1 CONTINUATION on its own", frame(CONTINUATION, END_HEADERS, 1)),
    _of_connection("5.1.1 an even stream", headers(request(), 2)),
    _of_connection("5.1.1 stream 0", headers(request(), 0)),
    _of_connection("6.1 DATA on stream 0", frame(DATA, 0, 0, b"x")),
    _of_connection("6.1 padding as long as DATA", OPEN, frame(DATA, PADDED, 1, b"\x05abcd")),
    _of_connection("6.2 padding as long as HEADERS", frame(HEADERS, 5 | PADDED, 1, b"\xff" + block(request()))),
    _of_connection("6.2 HEADERS within a block", frame(HEADERS, 1, 1, block(request())), headers(request(), 3)),
    _of_connection("6.2 PING within a block", frame(HEADERS, 1, 1, block(request())), frame(PING, 0, 0, bytes(8))),
    _of_connection("6.4 RST_STREAM on stream 0", reset(0)),
    _of_connection("6.4 RST_STREAM of another size", OPEN, frame(RST_STREAM, 0, 1, b"abc"), code=FRAME_SIZE_ERROR),
    _of_connection("6.5 SETTINGS on a stream", frame(SETTINGS, 0, 1)),
    _of_connection("6.5 SETTINGS of another size", frame(SETTINGS, 0, 0, b"abc"), code=FRAME_SIZE_ERROR),
    _of_connection("6.5 an acknowledgement with a payload", frame(SETTINGS, ACK, 0, bytes(6)), code=FRAME_SIZE_ERROR),
    _of_connection("6.5.2 ENABLE_PUSH of 2", settings(push=2)),
    _of_connection("6.5.2 a window that is too large", settings(window=1 << 31), code=FLOW_CONTROL_ERROR),
    _of_connection("6.5.2 a frame size that is too small", settings(frame=16383)),
    _of_connection("6.5.2 a frame size that is too large", settings(frame=1 << 24)),
    _of_connection("6.6 PUSH_PROMISE from a client", OPEN, frame(PUSH_PROMISE, 4, 1, b"\0\0\0\2" + block(request()))),
    _of_connection("6.7 PING on a stream", frame(PING, 0, 1, bytes(8))),
    _of_connection("6.7 PING of another size", frame(PING, 0, 0, bytes(7)), code=FRAME_SIZE_ERROR),
    _of_connection("6.8 GOAWAY on a stream", frame(GOAWAY, 0, 1, bytes(8))),
    _of_connection("6.9 WINDOW_UPDATE by 0", window(0, 0)),
    _of_connection("6.9 WINDOW_UPDATE by 0 on a stream", OPEN, window(1, 0)),
    _of_connection("6.9 WINDOW_UPDATE of another size", frame(WINDOW_UPDATE, 0, 0, b"abc"), code=FRAME_SIZE_ERROR),
    _of_connection("6.9.1 a window beyond its most", window(0, 0x7FFFFFFF), code=FLOW_CONTROL_ERROR),
    _of_connection("6.9.1 that of a stream", OPEN, window(1, 0x7FFFFFFF), code=FLOW_CONTROL_ERROR),
    _of_connection("6.10 CONTINUATION after the end", OPEN, frame(CONTINUATION, END_HEADERS, 1)),
    _of_connection("6.10 of another stream", frame(HEADERS, 1, 1, block(request())), frame(CONTINUATION, 4, 3)),
]

CASES = FIELDS + PSEUDO + LENGTHS + TRAILERS + CONNECTION


async def _told(shield: Shield, case: Case, slowly: bool) -> None:
    frames = await Frames.open(shield)
    await frames.send(*case.frames, slowly=slowly)
    if case.goaway is not None:
        told = await frames.until(lambda told: told.closed)
        assert told.goaways == [case.goaway], told
        assert told.answered == []
    else:
        told = await frames.settled()
        assert told.goaways == []
        assert told.resets == ([(1, case.reset)] if case.reset is not None else [])
        assert told.answered == ([1] if case.status else [])
        await frames.send(headers(request("/next"), 3))  # the connection goes on
        told = await frames.until(lambda told: 3 in told.answered)
        assert 3 in told.answered
    frames.close()


@pytest.mark.parametrize("slowly", [False, True], ids=["whole", "by byte"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_what_breaks_http_2_does_not_reach_the_service(case: Case, slowly: bool) -> None:
    async with shielded(http2=True) as (shield, origin):
        await _told(shield, case, slowly)
        assert [got.target for got in origin.requests] == ([] if case.goaway is not None else ["/next"])
        assert [signal for _, signal in shield.engine.signals] == [Signal.MALFORMED] * case.charged
        await soon(lambda: len(shield.connections) == 0)


async def test_without_the_preface_it_is_no_http_2() -> None:
    for first in (b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", b"\0" * 24):
        async with shielded(http2=True) as (shield, origin):
            client = await shield.client()
            await client.feed(first + bytes(24))
            assert (await client.rest())[-8:] == struct.pack(">II", 0, PROTOCOL_ERROR)
            client.close()
            assert origin.requests == []


async def test_data_after_the_end_of_a_request() -> None:
    """5.1: half-closed (remote). The request was whole, and is served; then the connection ends."""
    async with shielded({"/": None}, http2=True) as (shield, origin):
        frames = await Frames.open(shield)
        await frames.send(headers(request()))
        await origin.got()
        await frames.send(frame(DATA, END_STREAM, 1, b"x"))
        told = await frames.until(lambda told: told.closed)
        assert told.goaways == [STREAM_CLOSED]
        assert len(shield.engine.cancelled) == 1
        frames.close()


async def test_a_stream_with_a_lower_number_is_not_served() -> None:
    """5.1.1: libnghttp2 takes it for a closed one, and ignores it."""
    async with shielded(http2=True) as (shield, origin):
        frames = await Frames.open(shield)
        await frames.send(headers(request("/three"), 3), headers(request("/one"), 1))
        await frames.settled()
        await origin.got()
        assert [got.target for got in origin.requests] == ["/three"]
        frames.close()


@pytest.mark.parametrize("slowly", [False, True], ids=["whole", "by byte"])
async def test_what_may_be_and_means_nothing(slowly: bool) -> None:
    """PRIORITY, unknown frames and settings, padding, empty CONTINUATION: ignored (4.1, 5.5, 6.3, 6.5.2)."""
    async with shielded(http2=True) as (shield, origin):
        frames = await Frames.open(shield)
        coded = block(request("/", ("te", "trailers"), ("host", "A.example:80")))
        await frames.send(
            frame(PRIORITY, 0, 5, struct.pack(">IB", 3, 15)),
            frame(PRIORITY, 0, 0, bytes(5)),  # 6.3 would have it an error; libnghttp2 looks at no PRIORITY any more
            frame(0xFA, 0xFF, 0, b"whatever"),
            frame(SETTINGS, 0, 0, struct.pack(">HI", 0xFAFA, 7)),
            frame(HEADERS, END_STREAM | PADDED, 1, b"\x03" + coded[:10] + bytes(3)),
            frame(CONTINUATION, 0, 1, coded[10:]),
            frame(CONTINUATION, END_HEADERS, 1),
            slowly=slowly,
        )
        told = await frames.until(lambda told: told.answered)
        assert (told.answered, told.resets, told.goaways) == ([1], [], [])
        assert (await origin.got()).get("Host") == "a.example"
        assert shield.engine.signals == []
        frames.close()
