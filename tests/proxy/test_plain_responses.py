"""Plain responses: read as llhttp would read them, in whatever pieces they come, or left to it."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shield.proxy import origin
from shield.proxy.faults import Fault
from shield.proxy.origin import OriginConnection


class Transport:
    def is_closing(self) -> bool:
        return False

    def abort(self) -> None:
        pass


class Exchange:
    """Writes down what it is told."""

    wants_upgrade = False

    def __init__(self, head_only: bool) -> None:
        self.head_only = head_only
        self.head: tuple[Any, ...] = ()
        self.interim: list[int] = []
        self.body = b""
        self.ended = ""

    def on_interim(self, status: int, fields: list[bytes]) -> None:
        self.interim.append(status)

    def on_head(self, status: int, fields: list[bytes], length: int, declared: int, stream: bool) -> None:
        assert all(line.endswith(b"\r\n") and line.count(b"\r\n") == 1 for line in fields)
        self.head = (status, b"".join(fields), length, declared, stream)

    def on_body(self, piece: bytes) -> None:
        self.body += piece

    def flush(self) -> None:
        pass

    def finish(self) -> None:
        self.ended = "finished"

    def upstream_failed(self, fault: Fault) -> None:
        self.ended = fault.value


def read(pieces: list[bytes], head_only: bool, plain: bool) -> tuple[bool, Any]:
    """Whether the parser was spared, and what came of the pieces."""
    connection = OriginConnection(None)  # type: ignore[arg-type]
    connection.connection_made(Transport())  # type: ignore[arg-type]
    exchange = Exchange(head_only)
    connection.begin(exchange)  # type: ignore[arg-type]
    if not plain:
        connection._plain = lambda exchange, data: False  # type: ignore[method-assign]
    for piece in pieces:
        if not exchange.ended:
            connection.data_received(piece)
    told = (exchange.head, exchange.interim, exchange.body, exchange.ended, connection.usable(), connection.complete)
    return connection._parser is None, told


class Unslotted(OriginConnection):
    """So that a test may put something in a method's place."""


@pytest.fixture(autouse=True)
def unslotted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "OriginConnection", Unslotted)


def message(*lines: bytes, first: bytes = b"HTTP/1.1 200 OK", body: bytes = b"") -> bytes:
    return b"\r\n".join((first, *lines, b"", body))


USUAL = (b"Server: nginx", b"Date: Thu, 01 Jan 2026 00:00:00 GMT", b"Content-Type: text/html; charset=utf-8")


@pytest.mark.parametrize(
    "data",
    [
        message(*USUAL, b"Content-Length: 5", body=b"hello"),
        message(*USUAL, b"content-length:5", b"Connection: Keep-Alive", b"Keep-Alive: timeout=5", body=b"hello"),
        message(b"Content-Length: 0", first=b"HTTP/1.1 301 Moved"),
        message(b"Content-Length: 2", b"Set-Cookie: a=b", b"X-Empty:", first=b"HTTP/1.1 503", body=b"no"),
        message(b"Content-Length: 3", b"Content-Type: text/event-stream", body=b"a: "),
        message(b"Content-Length: 2", first=b"HTTP/1.1 200 ", body=b"okHTTP/1.1 200 OK\r\n"),
        message(b"Content-Length:\t2 \t", b"X: a \t", b"Content-Type: text/plain ", body=b"ok"),
    ],
)
def test_plain_responses_need_no_parser(data: bytes) -> None:
    for cut in (len(data), data.index(b"\r\n\r\n") + 5):
        pieces = [piece for piece in (data[:cut], data[cut:]) if piece]
        spared, told = read(pieces, False, True)
        assert spared
        assert told == read(pieces, False, False)[1]
        assert told[3] == "finished"


@pytest.mark.parametrize(
    "data",
    [
        message(*USUAL, body=b"until the end"),
        message(b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
        message(b"Content-Length: 1", b"Content-Length: 1", body=b"x"),
        message(b"Content-Length: 1", b"Transfer-Encoding: chunked", body=b"x"),
        message(b"Content-Length: 1", b"Connection: close", body=b"x"),
        message(b"Content-Length: +1", body=b"x"),
        message(b"Content-Length: 1", b"Bad Name: x", body=b"x"),
        message(b"Content-Length: 1", b" folded", body=b"x"),
        message(b"Content-Length: 1", b"X: a\nb", body=b"x"),
        message(b"Content-Length: 1", first=b"HTTP/1.0 200 OK", body=b"x"),
        message(b"Content-Length: 1", first=b"HTTP/1.1 204 None", body=b"x"),
        message(b"Content-Length: 1", first=b"HTTP/1.1 304 Same", body=b"x"),
        message(b"Content-Length: 1", first=b"HTTP/1.1 100 Continue", body=b"x"),
        message(b"Content-Length: 1", first=b"HTTP/1.1 2000 OK", body=b"x"),
        message(b"Content-Length: 1", body=b"x")[:30],
    ],
)
def test_everything_else_is_left_to_the_parser(data: bytes) -> None:
    assert not read([data], False, True)[0]


@pytest.mark.parametrize("field", [b"Content-Length: 5\t ", b"Transfer-Encoding: chunked ", b"Connection: close \t"])
def test_whitespace_behind_a_value_is_none_of_it(field: bytes) -> None:
    """Found by fuzzing: the same response was 200 in one read and 502 in two."""
    data = message(field, b"X: a \t", body=b"5\r\nhello\r\n0\r\n\r\n" if b"chunked" in field else b"hello")
    _, told = read([data[:20], data[20:]], False, True)
    assert told[0][:2] == (200, b"X: a\r\n")
    assert told[2] == b"hello"


def test_an_answer_to_head_is_left_to_the_parser() -> None:
    assert not read([message(b"Content-Length: 5")], True, True)[0]


LINES = st.sampled_from(
    [
        *USUAL,
        b"Content-Length: 5",
        b"content-length: 05",
        b"Content-Length: 5, 5",
        b"Connection: keep-alive",
        b"Connection: close",
        b"Connection: x-y",
        b"Upgrade: websocket",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: identity",
        b"Trailer: x",
        b"Set-Cookie: a=b",
        b"Content-Type: TEXT/event-stream",
        b"X_Y: z",
        b"X: \x80",
    ]
)
FIRST = st.sampled_from(
    [b"HTTP/1.1 200 OK", b"HTTP/1.1 404", b"HTTP/1.1 200 ", b"HTTP/1.0 200 OK", b"HTTP/1.1 204 x", b"HTTP/1.1  200 OK"]
)


@given(
    FIRST, st.lists(st.one_of(LINES, st.binary(max_size=10)), max_size=6), st.binary(max_size=9), st.integers(0, 200)
)
@settings(max_examples=1500, deadline=None)
def test_whatever_comes_is_read_alike(first: bytes, lines: list[bytes], body: bytes, cut: int) -> None:
    data = message(*lines, first=first, body=body)
    pieces = [piece for piece in (data[:cut], data[cut:]) if piece]
    _, short = read(pieces, False, True)
    _, long = read(pieces, False, False)
    assert short == long


@given(FIRST, st.lists(LINES, max_size=5), st.integers(0, 9), st.lists(st.integers(0, 400), max_size=6))
@settings(max_examples=500, deadline=None)
def test_in_many_pieces_it_is_read_alike(first: bytes, lines: list[bytes], size: int, cuts: list[int]) -> None:
    data = message(*lines, first=first, body=b"0\r\n\r\nabcd"[:size])
    ends = [0, *sorted(cuts), len(data)]
    pieces = [data[start:end] for start, end in itertools.pairwise(ends) if data[start:end]]
    for split in (pieces, [data[at : at + 1] for at in range(len(data))]):
        assert read(split, False, True)[1] == read(split, False, False)[1]


ANSWERS = [
    (False, message(*USUAL, b"Content-Length: 5", body=b"hello")),
    (False, message(b"Content-Length: 0", first=b"HTTP/1.1 404 Not Found")),
    (
        False,
        message(b"Transfer-Encoding: chunked", b"Connection: x-hop", b"X-Hop: 1", body=b"2\r\nok\r\n0\r\nT: 1\r\n\r\n"),
    ),
    (False, message(b"Content-Type: text/event-stream", b"Content-Length: 4", body=b"a: b")),
    (False, message(b"X-Hop: kept", b"Content-Length: 1", body=b"x")),
    (False, message(b"Link: </a>", first=b"HTTP/1.1 103 Early Hints") + message(b"Content-Length: 1", body=b"y")),
    (False, message(b"ETag: a", first=b"HTTP/1.1 304 Same")),
    (True, message(b"Content-Length: 0")),
]


@given(st.lists(st.tuples(st.sampled_from(ANSWERS), st.integers(0, 120)), min_size=2, max_size=6))
@settings(max_examples=500, deadline=None)
def test_nothing_of_one_response_reaches_the_next(answers: list[tuple[tuple[bool, bytes], int]]) -> None:
    """Over one connection each is read as it is over a connection of its own."""
    connection = OriginConnection(None)  # type: ignore[arg-type]
    connection.connection_made(Transport())  # type: ignore[arg-type]
    for (head_only, data), cut in answers:
        exchange = Exchange(head_only)
        connection.begin(exchange)  # type: ignore[arg-type]
        for piece in (data[:cut], data[cut:]):
            if piece and not exchange.ended:
                connection.data_received(piece)
        assert connection.usable()
        connection.detach()
        told = (exchange.head, exchange.interim, exchange.body, exchange.ended)
        assert told == read([data], head_only, False)[1][:4]
        assert exchange.ended == "finished"


def test_what_is_remembered_is_bounded_and_no_cookie(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(origin, "KNOWN_LINES", 8)
    monkeypatch.setattr(origin, "_lines", {})
    monkeypatch.setattr(origin, "_statuses", {})
    for number in range(40):
        lines = (b"Content-Length: 0", b"Set-Cookie: a=%d" % number, b"ETag: %d" % number, b"X: " + b"y" * 600)
        assert read([message(*lines, first=b"HTTP/1.1 200 %d" % number)], False, True)[0]
        assert len(origin._lines) <= 8
        assert len(origin._statuses) <= 8
        assert not any(line.startswith((b"Set-Cookie", b"X")) for line in origin._lines)
