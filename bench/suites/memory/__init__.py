"""What Shield keeps of each client and of each idle connection, in resident bytes, and whether it says so itself.

What /api/status claims (entries times bytes per entry) is put beside what the clients take.
"""

from __future__ import annotations

import argparse
from typing import Any, Final

from bench.common.guard import bounded, json_file
from bench.common.progress import bar
from bench.plots import report
from bench.plots.memory_tables import CLAIMED, CONNECTIONS, markdown
from bench.suites.memory.clients import FEW, MANY, in_a_process
from bench.suites.memory.connections import idle_connections, idle_over_http_2

__all__ = ["add_arguments", "markdown", "play", "run"]

WANTED: Final = {"client": 750, "connection": 8192, "http2": 24576, "stream": 8192}  # bytes, at most
REACH: Final = {"client": 350, "connection": 4096, "http2": 16384, "stream": 4096}
CLIENTS_PER_SECOND: Final = 40_000  # roughly, for the bar
CONNECTIONS_PER_SECOND: Final = 1000


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
    parser.add_argument("--json", type=json_file, help="where the raw results go (default: bench/results)")


def run(arguments: argparse.Namespace) -> int:
    """Prints the tables, writes them, and returns the exit status."""
    results = play(arguments)
    return report.publish(results, markdown(results), arguments.json)


def play(arguments: argparse.Namespace) -> dict[str, Any]:
    """The raw results."""
    sizes = list(dict.fromkeys(arguments.clients))
    seconds = sum(sizes) / CLIENTS_PER_SECOND + 3 * arguments.connections / CONNECTIONS_PER_SECOND
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
        connections |= idle_over_http_2(arguments.connections, opened_so_far)
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
    taken += [(title, kind, connections[key]) for key, (kind, title) in CONNECTIONS.items() if key in connections]
    return [
        f"{title} takes {figure:,.0f} bytes, at most {WANTED[kind]:,} are wanted"
        for title, kind, figure in taken
        if not figure <= WANTED[kind]
    ]
