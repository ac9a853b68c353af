"""Addresses to listen on."""

from __future__ import annotations

import pytest

from shield.wire.addresses import TcpAddress, UnixAddress, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", TcpAddress("127.0.0.1", 8080)),
        (":0", TcpAddress("", 0)),
        ("[::1]:9901", TcpAddress("::1", 9901)),
        ("localhost:65535", TcpAddress("localhost", 65535)),
        ("unix:/run/x.sock", UnixAddress("/run/x.sock")),
    ],
)
def test_round_trip(text: str, address: TcpAddress | UnixAddress) -> None:
    assert parse_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "127.0.0.1",
        "x:",
        "x:-1",
        "x:65536",
        "x:²",
        "::1:80",
        "[::1:80",
        "[x]:80",
        "a b:80",
        "a@b:80",
        "http://x:80",
        "unix:",
        "unix:x",
        "unix:/" + "x" * 107,
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        parse_address(text)
