"""What a proxy adds to the time of a request, at fixed rates of arrival that all of them can carry.

First each peer's capacity is measured in a closed loop. The rates are shares of the slowest one's, so that every peer
meets the same arrivals. What a proxy adds is its percentile less that of the origin alone in the same round.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from bench import load, openloop, report
from bench.guard import MOST_RATE, MOST_ROUNDS, Target, bounded
from bench.peers import PEERS
from bench.peers.plan import Limits, Setup
from bench.processes import own_cores, running, share_out
from bench.progress import Bar, bar
from bench.scene import Contender, choose, start_all, start_origins
from bench.stats import median
from bench.throughput import CONNECTIONS, OUT_OF_REACH

SHARES: Final = (0.25, 0.5, 0.75)  # of the slowest capacity
CAPACITY_SECONDS: Final = 1.0
PAUSE: Final = 0.7  # s that starting a generator takes, for the bar
NAMES: Final = tuple(openloop.QUANTILES)
LATE: Final = 0.001  # s; a generator that is later than this measures itself
HEADS: Final = {"p50": "p50", "p90": "p90", "p99": "p99", "p999": "p99.9"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    default = ["direct", "nginx", "haproxy", "shield", "envoy", "traefik", "caddy"]
    parser.add_argument("--rounds", type=bounded(int, 1, MOST_ROUNDS), default=5)
    parser.add_argument("--seconds", type=bounded(float, 1, 60), default=3.0, help="of each peer's turn")
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=default, metavar="PEER")
    parser.add_argument("--json", type=Path, help="where the raw results go (default: bench/results)")


def run(arguments: argparse.Namespace) -> int:
    """Prints the tables, writes them, and returns the exit status."""
    results = play(arguments)
    return report.publish(results, markdown(results), arguments.json)


def play(arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything that was asked for; the raw results. The origin alone is always among the peers."""
    names, missing = choose(list(dict.fromkeys(["direct", *arguments.peers])))
    for name, why in missing.items():
        print(f"left out: {PEERS[name].TITLE}: {why}", file=sys.stderr)
    cores = share_out(own_cores())
    turns = len(names) * len(SHARES) * arguments.rounds
    with (
        bar("latency", turns * (arguments.seconds + PAUSE)) as shown,
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        running([]) as started,
    ):
        shown.step(0, "capacity of each peer")
        origin_port = start_origins(Path(folder), cores, started)
        setup = Setup(Path(folder), 0, origin_port, 0, Limits.OUT_OF_REACH, OUT_OF_REACH)
        contenders = start_all(names, setup, cores.proxy, started)
        capacities = {contender.name: capacity(contender, cores.load) for contender in contenders}
        slowest = min((rate for name, rate in capacities.items() if name != "direct"), default=capacities["direct"])
        rates = [min(MOST_RATE, round(share * slowest)) for share in SHARES]
        rows = rounds(contenders, rates, arguments.rounds, arguments.seconds, cores.load, shown)
    return {
        "suite": "latency",
        "machine": report.machine(),
        "cores": cores.describe(),
        "seconds": arguments.seconds,
        "rounds": arguments.rounds,
        "missing": missing,
        "capacities": capacities,
        "titles": {contender.name: contender.title for contender in contenders},
        "rates": [
            {"share": share, "rate": rate, "peers": summary([row for row in rows if row["rate"] == rate])}
            for share, rate in zip(SHARES, rates, strict=True)
        ],
        "turns": rows,
        "problems": judge(rows),
    }


def capacity(contender: Contender, cores: frozenset[int]) -> float:
    """Requests/s in a closed loop."""
    plan = load.Plan(Target("127.0.0.1", contender.port), CONNECTIONS, CAPACITY_SECONDS)
    generate = load.with_wrk if load.have_wrk() else load.with_own
    generate(plan, cores)  # warms up
    return generate(plan, cores).rate


def rounds(
    contenders: Sequence[Contender],
    rates: Sequence[float],
    number: int,
    seconds: float,
    cores: frozenset[int],
    shown: Bar,
) -> list[dict[str, Any]]:
    """Each peer at each rate once a round; the order rotates."""
    rows: list[dict[str, Any]] = []
    for index in range(number):
        first = index % len(contenders)
        for rate in rates:
            for contender in [*contenders[first:], *contenders[:first]]:
                shown.step(len(rows) * (seconds + PAUSE), f"{rate:g}/s: {contender.title}, round {index + 1}")
                time.sleep(0.1)
                result = openloop.run(openloop.Plan(Target("127.0.0.1", contender.port), rate, seconds), cores)
                rows.append({"peer": contender.name, "round": index, "rate": rate, **asdict(result)})
    return rows


def judge(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What makes latencies worthless."""
    problems = [
        f"{PEERS[row['peer']].TITLE} at {row['rate']:g}/s, round {row['round'] + 1}: "
        f"{row['failed']} requests failed, {row['refused']} were refused"
        for row in rows
        if row["failed"] or row["refused"]
    ]
    if late := [row["late"] for row in rows if not row["late"] < LATE]:
        problems.append(
            f"in {len(late)} of {len(rows)} turns the generator was late, up to {1000 * max(late):.1f} ms (p99): "
            "other work on this machine is in these figures"
        )
    return problems


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """By peer: the median over the rounds of each percentile, and of what it is above the origin's in that round."""
    direct = {row["round"]: row for row in rows if row["peer"] == "direct"}
    found = {}
    for name in dict.fromkeys(row["peer"] for row in rows):
        own = [row for row in rows if row["peer"] == name]
        found[name] = {
            "latency": {q: median([row[q] for row in own]) for q in NAMES},
            "added": {q: median([row[q] - direct[row["round"]][q] for row in own]) for q in NAMES},
        }
    return found


def markdown(results: dict[str, Any]) -> str:
    machine = results["machine"]
    titles = results["titles"]
    lines = ["# Latency at fixed rates of arrival", ""]
    lines.append(
        f"{machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}, Python {machine['python']}, load "
        f"{machine['load_average']:.1f}; {results['cores']}. Open loop from the due times, {results['seconds']:g} s a "
        f"turn, median of {results['rounds']} interleaved rounds. Milliseconds added to what the origin alone takes."
    )
    heads = ["", *HEADS.values(), "p99 of Envoy's"]
    for at in results["rates"]:
        lines += ["", f"## {at['rate']:,.0f} requests/s, {at['share']:.0%} of the slowest peer's capacity", ""]
        envoy = at["peers"].get("envoy", {}).get("added", {}).get("p99")
        rows = []
        for name, peer in at["peers"].items():
            alone = name == "direct"
            figures = peer["latency"] if alone else peer["added"]
            # Noise can make a proxy faster than none; a ratio of such figures says nothing.
            ratio = figures["p99"] / envoy if not alone and envoy and min(envoy, figures["p99"]) > 0 else None
            title = f"{titles[name]}, in all" if alone else titles[name]
            rows.append([title, *(report.figure(1000 * figures[q], 3) for q in NAMES), report.figure(ratio)])
        lines.append(report.table(heads, rows))
    capacities = ", ".join(f"{titles[name]} {rate:,.0f}" for name, rate in results["capacities"].items())
    lines += ["", f"Capacities in a closed loop, requests/s: {capacities}."]
    lines += [f"\nLeft out: {PEERS[name].TITLE} ({why})." for name, why in results["missing"].items()]
    lines += [f"\n**Problem**: {problem}." for problem in results["problems"]]
    return "\n".join(lines)
