"""What each proxy carries as more and more connections ask in a closed loop, from one address and from many.

The service is idle: it could take far more. So a refusal is a mistake, and what falls is the proxy's own. Shield finds
out by itself how much the service takes; its limits of rates are out of reach, as the peers' are. All peers take turns
on the same pinned core.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from bench.common.guard import MOST_CONNECTIONS, Target, bounded, json_file
from bench.common.processes import ask, own_cores, raise_file_limit, running, share_out
from bench.common.progress import bar
from bench.load.closed_loop import MOST_ADDRESSES
from bench.load.plan import Plan, Result, reported
from bench.peers import PEERS
from bench.peers.contender import Contender, choose, start_all, start_origins
from bench.peers.plan import Limits, Setup
from bench.plots import report

CONNECTIONS: Final = (16, 64, 400, 1500, 4000)
USUAL: Final = ("shield", "nginx", "haproxy")
EACH: Final = 4  # connections of an address, where there are many
BASE: Final = 64  # connections to which the others are held
WANTED: Final = 0.85  # of the goodput at BASE
WARM: Final = 2.0  # s, not counted: four windows in which a limit is found
LIMIT: Final = re.compile(rb'"concurrency": ?(\d+)')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=bounded(float, 1, 30), default=3.0, help="of each peer's turn")
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=list(USUAL), metavar="PEER")
    parser.add_argument("--connections", nargs="+", type=bounded(int, 1, MOST_CONNECTIONS), default=list(CONNECTIONS))
    parser.add_argument("--json", type=json_file, help="where the raw results go (default: bench/results)")


def run(arguments: argparse.Namespace) -> int:
    """Everything that was asked for; prints the tables, writes them, and returns the exit status."""
    results = play(arguments)
    return report.publish(results, markdown(results), arguments.json)


def play(arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything that was asked for; the raw results."""
    raise_file_limit()
    names, missing = choose(arguments.peers)
    cores = share_out(own_cores())
    turns = [(count, many) for many in (False, True) for count in arguments.connections]
    rows: list[dict[str, Any]] = []
    with bar("saturation", len(turns) * len(names) * (arguments.seconds + WARM)) as shown:
        for count, many in turns:
            for name in names:
                shown.step(len(rows) * (arguments.seconds + WARM), f"{PEERS[name].TITLE}, {count} connections")
                with tempfile.TemporaryDirectory(prefix="bench-") as folder, running([]) as processes:
                    origin_port = start_origins(Path(folder), cores, processes)
                    setup = Setup(Path(folder), 0, origin_port, 0, Limits.OUT_OF_REACH, 0)
                    (contender,) = start_all([name], cores.proxy, setup, processes)
                    rows.append({"peer": name, **turn(contender, count, many, arguments.seconds, cores.load)})
    results: dict[str, Any] = {
        "suite": "saturation",
        "machine": report.machine(),
        "cores": cores.describe(),
        "seconds": arguments.seconds,
        "missing": missing,
        "rows": rows,
        "titles": {name: PEERS[name].TITLE for name in names},
    }
    results["missed"] = results["problems"] = missed(rows)
    return results


def turn(contender: Contender, count: int, many: bool, seconds: float, cores: frozenset[int]) -> dict[str, Any]:
    """One peer's few seconds."""
    addresses = max(1, min(count // EACH, MOST_ADDRESSES)) if many else 1
    plan = Plan(Target("127.0.0.1", contender.port, "/"), count, WARM, addresses=addresses)
    load(plan, cores)
    before = contender.cpu_seconds()
    got = load(dataclasses.replace(plan, seconds=seconds), cores)
    used = contender.cpu_seconds() - before
    answered = got.requests - got.refused
    return {
        "connections": count,
        "addresses": addresses,
        "goodput": answered / got.seconds,
        "refused": got.refused / got.seconds,
        "failed": got.failed,
        "p95": got.p95,
        "cpu_per_1000": 1000 * used / got.requests if got.requests else None,
        "limit": limit_of(contender),
    }


def load(plan: Plan, cores: frozenset[int]) -> Result:
    """Run our own generator."""
    argv = [sys.executable, "-m", "bench.load.closed_loop", "--target", plan.target.url]
    argv += ["--connections", str(plan.connections), "--seconds", str(plan.seconds), "--addresses", str(plan.addresses)]
    return reported(argv, cores, plan.seconds)


def limit_of(contender: Contender) -> float | None:
    """What Shield has found that the service takes at once."""
    if contender.metrics is None:
        return None
    _, body = ask(contender.metrics[0], "/api/status")
    found = LIMIT.search(body)
    return float(found[1]) if found else None


def missed(rows: list[dict[str, Any]]) -> list[str]:
    """Where Shield's goodput falls with more connections, or it refuses somebody before an idle service."""
    told = []
    mine = [row for row in rows if row["peer"] == "shield"]
    for row in mine:
        where = f"{row['connections']} connections of {row['addresses']} addresses"
        if row["refused"]:
            told.append(f"{row['refused']:,.0f} refusals/s with {where}")
        for base in mine:
            alike = base["connections"] == BASE and (base["addresses"] == 1) is (row["addresses"] == 1)
            if alike and row["connections"] > BASE and row["goodput"] < WANTED * base["goodput"]:
                told.append(f"goodput with {where} is {row['goodput'] / base['goodput']:.2f} of that with {BASE}")
    return told


def markdown(results: dict[str, Any]) -> str:
    """The tables."""
    load_average = results["machine"]["load_average"]
    how = f"Closed loop, small GETs, an idle service; one turn of {results['seconds']:g} s each; {results['cores']}; "
    how += f"load average {load_average:.1f}. Shield is as shipped, but for limits of rates that are out of reach."
    lines = ["# Saturation", f"\n{how}\n"]
    heads = ["", "connections", "addresses", "answers/s", "refused/s", "p95, ms", "CPU s per 1,000", "limit found"]
    rows = [
        [
            results["titles"][row["peer"]],
            f"{row['connections']:,}",
            str(row["addresses"]),
            report.figure(row["goodput"], 0),
            report.figure(row["refused"], 0),
            report.figure(1000 * row["p95"], 1),
            report.figure(row["cpu_per_1000"], 3),
            report.figure(row["limit"], 0),
        ]
        for row in results["rows"]
    ]
    return "\n".join([*lines, report.table(heads, rows), *report.verdicts(results)])
