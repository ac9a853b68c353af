"""What keeps the bench from becoming a flood: it speaks to loopback only, for a bounded time, in bounded numbers.

Every tool here that opens a connection or starts a load generator takes its target through `target()` and its
sizes through `bounded()`. There is no switch that turns either off.
"""

from __future__ import annotations

import argparse
import ipaddress
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

LOOPBACK: Final = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))

MOST_SECONDS: Final = 600.0  # of load in one run
MOST_CONNECTIONS: Final = 16_384  # open at once in one process
MOST_REQUESTS: Final = 2_000_000  # in a run by number
MOST_RATE: Final = 20_000.0  # requests/s of an open loop
MOST_ATTEMPTS: Final = 100_000.0  # connection attempts/s
MOST_ROUNDS: Final = 50


class Refused(argparse.ArgumentTypeError):
    """The bench was asked for something that it does not do. Of this type so that argparse shows the sentence."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where load may go: a loopback address, a port and a path; over TLS or not."""

    host: str
    port: int
    path: str = "/"
    tls: bool = False

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}{self.path}"


def loopback(host: str) -> str:
    """The canonical form of a loopback address. Of names only `localhost` will do: others are whatever DNS says.

    Raises Refused for everything outside 127.0.0.0/8 and ::1, mapped addresses such as ::ffff:127.0.0.1 included.
    """
    if host == "localhost":
        return "127.0.0.1"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise Refused(f"the bench speaks to literal loopback addresses only, not to {host!r}") from None
    if not any(address in network for network in LOOPBACK):
        raise Refused(f"the bench speaks to 127.0.0.0/8 and ::1 only, not to {host}")
    return str(address)


def target(url: str) -> Target:
    """A plain http URL on loopback with a port. Raises Refused."""
    return _target(url, ("http",))


def any_target(url: str) -> Target:
    """An http or https URL on loopback with a port. Raises Refused."""
    return _target(url, ("http", "https"))


def _target(url: str, schemes: tuple[str, ...]) -> Target:
    parts = urlsplit(url)
    if parts.scheme not in schemes:
        raise Refused(f"here the bench speaks {' or '.join(schemes)}, not {parts.scheme!r}")
    if parts.username is not None or parts.hostname is None:
        raise Refused(f"no host in {url!r}")
    try:
        port = parts.port
    except ValueError as error:
        raise Refused(str(error)) from None
    if not port:
        raise Refused(f"no port in {url!r}")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not path.isascii() or any(ch.isspace() for ch in path):
        raise Refused(f"the path of {url!r} cannot be sent as it is")
    return Target(loopback(parts.hostname), port, path, parts.scheme == "https")


def json_file(text: str) -> Path:
    """An argparse type: where results are to be written. A folder is refused here, before anything is measured."""
    path = Path(text)
    if path.is_dir():
        raise Refused(f"{text} is a folder: name a file in it")
    return path


def add_seed_and_files(parser: argparse.ArgumentParser) -> None:
    """The arguments of suites whose course is drawn by lot, and which keep nothing unless told to."""
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--json", type=json_file, help="where the raw results go (default: nowhere)")
    parser.add_argument("--keep-log", type=Path, help="where Shield's log goes")


def bounded(kind: Callable[[str], float], least: float, most: float) -> Callable[[str], float]:
    """An argparse type: a number of `kind` within [least, most]."""

    def parse(text: str) -> float:
        value = kind(text)
        if not least <= value <= most:  # NaN fails as well
            raise argparse.ArgumentTypeError(f"{text} is outside {least:g} to {most:g}")
        return value

    parse.__name__ = kind.__name__  # argparse puts it into its message
    return parse
