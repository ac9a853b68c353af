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
    ENDS,
    EVENTS,
    LIVE,
    MAX_HEAD_BYTES,
    MAX_INTERIM,
    STATUS_LINES,
    ResponseHeadReader,
    parse,
)
from shield.http.rules import Broken


class Told(NamedTuple):
    """A ResponseHead, by names."""

    status: int
    fields: list[bytes]
    length: int
    declared: int
    endless: int
    last: bool
    switched: bytes = b""
    dated: bool = False


def head(*lines: bytes, first: bytes = b"HTTP/1.1 200 OK", head_only: bool = False) -> Told:
    return Told(*parse(b"\r\n".join((first, *lines)), head_only))


def test_every_status_has_a_line() -> None:
    assert STATUS_LINES[200] == b"HTTP/1.1 200 OK\r\n"
    assert STATUS_LINES[299] == b"HTTP/1.1 299 \r\n"
    assert set(STATUS_LINES) == set(range(100, 1000))


def test_fields_are_written_anew_without_those_of_this_hop() -> None:
    told = head(
        b"Server:a ", b"Content-Length: 3", b"Connection: x-hop", b"X-Hop: 1", b"Keep-Alive: 5", b"Content--Length: 9"
    )
    assert told == Told(200, [b"Server: a\r\n"], 3, -1, False, False)


@pytest.mark.parametrize(
    ("lines", "endless"),
    [
        ((b"Content-Type: text/event-stream; charset=utf-8",), EVENTS),
        ((b"Content-Type: audio/mpeg", b"Transfer-Encoding: chunked"), LIVE),
        ((b"Content-Type: Application/Ogg",), LIVE),
        ((b"content-type: multipart/x-mixed-replace;boundary=frame",), LIVE),
        ((b"Content-Type: audio/mpeg", b"Content-Length: 3"), ENDS),
        ((b"Content-Type: text/html",), ENDS),
    ],
)
def test_how_long_a_response_may_go_on(lines: tuple[bytes, ...], endless: int) -> None:
    told = head(*lines)
    assert (told.endless, told.fields) == (endless, [lines[0] + b"\r\n"])
    if endless == LIVE:
        assert head(*lines, first=b"HTTP/1.1 404 No").endless == head(*lines, head_only=True).endless == ENDS


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
        # RFC 9112 section 6.3, rule 1: they end with their head, whatever it says
        (204, False, (b"Content-Length: none",), -1, True),
        (204, False, (b"Content-Length: 0", b"Transfer-Encoding: chunked"), -1, True),
        (304, False, (b"Content-Length: 3", b"Content-Length: 4"), -1, True),
        (304, False, (b"Content-Length: 3", b"Content-Length: 3"), 3, True),
        (304, False, (b"Transfer-Encoding: gzip",), -1, True),
        (304, False, (b"Content-Length: 3", b"Transfer-Encoding: chunked"), -1, True),
        (200, True, (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), -1, True),
        (200, True, (b"Transfer-Encoding: identity",), -1, True),
        (200, True, (b"Content-Length:",), -1, True),
    ],
)
def test_what_has_no_body(status: int, head_only: bool, lines: tuple[bytes, ...], declared: int, last: bool) -> None:
    """Where a body is likely to come all the same, the connection is not used again."""
    told = head(*lines, first=b"HTTP/1.1 %d X" % status, head_only=head_only)
    assert (told.length, told.declared, told.last) == (0, declared, last)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (b"HTTP/1.1 099 X", "status_line"),
        (b"HTTP/1.1 1000 X", "status_line"),
        (b"ICY 200 OK", "status_line"),
        (b"HTTP/1.1 200 OK|Content-Length: 1|Content-Length: 2", "length_repeated"),
        (b"HTTP/1.1 200 OK|Content-Length: 1, 2", "length_syntax"),
        (b"HTTP/1.1 200 OK|Content-Length: 1|Transfer-Encoding: chunked", "length_and_coding"),
        (b"HTTP/1.1 205 OK|Content-Length: 1|Transfer-Encoding: chunked", "length_and_coding"),
        (b"HTTP/1.1 200 OK|Transfer-Encoding: chunked|Transfer-Encoding: chunked", "coding_repeated"),
        (b"HTTP/1.1 200 OK|Content-Length: +1", "length_syntax"),
        (b"HTTP/1.1 200 OK|Transfer-Encoding: gzip, chunked", "coding_syntax"),
        (b"HTTP/1.0 200 OK|Transfer-Encoding: chunked", "coding_in_1_0"),
        (b"HTTP/1.1 200 OK|no colon", "field_name"),
        (b"HTTP/1.1 200 OK|N(ame: x", "field_name"),
        (b"HTTP/1.1 200 OK|X: a\0", "control_character"),
        (b"HTTP/1.1 200 OK|X: a\nb", "bare_lf"),
        (b"HTTP/1.1 200 OK|Content-Length : 5", "space_before_colon"),
        (b"HTTP/1.1 200 OK|Transfer-Encoding\t: chunked", "space_before_colon"),
        (b"HTTP/1.1 200 OK|Content_Length : 5", "space_before_colon"),
        (b"HTTP/1.1 200 OK|Connection : close", "space_before_colon"),
        (b"HTTP/1.1 200 OK|Content Length: 5", "disguised_framing"),
    ],
)
def test_what_is_not_accepted_is_told_by_its_rule(text: bytes, rule: str) -> None:
    first, *lines = text.split(b"|")
    with pytest.raises(Broken) as broken:
        head(*lines, first=first)
    assert broken.value.rule.value == rule


@pytest.mark.parametrize(
    ("status", "lines", "switched"),
    [
        (b"101", (b"Connection: Upgrade", b"Upgrade: WebSocket"), b"websocket"),
        (b"101", (b"Connection: Upgrade", b"Upgrade: websocket", b"Content-Length: 0"), b"websocket"),
        (b"101", (b"Upgrade: WebSocket",), b""),
        (b"101", (b"Connection: Upgrade", b"Upgrade: h2c"), b"h2c"),
        (b"101", (b"Connection: Upgrade", b"Upgrade: a", b"Upgrade: b"), b"a, b"),
        (b"103", (b"Connection: Upgrade", b"Upgrade: WebSocket"), b""),
    ],
)
def test_to_what_a_response_switches(status: bytes, lines: tuple[bytes, ...], switched: bytes) -> None:
    assert head(*lines, first=b"HTTP/1.1 %b X" % status).switched == switched


@pytest.mark.parametrize("status", [100, 101, 102, 103, 199])
@pytest.mark.parametrize(
    ("lines", "last"),
    [
        ((b"Content-Length: 0",), False),
        ((b"Content-Length: 5",), True),
        ((b"Content-Length: x",), True),
        ((b"Transfer-Encoding: chunked",), True),
        ((b"Content-Length: 0", b"Content-Length: 0"), True),
        ((b"Content-Length: 0", b"Transfer-Encoding: gzip, chunked"), True),
    ],
)
def test_an_interim_response_ends_with_its_head_whatever_that_says(
    status: int, lines: tuple[bytes, ...], last: bool
) -> None:
    """WebSocket servers in Java, C++ and Lisp say Content-Length: 0 with 101."""
    for version in (b"1.1", b"1.0"):
        told = head(b"Link: a", *lines, first=b"HTTP/%b %d X" % (version, status))
        assert told[:5] == (status, [b"Link: a\r\n"], 0, -1, False)
        assert told.last == (last or version == b"1.0")


def whole(*lines: bytes) -> Told:
    data = b"\r\n".join((b"HTTP/1.1 200 OK", *lines, b"", b""))
    told, end = ResponseHeadReader().read(data, 0, False)
    assert told is not None
    assert end == len(data)
    return Told(*told)


def test_a_folded_field_is_one_line_again() -> None:
    told = whole(b"Content-Security-Policy: a;", b"  b;", b"\t ", b"\tc", b"Content-Length: 3")
    assert told.fields == [b"Content-Security-Policy: a; b;  c\r\n"]
    assert (told.length, told.last) == (3, True)


@pytest.mark.parametrize(
    "lines",
    [
        (b" X: a",),
        (b"Content-Length:", b" 3"),
        (b"Transfer-Encoding: chunked", b" "),
        (b"Connection: close", b"\tX"),
        (b"Upgrade :", b" h2c"),
        (b"Content_Length:", b" 3"),
    ],
)
def test_a_fold_that_not_everybody_reads_alike_is_refused(lines: tuple[bytes, ...]) -> None:
    with pytest.raises(Broken, match=r"folded_line|space_before_colon"):
        whole(*lines)


def test_folds_are_read_in_time_of_their_length() -> None:
    for lines in ((b"X: a" + b" " * 100_000, b" b"), (b"X: a", *[b" b"] * 30_000), (b"X: a", b" " * 100_000)):
        assert whole(*lines, b"Content-Length: 3").length == 3


def test_the_name_of_a_folded_field_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was looked at again for each fold: a head of 64 KB, half of it a name, held Shield up for 15 s."""
    looks = []
    for folds in (1, 50):
        seen: list[bytes] = []
        monkeypatch.setattr(response_head, "disguised", seen.append)
        whole(b"x%d: a" % folds, *[b" b"] * folds, b"Content-Length: 3")
        looks.append(len(seen))
    assert looks[0] == looks[1]


def test_equal_lengths_are_one_length() -> None:
    for lines in ((b"Content-Length: 3", b"Content-Length: 3"), (b"Content-Length: 3,3 , 3",)):
        told = head(*lines)
        assert (told.length, told.last) == (3, True)


def test_a_space_before_a_colon_is_taken_out() -> None:
    assert head(b"X-A : b", b"Set-Cookie \t:c", b"Content-Length: 0").fields == [b"X-A: b\r\n", b"Set-Cookie: c\r\n"]


def test_what_426_asks_for_is_told() -> None:
    told = head(b"Upgrade: TLS/1.0", b"Connection: upgrade", b"Content-Length: 0", first=b"HTTP/1.1 426 X")
    assert told.fields == [b"Upgrade: TLS/1.0\r\n", b"Connection: Upgrade\r\n"]
    assert head(b"Upgrade: h2", b"Connection: upgrade", b"Content-Length: 0").fields == []


def test_who_has_a_date() -> None:
    assert head(b"date: x").dated
    assert not head(b"X-Date: x").dated
    assert not head(b"Date: x", b"Connection: Date").dated, "a field of this hop alone is not passed on"


HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n"
FINAL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"
CRLFS = b"\r\n\r\n"


@given(st.lists(st.integers(0, len(HINTS + FINAL) + 4), max_size=8), st.booleans(), st.booleans())
def test_any_cut_gives_the_same_heads_and_the_same_rest(cuts: list[int], hints_by_lf: bool, by_lf: bool) -> None:
    """Also of a server of a few lines of shell, whose lines end with LF; its body may have CRLF."""
    hints = HINTS.replace(b"\r", b"") if hints_by_lf else HINTS
    final = FINAL.replace(b"\r", b"") if by_lf else FINAL
    wire = hints + final + CRLFS
    reader = ResponseHeadReader()
    assert reader.silent()
    heads, body = [], b""
    ends = [0, *sorted(min(cut, len(wire)) for cut in cuts), len(wire)]
    for data in (wire[start:end] for start, end in itertools.pairwise(ends)):
        at = 0
        while at < len(data) and (not heads or heads[-1].status < 200):
            told, at = reader.read(data, at, False)
            if told is not None:
                heads.append(Told(*told))
            assert reader.silent() == (told is not None and told[0] == 200)
        body += data[at:]
    assert [(told.status, told.length) for told in heads] == [(103, 0), (200, 4)]
    assert [told.last for told in heads] == [hints_by_lf, by_lf]
    assert [told.fields for told in heads] == [[b"Link: a\r\n"], []]
    assert body == CRLFS


def feed(data: bytes, size: int) -> None:
    reader = ResponseHeadReader()
    for at in range(0, len(data), size):
        reader.read(data[at : at + size], 0, False)


@pytest.mark.parametrize(
    "rest", [b"Content-Length: 1\r\n\r\n", b"X: y\r\n\n", b"X: y\n\r\n\r\n", b"X: a\rb\n\n", b"\r\nX: y\n\n"]
)
@pytest.mark.parametrize("size", [1, 7, 100])
def test_lines_that_end_in_two_ways_are_refused(rest: bytes, size: int) -> None:
    with pytest.raises(Broken, match="bare_lf"):
        feed(b"HTTP/1.1 200 OK\n" + rest, size)


def test_a_head_of_lines_of_lf_may_be_folded_and_is_bounded() -> None:
    told, _ = ResponseHeadReader().read(b"HTTP/1.1 200 OK\nX: a\n b\nTransfer-Encoding: chunked\n\n", 0, False)
    assert told is not None
    assert told[1:3] == ([b"X: a b\r\n"], CHUNKED)
    with pytest.raises(Broken, match="space_before_colon"):
        ResponseHeadReader().read(b"HTTP/1.1 200 OK\nContent-Length : 1\n\n", 0, False)
    with pytest.raises(Broken, match="head_size"):
        feed(b"HTTP/1.1 200 OK\n" + b"X: y\n" * MAX_HEAD_BYTES, 5000)


@pytest.mark.parametrize("begun", [b"X", b"HTTP/2", b"HTTP/1.1 200 OK\nX: y\r"])
def test_what_cannot_become_a_head_is_not_waited_for(begun: bytes) -> None:
    with pytest.raises(Broken):
        ResponseHeadReader().read(begun, 0, False)


def test_heads_are_bounded_in_bytes_and_number() -> None:
    reader = ResponseHeadReader()
    line = b"X: " + b"y" * 1000 + b"\r\n"
    for data in (b"HTTP/1.1 200 OK\r\n", *[line] * (MAX_HEAD_BYTES // len(line))):
        assert reader.read(data, 0, False) == (None, len(data))
    with pytest.raises(Broken, match="head_size"):
        reader.read(line, 0, False)
    reader = ResponseHeadReader()
    for _ in range(MAX_INTERIM):
        assert reader.read(HINTS, 0, False)[1] == len(HINTS)
    with pytest.raises(Broken, match="interim_count"):
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
