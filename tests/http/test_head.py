"""One request head in, the head for the upstream out. The rules on the wire are in tests/conformance."""

from __future__ import annotations

from typing import Any

import pytest

from shield.http.fields import REQUEST_FIELDS, RequestField
from shield.http.framing import CHUNKED
from shield.http.head import Examiner, Head
from shield.http.rules import Broken
from shield.http.settings import HttpSettings
from shield.model import Fault


def examine(
    *lines: str, first: str = "GET / HTTP/1.1", host: str = "Host: a", settings: HttpSettings | None = None
) -> Head:
    data = "\r\n".join(line for line in (first, host, *lines) if line) + "\r\n\r\n"
    return Examiner(settings or HttpSettings(), "Shield-Pass").examine(data.encode("latin-1"), len(first))


def fault(*lines: str, **options: Any) -> Fault:
    with pytest.raises(Broken) as broken:
        examine(*lines, **options)
    return broken.value.rule.fault


def test_fields_are_written_anew() -> None:
    head = examine("X-One:   1  ", "x-two:2", "Accept: */*")
    assert b"".join(head.fields) == b"X-One: 1\r\nx-two: 2\r\nAccept: */*\r\n"


def test_what_identity_needs_is_forwarded_too() -> None:
    head = examine("User-Agent: A", "Accept-Language: de")
    assert (head.agent, head.language) == (b"A", b"de")
    assert b"".join(head.fields) == b"User-Agent: A\r\nAccept-Language: de\r\n"


@pytest.mark.parametrize(
    "name", [name.decode() for name, kind in REQUEST_FIELDS.items() if kind is RequestField.DROPPED]
)
def test_hop_by_hop_fields_are_dropped(name: str) -> None:
    assert (examine(f"{name.title()}: x")).fields == []


def test_names_with_an_underscore_are_dropped() -> None:
    assert (examine("X_Real_Ip: 6.6.6.6", "Shield_Pass: x")).fields == []


def test_fields_that_connection_names_are_dropped() -> None:
    head = examine("X-One: 1", "X-Two: 2", "Cookie: a=1", "Connection: x-one , Cookie,keep-alive")
    assert b"".join(head.fields) == b"X-Two: 2\r\n"
    assert head.cookie == b""
    assert not head.close


def test_cookies_are_joined() -> None:
    assert (examine("Cookie: a=1", "Cookie: b=2")).cookie == b"a=1; b=2"


@pytest.mark.parametrize(
    ("first", "connection", "close"),
    [
        ("GET / HTTP/1.1", "", False),
        ("GET / HTTP/1.1", "close", True),
        ("GET / HTTP/1.1", "Close", True),
        ("GET / HTTP/1.1", "keep-alive", False),
        ("GET / HTTP/1.1", "foo, close", True),
        ("GET / HTTP/1.0", "", True),
        ("GET / HTTP/1.0", "keep-alive", False),
        ("GET / HTTP/1.0", "foo, Keep-Alive", False),
        ("GET / HTTP/1.0", "keep-alive, close", True),
    ],
)
def test_who_closes(first: str, connection: str, close: bool) -> None:
    head = examine(f"Connection: {connection}" if connection else "", first=first)
    assert head.close is close


def test_the_length_of_a_body() -> None:
    assert (examine(first="POST / HTTP/1.1")).length == 0
    assert (examine("Content-Length: 12", first="POST / HTTP/1.1")).length == 12
    assert (examine("Transfer-Encoding: Chunked", first="POST / HTTP/1.1")).length == CHUNKED
    assert (
        fault("Content-Length: 11", first="POST / HTTP/1.1", settings=HttpSettings(max_body_bytes=10))
        is Fault.BODY_TOO_LARGE
    )
    assert (
        examine("Content-Length: 11", first="POST / HTTP/1.1", settings=HttpSettings(max_body_bytes=0))
    ).length == 11


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "DELETE"])
def test_a_body_where_others_expect_none_is_doubtful(method: str) -> None:
    assert (examine("Content-Length: 1", first=f"{method} / HTTP/1.1")).doubtful
    assert not (examine("Content-Length: 0", first=f"{method} / HTTP/1.1")).doubtful


def test_a_websocket_needs_all_its_parts() -> None:
    parts = ["Connection: keep-alive, Upgrade", "Upgrade: WebSocket", "Sec-WebSocket-Key: x"]
    assert (examine(*parts)).upgrade == b"websocket"
    for missing in parts:
        assert (examine(*[part for part in parts if part != missing])).upgrade == b""


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ("spdy/3.1", b"spdy/3.1"),
        ("SPDY/3.1", b"SPDY/3.1"),
        ("h2c, SPDY/3.1 ,x,Tcp", b"SPDY/3.1, Tcp"),
        ("h2c", b""),
        ("SPDY/3", b""),
        ("websocket, h2c", b""),
        ("", b""),
    ],
)
def test_upgrades_that_the_operator_lists_are_asked_for(asked: str, wanted: bytes) -> None:
    listed = HttpSettings(upgrades=("SPDY/3.1", "tcp"))
    parts = ["Connection: Upgrade", f"Upgrade: {asked}"]
    for method in ("GET", "POST", "LIST"):
        assert examine(*parts, first=f"{method} / HTTP/1.1", settings=listed).upgrade == wanted
    assert examine(*parts).upgrade == b""
    assert examine(*parts[1:], settings=listed).upgrade == b""
    assert examine(*parts, "Content-Length: 1", settings=listed).upgrade == b""
    assert examine(*parts, first="GET / HTTP/1.0", settings=listed).upgrade == b""


def test_the_target_of_the_absolute_form_decides_about_the_host() -> None:
    head = examine(first="GET HTTP://A/x?y HTTP/1.1")
    assert (head.target, head.path, head.host) == ("/x?y", "/x", b"A")


def test_limits_are_settings() -> None:
    small = HttpSettings(max_target_bytes=64, max_fields=8)
    assert fault(first="GET /" + "x" * 64 + " HTTP/1.1", settings=small) is Fault.TARGET_TOO_LONG
    assert fault(*["X: 1"] * 8, settings=small) is Fault.HEAD_TOO_LARGE


def test_the_name_cache_is_bounded() -> None:
    examiner = Examiner(HttpSettings(), "Shield-Pass")
    for number in range(100):
        lines = "\r\n".join(f"X-{number}-{n}: 1" for n in range(99))
        examiner.examine(f"GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n".encode(), 14)
    assert len(examiner._names.known) <= 4096
    head = examiner.examine(b"GET / HTTP/1.1\r\nHost: a\r\nConnectioN: close\r\nTE: x\r\n\r\n", 14)
    assert head.close, "a spelling that is not cached is classified all the same"
