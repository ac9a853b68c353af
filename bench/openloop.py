"""Open-loop load: requests are due at fixed times, and each latency counts from when its request was due.

A closed loop asks again only when it was answered, so a proxy that stalls is asked less while it stalls ("coordinated
omission", Gil Tene). Here a stall delays everything that falls due meanwhile, as it would delay people. All connections
are opened beforehand; a request that finds none free waits, and its waiting counts.

Raw sockets and one epoll, without an event loop, so that the generator adds as little and as evenly as possible. It
sleeps until shortly before the next due time and spins for the rest, because a sleep ends some 60 µs late.

    python -m bench.openloop --target http://127.0.0.1:8080/ --rate 1000 --seconds 4
"""

from __future__ import annotations

import argparse
import json
import os
import re
import select
import socket
import subprocess
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass
from typing import Final

from bench.guard import MOST_RATE, MOST_SECONDS, Target, bounded, target
from bench.load import BROWSER_FIELDS
from bench.processes import ROOT, pinned
from bench.stats import quantile

SPIN: Final = 100e-6  # s before a due time during which it no longer sleeps; the kernel's timer slack is 50 µs
GRACE: Final = 2.0  # s for the answers to the last requests
QUANTILES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}
LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Plan:
    """`rate` requests/s over `seconds`, of which the first `warmup` are sent and not counted."""

    target: Target
    rate: float
    seconds: float
    connections: int = 64
    warmup: float = 0.25


@dataclass(frozen=True, slots=True)
class Result:
    """Latencies in s from the due times. `late` is how far the generator itself sent after the due time although a
    connection was free, p99; `waited` counts requests that found none free."""

    due: int
    answered: int
    refused: int
    failed: int
    waited: int
    late: float
    p50: float
    p90: float
    p99: float
    p999: float


class Connection:
    """One kept connection: at most one request on it."""

    __slots__ = ("buffer", "due", "left", "socket")

    def __init__(self, where: Target) -> None:
        self.socket = socket.create_connection((where.host, where.port), 5.0)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.buffer = b""
        self.due = 0.0
        self.left = -1  # bytes of body still to come; -1 before the head is complete

    def feed(self, data: bytes) -> int:
        """The status when the answer is complete, 0 before. Raises ValueError for an answer without a length."""
        if self.left < 0:
            self.buffer += data
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return 0
            found = LENGTH.search(self.buffer, 0, end + 2)
            if found is None:
                raise ValueError("an answer without Content-Length")
            self.left = int(found[1]) - (len(self.buffer) - end - 4)
        else:
            self.left -= len(data)
        if self.left > 0:
            return 0
        status = int(self.buffer[9:12])
        self.buffer = b""
        self.left = -1
        return status


class Generator:
    """One run."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        where = plan.target
        self.request = f"GET {where.path} HTTP/1.1\r\nHost: {where.host}:{where.port}\r\n{BROWSER_FIELDS}\r\n".encode()
        self.poll = select.epoll()
        self.connections: dict[int, Connection] = {}
        self.free: deque[Connection] = deque()
        self.waiting: deque[float] = deque()  # due times
        self.latencies: list[float] = []
        self.lags: list[float] = []
        self.refused = self.failed = self.waited = self.in_flight = 0

    def run(self) -> Result:
        plan = self.plan
        try:
            for _ in range(plan.connections):
                self.connect()
            number = int(plan.rate * plan.seconds)
            self.begin = time.perf_counter() + 0.01
            self.counted_from = self.begin + plan.warmup
            self.play([self.begin + index / plan.rate for index in range(number)])
        finally:
            for connection in self.connections.values():
                connection.socket.close()
            self.poll.close()
        self.failed += self.in_flight + len(self.waiting)
        counted = number - sum(1 for index in range(number) if index / plan.rate < plan.warmup)
        return Result(
            counted,
            len(self.latencies),
            self.refused,
            self.failed,
            self.waited,
            quantile(self.lags, 0.99),
            **{name: quantile(self.latencies, q) for name, q in QUANTILES.items()},
        )

    def connect(self) -> None:
        connection = Connection(self.plan.target)
        number = connection.socket.fileno()
        self.connections[number] = connection
        self.poll.register(number, select.EPOLLIN)
        self.free.append(connection)

    def play(self, dues: list[float]) -> None:
        clock, position = time.perf_counter, 0
        give_up = self.begin + self.plan.seconds + GRACE
        while position < len(dues) or self.in_flight or self.waiting:
            now = clock()
            if now >= give_up:
                return
            while position < len(dues) and dues[position] <= now:
                due = dues[position]
                position += 1
                if self.free:
                    self.lags.append(now - due)
                    self.send(self.free.popleft(), due)
                else:
                    self.waited += 1
                    self.waiting.append(due)
            wait = (dues[position] if position < len(dues) else give_up) - clock() - SPIN
            if wait > 0:
                select.select([self.poll.fileno()], [], [], wait)  # poll() alone counts in whole milliseconds
            for number, _ in self.poll.poll(0):
                self.receive(self.connections[number])

    def send(self, connection: Connection, due: float) -> None:
        connection.due = due
        self.in_flight += 1
        try:
            connection.socket.send(self.request)  # a kilobyte always fits into an idle connection's buffer
        except OSError:
            self.lost(connection)

    def receive(self, connection: Connection) -> None:
        try:
            data = connection.socket.recv(262_144)
            status = connection.feed(data) if data else -1
        except BlockingIOError:
            return
        except (OSError, ValueError):
            status = -1
        if status < 0:
            self.lost(connection)
        elif status:
            self.in_flight -= 1
            if connection.due >= self.counted_from:
                self.latencies.append(time.perf_counter() - connection.due)
                self.refused += status >= 400
            if self.waiting:
                self.send(connection, self.waiting.popleft())
            else:
                self.free.append(connection)

    def lost(self, connection: Connection) -> None:
        """The server closed it. Its request has failed; another connection takes its place."""
        if connection not in self.free:
            self.in_flight -= 1
            self.failed += 1
        else:
            self.free.remove(connection)
        del self.connections[connection.socket.fileno()]
        self.poll.unregister(connection.socket.fileno())
        connection.socket.close()
        self.connect()


def run(plan: Plan, cores: frozenset[int]) -> Result:
    """In a process of its own on these cores. Raises RuntimeError when it does not report."""
    argv = [sys.executable, "-m", "bench.openloop", "--target", plan.target.url, "--rate", str(plan.rate)]
    argv += ["--seconds", str(plan.seconds), "--connections", str(plan.connections), "--warmup", str(plan.warmup)]
    done = subprocess.run(
        pinned(argv, cores),
        capture_output=True,
        text=True,
        timeout=plan.seconds + 30,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    if done.returncode:
        raise RuntimeError(f"the open loop gave no report: {done.stderr[-1500:]}")
    return Result(**json.loads(done.stdout))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.openloop", description="Open-loop load, loopback only.")
    parser.add_argument("--target", type=target, required=True, help="http://127.0.0.1:PORT/PATH")
    parser.add_argument("--rate", type=bounded(float, 1, MOST_RATE), required=True, help="requests/s")
    parser.add_argument("--seconds", type=bounded(float, 0.1, MOST_SECONDS), default=4.0)
    parser.add_argument("--connections", type=bounded(int, 1, 1000), default=64)
    parser.add_argument("--warmup", type=bounded(float, 0, 60), default=0.25, help="seconds that are not counted")
    print(json.dumps(asdict(Generator(Plan(**vars(parser.parse_args()))).run())))


if __name__ == "__main__":
    main()
