"""Where bodies end: any cut of any body gives the same payload, and nothing that RFC 9112 forbids is read."""

from __future__ import annotations

import re

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shield.http.framing import (
    LAST_CHUNK,
    MAX_CHUNK_LINE,
    MAX_TRAILER_BYTES,
    MOST_TRAILERS,
    ChunkedBody,
    LengthBody,
    encode_chunk,
)
from shield.http.rules import Broken, Rule

EXTENSIONS = st.sampled_from([b"", b";a", b";a=b", b';a="b c"', b"; " + b"y" * 200, b';a = "\\"" ;b'])
TRAILERS = st.sampled_from([b"", b"X: 1\r\n", b"X: 1\r\nY:\r\n", b"Digest: " + b"z" * 300 + b"\r\n"])


@st.composite
def bodies(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """(payload, one of its chunked forms)"""
    pieces = draw(st.lists(st.binary(min_size=1, max_size=300), max_size=6))
    wire = b""
    for piece in pieces:
        size = b"%x" % len(piece)
        size = draw(st.sampled_from([size, size.upper(), b"00" + size]))
        wire += size + draw(EXTENSIONS) + b"\r\n" + piece + b"\r\n"
    return b"".join(pieces), wire + draw(st.sampled_from([b"0", b"000"])) + draw(EXTENSIONS) + b"\r\n" + draw(
        TRAILERS
    ) + b"\r\n"


def read(body: ChunkedBody | LengthBody, wire: bytes, cuts: list[int]) -> tuple[bytes, int]:
    """(payload, bytes of `wire` that belong to the message)"""
    payload, used, start = b"", 0, 0
    for end in [*sorted(cut % (len(wire) + 1) for cut in cuts), len(wire)]:
        at = 0
        part = wire[start:end]
        while at < len(part) and not body.done:
            pieces, stop = body.feed(b"?" + part, at + 1)  # an offset, as in a read that began with a head
            assert stop - 1 > at, "no progress"
            payload += b"".join(pieces)
            at = stop - 1
        used += at
        start = end
    return payload, used


@given(bodies(), st.lists(st.integers(0, 5000), max_size=20), st.binary(max_size=50))
def test_any_cut_of_any_chunked_body_gives_the_same_payload(
    body: tuple[bytes, bytes], cuts: list[int], rest: bytes
) -> None:
    payload, wire = body
    reader = ChunkedBody(0)
    assert read(reader, wire + rest, cuts) == (payload, len(wire))
    assert reader.done


RUN = b"3\r\nabc\r\n" * 4


@given(bodies(), st.lists(st.integers(0, 5000), max_size=20), st.binary(max_size=50))
@example((b"abc" * 4, RUN + b"0\r\n\r\n"), [7], b"")
@example((b"abc" * 4 + b"abcd", RUN + b"4\r\nabcd\r\n0\r\n\r\n"), [], b"")
def test_chunks_that_are_sent_on_carry_the_same_payload_and_nothing_else(
    body: tuple[bytes, bytes], cuts: list[int], rest: bytes
) -> None:
    payload, wire = body
    reader = ChunkedBody(0, framed=True)
    chunks, used = read(reader, wire + rest, cuts)
    assert reader.done
    assert (used, reader.payload) == (len(wire), len(payload))
    assert h11_reads(chunks + LAST_CHUNK) == (payload, b"")
    assert re.fullmatch(rb"([1-9a-fA-F][0-9a-fA-F]*\r\n)?", chunks[: chunks.find(b"\n") + 1])


def test_plain_chunks_are_sent_on_as_they_came() -> None:
    wire = RUN + b"4\r\nabcd\r\n" + RUN
    assert read(ChunkedBody(0, framed=True), wire + b"0\r\n\r\n", []) == (wire, len(wire) + 5)
    long = b"05\r\n12345\r\n" + b"6;a=b\r\n123456\r\n"
    assert read(ChunkedBody(0, framed=True), long, []) == (b"5\r\n12345\r\n6\r\n123456\r\n", len(long))


@given(st.binary(min_size=1, max_size=3000), st.lists(st.integers(0, 5000), max_size=20), st.binary(max_size=50))
def test_any_cut_of_any_body_with_a_length_gives_the_same_payload(body: bytes, cuts: list[int], rest: bytes) -> None:
    reader = LengthBody(len(body))
    assert read(reader, body + rest, cuts) == (body, len(body))
    assert reader.done


@given(st.lists(st.binary(max_size=300), max_size=6))
def test_what_we_encode_is_what_we_read(pieces: list[bytes]) -> None:
    wire = b"".join(map(encode_chunk, pieces)) + LAST_CHUNK
    assert read(ChunkedBody(0), wire, []) == (b"".join(pieces), len(wire))


def h11_reads(wire: bytes) -> tuple[bytes, bytes] | None:
    """(payload, what follows) by h11's reading; None when it refuses or waits for more."""
    server = h11.Connection(h11.SERVER)
    server.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + wire)
    payload = b""
    try:
        while True:
            event = server.next_event()
            if isinstance(event, h11.Data):
                payload += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return payload, server.trailing_data[0]
            elif event is h11.NEED_DATA:
                return None
    except h11.RemoteProtocolError:
        return None


ALPHABET = st.sampled_from(
    [b"0", b"1", b"3", b"a", b"F", b"\r\n", b"\r", b"\n", b";", b" ", b"\t", b"x", b":", b"\0", b"-", b"+"]
)


@given(st.lists(ALPHABET, max_size=24).map(b"".join))
@example(b"3\r\nabc\r\n0\r\n\r\n")
@example(b"3\n\nabc\r\n0\r\n\r\n")
@example(b"1\r\nx0\r\n\r\n")
def test_whatever_we_take_for_a_body_h11_takes_for_the_same(wire: bytes) -> None:
    """Differential: we may be stricter than h11, never laxer or different."""
    reader = ChunkedBody(0)
    try:
        payload, used = read(reader, wire, [])
    except Broken:
        return
    if reader.done:
        assert h11_reads(wire) == (payload, wire[used:])


@given(bodies(), st.integers(0, 10_000), st.integers(0, 255))
def test_a_body_with_a_byte_changed_is_refused_or_read_as_h11_reads_it(
    body: tuple[bytes, bytes], place: int, byte: int
) -> None:
    wire = bytearray(body[1])
    wire[place % len(wire)] = byte
    test_whatever_we_take_for_a_body_h11_takes_for_the_same.hypothesis.inner_test(bytes(wire))


@given(st.lists(ALPHABET, max_size=16).map(b"".join))
def test_whole_and_byte_by_byte_agree(wire: bytes) -> None:
    def outcome(cuts: list[int]) -> tuple[bytes, int, bool] | None:
        reader = ChunkedBody(0)
        try:
            return (*read(reader, wire, cuts), reader.done)
        except Broken:
            return None

    whole, bytewise = outcome([]), outcome(list(range(len(wire))))
    # A mistake may show earlier in one of them, but neither ends a body where the other does not.
    assert whole == bytewise or not ((whole and whole[2]) or (bytewise and bytewise[2]))


def outcome_of(reader: ChunkedBody, wire: bytes) -> tuple[int, int, bool] | None:
    try:
        _, used = read(reader, wire, [])
    except Broken:
        return None
    return used, reader.payload, reader.done


@given(st.lists(ALPHABET | st.just(b"3\r\nabc\r\n"), max_size=16).map(b"".join))
@example(RUN + b"3\r\nabcd\r\n")
@example(RUN + b"3\r\nabc\n\r")
def test_what_is_sent_on_is_read_no_laxer(wire: bytes) -> None:
    assert outcome_of(ChunkedBody(0, framed=True), wire) == outcome_of(ChunkedBody(0), wire)


@given(bodies(), st.integers(0, 10_000), st.integers(0, 255))
def test_what_is_sent_on_is_read_no_laxer_with_a_byte_changed(body: tuple[bytes, bytes], place: int, byte: int) -> None:
    wire = bytearray(body[1] + body[1])
    wire[place % len(wire)] = byte
    test_what_is_sent_on_is_read_no_laxer.hypothesis.inner_test(bytes(wire))


def test_the_limit_is_exact_and_counts_payload() -> None:
    assert read(ChunkedBody(6), b"3;e\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n", []) == (b"abcdef", 23)
    with pytest.raises(Broken, match="body_size"):
        read(ChunkedBody(5), b"3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n", [])


@pytest.mark.parametrize(
    "wire",
    [
        b"3;" + b"x" * MAX_CHUNK_LINE + b"\r\n",
        b"3;" + b"x" * 10_000,
        b"0\r\n" + b"X: " + b"y" * MAX_TRAILER_BYTES + b"\r\n\r\n",
        b"0\r\n" + b"a:\r\n" * (MOST_TRAILERS + 1) + b"\r\n",
        b"0\r\n" + b"y" * 10_000,
    ],
    ids=["extension", "extension without end", "long trailer", "many trailers", "trailer without end"],
)
@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_lines_are_bounded_however_they_come(wire: bytes, step: int) -> None:
    with pytest.raises(Broken):
        read(ChunkedBody(0), wire, list(range(0, len(wire), step)))


def test_framing_without_payload_is_bounded() -> None:
    """CVE-2023-39326: a body of extensions only. With payload between them it is merely slow."""
    reader = ChunkedBody(0)
    for _ in range(1000):
        reader.feed(b"1;" + b"x" * 200 + b"\r\ny\r\n", 0)
    assert len(reader._line) < MAX_CHUNK_LINE


@pytest.mark.parametrize("bad", [b"3\r\nabcX", b"3\r\nabc\rX", b"3\r\nabc\n"])
def test_data_longer_than_its_size_is_refused_at_once(bad: bytes) -> None:
    with pytest.raises(Broken):
        read(ChunkedBody(0), bad + b"\r\n", [])


@pytest.mark.parametrize("framed", [False, True])
@pytest.mark.parametrize("extension", [b"", b"; a", b";a=b", b";" + b"x" * 240, b";" + b"x" * 254])
def test_a_chunk_with_an_extension_means_what_it_means_without(
    framed: bool, extension: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[bytes] = []
    inner = ChunkedBody._on_line

    def noted(self: ChunkedBody, line: bytes) -> None:
        lines.append(line)
        inner(self, line)

    monkeypatch.setattr(ChunkedBody, "_on_line", noted)
    body = ChunkedBody(0, framed)
    pieces, end = body.feed((b"5" + extension + b"\r\nhello\r\n") * 1000 + b"0\r\n\r\nGET", 0)
    assert b"".join(pieces) == (b"5\r\nhello\r\n" if framed else b"hello") * 1000
    assert body.done
    assert body.payload == 5000
    assert end == 1000 * (10 + len(extension)) + 5
    if len(extension) <= 241:
        assert lines == [b"0", b""], "a whole chunk is read at once"


@pytest.mark.parametrize("line", [b"5 ", b"5\t ", b"5 ;a=b", b"5; a b", b"5;", b"5 ;"])
def test_a_sloppy_line_whose_size_is_clear_is_refused_and_not_charged(line: bytes) -> None:
    """A program that pads its sizes, which RFC 9112 section 7.1.1 allows before an extension, was banned for it."""
    with pytest.raises(Broken) as caught:
        ChunkedBody(100).feed(line + b"\r\nhello\r\n0\r\n\r\n", 0)
    assert caught.value.rule is Rule.CHUNK_EXTENSION
    assert not caught.value.rule.charged


@pytest.mark.parametrize("line", [b" 5", b"0x5", b"+5", b"5\x0b", b"5 \x00", b"5 5", b"5,"])
def test_a_size_that_two_readers_could_read_differently_is_charged(line: bytes) -> None:
    with pytest.raises(Broken) as caught:
        ChunkedBody(100).feed(line + b"\r\nhello\r\n0\r\n\r\n", 0)
    assert caught.value.rule is Rule.CHUNK_SIZE
    assert caught.value.rule.charged
