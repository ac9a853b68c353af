"""A line between two network namespaces on which every packet takes a while: two TUN devices, and a process that
carries packets from one to the other, each so much later than it came. Nothing is lost and nothing overtakes; the line
is as wide as the process is fast. Needs root.

    python -m bench.load.slow_line FD FD SECONDS
"""

from __future__ import annotations

import collections
import ctypes
import fcntl
import os
import select
import struct
import subprocess
import sys
import time
from typing import Final

CLONE_NEWNET: Final = 0x40000000
TUNSETIFF: Final = 0x400454CA
IFF_TUN: Final = 1
IFF_NO_PI: Final = 0x1000
PACKET: Final = 65536
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def missing() -> str | None:
    """Why there can be none here, or None."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return "network namespaces need root on Linux"
    return None if os.path.exists("/dev/net/tun") else "there is no /dev/net/tun"  # noqa: PTH110 - a device


def leave() -> None:
    """Go to a network namespace of its own, in which there is nothing but loopback. Raises OSError."""
    if _LIBC.unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def enter(namespace: int) -> None:
    """Go to the network namespace of this descriptor. Raises OSError."""
    if _LIBC.setns(namespace, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def end(name: str, here: str, there: str) -> int:
    """One end of a line, in this namespace: its descriptor. Raises OSError."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    subprocess.run(["ip", "address", "add", here, "peer", there, "dev", name], check=True)
    subprocess.run(["ip", "link", "set", name, "up"], check=True)
    os.set_inheritable(device, True)
    return device


def carry(one: int, other: int, seconds: float) -> None:
    """Carry packets both ways until the parent is gone."""
    parent = os.getppid()
    waiting: dict[int, collections.deque[tuple[float, bytes]]] = {one: collections.deque(), other: collections.deque()}
    to = {one: other, other: one}
    while os.getppid() == parent:
        now = time.monotonic()
        soonest = now + 1.0
        for source, packets in waiting.items():
            while packets and packets[0][0] <= now:
                os.write(to[source], packets.popleft()[1])
            if packets:
                soonest = min(soonest, packets[0][0])
        readable, _, _ = select.select([one, other], [], [], max(0.0, soonest - time.monotonic()))
        for source in readable:
            try:
                while True:
                    packet = os.read(source, PACKET)
                    waiting[source].append((time.monotonic() + seconds, packet))
            except BlockingIOError:
                continue


if __name__ == "__main__":
    carry(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
