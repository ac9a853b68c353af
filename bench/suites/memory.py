"""What Shield keeps of each client and of each idle connection, in resident bytes, and whether it says so itself.

Clients: a fresh process drives an engine with so many distinct addresses, and reads its own resident set before and
after; for each of the numbers, because tables grow in steps. Crowding: a running Shield is given so many from one
address, and its processes' resident sets are read between the steps. What /api/status claims (entries times bytes per
entry) is put beside the first.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.common.guard import bounded, loopback
from bench.common.processes import PAGE, ROOT, ask, group_resident_bytes, own_cores, running, share_out
from bench.common.progress import bar
from bench.peers.contender import Contender, start_all, start_origins
from bench.peers.plan import Limits, Setup
from bench.plots import report
from bench.suites import rig
from shield.model import Outcome
from shield.operator.status import plain
from shield.policy.request import Request

FEW: Final = 100_000
MANY: Final = 1_000_000
WARM: Final = 1000  # clients before the first reading
FIRST: Final = 50  # connections before it; more would leave memory behind that the others use again
NETWORKS: Final = 50  # from which the connections come: Shield limits those of an address and of a network
AGENTS: Final = 500  # different browsers
PER_NETWORK: Final = 100  # clients in a /24
PER_SECOND: Final = 5000  # clients, in the engine's time
PATIENCE: Final = 6.0  # s; less than a silent connection may live
SPARE_FILES: Final = 200  # descriptors that neither side uses for these connections
WANTED: Final = {"client": 750, "connection": 8192}  # bytes, at most
REACH: Final = {"client": 350, "connection": 4096}
SAY: Final = 50_000  # clients between two words on how far it is
CLIENTS_PER_SECOND: Final = 40_000  # roughly, for the bar
CONNECTIONS_PER_SECOND: Final = 1000
REQUEST: Final = b"GET / HTTP/1.1\r\nHost: bench\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"
CONNECTIONS: Final = {"silent": "a silent connection", "used": "a connection that is idle after a request"}
CLAIMED: Final = ("addresses", "clients")  # the tables of which every client has an entry


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--clients",
        type=bounded(int, 1000, MANY),
        nargs="+",
        default=[FEW, MANY],
        metavar="NUMBER",
        help=f"distinct clients, each number in a process of its own ({MANY:,} take up to 1 GB and a minute)",
    )
    parser.add_argument("--connections", type=bounded(int, 100, 8000), default=5000)
    parser.add_argument("--json", type=Path, help="where the raw results go (default: bench/results)")


def run(arguments: argparse.Namespace) -> int:
    """Prints the tables, writes them, and returns the exit status."""
    results = play(arguments)
    return report.publish(results, markdown(results), arguments.json)


def play(arguments: argparse.Namespace) -> dict[str, Any]:
    """The raw results."""
    sizes = list(dict.fromkeys(arguments.clients))
    seconds = sum(sizes) / CLIENTS_PER_SECOND + 2 * arguments.connections / CONNECTIONS_PER_SECOND
    clients = []
    with bar("memory", seconds) as shown:
        for number, size in enumerate(sizes):
            before = sum(sizes[:number])

            def driven(clients: int, before: int = before, size: int = size) -> None:
                shown.step((before + clients) / CLIENTS_PER_SECOND, f"{clients:,} of {size:,} clients")

            clients.append(in_a_process(size, driven))
        base = sum(sizes) / CLIENTS_PER_SECOND

        def opened_so_far(step: int, connections: int, doing: str) -> None:
            done = step * arguments.connections + connections
            shown.step(base + done / CONNECTIONS_PER_SECOND, f"{connections:,} {doing}")

        connections = idle_connections(arguments.connections, opened_so_far)
    missed = held_against_wanted(clients, connections)
    return {
        "suite": "memory",
        "machine": report.machine(),
        "clients": clients,
        "connections": connections,
        "wanted": WANTED,
        "reach": REACH,
        "missed": missed,
        "problems": judge(clients, connections) + missed,
    }


# Clients


def resident_bytes() -> int:
    """Of this process, from /proc/self/statm (proc(5))."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def address(number: int) -> str:
    """The client's address; PER_NETWORK of them share a /24. They are names only: nothing is sent."""
    network, host = divmod(number, PER_NETWORK)
    return f"10.{network >> 8 & 255}.{network & 255}.{host + 1}"


def drive(size: int, say: Callable[[int], None]) -> dict[str, Any]:
    """Every client makes one request that is forwarded and learned from. To be run in a process of its own.

    `say` is told now and then how many have."""
    tables = f"[tables]\naddresses = {size + 2 * WARM}\nclients = {size + 2 * WARM}\n"
    engine = rig.engine(rig.OUT_OF_REACH + tables)
    agents = [f"{rig.AGENT} {number}" for number in range(AGENTS)]

    def ask_as(number: int, now: float) -> None:
        client = engine.identify(address(number), agents[number % AGENTS], "en", "", now)
        request = Request(client, "GET", "/index.html", {}, None, False, None)
        engine.decide(request, now)
        engine.learn(request, Outcome(200, 0.002), now)

    now = rig.START
    for number in range(WARM):
        ask_as(size + number, now)
    gc.collect()
    before, tables_before = resident_bytes(), plain(engine.status(now).tables)
    for number in range(size):
        now += 1.0 / PER_SECOND
        ask_as(number, now)
        if number % (PER_SECOND // 2) == 0:
            engine.tick(now)
        if number % SAY == 0:
            say(number)
    gc.collect()
    grown, tables_after = resident_bytes() - before, plain(engine.status(now).tables)
    return {"clients": size, "bytes": grown / size, "tables": growth(tables_before, tables_after, size)}


def growth(before: dict[str, Any], after: dict[str, Any], clients: int) -> dict[str, dict[str, float]]:
    """By table: the entries that were added, and the bytes that the status claims for them per client."""
    found = {}
    for name, figures in after.items():
        entries = figures["entries"] - before[name]["entries"]
        found[name] = {"entries": entries, "claimed": entries * figures["bytes_per_entry"] / clients}
    return found


def in_a_process(size: int, say: Callable[[int], None]) -> dict[str, Any]:
    """drive() where nothing else has used the heap. Raises RuntimeError when it fails."""
    with subprocess.Popen(
        [sys.executable, "-m", "bench.suites.memory", str(size)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        last = ""
        for line in process.stdout:  # numbers on the way, then the result
            last = line
            if line.strip().isdigit():
                say(int(line))
        wrong = process.stderr.read()  # a traceback at most, which the pipe holds
    if process.returncode:
        raise RuntimeError(f"the engine with {size} clients: {wrong[-1500:]}")
    result: dict[str, Any] = json.loads(last)
    return result


# Crowding


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


# On paper


def judge(clients: list[dict[str, Any]], connections: dict[str, Any]) -> list[str]:
    """Figures that cannot be what they are said to be."""
    problems = []
    for row in clients:
        for name in CLAIMED:
            entries = row["tables"][name]["entries"]
            if entries != row["clients"]:
                problems.append(f"{row['clients']:,} clients made {entries:,} entries in the table {name}")
    if connections["connections"] < connections["wanted"]:
        problems.append(f"the file limit allows {connections['connections']:,} connections only")
    rest, *others = connections["readings"]
    return problems + [
        f"{reading['step']}: Shield counts {reading['open']:,} open connections"
        for reading in others
        if reading["open"] - rest["open"] != connections["connections"]
    ]


def held_against_wanted(clients: list[dict[str, Any]], connections: dict[str, Any]) -> list[str]:
    """What takes more than is wanted."""
    taken = [(f"with {row['clients']:,} clients, each", "client", row["bytes"]) for row in clients]
    taken += [(title, "connection", connections[key]) for key, title in CONNECTIONS.items()]
    return [
        f"{title} takes {figure:,.0f} bytes, at most {WANTED[kind]:,} are wanted"
        for title, kind, figure in taken
        if not figure <= WANTED[kind]
    ]


def markdown(results: dict[str, Any]) -> str:
    machine = results["machine"]
    lines = ["# Memory", "", f"Linux {machine['kernel']}, Python {machine['python']}. Growth of the resident set.", ""]
    rows = []
    for row in results["clients"]:
        claimed = sum(row["tables"][name]["claimed"] for name in CLAIMED)
        everything = sum(table["claimed"] for table in row["tables"].values())
        rows.append(
            [
                f"{row['clients']:,} clients",
                *(
                    report.figure(value, 0)
                    for value in (
                        row["bytes"],
                        claimed,
                        everything,
                        results["wanted"]["client"],
                        results["reach"]["client"],
                    )
                ),
            ]
        )
    heads = ["", "bytes per client", "claimed: address and client", "claimed: all tables", "wanted", "reach"]
    lines += [report.table(heads, rows), ""]
    connections = results["connections"]
    rows = [
        [
            title,
            *(
                report.figure(value, 0)
                for value in (connections[key], results["wanted"]["connection"], results["reach"]["connection"])
            ),
        ]
        for key, title in CONNECTIONS.items()
    ]
    heads = [f"{connections['connections']:,} connections", "bytes per connection", "wanted", "reach"]
    lines += [report.table(heads, rows)]
    lines += ["", "The kernel's socket buffers are not among them. Claimed: entries times bytes in /api/status."]
    for problem in results["problems"]:
        lines.append(f"\n**{'Not as wanted' if problem in results['missed'] else 'Problem'}**: {problem}.")
    return "\n".join(lines)


if __name__ == "__main__":
    number = int(bounded(int, 1, MANY)(sys.argv[1]))
    print(json.dumps(drive(number, lambda done: print(done, flush=True))))
