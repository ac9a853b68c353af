"""Where the body of a request ends."""

from __future__ import annotations

import pytest

from shield.client.request_body import IncomingBody
from shield.http.framing import CHUNKED
from shield.http.rules import Broken
from tests.harness import chunked


@pytest.mark.parametrize(("length", "wire"), [(6, b"abcdef"), (CHUNKED, chunked(b"abc", b"def"))])
def test_payload_is_counted_and_what_follows_is_left(length: int, wire: bytes) -> None:
    body = IncomingBody(length, 0)
    data = wire + b"GET /"
    got = b""
    at, done = 0, False
    while not done:
        pieces, at, done = body.feed(data[: at + 3], at)
        got += b"".join(pieces)
    assert (got, at, body.received) == (b"abcdef", len(wire), 6)
    assert repr(body) == "<IncomingBody 6 bytes>"


def test_a_body_in_chunks_has_a_limit() -> None:
    body = IncomingBody(CHUNKED, 5)
    with pytest.raises(Broken, match="body_size"):
        body.feed(chunked(b"abc", b"def"), 0)
    with pytest.raises(Broken):
        IncomingBody(CHUNKED, 5).feed(b"x\r\n", 0)


def test_whether_the_rest_is_worth_reading() -> None:
    body = IncomingBody(10, 0)
    assert (body.may_exceed(9), body.may_exceed(10)) == (True, False)
    body.feed(b"abcd", 0)
    assert (body.may_exceed(5), body.may_exceed(6)) == (True, False)
    assert repr(body) == "<IncomingBody 4 bytes and more>"
    assert IncomingBody(CHUNKED, 10).may_exceed(1 << 40), "nobody knows"
