"""Open-loop load: requests are due at fixed times, and each latency counts from when its request was due.

A closed loop asks again only when it was answered, so a proxy that stalls is asked less while it stalls ("coordinated
omission", Gil Tene). Here a stall delays everything that falls due meanwhile, as it would delay people. All connections
are opened beforehand; a request that finds none free waits, and its waiting counts.

**Arrivals** are a Poisson process: many people who know nothing of each other. It bunches as people do, which even gaps
would hide: two requests that come 10 µs apart show what a queue costs. The schedule is made from a seed, so everybody
who is measured meets the same one.

**Crowding**: 128, taken in turn. So many are busy at once only when each takes 128 / rate (25 ms at 5,000/s), so the
load stays open; and it is half of what the peers keep to the origin, so nobody opens connections while being measured.

**Accuracy**: one thread, one epoll, no event loop, nothing allocated that could be before, no garbage collection. On a
core of its own it never sleeps, because waking up takes some 60 µs, and asks the kernel to be preferred to others
there. An answer's time is when the poll that found it returned. What the generator adds itself is in the result
(`Lateness`): how late it sent, and how late it can have noticed.

    python -m bench.load.open_loop --target http://127.0.0.1:8080/ --rate 1000 --seconds 4
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import itertools
import json
import os
import random
import re
import select
import socket
import subprocess
import sys
import time
from array import array
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Protocol

from bench.common.guard import MOST_RATE, MOST_SECONDS, Target, bounded, target
from bench.common.processes import OWN_SHARE, ROOT, pinned
from bench.common.stats import quantile
from bench.load.plan import BROWSER_FIELDS

CONNECTIONS: Final = 128
LEAD: Final = 0.01  # s between opening the connections and the first arrival
SPIN: Final = 100e-6  # s before a due time during which it does not sleep; the kernel's timer slack is 50 µs
GRACE: Final = 2.0  # s for the answers to the last requests
READ: Final = 65_536  # bytes
QUANTILES: Final = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}
LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
GOOD: Final = b"HTTP/1.1 200 "


@dataclass(frozen=True, slots=True)
class Plan:
    """`rate` requests/s over `seconds`, of which the first `warmup` are sent and not counted. `spin`: it has a core of
    its own, and may keep it busy."""

    target: Target
    rate: float
    seconds: float
    connections: int = CONNECTIONS
    warmup: float = 0.25
    seed: int = 0
    spin: bool = False


@dataclass(frozen=True, slots=True)
class Lateness:
    """What the generator added itself, in s. `sent`: after the due time, although a connection was free. `noticed`: the
    longest that an answer can have lain there, which is the time since the poll before; 0 when it may sleep."""

    sent_p50: float
    sent_p99: float
    sent_p999: float
    sent_most: float
    noticed_p99: float
    noticed_most: float

    @property
    def p99(self) -> float:
        return max(self.sent_p99, self.noticed_p99)


@dataclass(frozen=True, slots=True)
class Result:
    """Latencies in s from the due times. `waited` counts requests that found no connection free. `carried` are
    answers/s within the time that counts: of a server that cannot keep up, its own rate."""

    due: int
    answered: int
    refused: int
    failed: int
    waited: int
    carried: float
    late: Lateness
    p50: float
    p90: float
    p95: float
    p99: float
    p999: float


class SocketTransport(Protocol):
    """Connections and time: `Sockets`, or simulated ones."""

    def clock(self) -> float:
        """Seconds."""

    def connect(self) -> Any:
        """One more connection, with fileno(), send(), recv() and close() as a non-blocking socket has them."""

    def forget(self, connection: Any) -> None:
        """It is about to be closed."""

    def poll(self, timeout: float) -> Sequence[tuple[int, int]]:
        """The connections that have something to read, by file number; after `timeout` seconds at most."""


class Sockets:
    """TCP to a target on loopback."""

    clock = staticmethod(time.perf_counter)

    def __init__(self, where: Target, most: int) -> None:
        self.where = where
        self.most = most
        self.epoll = select.epoll()

    def connect(self) -> socket.socket:
        connection = socket.create_connection((self.where.host, self.where.port), 5.0)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setblocking(False)
        self.epoll.register(connection.fileno(), select.EPOLLIN)
        return connection

    def forget(self, connection: socket.socket) -> None:
        self.epoll.unregister(connection.fileno())

    def poll(self, timeout: float) -> Sequence[tuple[int, int]]:
        if timeout > 0:
            select.select([self.epoll.fileno()], [], [], timeout)  # poll() alone counts in whole milliseconds
        return self.epoll.poll(0, self.most)


def schedule(rate: float, seconds: float, seed: int) -> array[float]:
    """Times of arrival from 0 to `seconds`: a Poisson process of this rate, the same for the same seed."""
    gaps = random.Random(f"{rate:g}/{seed}")
    times = itertools.accumulate(gaps.expovariate(rate) for _ in itertools.count())
    return array("d", itertools.takewhile(lambda at: at < seconds, times))


class Connection:
    """One kept connection: at most one request on it."""

    __slots__ = ("buffer", "index", "length", "recv", "send", "socket")

    def __init__(self, made: Any) -> None:
        self.socket = made
        self.send = made.send
        self.recv = made.recv
        self.index = -1  # of its request; -1 when it is free
        self.length = 0  # bytes of the last whole answer, head and body
        self.buffer = b""  # of an answer that is not whole yet

    def feed(self, data: bytes) -> int:
        """The status when the answer is complete, 0 before. Raises ValueError for one without a length, or too long."""
        self.buffer = data = self.buffer + data
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return 0
        found = LENGTH.search(data, 0, end + 2)
        if found is None:
            raise ValueError("an answer without Content-Length")
        self.length = end + 4 + int(found[1])
        if len(data) < self.length:
            return 0
        if len(data) > self.length:
            raise ValueError("more than the answer")
        self.buffer = b""
        return int(data[9:12])


class Generator:
    """One run."""

    def __init__(self, plan: Plan, wire: SocketTransport | None = None) -> None:
        self.plan = plan
        where = plan.target
        self.wire: SocketTransport = wire or Sockets(where, plan.connections)
        self.request = f"GET {where.path} HTTP/1.1\r\nHost: {where.host}:{where.port}\r\n{BROWSER_FIELDS}\r\n".encode()
        self.dues = schedule(plan.rate, plan.seconds, plan.seed)
        nothing = bytes(8 * len(self.dues))
        self.latencies = array("d", nothing)  # by request; 0: not answered
        self.lags = array("d", nothing)  # -1: found no connection free
        self.gaps = array("d", nothing)  # since the poll before the one that found the answer
        self.connections: dict[int, Connection] = {}
        self.free: deque[Connection] = deque()
        self.waiting: deque[int] = deque()
        self.refused = self.failed = self.in_time = 0

    def run(self) -> Result:
        try:
            for _ in range(self.plan.connections):
                self.connect()
            gc.collect()
            gc.disable()
            self.begin = self.wire.clock() + LEAD
            self.play()
        finally:
            gc.enable()
            for connection in self.connections.values():
                connection.socket.close()
        return self.result()

    def connect(self) -> None:
        connection = Connection(self.wire.connect())
        self.connections[connection.socket.fileno()] = connection
        self.free.append(connection)

    def play(self) -> None:
        """Send what is due, read what is there, until the last answer or GRACE after the last arrival."""
        plan, begin = self.plan, self.begin
        clock, poll, receive, send = self.wire.clock, self.wire.poll, self.receive, self.send
        dues, lags, free, waiting = self.dues, self.lags, self.free, self.waiting
        number, position = len(dues), 0
        end = begin + plan.seconds
        give_up = end + GRACE
        following = begin + dues[0] if number else give_up
        polled = clock()
        self.left = number
        while self.left:
            now = clock()
            while now >= following:
                if position == number:
                    return  # it is time to give up
                if free:
                    lags[position] = now - following
                    send(free.popleft(), position)
                else:
                    lags[position] = -1.0
                    waiting.append(position)
                position += 1
                following = begin + dues[position] if position < number else give_up
                now = clock()
            events = poll(0.0 if plan.spin else following - now - SPIN)
            before, polled = polled, clock()
            for descriptor, _ in events:
                receive(self.connections[descriptor], polled, polled - before)

    def send(self, connection: Connection, index: int) -> None:
        connection.index = index
        try:
            connection.send(self.request)  # a kilobyte always fits into an idle connection's buffer
        except OSError:
            self.lost(connection)

    def receive(self, connection: Connection, now: float, gap: float) -> None:
        try:
            data = connection.recv(READ)
            if len(data) == connection.length and not connection.buffer and data.startswith(GOOD):
                status = 200  # in one piece and as long as the one before, whose length was read
            else:
                status = connection.feed(data) if data else -1
        except BlockingIOError:
            return
        except (OSError, ValueError):
            status = -1
        index = connection.index
        if status < 0 or (status and index < 0):  # closed, or an answer to nothing
            self.lost(connection)
        elif status:
            self.left -= 1
            self.latencies[index] = now - self.begin - self.dues[index]
            self.gaps[index] = gap
            if status >= 400:
                self.refused += 1
            connection.index = -1
            if self.waiting:
                self.send(connection, self.waiting.popleft())
            else:
                self.free.append(connection)

    def lost(self, connection: Connection) -> None:
        """The server closed it. Its request has failed; another connection takes its place."""
        if connection.index >= 0:
            self.left -= 1
            self.failed += 1
        else:
            self.free.remove(connection)
        del self.connections[connection.socket.fileno()]
        self.wire.forget(connection.socket)
        connection.socket.close()
        self.connect()
        if self.waiting:
            self.send(self.free.pop(), self.waiting.popleft())

    def result(self) -> Result:
        """Of everything that was due after the warm-up; failures count from the start."""
        plan = self.plan
        counted = [index for index, due in enumerate(self.dues) if due >= plan.warmup]
        spent = [self.latencies[index] for index in counted if self.latencies[index] > 0]
        ends = [due + latency for due, latency in zip(self.dues, self.latencies, strict=True) if latency > 0]
        lags = [lag for index in counted if (lag := self.lags[index]) >= 0]
        gaps = [self.gaps[index] for index in counted if self.latencies[index] > 0] if plan.spin else [0.0]
        return Result(
            due=len(counted),
            answered=len(spent),
            refused=self.refused,
            failed=self.failed + self.left,
            waited=len(counted) - len(lags),
            carried=sum(plan.warmup <= end < plan.seconds for end in ends) / (plan.seconds - plan.warmup),
            late=Lateness(
                *(quantile(lags, q) for q in (0.5, 0.99, 0.999, 1.0)), *(quantile(gaps, q) for q in (0.99, 1.0))
            ),
            **{name: quantile(spent, q) for name, q in QUANTILES.items()},
        )


def run(plan: Plan, cores: frozenset[int]) -> Result:
    """In a process of its own on these cores. Raises RuntimeError when it does not report."""
    argv = [sys.executable, "-m", "bench.load.open_loop", "--target", plan.target.url, "--rate", str(plan.rate)]
    argv += ["--seconds", str(plan.seconds), "--connections", str(plan.connections), "--warmup", str(plan.warmup)]
    argv += ["--seed", str(plan.seed), *(["--spin"] if plan.spin else [])]
    done = subprocess.run(
        pinned(argv, cores),
        capture_output=True,
        text=True,
        timeout=plan.seconds + 30,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,  # what prefer() asks for is meant for this process only
    )
    if done.returncode:
        raise RuntimeError(f"the open loop gave no report: {done.stderr[-1500:]}")
    found = json.loads(done.stdout)
    return Result(**{**found, "late": Lateness(**found["late"])})


def prefer() -> None:
    """Ask the kernel not to give this core to others while we spin. Without the right to ask, it does as it likes.

    Where sessions are scheduled against each other (sched(7), autogroup), the niceness of the session is what counts.
    """
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -20)
    with contextlib.suppress(OSError):
        OWN_SHARE.write_text("-20")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.load.open_loop", description="Open-loop load, loopback only."
    )
    parser.add_argument("--target", type=target, required=True, help="http://127.0.0.1:PORT/PATH")
    parser.add_argument("--rate", type=bounded(float, 1, MOST_RATE), required=True, help="requests/s")
    parser.add_argument("--seconds", type=bounded(float, 0.1, MOST_SECONDS), default=4.0)
    parser.add_argument("--connections", type=bounded(int, 1, 1000), default=CONNECTIONS)
    parser.add_argument("--warmup", type=bounded(float, 0, 60), default=0.25, help="seconds that are not counted")
    parser.add_argument("--seed", type=bounded(int, 0, 1 << 30), default=0, help="of the times of arrival")
    parser.add_argument("--spin", action="store_true", help="never sleep: for a core of its own")
    plan = Plan(**vars(parser.parse_args()))
    if plan.spin:
        prefer()
    print(json.dumps(asdict(Generator(plan).run())))


if __name__ == "__main__":
    main()
