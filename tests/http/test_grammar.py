"""The rules that heads are read by: what they take, what they do not, and in what time."""

from __future__ import annotations

import re
import string

import pytest

from shield.http import grammar


def test_the_bytes_of_a_token_are_those_of_the_rfc() -> None:
    assert frozenset((string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~").encode()) == grammar.TCHARS


@pytest.mark.parametrize(
    ("rule", "taken", "refused"),
    [
        (
            grammar.FIELD_LINE,
            (b"A:", b"A:b", b"A_b: c d\t", b"~: \xff"),
            (b"", b"A", b":b", b"A :b", b"A: b\x7f", b" A:b"),
        ),
        (grammar.PLAIN_FIELD_LINE, (b"A:", b"A-b: c d"), (b"A_b: c", b"A:\x01", b"A: b\r")),
        (grammar.TRAILER_LINE, (b"A:", b"A_b: \t c "), (b"A", b"A :b", b"A:\x01")),
        (
            grammar.PLAIN_REQUEST_LINE,
            (b"GET / HTTP/1.1", b"DELETE /a?b|c HTTP/1.1"),
            (b"GET /# HTTP/1.1", b"get / HTTP/1.1"),
        ),
        (
            grammar.PLAIN_REQUEST_LINE,
            (),
            (b"TRACE / HTTP/1.1", b"GET  / HTTP/1.1", b"GET a HTTP/1.1", b"GET / HTTP/1.0"),
        ),
        (
            grammar.STATUS_LINE,
            (b"HTTP/1.1 200 OK", b"HTTP/1.0 599", b"HTTP/1.1 404 ", b"HTTP/1.1 999 x"),
            (b"HTTP/1.1 099 X", b"HTTP/1.1  200"),
        ),
        (
            grammar.HOST,
            (b"a", b"a.example:80", b"[::1]:0", b"1.2.3.4:", b"a:65535"),
            (b"", b"a:65536", b"a@b", b"a/b", b"::1"),
        ),
        (grammar.CONTENT_LENGTH, (b"0", b"007", b"9" * 18), (b"", b"+1", b"1 ", b"9" * 19, b"0x1")),
        (grammar.CHUNK_SIZE, (b"0", b"aF", b"1;a=b", b"f" * 15), (b"", b"1 ", b"1 ;a", b"-1", b"f" * 16, b"1;\x01")),
        (
            grammar.CHUNK_SIZE,
            (b'1;a="b;\\"c";d', b"1; a = b ;c", b"1;a;b;c=d"),
            (b"1;", b"1;=a", b"1;a=", b"1;a b", b'1;a="b', b'1;a="\x01"', b"1;a ", b"1;a;", b"1;a=\xe4"),
        ),
        (
            grammar.REQUEST_LINE,
            (b"get / HTTP/1.1", b"RPC_IN_DATA http://a/ HTTP/9.9", b"A \xff# HTTP/1.0"),
            (b"G(T / HTTP/1.1", b"GET  / HTTP/1.1", b"GET / HTTP/11", b"GET /a b HTTP/1.1", b" GET / HTTP/1.1"),
        ),
        (
            grammar.TRANSFER_CODINGS,
            (b"gzip, chunked", b"x-gzip,DEFLATE ,Chunked"),
            (
                b"chunked",
                b"chunked, gzip",
                b"gzip",
                b"gzip chunked",
                b"br, chunked",
                b"gzip,, chunked",
                b"gzip, chunked,",
            ),
        ),
        (grammar.EQUAL_LENGTHS, (b"5, 5", b"5 ,5,5"), (b"5", b"5, 6", b"5, 05", b"5,", b"5, 55", b"55, 5")),
        (grammar.SPACED_FIELD_LINE, (b"A : b", b"A \t:"), (b"A: b", b" A : b", b"A B : c", b"A : \x01")),
        (grammar.RANGE_SPEC, (b"0-", b" -5\t", b"1-2"), (b"1", b"1-2-3", b"a-b")),
    ],
    ids=lambda each: "" if not isinstance(each, re.Pattern) else each.pattern[:12].decode(),
)
def test_what_a_rule_takes(rule: re.Pattern[bytes], taken: tuple[bytes, ...], refused: tuple[bytes, ...]) -> None:
    assert [text for text in taken if rule.fullmatch(text) is None] == []
    assert [text for text in refused if rule.fullmatch(text) is not None] == []


@pytest.mark.parametrize("text", ["/", '/a?b=[]{}|^`\\"', "*", "http://a/"])
def test_a_target_has_visible_characters_and_no_fragment(text: str) -> None:
    assert grammar.TARGET.fullmatch(text)
    for wrong in (" ", "#", "\x7f", "\xe9"):
        assert grammar.TARGET.fullmatch(text + wrong) is None


@pytest.mark.parametrize("field", [grammar.PLAIN_FIELD_LINE, grammar.FIELD_LINE], ids=["plain", "any"])
@pytest.mark.parametrize("pump", [b" ", b"\t", b" \t", b"a", b"a ", b" a", b"\xff", b":"])
def test_a_field_line_is_read_in_time_of_its_length(field: re.Pattern[bytes], pump: bytes) -> None:
    """Found by looking for it: 30,000 spaces and a control character held the event loop for 7 s, for anybody. With
    three times as much for each of these, this would take an hour."""
    for begin in (b"X", b"X:", b"X: a", b"X:a b"):
        for end in (b"\x01", b"\x7f", b"\0", b" \n"):
            assert field.fullmatch(begin + pump * (100_000 // len(pump)) + end) is None


@pytest.mark.parametrize("pump", [b" ", b"\t", b"a", b";", b"a=", b";a=b", b' ;a="b"', b'"', b'\\"', b"\\", b"="])
def test_a_chunk_line_is_read_in_time_of_its_length(pump: bytes) -> None:
    """As above: what repeats shares no characters with what follows it."""
    for begin in (b"1;", b"1;a", b"1;a=", b'1;a="', b"1;a "):
        for end in (b"\x01", b'"', b";", b" "):
            text = begin + pump * (100_000 // len(pump)) + end
            grammar.CHUNK_SIZE.fullmatch(text)
            assert grammar.CHUNK_SIZE_LINE.match(text + b"\r\n") is None, "longer than a line may be"


@pytest.mark.parametrize("pump", [b"gzip,", b"gzip, ", b" ", b",", b"5,", b"5 , "])
def test_a_list_of_codings_or_lengths_is_read_in_time_of_its_length(pump: bytes) -> None:
    for begin in (b"", b"gzip", b"gzip ", b"5", b"5 "):
        text = begin + pump * (100_000 // len(pump)) + b"!"
        assert grammar.TRANSFER_CODINGS.fullmatch(text) is None
        assert grammar.EQUAL_LENGTHS.fullmatch(text) is None
