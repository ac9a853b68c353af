"""One of several workers: `python -m shield.process.worker N`, started by its supervisor alone.

Its standard input is a socket to the supervisor. Over it come the config and the share (pickled: the other end is our
parent, and the socket has no name). Back go lines of JSON: {} once it listens, or {"error": "..."} when it cannot
start, and {"dropped": [...]} whenever the kernel is to drop the connections of other addresses. When the supervisor is
gone, however it went, the socket reads as ended, and the worker drains and ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import signal
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import orjson
import uvloop

from shield.config.settings import Config
from shield.errors import StartError
from shield.process.service import Service, serve
from shield.process.share import Share
from shield.wire.addresses import UnixAddress, parse_address

NOT_STARTED: Final = 3
"""Exit status, as that of the command line."""
MOST_DROPPED: Final = 2048
"""Addresses in a message: more do not fit into a program of the kernel (accept/dropping.py)."""


def hand_over(config: Config, share: Share) -> bytes:
    """What the supervisor sends: a length in 4 bytes, then as many bytes, config and share."""
    data = pickle.dumps((config, share))
    return len(data).to_bytes(4, "big") + data


def main() -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole terminal; the supervisor sees to it
    with socket.socket(fileno=os.dup(0)) as control:
        with control.makefile("rb") as stream:
            size = int.from_bytes(stream.read(4), "big")
            data = stream.read(size)
        if len(data) < size or not size:
            return NOT_STARTED  # the supervisor ended first
        config, share = pickle.loads(data)  # noqa: S301 - see above
        try:
            uvloop.run(_work(config, share, control))
        except StartError as error:
            _say(control, {"error": str(error)})
            return NOT_STARTED
    return 0


async def _work(config: Config, share: Share, control: socket.socket) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    orphan = False

    def started(_: Service) -> None:
        _say(control, {})
        control.setblocking(False)
        loop.add_reader(control, abandoned)

    def abandoned() -> None:
        """The supervisor says nothing more, so this is its end. Nobody else will remove the directory of sockets."""
        nonlocal orphan
        loop.remove_reader(control)
        orphan = True
        stop.set()

    await serve(config, stop, started, share, Teller(control))
    address = parse_address(config.admin.address)
    if orphan and isinstance(address, UnixAddress):
        with contextlib.suppress(OSError):  # others are in it; the last one succeeds
            Path(address.path).parent.rmdir()


class Teller:
    """Tells the supervisor whose new connections the kernel is to drop: `{"dropped": [address, ...]}`."""

    __slots__ = ("_control", "_sending")

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._sending: asyncio.Task[None] | None = None

    def __call__(self, addresses: Sequence[str]) -> bool:
        """Send the first MOST_DROPPED; False while the last message is still on its way."""
        if self._sending is not None and not self._sending.done():
            return False
        line = orjson.dumps({"dropped": list(addresses[:MOST_DROPPED])}, option=orjson.OPT_APPEND_NEWLINE)
        self._sending = asyncio.get_running_loop().create_task(self._send(line))
        return True

    async def _send(self, line: bytes) -> None:
        with contextlib.suppress(OSError):  # the supervisor is gone, which is told by other means
            await asyncio.get_running_loop().sock_sendall(self._control, line)


def _say(control: socket.socket, message: dict[str, str]) -> None:
    with contextlib.suppress(OSError):  # nobody listens any more
        control.sendall(orjson.dumps(message, option=orjson.OPT_APPEND_NEWLINE))


if __name__ == "__main__":
    raise SystemExit(main())
