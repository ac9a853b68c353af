"""One of several workers: `python -m shield.process.worker N`, started by its supervisor alone.

Its standard input is a socket to the supervisor. Over it come the config and the share (pickled: the other end is our
parent, and the socket has no name), and back goes one line of JSON: {} once it listens, or {"error": "..."} when it
cannot start. When the supervisor is gone, however it went, the socket reads as ended, and the worker drains and ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import signal
import socket
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
        loop.add_reader(control, abandoned)
        _say(control, {})

    def abandoned() -> None:
        """The supervisor says nothing more, so this is its end. Nobody else will remove the directory of sockets."""
        nonlocal orphan
        loop.remove_reader(control)
        orphan = True
        stop.set()

    await serve(config, stop, started, share)
    address = parse_address(config.admin.address)
    if orphan and isinstance(address, UnixAddress):
        with contextlib.suppress(OSError):  # others are in it; the last one succeeds
            Path(address.path).parent.rmdir()


def _say(control: socket.socket, message: dict[str, str]) -> None:
    with contextlib.suppress(OSError):  # nobody listens any more
        control.sendall(orjson.dumps(message, option=orjson.OPT_APPEND_NEWLINE))


if __name__ == "__main__":
    raise SystemExit(main())
