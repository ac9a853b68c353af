"""How many requests one core of each proxy carries, side by side.

All peers stay up and take turns on the same pinned core, a few seconds each, in rounds whose order changes, so that a
machine that slows down for a while slows all of them. Ratios are medians over the rounds of the ratio within a round.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from typing import Any, Final

from bench.common.guard import MOST_ROUNDS, bounded, json_file
from bench.common.processes import own_cores, share_out
from bench.common.progress import bar
from bench.load import generators
from bench.peers import PEERS, certificate
from bench.peers.contender import choose, start_all
from bench.plots import report
from bench.plots.throughput_tables import markdown
from bench.suites.contest import PAUSE, Contest
from bench.suites.workloads import WORKLOADS

ASKED_FOR: Final = {"told", "shipped", "logged"}  # Shield in other ways
USUAL: Final = [name for name in PEERS if name not in ASKED_FOR]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=bounded(int, 1, MOST_ROUNDS), default=5)
    parser.add_argument("--seconds", type=bounded(float, 1, 60), default=3.0, help="of each peer's turn")
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=USUAL, metavar="PEER")
    parser.add_argument("--workloads", nargs="+", choices=list(WORKLOADS), default=list(WORKLOADS), metavar="WORKLOAD")
    parser.add_argument("--own-load", action="store_true", help="use our own generator even where wrk exists")
    parser.add_argument("--json", type=json_file, help="where the raw results go (default: bench/results)")


def run(arguments: argparse.Namespace) -> int:
    """Everything that was asked for; prints the tables, writes them, and returns the exit status."""
    results = play(arguments)
    return report.publish(results, markdown(results), arguments.json)


def play(arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything that was asked for; the raw results."""
    names, missing = choose(arguments.peers)
    for name, why in missing.items():
        print(f"left out: {PEERS[name].TITLE}: {why}", file=sys.stderr)
    cores = share_out(own_cores())
    wrk = generators.have_wrk() and not arguments.own_load
    chosen = [WORKLOADS[name] for name in arguments.workloads]
    if why := certificate.missing():
        missing |= {f"the table {workload.title}": why for workload in chosen if workload.tls}
        chosen = [workload for workload in chosen if not workload.tls]
    turns = sum(len([n for n in names if n not in w.without]) for w in chosen) * arguments.rounds
    results: dict[str, Any] = {
        "suite": "throughput",
        "machine": report.machine(),
        "cores": cores.describe(),
        "load": f"{'wrk' if wrk else 'own generator'}, {arguments.seconds:g} s a turn",
        "rounds": arguments.rounds,
        "missing": missing,
        "workloads": {},
    }
    problems: list[str] = []
    with bar("throughput", turns * (arguments.seconds + PAUSE)) as shown:
        done = 0
        for workload in chosen:
            present = [name for name in names if name not in workload.without]
            if not present:
                continue
            contest = Contest(workload, cores, arguments.seconds, wrk, shown, done)
            results["workloads"][workload.name] = {
                **contest.run(partial(start_all, present, cores.proxy), arguments.rounds),
                "without": {name: why for name, why in workload.without.items() if name in names},
            }
            problems += contest.problems
            done += len(present) * arguments.rounds
    results["problems"] = problems
    return results
