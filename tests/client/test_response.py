"""Responses as HTTP/1 writes them."""

from __future__ import annotations

import pytest

from shield.client.response import Http1Response
from shield.http.framing import CHUNKED, UNTIL_CLOSE
from tests.harness import request_head

HSTS = b"Strict-Transport-Security: max-age=60\r\n"


class Process:
    draining = False


def head(
    length: int,
    status: int = 200,
    declared: int = -1,
    method: str = "GET",
    old: bool = False,
    close: bool = False,
    whole: bool = True,
    draining: bool = False,
) -> tuple[bytes, bool, bool]:
    """What is written, whether chunks will do, and whether the connection ends."""
    process = Process()
    process.draining = draining
    response = Http1Response(process, b"")
    request = request_head(method)
    request.old, request.close = old, close
    chunks = response.head(request, status, [b"X: 1\r\n"], length, declared, whole)
    return response.take(), chunks, response.close


@pytest.mark.parametrize(
    ("written", "options"),
    [
        ((b"Content-Length: 5\r\n", False, False), {"length": 5}),
        ((b"Content-Length: 0\r\n", False, False), {"length": 0}),
        ((b"Transfer-Encoding: chunked\r\n", True, False), {"length": CHUNKED}),
        ((b"Transfer-Encoding: chunked\r\n", True, False), {"length": UNTIL_CLOSE}),
        ((b"", False, False), {"length": 0, "method": "HEAD"}),
        ((b"Content-Length: 7\r\n", False, False), {"length": 0, "declared": 7, "method": "HEAD"}),
        ((b"Connection: keep-alive\r\n", False, False), {"length": 0, "method": "HEAD", "old": True}),
        ((b"Content-Length: 5\r\nConnection: close\r\n", False, True), {"length": 5, "close": True}),
        ((b"Content-Length: 5\r\nConnection: close\r\n", False, True), {"length": 5, "whole": False}),
        ((b"Content-Length: 5\r\nConnection: close\r\n", False, True), {"length": 5, "draining": True}),
        ((b"Content-Length: 5\r\nConnection: keep-alive\r\n", False, False), {"length": 5, "old": True}),
        ((b"Connection: close\r\n", False, True), {"length": CHUNKED, "old": True}),
        ((b"Connection: close\r\n", False, True), {"length": UNTIL_CLOSE, "old": True}),
    ],
)
def test_framings(written: tuple[bytes, bool, bool], options: dict[str, object]) -> None:
    framing, chunks, close = written
    assert head(**options) == (b"HTTP/1.1 200 OK\r\nX: 1\r\n" + framing + b"\r\n", chunks, close)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "declared", "framing"),
    [
        (204, -1, b""),
        (204, 3, b""),
        (304, -1, b""),
        (304, 3, b"Content-Length: 3\r\n"),
        (205, 0, b"Content-Length: 0\r\n"),
    ],
)
def test_statuses_without_content(status: int, declared: int, framing: bytes) -> None:
    written, chunks, close = head(0, status=status, declared=declared)
    assert written.partition(b"X: 1\r\n")[2] == framing + b"\r\n"
    assert (chunks, close) == (False, False)


def test_a_body_is_cut_into_chunks_where_its_length_is_not_known() -> None:
    response = Http1Response(Process(), b"")
    response.head(request_head(), 200, [], UNTIL_CLOSE, -1, True)
    response.take()
    response.body(b"x" * 17)
    assert response.take() == b"11\r\n" + b"x" * 17 + b"\r\n"
    response.chunks([b"2\r\n", b"yy", b"\r\n"])
    assert response.end() == b"2\r\nyy\r\n0\r\n\r\n"
    assert response.take() == b""


def test_the_next_response_is_framed_anew() -> None:
    response = Http1Response(Process(), b"")
    response.head(request_head(), 200, [], CHUNKED, -1, True)
    response.end()
    response.head(request_head(), 200, [], 3, -1, True)
    response.body(b"abc")
    assert response.end() == b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"


def test_interim_responses_are_for_clients_that_know_them() -> None:
    response = Http1Response(Process(), b"")
    old = request_head()
    old.old = True
    response.interim(old, 103, [b"Link: a\r\n"])
    assert response.take() == b""
    response.interim(request_head(), 103, [b"Link: a\r\n"])
    assert response.take() == b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n"


def test_over_tls_there_is_one_hsts_field_and_it_is_ours() -> None:
    response = Http1Response(Process(), HSTS)
    theirs = [b"strict-transport-security: max-age=1\r\n", b"X: 1\r\n"]
    response.head(request_head(), 200, theirs, 0, -1, True)
    assert response.take() == b"HTTP/1.1 200 OK\r\n" + HSTS + b"X: 1\r\nContent-Length: 0\r\n\r\n"


def test_what_was_framed_of_a_response_that_does_not_go_on_is_forgotten() -> None:
    response = Http1Response(Process(), b"")
    response.interim(request_head(), 103, [])
    response.drop()
    assert response.take() == b""


def test_a_switch_is_followed_by_the_first_bytes() -> None:
    response = Http1Response(Process(), b"")
    response.switch(b"websocket", [b"Sec-WebSocket-Accept: x\r\n"], b"tail")
    assert response.take() == (
        b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x\r\n"
        b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\ntail"
    )
