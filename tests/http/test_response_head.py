"""One response head, and the reader that cuts heads out of a stream. Whole responses are in tests/upstream."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.http import response_head
from shield.http.framing import CHUNKED, UNTIL_CLOSE
from shield.http.line_memory import LineMemory
from shield.http.response_head import (
    MAX_HEAD_BYTES,
    MAX_INTERIM,
    STATUS_LINES,
    ResponseHeadReader,
    Unacceptable,
    parse,
)


class Told(NamedTuple):
    """A ResponseHead, by names."""

    status: int
    fields: list[bytes]
    length: int
    declared: int
    event_stream: bool
    last: bool
    websocket: bool


def head(*lines: bytes, first: bytes = b"HTTP/1.1 200 OK", head_only: bool = False) -> Told:
    return Told(*parse(b"\r\n".join((first, *lines)), head_only))


def test_every_status_has_a_line() -> None:
    assert STATUS_LINES[200] == b"HTTP/1.1 200 OK\r\n"
    assert STATUS_LINES[299] == b"HTTP/1.1 299 \r\n"
    assert set(STATUS_LINES) == set(range(100, 600))


def test_fields_are_written_anew_without_those_of_this_hop() -> None:
    told = head(
        b"Server:a ", b"Content-Length: 3", b"Connection: x-hop", b"X-Hop: 1", b"Keep-Alive: 5", b"Content--Length: 9"
    )
    assert told == Told(200, [b"Server: a\r\n"], 3, -1, False, False, False)


@pytest.mark.parametrize(
    ("lines", "length", "last"),
    [
        ((b"Content-Length: 3",), 3, False),
        ((b"Content-Length: 0",), 0, False),
        ((b"Transfer-Encoding: CHUNKED",), CHUNKED, False),
        ((), UNTIL_CLOSE, True),
        ((b"Content-Length: 3", b"Connection: Close"), 3, True),
        ((b"Content-Length: 3", b"Connection: keep-alive"), 3, False),
        ((b"Content-Length: 3", b"Connection: content-length"), 3, True),
    ],
)
def test_the_length_of_a_body_and_whether_another_response_may_follow(
    lines: tuple[bytes, ...], length: int, last: bool
) -> None:
    told = head(*lines)
    assert (told.length, told.declared, told.last) == (length, -1, last)


@pytest.mark.parametrize(
    ("status", "head_only", "lines", "declared", "last"),
    [
        (200, True, (b"Content-Length: 0",), 0, False),
        (200, True, (b"Content-Length: 3",), 3, True),
        (200, True, (), -1, True),
        (304, False, (b"Content-Length: 3",), 3, False),
        (304, False, (b"Transfer-Encoding: chunked",), -1, True),
        (204, False, (), -1, False),
        (204, False, (b"Content-Length: 3",), 3, True),
        (205, False, (b"Content-Length: 0",), 0, False),
        (205, False, (), 0, True),
    ],
)
def test_what_has_no_body(status: int, head_only: bool, lines: tuple[bytes, ...], declared: int, last: bool) -> None:
    """Where a body is likely to come all the same, the connection is not used again."""
    told = head(*lines, first=b"HTTP/1.1 %d X" % status, head_only=head_only)
    assert (told.length, told.declared, told.last) == (0, declared, last)


@pytest.mark.parametrize(
    ("first", "lines"),
    [
        (b"HTTP/1.1 600 X", ()),
        (b"ICY 200 OK", ()),
        (b"HTTP/1.1 200 OK", (b"Content-Length: 1", b"Content-Length: 1")),
        (b"HTTP/1.1 200 OK", (b"Content-Length: 1", b"Transfer-Encoding: chunked")),
        (b"HTTP/1.1 200 OK", (b"Content-Length: +1",)),
        (b"HTTP/1.1 200 OK", (b"Transfer-Encoding: gzip, chunked",)),
        (b"HTTP/1.0 200 OK", (b"Transfer-Encoding: chunked",)),
        (b"HTTP/1.1 200 OK", (b"no colon",)),
        (b"HTTP/1.1 200 OK", (b"X: a", b" folded")),
        (b"HTTP/1.1 103 Early Hints", (b"Content-Length: 0",)),
        (b"HTTP/1.0 103 Early Hints", ()),
    ],
)
def test_what_is_not_accepted(first: bytes, lines: tuple[bytes, ...]) -> None:
    with pytest.raises(Unacceptable):
        head(*lines, first=first)


@pytest.mark.parametrize(
    ("status", "lines", "websocket"),
    [
        (b"101", (b"Connection: Upgrade", b"Upgrade: WebSocket"), True),
        (b"101", (b"Upgrade: WebSocket",), False),
        (b"101", (b"Connection: Upgrade", b"Upgrade: h2c"), False),
        (b"103", (b"Connection: Upgrade", b"Upgrade: WebSocket"), False),
    ],
)
def test_what_switches_to_a_websocket(status: bytes, lines: tuple[bytes, ...], websocket: bool) -> None:
    assert head(*lines, first=b"HTTP/1.1 %b X" % status).websocket is websocket


HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n"
FINAL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"


@given(st.lists(st.integers(0, len(HINTS + FINAL) + 4), max_size=8))
def test_any_cut_gives_the_same_heads_and_the_same_rest(cuts: list[int]) -> None:
    wire = HINTS + FINAL + b"body"
    reader = ResponseHeadReader()
    assert reader.silent()
    heads, body = [], b""
    ends = [0, *sorted(cuts), len(wire)]
    for data in (wire[start:end] for start, end in itertools.pairwise(ends)):
        at = 0
        while at < len(data) and (not heads or heads[-1].status < 200):
            told, at = reader.read(data, at, False)
            if told is not None:
                heads.append(Told(*told))
            assert reader.silent() == (told is not None and told[0] == 200)
        body += data[at:]
    assert [(told.status, told.length) for told in heads] == [(103, 0), (200, 4)]
    assert body == b"body"


@pytest.mark.parametrize("begun", [b"X", b"HTTP/2", b"HTTP/1.1 200 OK\n"])
def test_what_cannot_become_a_head_is_not_waited_for(begun: bytes) -> None:
    with pytest.raises(Unacceptable):
        ResponseHeadReader().read(begun, 0, False)


def test_heads_are_bounded_in_bytes_and_number() -> None:
    reader = ResponseHeadReader()
    line = b"X: " + b"y" * 1000 + b"\r\n"
    for data in (b"HTTP/1.1 200 OK\r\n", *[line] * (MAX_HEAD_BYTES // len(line))):
        assert reader.read(data, 0, False) == (None, len(data))
    with pytest.raises(Unacceptable, match="too large"):
        reader.read(line, 0, False)
    reader = ResponseHeadReader()
    for _ in range(MAX_INTERIM):
        assert reader.read(HINTS, 0, False)[1] == len(HINTS)
    with pytest.raises(Unacceptable, match="interim"):
        reader.read(HINTS, 0, False)
    reader = ResponseHeadReader()
    assert reader.read(HINTS + FINAL, len(HINTS), False)[1] == len(HINTS + FINAL)
    assert reader.silent()
    assert reader.read(HINTS, 0, False)[1] == len(HINTS)


def test_what_is_remembered_is_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: LineMemory[response_head.Meaning] = LineMemory()
    monkeypatch.setattr(response_head, "_lines", lines)
    for _ in range(2):
        told = head(b"Set-Cookie: a=b", b"ETag: 1", b"X-Auth-Token: c", b"X-Api-Key: d", b"Content-Length: 0")
        assert len(told.fields) == 4
    assert list(lines.known) == [b"ETag: 1", b"Content-Length: 0"]
