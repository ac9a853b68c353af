"""Plain heads: read as the examiner would, or left to them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shield.http.head import Examiner, Head
from shield.http.plain_head import PlainHeads
from shield.http.rules import Broken
from shield.http.settings import HttpSettings

BROWSER = (
    b"Host: site.example:8080",
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    b"Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8",
    b"Accept-Language: en-GB,en;q=0.7",
    b"Cookie: session=0123; theme=dark",
    b"Connection: keep-alive",
)
SETTINGS = HttpSettings(max_fields=12, max_target_bytes=64, max_body_bytes=1000)
KEPT = [
    "method",
    "target",
    "path",
    "host",
    "length",
    "old",
    "close",
    "doubtful",
    "expect",
    "upgrade",
    "agent",
    "language",
    "cookie",
    "token",
    "chain",
    "forwarded",
    "told",
    "request_id",
    "origin",
]


def message(*lines: bytes, first: bytes = b"GET / HTTP/1.1") -> bytes:
    return b"\r\n".join((first, *lines, b"", b""))


def both(data: bytes) -> tuple[Head | None, Head | str]:
    """What the short way makes of a head, and what the long way does."""
    examiner = Examiner(SETTINGS, "Shield-Pass")
    heads = PlainHeads(examiner)
    stop = data.index(b"\r\n")
    short: Head | None = None
    try:
        for _ in range(2):  # the second time from memory
            short = heads.read(data, stop)
    except Broken as broken:
        return None, broken.rule.value

    def parse() -> Head | str:
        try:
            return examiner.examine(data, stop)
        except Broken as broken:
            return broken.rule.value

    return short, parse()


def assert_same(short: Head, long: Head | str) -> None:
    assert isinstance(long, Head), long
    assert {name: getattr(short, name) for name in KEPT} == {name: getattr(long, name) for name in KEPT}
    assert short.reader() is long.reader()
    assert b"".join(short.fields) == b"".join(long.fields)
    assert [name.lower() for name in short.headers] == [name.lower() for name in long.headers]
    for name in set(long.headers):
        for spelling in (name, name.lower(), name.upper()):
            assert short.headers.get(spelling) == short.headers[spelling] == long.headers.get(spelling)
            assert short.headers.getall(spelling, None) == long.headers.getall(spelling, None)
            assert spelling in short.headers
    assert len(short.headers) == len(list(short.headers))
    assert short.headers.get("X-Nobody-Sends-This") is None
    assert "X-Nobody-Sends-This" not in short.headers


@pytest.mark.parametrize(
    ("first", "lines"),
    [
        (b"GET / HTTP/1.1", BROWSER),
        (b"HEAD /a?b=%20|^{}\"'`[]\\ HTTP/1.1", BROWSER),
        (b"GET //x/../y HTTP/1.1", (b"host:a", b"X-Empty:", b"x-tab:\ta\tb \t", b"X-Byte: \xc3\xa9\xff")),
        (b"POST /form HTTP/1.1", (*BROWSER, b"Content-Length: 12", b"Content-Type: text/plain")),
        (b"PUT / HTTP/1.1", (b"Host: a", b"Content-Length: 0", b"Connection: close")),
        (b"OPTIONS / HTTP/1.1", (b"Host: [::1]:80", b"Connection: Upgrade, Keep-Alive", b"Keep-Alive: 5", b"TE: x")),
        (b"GET / HTTP/1.1", (b"Host: a", b"Cookie: a=1", b"cookie: b=2", b"Shield-Pass: abc", b"Shield-Pass: def")),
        (
            b"GET / HTTP/1.1",
            (b"Host: a", b"X-Forwarded-For: 1.2.3.4", b"X-Forwarded-For: 5.6.7.8", b"Forwarded: for=x"),
        ),
        (b"GET / HTTP/1.1", (b"Host: a", b"X-Forwarded-Proto: https", b"Forwarded: for=y", b"Forwarded: for=z")),
        (b"GET / HTTP/1.1", (b"Host: a", b"CLIENT-ip:  1.2.3.4\t", b"x-forwarded-new: 1", b"x-real-ip: 1.2.3.4")),
        (b"GET / HTTP/1.1", (b"Host: a", b"CDN-Loop: other", b"CDN-Loop: more")),
        (b"GET / HTTP/1.1", (b"Host: a", b"X-Request-Id: abc-1", b"X-Request-Id: ?", b"User-Agent: a")),
        (b"GET / HTTP/1.1", (b"Host: a", b"X-Request-Id: not believed", b"Authorization: Basic eA==")),
        (b"GET / HTTP/1.1", (b"Host: a", b"User-Agent: a", b"User-Agent: b")),
        (b"GET / HTTP/1.1", (b"Host: a", b"User-Agent:", b"User-Agent: b")),
        (b"POST / HTTP/1.1", (b"Host: a", b"Content-Type: a", b"content-type: b", b"ETag: 1", b"ETag: 2")),
    ],
)
def test_plain_heads_are_read_alike(first: bytes, lines: tuple[bytes, ...]) -> None:
    short, long = both(message(*lines, first=first))
    assert short is not None
    assert_same(short, long)


@pytest.mark.parametrize(
    ("first", "lines"),
    [
        (b"GET / HTTP/1.0", BROWSER),
        (b"GET  / HTTP/1.1", BROWSER),
        (b"GET http://site.example/ HTTP/1.1", BROWSER),
        (b"OPTIONS * HTTP/1.1", BROWSER),
        (b"PROPFIND / HTTP/1.1", BROWSER),
        (b"GET /\xc3\xa9 HTTP/1.1", BROWSER),
        (b"GET /# HTTP/1.1", BROWSER),
        (b"GET / HTTP/1.1", ()),
        (b"GET / HTTP/1.1", (b"Host: a", b"Host: a")),
        (b"GET / HTTP/1.1", (b"Host: a b",)),
        (b"GET / HTTP/1.1", (b"Host:",)),
        (b"GET / HTTP/1.1", (b"Host: a", b" folded")),
        (b"GET / HTTP/1.1", (b"Host: a", b"Na me: x")),
        (b"GET / HTTP/1.1", (b"Host: a", b"Name : x")),
        (b"GET / HTTP/1.1", (b"Host: a", b"X_Forwarded_For: x")),
        (b"GET / HTTP/1.1", (b"Host: a", b"no colon")),
        (b"GET / HTTP/1.1", (b"Host: a", b"X: a\rb")),
        (b"GET / HTTP/1.1", (b"Host: a", b"X: a\nb: c")),
        (b"GET / HTTP/1.1", (b"Host: a", b"X: a\0b")),
        (b"GET / HTTP/1.1", (b"Host: a", b"X: a\x7fb")),
        (b"GET / HTTP/1.1", (b"Host: a", b"Connection: x-secret", b"X-Secret: y")),
        (b"GET / HTTP/1.1", (b"Host: a", b"Connection: close", b"Connection: close")),
        (b"GET / HTTP/1.1", (b"Host: a", b"Content-Length: 5")),
        (b"POST / HTTP/1.1", (b"Host: a", b"Content-Length: 5", b"Content-Length: 5")),
        (b"POST / HTTP/1.1", (b"Host: a", b"Content-Length: +5")),
        (b"POST / HTTP/1.1", (b"Host: a", b"Content-Length: 1001")),
        (b"POST / HTTP/1.1", (b"Host: a", b"Transfer-Encoding: chunked")),
        (b"POST / HTTP/1.1", (b"Host: a", b"Expect: 100-continue", b"Content-Length: 5")),
        (b"GET / HTTP/1.1", (b"Host: a", b"Upgrade: websocket", b"Connection: upgrade", b"Sec-WebSocket-Key: x")),
        (b"GET / HTTP/1.1", (b"Host: a", *(b"X: y" for _ in range(12)))),
    ],
)
def test_everything_else_is_left_to_the_examiner(first: bytes, lines: tuple[bytes, ...]) -> None:
    assert both(message(*lines, first=first))[0] is None


def test_a_long_target_is_refused_alike() -> None:
    assert both(message(*BROWSER, first=b"GET /" + b"a" * 64 + b" HTTP/1.1")) == (None, "target_size")


PIECES = st.sampled_from(
    [
        *BROWSER,
        b"Content-Length: 5",
        b"content-length: 0",
        b"Transfer-Encoding: chunked",
        b"Connection: close",
        b"Connection: x",
        b"Expect: 100-continue",
        b"X-Forwarded-For: 1.2.3.4",
        b"X-Request-Id: a",
        b"Shield-Pass: t",
        b"Cookie: b=2",
        b"Cookie:",
        b"Host: b",
        b"Accept:",
        b"Content-Type: a",
        b"Accept: TEXT/HTML",
        b"Sec-Fetch-Dest: document",
        b"Sec-Fetch-Dest: image",
        b"Transfer_Encoding: chunked",
        b"Content--Length: 3",
        b"Upgrade: h2c",
    ]
)
FIRST = st.sampled_from(
    [b"GET / HTTP/1.1", b"POST /a?b HTTP/1.1", b"HEAD /x HTTP/1.1", b"DELETE / HTTP/1.1", b"GET / HTTP/1.0"]
)
ANY = st.binary(max_size=12)


@given(FIRST, st.lists(st.one_of(PIECES, ANY), max_size=8), st.integers(0, 200), ANY)
@settings(max_examples=500, deadline=None)
def test_whatever_comes_is_read_alike_or_not_at_all(first: bytes, lines: list[bytes], at: int, junk: bytes) -> None:
    data = message(b"Host: a", *lines, first=first)
    if junk:  # somewhere in it
        data = data[:at] + junk + data[at:]
    if data.find(b"\r\n\r\n") != len(data) - 4 or b"\r\n" not in data:
        return  # the connection cuts heads at the first empty line
    short, long = both(data)
    if short is not None:
        assert_same(short, long)


def test_what_is_remembered_is_no_secret() -> None:
    heads = PlainHeads(Examiner(HttpSettings(), "Shield-Pass"))
    data = message(*BROWSER, b"Authorization: Bearer abc", b"X-Api-Key: def", b"Shield-Pass: ghi", b"X: " + b"y" * 600)
    head = heads.read(data, data.index(b"\r\n"))
    assert head is not None
    assert head.cookie == b"session=0123; theme=dark"
    assert sorted(heads._lines.known) == sorted(line for line in BROWSER if not line.startswith(b"Cookie"))


def test_the_pass_is_no_less_a_secret_under_another_name() -> None:
    heads = PlainHeads(Examiner(HttpSettings(), "X-Ticket"))
    data = message(b"Host: a", b"X-TICKET: abc")
    head = heads.read(data, data.index(b"\r\n"))
    assert head is not None
    assert head.token == b"abc"
    assert list(heads._lines.known) == [b"Host: a"]
