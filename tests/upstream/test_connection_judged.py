"""Responses as llhttp reads them: what is accepted, it accepts with the same meaning, in whatever pieces it comes."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shield.http.framing import CHUNKED, ChunkedBody
from shield.http.rules import Rule
from shield.model import Fault
from shield.operator.metrics import Metrics
from shield.upstream.connection import UpstreamConnection
from shield.upstream.server import Server
from tests.harness import request_head

SERVER = Server("http://127.0.0.1:1", Metrics().upstream("x"))


class Transport:
    def is_closing(self) -> bool:
        return False

    def abort(self) -> None:
        pass

    def write(self, data: bytes) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0


@dataclass
class Exchange:
    """Writes down what it is told."""

    head: tuple[Any, ...] = ()
    interim: list[int] = field(default_factory=list)
    body: bytes = b""
    ended: str = ""

    def on_interim(self, status: int, fields: list[bytes]) -> None:
        self.interim.append(status)

    def on_head(self, status: int, fields: list[bytes], length: int, declared: int, endless: int) -> bool:
        assert all(line.endswith(b"\r\n") and line.count(b"\r\n") == 1 for line in fields)
        self.head = (status, b"".join(fields), length, declared, endless)
        return True

    def on_body(self, piece: bytes) -> None:
        assert piece
        self.body += piece

    def on_chunks(self, chunks: list[bytes], payload: int) -> None:
        wire = b"".join(chunks)
        pieces, end = ChunkedBody(0).feed(wire, 0)
        assert (end, sum(map(len, pieces))) == (len(wire), payload)
        self.body += b"".join(pieces)

    def on_trailers(self, lines: Sequence[bytes]) -> None:
        assert not any(b"\n" in line for line in lines)

    def flush(self) -> None:
        pass

    def finish(self) -> None:
        self.ended = "finished"

    def upstream_failed(self, fault: Fault, rule: Rule | None = None) -> None:
        self.ended = fault.value


def read(pieces: list[bytes], head_only: bool = False) -> tuple[Any, ...]:
    """What came of the pieces, and whether the connection may be used again."""
    connection = UpstreamConnection(SERVER)
    connection.connection_made(Transport())  # type: ignore[arg-type]
    exchange = Exchange()
    connection.send(exchange, request_head("HEAD" if head_only else "GET"), b"", b"id", 0.0)  # type: ignore[arg-type]
    for piece in pieces:
        if not exchange.ended:
            connection.data_received(piece)
    return exchange.head, exchange.interim, exchange.body, exchange.ended, connection.usable()


class Judge:
    """One response to GET, read by llhttp."""

    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.fields: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.statuses: list[int] = []
        self.whole = False

    def on_message_begin(self) -> None:
        assert not self.whole
        self.fields.clear()

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.statuses or self.statuses[-1] < 200:  # else a trailer
            self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        self.statuses.append(self.parser.get_status_code())

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.whole = self.statuses[-1] >= 200

    def read(self, data: bytes) -> bool:
        """Whether it takes `data` for one or several responses."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserCallbackError:
            return self.whole  # the first was
        except httptools.HttpParserError:
            return self.whole
        return True


def message(*lines: bytes, first: bytes = b"HTTP/1.1 200 OK", body: bytes = b"") -> bytes:
    return b"\r\n".join((first, *lines, b"", body))


USUAL = (b"Server: nginx", b"Date: Thu, 01 Jan 2026 00:00:00 GMT", b"Content-Type: text/html; charset=utf-8")
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
BODIES = st.one_of(
    st.binary(max_size=9), st.sampled_from([b"5\r\nhello\r\n0\r\n\r\n", b"1;a=b\r\nx\r\n0\r\nT: 1\r\n\r\n", b"hello"])
)


@given(FIRST, st.lists(st.one_of(LINES, st.binary(max_size=10)), max_size=6), BODIES)
@settings(max_examples=500, deadline=None)
def test_what_is_accepted_llhttp_reads_alike(first: bytes, lines: list[bytes], body: bytes) -> None:
    data = message(*lines, first=first, body=body)
    head, interim, seen, ended, usable = read([data])
    if ended == "upstream_garbage" or not head or (head[2] == CHUNKED and not ended):
        return  # of a chunked body that is not whole, the next line may be wrong
    text = data.partition(b"\r\n\r\n")[0]
    names = [line.partition(b":")[0].lower() for line in text.split(b"\r\n")]
    if names.count(b"content-length") + names.count(b"transfer-encoding") > 1 or b"5, 5" in text:
        assert head[0] == 204 or (head[2] == 5 and not usable), "llhttp takes no lengths twice, however equal"
        return
    if head[0] == 204 and b"identity" in text:
        return  # nor a coding that does not matter
    if re.search(rb"\r\n[ \t]|[ \t]:", text):
        return  # nor what is mended: a fold, a space before a colon
    judge = Judge()
    assert judge.read(data), data
    assert judge.statuses[: len(interim) + 1] == [*interim, head[0]]
    if head[0] != 204:
        assert judge.body[: len(seen)] == seen
        assert judge.whole == (ended == "finished")
    told = {name.lower() for name, _ in judge.fields}
    assert (head[2] == CHUNKED) == (b"transfer-encoding" in told and head[0] != 204)


@given(FIRST, st.lists(LINES, max_size=5), BODIES, st.lists(st.integers(0, 400), max_size=6))
@settings(max_examples=500, deadline=None)
def test_in_many_pieces_it_is_read_alike(first: bytes, lines: list[bytes], body: bytes, cuts: list[int]) -> None:
    data = message(*lines, first=first, body=body)
    ends = [0, *sorted(cuts), len(data)]
    pieces = [data[start:end] for start, end in itertools.pairwise(ends) if data[start:end]]
    *whole, usable = read([data])
    for split in (pieces, [data[at : at + 1] for at in range(len(data))]):
        *told, still = read(split)
        assert told == whole or (whole[3] == told[3] == "upstream_garbage")  # which has an end, but no middle
        assert usable <= still, "what has not come yet cannot poison"


@pytest.mark.parametrize("field", [b"Content-Length: 5\t ", b"Transfer-Encoding: chunked "])
def test_whitespace_behind_a_value_is_none_of_it(field: bytes) -> None:
    """Found by fuzzing: the same response was 200 in one read and 502 in two."""
    data = message(field, b"X: a \t", body=b"5\r\nhello\r\n0\r\n\r\n" if b"chunked" in field else b"hello")
    head, _, body, _, _ = read([data[:20], data[20:]])
    assert head[:2] == (200, b"X: a\r\n")
    assert body == b"hello"


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
    connection = UpstreamConnection(SERVER)
    connection.connection_made(Transport())  # type: ignore[arg-type]
    for (head_only, data), cut in answers:
        exchange = Exchange()
        connection.send(exchange, request_head("HEAD" if head_only else "GET"), b"", b"id", 0.0)  # type: ignore[arg-type]
        for piece in (data[:cut], data[cut:]):
            if piece and not exchange.ended:
                connection.data_received(piece)
        assert connection.usable()
        connection.detach()
        told = (exchange.head, exchange.interim, exchange.body, exchange.ended)
        assert told == read([data], head_only)[:4]
        assert exchange.ended == "finished"
