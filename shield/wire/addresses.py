"""Addresses of listeners: "127.0.0.1:8080", "[::1]:8080", ":8080" (every interface) or "unix:/run/shield.sock"."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final

UNIX_PATH_BYTES: Final = 107
"""bytes. sun_path of unix(7) holds 108 with the final NUL."""


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """An address of TCP. `host`: an IP address or a name, empty for every interface of both families; `port`: 0 leaves
    the choice to the system."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """The path of a unix socket."""

    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


def parse_address(text: str) -> TcpAddress | UnixAddress:
    """The address that `text` names. Raises ValueError, whose text says in one phrase what is wrong."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path.startswith("/"):
            raise ValueError("the path after unix: must be absolute")
        if len(path.encode()) > UNIX_PATH_BYTES:
            raise ValueError(f"a unix socket's path has at most {UNIX_PATH_BYTES} bytes")
        return UnixAddress(path)
    if "/" in text:
        raise ValueError("only a host and a port, without scheme or path")
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError("a port from 0 to 65535 must follow the host and a colon")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        try:
            return TcpAddress(str(ipaddress.IPv6Address(host)), int(port))
        except ValueError:
            raise ValueError("what stands in brackets must be an IPv6 address") from None
    if ":" in host:
        raise ValueError("an IPv6 address must stand in brackets")
    if any(character.isspace() or character in "@?#[]" for character in host):
        raise ValueError("the host must be an IP address or a name")
    return TcpAddress(host, int(port))


def wrong_address(text: str) -> str:
    """What is wrong with an address for a listener, in one phrase; empty when nothing is."""
    try:
        parse_address(text)
    except ValueError as error:
        return str(error)
    return ""


def wrong_tcp_address(text: str) -> str:
    """What is wrong with an address that clients connect to, in one phrase; empty when nothing is."""
    wrong = wrong_address(text)
    return "clients connect by TCP: an IP address and a port" if not wrong and text.startswith("unix:") else wrong
