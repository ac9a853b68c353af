"""What users with a history notice while a crowd fills the proxy's own core: connections that ask without a pause.

    served    before a service that is idle: whoever is let in costs the proxy most
    refused   before a service of 200 requests/s: nearly all of the crowd is refused
    anew      the same, each request over a connection of its own

Users visit, then browse in calm weather, and go on when the crowd comes. Wanted of Shield: they have all that they ask
for, with a p95 of at most 3 times that of calm weather. The load takes only what service and users leave of its core,
or their wait for it would be measured.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.common.guard import MOST_CONNECTIONS, bounded
from bench.common.processes import free_ports, keep_logs, launch, own_cores, running, share_out
from bench.common.progress import Bar, bar
from bench.load.rush import MOST_ADDRESSES
from bench.load.users import PATIENCE, write_plan
from bench.peers import PEERS
from bench.peers.contender import choose, start, start_capacity_origin, start_origins
from bench.peers.plan import Limits, Setup
from bench.plots import report
from bench.suites.attack import PARALLEL, SERVICE, START, reading, taken
from bench.suites.attack_scenes import Scene, Size, people, timeline
from bench.suites.experience import measure

WANTED: Final = 3.0  # times the p95 of calm weather
WINDOW: Final = 2.0  # seconds of Shield's history; see attack.py
USUAL: Final = ("shield", "nginx", "haproxy")
SCENE: Final = Scene("", "", None, lambda size: [])


@dataclass(frozen=True, slots=True)
class Mode:
    title: str
    idle: bool  # the service could take all
    close: bool = False  # each request of the crowd over a connection of its own


MODES: Final = {
    "served": Mode("an idle service", True),
    "refused": Mode("refused", False),
    "anew": Mode("refused, new connections", False, True),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--modes", nargs="+", choices=list(MODES), default=list(MODES), metavar="MODE")
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=list(USUAL), metavar="PEER")
    parser.add_argument("--connections", type=bounded(int, 1, MOST_CONNECTIONS), default=1000)
    parser.add_argument("--addresses", type=bounded(int, 1, MOST_ADDRESSES), default=500)
    parser.add_argument("--seconds", type=bounded(float, 4, 60), default=16.0, help="of the crowd")
    parser.add_argument("--calm", type=bounded(float, 4, 100), default=16.0, help="seconds of calm browsing before")
    parser.add_argument("--users", type=bounded(int, 1, 200), default=20)
    parser.add_argument("--json", type=Path, help="where the raw results go (default: bench/results)")
    parser.add_argument("--keep-logs", type=Path, help="a folder for what the processes wrote")


def run(arguments: argparse.Namespace) -> int:
    """All modes and peers in turn; prints and writes the table, and returns the exit status."""
    results = play(arguments)
    return report.publish(results, markdown(results), arguments.json)


def play(arguments: argparse.Namespace) -> dict[str, Any]:
    """All modes and peers in turn; the raw results."""
    names, missing = choose(arguments.peers)
    size = Size(arguments.seconds, arguments.calm, arguments.users, 0.0, WINDOW)
    total = START + timeline(SCENE, size, 0.0).end + 3.0
    turns = [(mode, name) for mode in arguments.modes for name in names]
    rows: list[dict[str, Any]] = []
    with bar("crowd", len(turns) * total) as shown:
        for number, (mode, name) in enumerate(turns):
            rows.append({"mode": mode, "peer": name, **turn(MODES[mode], name, size, arguments, shown, number * total)})
    results: dict[str, Any] = {
        "suite": "crowd",
        "machine": report.machine(),
        "cores": share_out(own_cores()).describe(),
        "connections": arguments.connections,
        "addresses": arguments.addresses,
        "missing": missing,
        "rows": rows,
        "titles": {name: PEERS[name].TITLE.partition(",")[0] for name in names},
    }
    results["missed"] = results["problems"] = missed(rows)
    return results


def turn(mode: Mode, name: str, size: Size, arguments: argparse.Namespace, shown: Bar, done: float) -> dict[str, Any]:
    """One peer before one crowd."""
    cores = share_out(own_cores())
    with tempfile.TemporaryDirectory(prefix="bench-") as made, running([]) as started:
        folder = Path(made)
        counters = 0
        if mode.idle:
            origin = start_origins(folder, cores, started)
        else:
            origin, counters = start_capacity_origin(folder, cores, PARALLEL, SERVICE, started)
        port, side = free_ports(2)
        told = 0 if name == "shield" or mode.idle else PARALLEL
        limits = Limits.SENSIBLE if name == "shield" or not mode.idle else Limits.OUT_OF_REACH
        contender = start(name, Setup(folder, port, origin, side, limits, told, WINDOW), cores.proxy, started)
        times = timeline(SCENE, size, time.monotonic() + START)
        users = people(SCENE, size, times)
        write_plan(folder / "users-plan.json", users)
        site = ["--target", f"http://127.0.0.1:{contender.port}/"]
        files = ["--plan", str(folder / "users-plan.json"), "--out", str(folder / "users.json")]
        rush = ["--connections", str(arguments.connections), "--addresses", str(arguments.addresses)]
        rush += ["--begin", str(times.attack), "--seconds", str(size.seconds), *(["--close"] if mode.close else [])]
        processes = [
            launch("users", [sys.executable, "-m", "bench.load.users", *site, *files], folder, cores.origin),
            launch("rush", [sys.executable, "-m", "bench.load.rush", *site, *rush], folder, cores.load),
        ]
        started.extend(processes)
        readings = []
        while any(process.popen.poll() is None for process in processes):
            now = time.monotonic()
            if now > times.end + PATIENCE + 10:
                raise RuntimeError(f"{contender.title}: the run does not end")
            shown.step(done + max(0.0, now - times.visits), f"{contender.title}, {mode.title}")
            readings.append({"t": now - times.attack, **reading(contender, counters)})
            time.sleep(0.5)
        for process in processes:
            if process.popen.returncode:
                raise RuntimeError(f"{process.name} failed: {process.wrote()}")
        rushed = json.loads(processes[1].wrote(4000).splitlines()[-1])
        found = measure(json.loads((folder / "users.json").read_text()), rushed, times, users)
        if arguments.keep_logs:
            keep_logs(folder, arguments.keep_logs, f"crowd-{name}")
    return {
        **{key: found[key] for key in ("calm", "attack", "later", "challenges")},
        "answers": sum(rushed["statuses"].values()) / rushed["seconds"],
        "statuses": rushed["statuses"],
        "lost": rushed["lost"],
        "core": taken(readings, 2.0, size.seconds)["core"],
        "readings": readings,
    }


def missed(rows: list[dict[str, Any]]) -> list[str]:
    """Where users of Shield are not served as wanted."""
    told = []
    for row in rows:
        if row["peer"] == "shield":
            title, ratio = MODES[row["mode"]].title, row["attack"]["p95"] / row["calm"]["p95"]
            if row["attack"]["success"] < 1.0:
                told.append(f"{title}: users' success is {row['attack']['success']:.2%}")
            if ratio > WANTED:
                told.append(f"{title}: users' p95 is {ratio:.1f} times that of calm weather")
    return told


def markdown(results: dict[str, Any]) -> str:
    """The table."""
    load_average = results["machine"]["load_average"]
    how = f"{results['connections']:,} connections of {results['addresses']} addresses ask without a pause, beside "
    how += f"users with a history. {results['cores']}; load average {load_average:.1f}. Shield is as shipped, with a "
    how += f"history of windows of {WINDOW:g} s."
    heads = ["", "the crowd before", "users' p95 calm, ms", "p50 beside it", "p95", "times calm", "success"]
    heads += ["answers/s to the crowd", "of its core"]
    rows = [
        [
            results["titles"][row["peer"]],
            MODES[row["mode"]].title,
            report.figure(1000 * row["calm"]["p95"], 1),
            report.figure(1000 * row["attack"]["p50"], 1),
            report.figure(1000 * row["attack"]["p95"], 1),
            report.figure(row["attack"]["p95"] / row["calm"]["p95"], 1),
            f"{row['attack']['success']:.1%}",
            report.figure(row["answers"], 0),
            f"{row['core']:.0%}",
        ]
        for row in results["rows"]
    ]
    return "\n".join(["# Beside a crowd", f"\n{how}\n", report.table(heads, rows), *report.verdicts(results)])
