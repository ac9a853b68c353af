"""Heads of HTTP/2 that are like the last one of their connection: read as if they were the first."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from shield.http.head import Examiner, Head
from shield.http.http2_head import Http2Heads
from shield.http.plain_head import PlainHeads
from shield.http.rules import Broken
from shield.http.settings import HttpSettings

Pairs = tuple[tuple[bytes, bytes], ...]

PLAIN = PlainHeads(Examiner(HttpSettings(max_target_bytes=64, max_head_bytes=3000), "Shield-Pass"))
PSEUDO: Pairs = ((b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/"), (b":authority", b"a.example"))
AGENT: Pairs = ((b"user-agent", b"Mozilla/5.0"), (b"accept-language", b"en"))
CRUMBS: Pairs = ((b"cookie", b"a=1"), (b"cookie", b"b=2"))
BEHIND: Pairs = ((b"priority", b"u=0, i"),)
BROWSER: Pairs = (*PSEUDO, *AGENT, *CRUMBS, *BEHIND)
WITHOUT: Pairs = (*PSEUDO, *AGENT)
APART: Pairs = (*PSEUDO, CRUMBS[0], *AGENT, CRUMBS[1])


def read(heads: Http2Heads, pairs: Pairs, received: int) -> dict[str, object] | str:
    """What a request means, or the rule that it breaks."""
    try:
        head = heads.read(pairs, True, lambda: b"", received)
    except Broken as broken:
        return broken.rule.value
    known = {name: value for name, value in vars(head).items() if name != "headers"}
    return known | {"lines": sorted(head.headers.lines())}


def with_path(pairs: Pairs, path: bytes) -> Pairs:
    return tuple((name, path if name == b":path" else value) for name, value in pairs)


def with_crumbs(*values: bytes) -> Pairs:
    return (*PSEUDO, *AGENT, *((b"cookie", value) for value in values), *BEHIND)


NEXT: Sequence[Pairs] = (
    BROWSER,
    WITHOUT,
    APART,
    with_path(BROWSER, b"/other?x=1"),
    with_path(BROWSER, b""),
    with_path(BROWSER, b"*"),
    with_path(BROWSER, b"/a b"),
    with_path(BROWSER, b"/" + b"x" * 64),
    with_path(BROWSER, b"/\r\nx: y"),
    with_path(APART, b"/other"),
    with_path(WITHOUT, b"/other"),
    with_crumbs(b"a=1"),
    with_crumbs(b"a=1; b=2"),
    with_crumbs(b"a=1", b"b=3"),
    with_crumbs(b"a=1", b"b=2", b"c=3"),
    with_path(with_crumbs(b"c=4"), b"/other"),
    with_crumbs(),
    with_crumbs(b""),
    with_crumbs(b" a=1 "),
    with_crumbs(b"a=1\r\nx: y"),
    with_crumbs(b"a=1\n"),
    with_crumbs(b"\x00"),
    with_crumbs(b"a=\xff"),
    with_crumbs(b"x" * 2900),
    with_crumbs(b"x" * 3100),
    (*BROWSER, (b"cookie", b"c=3")),
    (*BROWSER, (b"x", b"y")),
    (*BROWSER, (b":path", b"/late")),
    (*BROWSER, (b"connection", b"close")),
    (*PSEUDO, *AGENT, (b"referer", b"a"), *CRUMBS[1:], *BEHIND),
    (*PSEUDO, *AGENT, *CRUMBS),
    (*PSEUDO[:2], *PSEUDO[3:], *AGENT, *CRUMBS, *BEHIND),
    (*PSEUDO[:2], (b":protocol", b"websocket"), *PSEUDO[3:], *AGENT, *CRUMBS, *BEHIND),
    ((b":method", b"POST"), *BROWSER[1:]),
    (PSEUDO[0], (b":scheme", b"http"), *BROWSER[2:]),
    (*PSEUDO[:3], (b":authority", b"b.example"), *BROWSER[4:]),
    BROWSER[4:],
    (),
)


@pytest.mark.parametrize("first", [BROWSER, WITHOUT, APART, with_crumbs(b"a=1")], ids=["two", "none", "apart", "one"])
def test_what_is_like_the_last_one_means_what_it_would_alone(first: Pairs) -> None:
    heads = Http2Heads(PLAIN, b"https", False)
    for pairs in NEXT:
        for turn in range(2):
            assert isinstance(read(heads, first, 4000), dict)
            alone = read(Http2Heads(PLAIN, b"https", False), pairs, 4000)
            assert read(heads, pairs, 4000) == alone, (pairs, turn)


def test_a_cookie_that_names_the_table_again_and_again_is_too_much() -> None:
    """100 crumbs of 1 KB each by number are 200 bytes on the wire."""
    plain = PlainHeads(Examiner(HttpSettings(max_head_bytes=65536), "Shield-Pass"))
    heads = Http2Heads(plain, b"https", False)
    assert isinstance(read(heads, BROWSER, 4000), dict)
    assert read(heads, with_crumbs(*[b"x" * 1000] * 40), 200) == "head_size"
    assert isinstance(read(heads, with_crumbs(*[b"x" * 1000] * 7), 200), dict)


def test_a_head_is_not_that_of_the_next_request() -> None:
    """What a request goes through changes its head."""
    heads = Http2Heads(PLAIN, b"https", False)
    made: list[Head] = [heads.read(BROWSER, True, lambda: b"", 4000) for _ in range(3)]
    made[1].close, made[1].cookie = True, b"changed"
    made.append(heads.read(BROWSER, True, lambda: b"", 4000))
    assert len({id(head) for head in made}) == 4
    assert [(head.close, head.cookie) for head in made if head is not made[1]] == [(False, b"a=1; b=2")] * 3


def test_a_large_head_is_not_kept() -> None:
    heads = Http2Heads(PlainHeads(Examiner(HttpSettings(), "Shield-Pass")), b"https", False)
    assert isinstance(read(heads, BROWSER, 4000), dict)
    read(heads, with_crumbs(b"x" * 5000, b"y"), 9000)
    large = (*BROWSER, (b"x-large", b"x" * 5000))
    assert isinstance(read(heads, large, 9000), dict)
    assert heads._last is None
