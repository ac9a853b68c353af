"""Telling systemd that Shield is ready, reloading or stopping, or alive (sd_notify(3)).

Does nothing where systemd did not ask for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Mapping


def reloading() -> bool:
    """Say that the config is being read again; READY=1 says later that this is over (Type=notify-reload)."""
    return notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")


def watchdog_seconds(environment: Mapping[str, str] | None = None) -> float:
    """How often systemd wants to hear that we go on: half of WatchdogSec=; 0 where it does not ask."""
    environment = os.environ if environment is None else environment
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    microseconds = environment.get("WATCHDOG_USEC", "")
    return int(microseconds) / 2e6 if microseconds.isdecimal() else 0.0


def keep_alive() -> None:
    """Say from now on, for as long as the running loop runs, that it does."""
    seconds = watchdog_seconds()
    if seconds:
        notify("WATCHDOG=1")
        asyncio.get_running_loop().call_later(seconds, keep_alive)


def notify(state: str, environment: dict[str, str] | None = None) -> bool:
    """Send "READY=1", "STOPPING=1", "RELOADING=1" or "STATUS=..." to NOTIFY_SOCKET. False when there is none.

    A failure is not an error of ours: the service runs, only its manager does not know.
    """
    address = (os.environ if environment is None else environment).get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):  # the abstract namespace
        address = "\0" + address[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.setblocking(False)
        sock.sendto(state.encode(), address)
        return True
    return False
