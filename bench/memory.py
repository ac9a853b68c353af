"""What Shield keeps of each client and of each idle connection, in resident bytes, and whether it says so itself.

Clients: a fresh process drives an engine with so many distinct addresses, and reads its own resident set before and
after. Connections: a running Shield is given so many from one address, and its processes' resident sets are read
between the steps. What /api/status claims (entries times bytes per entry) is put beside the first.
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench import report, rig
from bench.guard import bounded, loopback
from bench.peers.plan import Limits, Setup
from bench.processes import PAGE, ROOT, ask, group_resident_bytes, own_cores, running, share_out
from bench.progress import bar
from bench.scene import Contender, start_all, start_origins
from shield.model import Outcome, Request

FEW: Final = 100_000
MANY: Final = 1_000_000
WARM: Final = 1000  # clients before the first reading
FIRST: Final = 50  # connections before it; more would leave memory behind that the others use again
AGENTS: Final = 500  # different browsers
PER_NETWORK: Final = 100  # clients in a /24
PER_SECOND: Final = 5000  # clients, in the engine's time
SPARE_FILES: Final = 200  # descriptors that neither side uses for these connections
WANTED: Final = {"client": 750, "connection": 8192}  # bytes
REQUEST: Final = b"GET / HTTP/1.1\r\nHost: bench\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"
CLAIMED: Final = ("addresses", "clients")  # the tables of which every client has an entry


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--clients", type=bounded(int, 1000, MANY), default=FEW)
    parser.add_argument("--large", action="store_true", help=f"also with {MANY:,} clients: 1 GB, a minute")
    parser.add_argument("--connections", type=bounded(int, 100, 8000), default=5000)
    parser.add_argument("--json", type=Path, help="where the raw results go (default: bench/results)")


def run(arguments: argparse.Namespace) -> int:
    """Prints the tables, writes them, and returns the exit status."""
    results = play(arguments)
    return report.publish(results, markdown(results), arguments.json)


def play(arguments: argparse.Namespace) -> dict[str, Any]:
    """The raw results."""
    sizes = [arguments.clients, *([MANY] if arguments.large else [])]
    clients = []
    with bar("memory", len(sizes) + 1) as shown:
        for done, size in enumerate(sizes):
            shown.step(done, f"{size:,} distinct clients through an engine")
            clients.append(in_a_process(size))
        shown.step(len(sizes), f"{arguments.connections:,} idle connections to a running Shield")
        connections = idle_connections(arguments.connections)
    return {
        "suite": "memory",
        "machine": report.machine(),
        "clients": clients,
        "connections": connections,
        "wanted": WANTED,
        "problems": judge(clients, connections),
    }


# Clients


def resident_bytes() -> int:
    """Of this process, from /proc/self/statm (proc(5))."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def address(number: int) -> str:
    """The client's address; PER_NETWORK of them share a /24. They are names only: nothing is sent."""
    network, host = divmod(number, PER_NETWORK)
    return f"10.{network >> 8 & 255}.{network & 255}.{host + 1}"


def drive(size: int) -> dict[str, Any]:
    """Every client makes one request that is forwarded and learned from. To be run in a process of its own."""
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
    before, tables_before = resident_bytes(), engine.status(now)["tables"]
    for number in range(size):
        now += 1.0 / PER_SECOND
        ask_as(number, now)
        if number % (PER_SECOND // 2) == 0:
            engine.tick(now)
    gc.collect()
    grown, tables_after = resident_bytes() - before, engine.status(now)["tables"]
    return {"clients": size, "bytes": grown / size, "tables": growth(tables_before, tables_after, size)}


def growth(before: dict[str, Any], after: dict[str, Any], clients: int) -> dict[str, dict[str, float]]:
    """By table: the entries that were added, and the bytes that the status claims for them per client."""
    found = {}
    for name, figures in after.items():
        entries = figures["entries"] - before[name]["entries"]
        found[name] = {"entries": entries, "claimed": entries * figures["bytes_per_entry"] / clients}
    return found


def in_a_process(size: int) -> dict[str, Any]:
    """drive() where nothing else has used the heap. Raises RuntimeError when it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.memory", str(size)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    if done.returncode:
        raise RuntimeError(f"the engine with {size} clients: {done.stderr[-1500:]}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


# Connections


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


def idle_connections(wanted: int) -> dict[str, Any]:
    """Readings of a running Shield: at rest, with silent connections, and after one request on each."""
    number = most_connections(wanted)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, running([]) as started:
        cores = share_out(own_cores())
        origin_port = start_origins(Path(folder), cores, started)
        template = Setup(Path(folder), 0, origin_port, 0, Limits.OUT_OF_REACH, 1000)
        (shield,) = start_all(["shield"], template, cores.proxy, started)
        assert shield.process is not None
        with opened(shield.port, FIRST) as first:
            exchange(first)
        readings = [read(shield, "at rest")]
        with opened(shield.port, number) as connections:
            readings.append(read(shield, "silent"))
            exchange(connections)
            readings.append(read(shield, "after a request"))
        rest, silent, used = readings
    return {
        "wanted": wanted,
        "connections": number,
        "silent": (silent.bytes - rest.bytes) / (silent.open - rest.open),
        "used": (used.bytes - rest.bytes) / (used.open - rest.open),
        "readings": [{"step": r.step, "open": r.open, "bytes": r.bytes} for r in readings],
    }


@contextlib.contextmanager
def opened(port: int, number: int) -> Any:
    """So many connections to a port on loopback."""
    with contextlib.ExitStack() as stack:
        where = (loopback("127.0.0.1"), port)
        yield [stack.enter_context(socket.create_connection(where, 5.0)) for _ in range(number)]


def exchange(connections: list[socket.socket]) -> None:
    """One request on each, one after the other, each to the end of its answer. Raises RuntimeError when refused."""
    for connection in connections:
        connection.sendall(REQUEST)
        answer = connection.recv(65_536)
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"an idle connection's request was answered {answer[:40]!r}")
        head, _, body = answer.partition(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        missing = int(fields[b"content-length"]) - len(body)
        while missing > 0 and (more := connection.recv(missing)):
            missing -= len(more)


def read(shield: Contender, step: str) -> Reading:
    """Once Shield itself has seen what was opened and closed: its count does not move any more."""
    assert shield.process is not None
    assert shield.metrics is not None
    last = -1
    for _ in range(50):
        time.sleep(0.2)
        status, body = ask(shield.metrics[0], "/api/status")
        if status != 200:
            raise RuntimeError(f"/api/status answers {status}")
        now = int(json.loads(body)["connections"]["open"])
        if now == last:
            return Reading(step, now, group_resident_bytes(shield.process.pid))
        last = now
    raise RuntimeError(f"the number of open connections does not settle: {last}")


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
                    for value in (row["bytes"], claimed, everything, results["wanted"]["client"])
                ),
            ]
        )
    heads = ["", "bytes per client", "claimed: address and client", "claimed: all tables", "wanted"]
    lines += [report.table(heads, rows), ""]
    connections = results["connections"]
    rows = [
        [title, report.figure(connections[key], 0), report.figure(results["wanted"]["connection"], 0)]
        for key, title in (("silent", "silent"), ("used", "idle after a request"))
    ]
    heads = [f"{connections['connections']:,} connections", "bytes per connection", "wanted"]
    lines += [report.table(heads, rows)]
    lines += ["", "The kernel's socket buffers are not among them. Claimed: entries times bytes in /api/status."]
    lines += [f"\n**Problem**: {problem}." for problem in results["problems"]]
    return "\n".join(lines)


if __name__ == "__main__":
    print(json.dumps(drive(bounded(int, 1, MANY)(sys.argv[1]))))  # type: ignore[arg-type]
