"""Connection attempts from addresses that Shield has dropped: as many as are wanted, or as the core makes.

Each is a socket of its own with a source of its own. Where the connection comes about, a request goes over it, so that
whoever listens has to accept it and to read. The last MOST_OPEN are kept open; the one before them is reset, as a tool
does that does not wait.

First every address makes itself unwelcome: it asks for a honeypot, and again whatever the answers are, until Shield
resets its connection.

It takes only what others leave of its core (SCHED_IDLE, sched(7)), so that users beside it are not slowed by its own
computing. Connections over loopback are handled by the kernel on the core of the sender, so that it still meets there.

    python -m bench.load.attempts --target http://127.0.0.1:8080/ --rate 50000 --seconds 5
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import itertools
import json
import socket
import struct
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Final

from bench.common.guard import MOST_ATTEMPTS, MOST_SECONDS, Target, bounded, target
from bench.common.processes import yield_to_others

NETWORK: Final = "127.77"
"""The first half of the addresses that it comes from."""
TRAP: Final = "/trap"
"""A honeypot: whoever asks for it is banned, so that all its further requests are refused."""
MOST_ADDRESSES: Final = 1000
MOST_OPEN: Final = 1000
AT_ONCE: Final = 50  # attempts between two looks at the clock
PAUSE: Final = 0.0005  # s, when it is ahead of its rate
UNWELCOME_SECONDS: Final = 60.0  # at most, until an address is reset
IP_BIND_ADDRESS_NO_PORT: Final = 24  # linux/in.h: choose the port when it is known where to
RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER: close() resets


@dataclass(frozen=True, slots=True)
class Made:
    """What was tried. `established` came about; the rest were dropped, or waited for an answer that did not come."""

    attempts: int
    established: int
    seconds: float


def addresses(number: int) -> list[str]:
    """Each in a /24 of its own, as far as there are."""
    return [f"{NETWORK}.{n % 250}.{7 + n // 250}" for n in range(number)]


def request(where: Target, path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {where.host}:{where.port}\r\nUser-Agent: attempts\r\n\r\n".encode()


def be_unwelcome(where: Target, address: str) -> int:
    """Ask until Shield resets the connection; how many requests that took at most. Raises OSError when it does not."""
    sent, asked, end = 0, request(where, TRAP) * 50, time.monotonic() + UNWELCOME_SECONDS
    with socket.socket() as line:
        line.bind((address, 0))
        line.settimeout(5.0)
        try:
            line.connect((where.host, where.port))
            while time.monotonic() < end:
                line.sendall(asked)
                sent += 50
                if not line.recv(1 << 20):
                    return sent
        except OSError as error:
            if error.errno in (errno.ECONNRESET, errno.EPIPE):
                return sent
            raise
    raise OSError(f"{address} was not dropped after {sent} requests")


def attempt(where: Target, sources: list[str], rate: float, seconds: float) -> Made:
    """Try to connect from one source after the other, `rate` times a second (0: as often as it can)."""
    kept: deque[socket.socket] = deque()
    turn, asked, to = itertools.cycle(sources), request(where, where.path), (where.host, where.port)
    made = established = 0
    began = now = time.monotonic()
    end = began + seconds
    while now < end:
        due = made + AT_ONCE if not rate else min(int(rate * (now - began)), made + AT_ONCE)
        if due <= made:
            time.sleep(PAUSE)
        for _ in range(due - made):
            one = socket.socket()
            one.setblocking(False)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            one.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            one.bind((next(turn), 0))
            one.connect_ex(to)
            with contextlib.suppress(OSError):  # not established
                one.send(asked)
                established += 1
            kept.append(one)
            if len(kept) > MOST_OPEN:
                kept.popleft().close()
        made = max(made, due)
        now = time.monotonic()
    for one in kept:
        one.close()
    return Made(made, established, now - began)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.load.attempts", description="Loopback only.")
    parser.add_argument("--target", type=target, required=True, help="http://127.0.0.1:PORT/PATH")
    parser.add_argument("--rate", type=bounded(float, 0, MOST_ATTEMPTS), default=50_000.0, help="0: as many as it can")
    parser.add_argument("--seconds", type=bounded(float, 0.1, MOST_SECONDS), default=5.0)
    parser.add_argument("--addresses", type=bounded(int, 1, MOST_ADDRESSES), default=20)
    parser.add_argument("--unwelcome", action="store_true", help="only have the addresses dropped")
    options = parser.parse_args()
    sources = addresses(options.addresses)
    if options.unwelcome:
        with ThreadPoolExecutor(AT_ONCE) as pool:  # Shield resets connections once a second
            asked = list(pool.map(lambda source: be_unwelcome(options.target, source), sources))
        print(json.dumps({"requests": sum(asked)}))
        return
    yield_to_others()
    print(json.dumps(asdict(attempt(options.target, sources, options.rate, options.seconds))))


if __name__ == "__main__":
    main()
