"""Request heads as llhttp reads them (aiohttp's parser): what it takes and Shield does not, and the reverse.

Whatever Shield takes, llhttp takes with the same method, target and fields, but for what is WIDER. Each of both is on
the page.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser
from aiohttp.http_exceptions import HttpProcessingError
from hypothesis import given, settings
from hypothesis import strategies as st

from shield.http.head import Examiner, Head
from shield.http.head_reader import HeadReader
from shield.http.plain_head import PlainHeads
from shield.http.rules import Broken
from shield.http.settings import HttpSettings

PAGE: Final = Path(__file__).parents[2] / "docs" / "parsers.md"
NO_LOOP: Final[Any] = object()


def by_llhttp(data: bytes) -> Any:
    """The one message in `data`; None if it is none, or not one."""
    parser = HttpRequestParser(
        BaseProtocol(NO_LOOP), NO_LOOP, 65536, max_line_size=32768, max_field_size=32768, auto_decompress=False
    )
    try:
        messages, _, _ = parser.feed_data(data)
    except HttpProcessingError:
        return None
    return messages[0][0] if len(messages) == 1 else None


def by_shield(data: bytes) -> Head:
    return HeadReader(PlainHeads(Examiner(HttpSettings(), "Shield-Pass"))).read(data)


def head(first: bytes = b"GET / HTTP/1.1", *lines: bytes, host: bytes = b"Host: a") -> bytes:
    return b"\r\n".join((first, host, *lines, b"", b""))


POST: Final = b"POST / HTTP/1.1"
GAPS: Final = {
    "other-protocol": (head(b"GET / RTSP/1.0"), "request_line"),
    "old-version": (head(b"GET / HTTP/0.9"), "version"),
    "new-version": (head(b"GET / HTTP/2.0"), "version"),
    "spaces": (head(b"GET  / HTTP/1.1"), "target"),
    "lf-before": (b"\n" + head(), "bare_lf"),
    "no-target": (head(b"CONNECT  HTTP/1.1"), "request_line"),
    "connect": (head(b"CONNECT a:443 HTTP/1.1"), "method"),
    "trace": (head(b"TRACE / HTTP/1.1"), "method"),
    "fragment": (head(b"GET /#x HTTP/1.1"), "target"),
    "scheme": (head(b"GET ftp://a/ HTTP/1.1"), "target_form"),
    "target-host": (head(b"GET http://b/ HTTP/1.1"), "host_differs"),
    "host": (head(host=b"Host: user@a"), "host_syntax"),
    "port": (head(host=b"Host: a:65536"), "host_syntax"),
    "length-digits": (head(POST, b"Content-Length: " + b"0" * 19), "length_syntax"),
    "coding": (head(POST, b"Transfer-Encoding: gzip, chunked"), "coding_unknown"),
    "coding-1.0": (head(b"POST / HTTP/1.0", b"Transfer-Encoding: chunked"), "coding_in_1_0"),
    "disguise-underscore": (head(POST, b"Transfer_Encoding: chunked"), "disguised_framing"),
    "disguise-sign": (head(POST, b"Content-$Length: 5"), "disguised_framing"),
    "expectation": (head(POST, b"Expect: x"), "expectation"),
    "fields": (head(b"GET / HTTP/1.1", *(b"X: 1" for _ in range(100))), "field_count"),
}


@pytest.mark.parametrize("name", GAPS)
def test_the_parser_accepts_what_shield_refuses(name: str) -> None:
    data, rule = GAPS[name]
    assert by_llhttp(data) is not None
    with pytest.raises(Broken) as broken:
        by_shield(data)
    assert broken.value.rule.value == rule


WIDER: Final = {
    "any-method": head(b"LIST /v1/secret HTTP/1.1"),
    "a-field-twice": head(b"GET / HTTP/1.1", b"User-Agent: a", b"User-Agent: b"),
}


@pytest.mark.parametrize("name", WIDER)
def test_shield_accepts_what_the_parser_refuses(name: str) -> None:
    assert by_llhttp(WIDER[name]) is None
    by_shield(WIDER[name])


def test_the_page_lists_all_of_them() -> None:
    _, _, section = PAGE.read_text("utf-8").partition("\n## Shield against llhttp\n")
    section = section.partition("\n## ")[0]
    rows = [line.split("|")[1].strip() for line in section.splitlines() if line.startswith("| `")]
    assert rows == [f"`{name}`" for name in (*GAPS, *WIDER)]


FIRST: Final = st.sampled_from(
    [
        b"GET / HTTP/1.1",
        b"POST /a?b HTTP/1.1",
        b"DELETE http://a/x HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"PROPFIND / HTTP/1.0",
        b"GET /\xc3\xa9 HTTP/1.1",
        b"GET / HTTP/1.2",
    ]
)
LINES: Final = st.sampled_from(
    [
        b"Content-Length: 5",
        b"Content-Length : 5",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: Chunked ",
        b"transfer-encoding:\tchunked",
        b"Transfer-Encoding: xchunked",
        b"Connection: close",
        b"Connection: upgrade",
        b"Upgrade: websocket",
        b"Expect: 100-continue",
        b"Host: b",
        b" folded: 1",
        b"X: \x80\xff",
        b"X_Y: z",
        b"X:",
        b"Cookie: a=b",
    ]
)


@given(
    FIRST, st.lists(st.one_of(LINES, st.binary(max_size=12)), max_size=6), st.integers(0, 120), st.binary(max_size=3)
)
@settings(max_examples=500, deadline=None)
def test_what_is_accepted_llhttp_reads_alike(first: bytes, lines: list[bytes], at: int, junk: bytes) -> None:
    data = head(first, *lines)
    data = data[:at] + junk + data[at:]
    if data.find(b"\r\n\r\n") != len(data) - 4 or data.startswith(b"\r\n"):
        return  # what is read is one head, without an empty line before it
    try:
        ours = by_shield(data)
    except Broken:
        return
    theirs = by_llhttp(data)
    names = [line.partition(b":")[0].lower() for line in data.split(b"\r\n")[1:-2]]
    if theirs is None:
        known = ours.method in {"GET", "POST", "DELETE", "OPTIONS", "PROPFIND"}
        assert not known or len(set(names)) < len(names), data
        return
    assert theirs.method == ours.method
    assert (theirs.version.major, theirs.version.minor) == (1, 0 if ours.old else 1)
    assert theirs.path.removeprefix("http://a") == ours.target
    assert theirs.chunked == (ours.length == -1)
    assert [name.lower() for name, _ in theirs.raw_headers] == names
    kept = {line.partition(b": ")[0].lower(): line.partition(b": ")[2][:-2] for line in ours.fields}
    for name, value in theirs.raw_headers:
        if names.count(name.lower()) == 1 and name.lower() in kept:
            assert kept[name.lower()] == value
