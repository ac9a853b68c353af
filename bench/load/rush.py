"""A rush: connections that ask again as soon as anything comes back, whatever that is, without a pause.

Each sends the same request, from an address of its own or shared with a few. Nothing is parsed, so it costs less than
to refuse it, and Shield's core is full before that of the load is. It takes only what others leave of its core
(SCHED_IDLE, sched(7)), so that users and service beside it are not slowed by its own computing.

    python -m bench.load.rush --target http://127.0.0.1:8080/ --connections 1000 --addresses 500 --seconds 10
"""

from __future__ import annotations

import argparse
import collections
import errno
import json
import select
import socket
import struct
import time
from dataclasses import asdict, dataclass
from typing import Final

from bench.common.guard import MOST_CONNECTIONS, MOST_SECONDS, Target, bounded, target
from bench.common.processes import raise_file_limit, yield_to_others

MOST_ADDRESSES: Final = 4000
AT_ONCE: Final = 64  # sockets served between two looks at the clock
WAIT: Final = 0.05  # s
OPENED_AT_ONCE: Final = 100  # connections, at the beginning
AGAIN: Final = 0.2  # s, until what could not be opened is tried again
RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER: close() resets, and no port is taken up for a minute
NOT_YET: Final = frozenset((errno.EAGAIN, errno.ENOTCONN, errno.EINPROGRESS))


@dataclass(frozen=True, slots=True)
class Rushed:
    """What came back: answers by status, and connections that ended without one."""

    seconds: float
    statuses: dict[str, int]
    lost: int
    first_byte: float | None  # monotonic


def source(number: int) -> str:
    """An address of the crowd, each in a /24 of its own."""
    return f"127.{40 + number // 200}.{number % 200}.9"


class Rush:
    """All connections of a run."""

    def __init__(self, where: Target, addresses: int, close: bool) -> None:
        """`close`: each request over a connection of its own."""
        self.to = (where.host, where.port)
        self.addresses = addresses
        self.close = close
        fields = "Accept: */*\r\nAccept-Language: en\r\n" + ("Connection: close\r\n" if close else "")
        self.request = f"GET {where.path} HTTP/1.1\r\nHost: {where.host}:{where.port}\r\n{fields}\r\n".encode()
        self.poll = select.epoll()
        self.lines: dict[int, tuple[socket.socket, int]] = {}  # by descriptor; whose line it is
        self.ended: collections.deque[tuple[float, int]] = collections.deque()  # when, and whose
        self.statuses: collections.Counter[str] = collections.Counter()
        self.lost = 0
        self.first_byte: float | None = None

    def open(self, number: int) -> None:
        """Connect, and ask as soon as that has come about."""
        line = socket.socket()
        line.setblocking(False)
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            line.bind((source(number % self.addresses), 0))
            line.connect_ex(self.to)
        except OSError:
            line.close()
            self.ended.append((time.monotonic(), number))
            return
        self.lines[line.fileno()] = (line, number)
        self.poll.register(line, select.EPOLLIN if self.ask(line) else select.EPOLLOUT)

    def ask(self, line: socket.socket) -> bool:
        try:
            line.send(self.request)
        except OSError as error:
            return error.errno not in NOT_YET  # what is broken is found by reading
        return True

    def serve(self, descriptor: int, event: int) -> None:
        """Something has come, or the connection came about, or it is broken."""
        line, number = self.lines[descriptor]
        if event == select.EPOLLOUT:
            if self.ask(line):
                self.poll.modify(line, select.EPOLLIN)
            return
        try:
            data = line.recv(65_536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data.startswith(b"HTTP/1.1 "):
            self.statuses[data[9:12].decode("ascii", "replace")] += 1
            if self.first_byte is None:
                self.first_byte = time.monotonic()
        if data and not self.close:
            self.ask(line)
            return
        self.lost += not data
        del self.lines[descriptor]
        line.close()
        if data:
            self.open(number)
        else:
            self.ended.append((time.monotonic(), number))

    def run(self, connections: int, begin: float, seconds: float) -> Rushed:
        """From `begin`, monotonic seconds, on."""
        time.sleep(max(0.0, begin - time.monotonic()))
        now = began = time.monotonic()
        waiting = collections.deque(range(connections))
        while now < began + seconds:
            for _ in range(min(OPENED_AT_ONCE, len(waiting))):
                self.open(waiting.popleft())
            for descriptor, event in self.poll.poll(WAIT, AT_ONCE):
                self.serve(descriptor, event)
            now = time.monotonic()
            while self.ended and self.ended[0][0] < now - AGAIN:
                self.open(self.ended.popleft()[1])
        for line, _ in self.lines.values():
            line.close()
        self.poll.close()
        return Rushed(now - began, dict(sorted(self.statuses.items())), self.lost, self.first_byte)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.load.rush", description="A rush, loopback only.")
    parser.add_argument("--target", type=target, required=True, help="http://127.0.0.1:PORT/PATH")
    parser.add_argument("--connections", type=bounded(int, 1, MOST_CONNECTIONS), default=1000)
    parser.add_argument("--addresses", type=bounded(int, 1, MOST_ADDRESSES), default=500)
    parser.add_argument("--seconds", type=bounded(float, 0.1, MOST_SECONDS), default=10.0)
    parser.add_argument("--begin", type=float, default=0.0, help="monotonic seconds; in the past: at once")
    parser.add_argument("--close", action="store_true", help="one request per connection")
    options = parser.parse_args()
    raise_file_limit()
    yield_to_others()
    rush = Rush(options.target, options.addresses, options.close)
    print(json.dumps(asdict(rush.run(options.connections, options.begin, options.seconds))))


if __name__ == "__main__":
    main()
