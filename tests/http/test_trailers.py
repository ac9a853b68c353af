"""Which trailers are sent on."""

from __future__ import annotations

import pytest

from shield.http.framing import MAX_TRAILER_BYTES, MOST_TRAILERS
from shield.http.trailers import lines_of, may_follow, passable, wanted


@pytest.mark.parametrize("name", [b"grpc-status", b"grpc-message", b"x-checksum", b"digest", b"etag", b"server-timing"])
def test_what_says_something_new_about_the_message_may_follow_it(name: bytes) -> None:
    assert may_follow(name)


@pytest.mark.parametrize(
    "name",
    [
        b"content-length", b"transfer-encoding", b"host", b"connection", b"te", b"trailer", b"set-cookie", b"cookie",
        b"authorization", b"content-type", b"content-encoding", b"cache-control", b"location", b"x-forwarded-for",
        b"x-real-ip", b"forwarded", b"x-request-id", b"content--length", b"access-control-allow-origin", b"if-match",
        b"sec-websocket-accept", b"x-http-method-override", b"date", b"x-accel-redirect", b"traceparent",
    ],
)  # fmt: skip
def test_what_would_decide_something_in_front_may_not(name: bytes) -> None:
    assert not may_follow(name)


def test_lines_are_written_anew_and_those_that_are_none_are_dropped() -> None:
    lines = [b"X-A:1 ", b"X-B:\t", b"no field", b"X-C: a\x01", b"X-D: a\nHost: b", b"Set-Cookie: a=b", b"X_E: 1"]
    assert passable(lines) == [b"X-A: 1\r\n", b"X-B: \r\n", b"X_E: 1\r\n"]
    assert passable(lines, to_server=True) == [b"X-A: 1\r\n", b"X-B: \r\n"]
    assert passable(lines, to_server=True, read={b"x-b"}) == [b"X-A: 1\r\n"]


def test_of_http_2_there_may_be_as_many_as_of_http_1() -> None:
    assert lines_of([(b"x-a", b"1"), (b"x-b", b"")]) == [b"x-a: 1", b"x-b: "]
    assert lines_of([(b"x", b"y" * MAX_TRAILER_BYTES)]) == []
    assert len(lines_of([(b"x", b"")] * MOST_TRAILERS)) == MOST_TRAILERS
    assert lines_of([(b"x", b"")] * (MOST_TRAILERS + 1)) == []


@pytest.mark.parametrize(
    ("te", "takes"),
    [
        ("trailers", True),
        ("gzip, Trailers", True),
        (None, False),
        ("", False),
        ("gzip;q=0.5", False),
        ("xtrailers", False),
    ],
)
def test_who_takes_trailers_says_so(te: str | None, takes: bool) -> None:
    assert wanted(te) is takes
