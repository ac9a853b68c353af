"""What Shield keeps of each idle connection: a running one is given so many.

The resident sets of its processes are read between the steps. The connections come from one address in each of several
networks.
"""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.common.guard import loopback
from bench.common.processes import ask, group_resident_bytes, own_cores, running, share_out
from bench.load import frames
from bench.peers.contender import Contender, start_all, start_origins
from bench.peers.plan import Limits, Setup

FIRST: Final = 50  # connections before it; more would leave memory behind that the others use again
NETWORKS: Final = 50  # from which the connections come: Shield limits those of an address and of a network
PATIENCE: Final = 6.0  # s; less than a silent connection may live
SPARE_FILES: Final = 200  # descriptors that neither side uses for these connections
STREAMS: Final = 4  # that are left open on each connection of HTTP/2
REQUEST: Final = b"GET / HTTP/1.1\r\nHost: bench\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Reading:
    """Resident bytes of Shield's processes at one step."""

    step: str
    open: int
    bytes: int


def most_connections(wanted: int) -> int:
    """As many as the file limit allows. Shield reserves two descriptors for each client."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard > soft:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    return min(wanted, (soft - SPARE_FILES) // 2) if soft != resource.RLIM_INFINITY else wanted


def idle_connections(wanted: int, say: Callable[[int, int, str], None]) -> dict[str, Any]:
    """Readings of a running Shield: at rest, with silent connections, and after one request on each.

    `say` is told the step, how many connections it has done, and what it does."""
    number = most_connections(wanted)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, running([]) as started:
        cores = share_out(own_cores())
        origin_port = start_origins(Path(folder), cores, started)
        template = Setup(Path(folder), 0, origin_port, 0, Limits.OUT_OF_REACH, 1000)
        (shield,) = start_all(["shield"], cores.proxy, template, started)
        assert shield.process is not None
        with opened(shield.port, FIRST) as first:
            exchange(first)
        readings = [read(shield, "at rest", 0)]
        with opened(shield.port, number, lambda done: say(0, done, "connections opened")) as connections:
            readings.append(read(shield, "silent", number))
            exchange(connections, lambda done: say(1, done, "connections with a request"))
            readings.append(read(shield, "after a request", number))
        rest, silent, used = readings
    return {
        "wanted": wanted,
        "connections": number,
        "silent": (silent.bytes - rest.bytes) / (silent.open - rest.open),
        "used": (used.bytes - rest.bytes) / (used.open - rest.open),
        "readings": [{"step": r.step, "open": r.open, "bytes": r.bytes} for r in readings],
    }


def silent(_: int) -> None:
    """Says nothing."""


def idle_over_http_2(wanted: int, say: Callable[[int, int, str], None]) -> dict[str, Any]:
    """The same of another Shield whose clients speak HTTP/2 without TLS: idle after a request, and with STREAMS open on
    each, uploads of which nothing has come."""
    number = most_connections(wanted)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, running([]) as started:
        cores = share_out(own_cores())
        origin_port = start_origins(Path(folder), cores, started)
        template = Setup(Path(folder), 0, origin_port, 0, Limits.OUT_OF_REACH, 1000, http2=True)
        (shield,) = start_all(["shield"], cores.proxy, template, started)
        assert shield.process is not None
        with opened(shield.port, FIRST) as first:
            ask_over_http_2(first)
        readings = [read(shield, "at rest", 0)]
        with opened(shield.port, number) as connections:
            ask_over_http_2(connections, lambda done: say(0, done, "connections of HTTP/2"))
            readings.append(read(shield, "after a request over HTTP/2", number))
            for connection in connections:
                uploads = b"".join(_upload(2 * stream + 3) for stream in range(STREAMS))
                connection.sendall(uploads + frames.frame(6, 0, 0, bytes(8)))
                _read_until(connection, lambda kind, flags: (kind, flags) == (6, 1))  # the PING is acknowledged
            readings.append(read(shield, "with open streams", number))
        rest, used, busy = readings
    return {
        "used_http2": (used.bytes - rest.bytes) / (used.open - rest.open),
        "stream": (busy.bytes - used.bytes) / (STREAMS * (busy.open - rest.open)),
        "http2_readings": [{"step": r.step, "open": r.open, "bytes": r.bytes} for r in readings],
    }


def ask_over_http_2(connections: list[socket.socket], say: Callable[[int], None] = silent) -> None:
    """One request on each, to the end of its answer. Raises RuntimeError when it is refused."""
    begins = frames.PREFACE + frames.frame(4, 0, 0) + frames.frame(4, 1, 0)
    asked = frames.frame(1, 5, 1, frames.block("bench", "/", "bench"))
    for done, connection in enumerate(connections):
        if done % 500 == 0:
            say(done)
        connection.sendall(begins + asked)
        _read_until(connection, lambda kind, flags: kind in _MESSAGE and flags & 1 == 1)


def _read_until(connection: socket.socket, last: Callable[[int, int], bool]) -> None:
    """Read frames up to the one that is the `last` by its kind and flags. Raises RuntimeError when there is none."""
    heard = b""
    while True:
        while len(heard) < 9 or len(heard) < 9 + int.from_bytes(heard[:3], "big"):
            more = connection.recv(65_536)
            if not more:
                raise RuntimeError("a connection of HTTP/2 was closed")
            heard += more
        size, kind, flags = int.from_bytes(heard[:3], "big"), heard[3], heard[4]
        if kind in _REFUSALS:
            raise RuntimeError(f"HTTP/2 is answered {heard[: 9 + size]!r}")
        heard = heard[9 + size :]
        if last(kind, flags):
            return


_MESSAGE: Final = frozenset({0, 1})  # DATA, HEADERS
_REFUSALS: Final = frozenset({3, 7})  # RST_STREAM, GOAWAY


def _upload(stream: int) -> bytes:
    return frames.frame(1, 4, stream, frames.block("bench", "/", "bench").replace(b"\x03GET", b"\x04POST"))


@contextlib.contextmanager
def opened(port: int, number: int, say: Callable[[int], None] = silent) -> Iterator[list[socket.socket]]:
    """So many connections to a port on loopback, from NETWORKS addresses: Shield limits those of one."""
    with contextlib.ExitStack() as stack:
        where = (loopback("127.0.0.1"), port)
        connections = []
        for done in range(number):
            if done % 500 == 0:
                say(done)
            source = (loopback(f"127.1.{done % NETWORKS}.1"), 0)
            connections.append(stack.enter_context(socket.create_connection(where, 5.0, source)))
        yield connections


def exchange(connections: list[socket.socket], say: Callable[[int], None] = silent) -> None:
    """One request on each, one after the other, each to the end of its answer. Raises RuntimeError when refused."""
    for done, connection in enumerate(connections):
        if done % 500 == 0:
            say(done)
        connection.sendall(REQUEST)
        answer = connection.recv(65_536)
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"an idle connection's request was answered {answer[:40]!r}")
        head, _, body = answer.partition(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        missing = int(fields[b"content-length"]) - len(body)
        while missing > 0 and (more := connection.recv(missing)):
            missing -= len(more)


def read(shield: Contender, step: str, expected: int) -> Reading:
    """Once Shield has accepted or closed what it is expected to; the kernel keeps silent connections for a second
    (TCP_DEFER_ACCEPT). After PATIENCE whatever there is."""
    assert shield.process is not None
    assert shield.metrics is not None
    for _ in range(round(PATIENCE / 0.2)):
        time.sleep(0.2)
        status, body = ask(shield.metrics[0], "/api/status")
        if status != 200:
            raise RuntimeError(f"/api/status answers {status}")
        now = int(json.loads(body)["connections"]["open"])
        if now == expected:
            break
    return Reading(step, now, group_resident_bytes(shield.process.pid))
