"""Telling systemd that Shield is ready or stopping (sd_notify(3)). Does nothing where systemd did not ask for it."""

from __future__ import annotations

import contextlib
import os
import socket


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
