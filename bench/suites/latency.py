"""What a proxy adds to the time of a request, at fixed rates of arrival that all of them can carry.

First the generator is held against an origin of known latency. Then each peer's capacity is measured in a closed loop,
and the generator against that. The rates are shares of the slowest peer's capacity, and within a round every peer meets
the same arrivals. What a proxy adds is its percentile less that of the origin alone in the same round.

A turn in which the generator itself was late is thrown out and played again.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from bench.common.guard import MOST_RATE, MOST_ROUNDS, Target, bounded, json_file
from bench.common.processes import (
    TICKS,
    Cores,
    Process,
    free_ports,
    launch,
    own_cores,
    running,
    share_out,
    wait_until_answers,
)
from bench.common.progress import Bar, bar
from bench.common.stats import median
from bench.load import generators, open_loop
from bench.load.plan import Plan
from bench.peers import PEERS
from bench.peers.contender import Contender, choose, start_all, start_origins
from bench.peers.plan import Limits, Setup
from bench.plots import report
from bench.plots.latency_tables import HALF, LATE, NAMES, WANTED, markdown
from bench.suites.contest import OUT_OF_REACH
from bench.suites.workloads import CONNECTIONS

SHARES: Final = (0.25, 0.5, 0.75)  # of the slowest capacity
CAPACITY_SECONDS: Final = 1.0
PAUSE: Final = 0.7  # s that starting a generator takes, for the bar

TRIES: Final = 3  # of a turn that is thrown out
FOREIGN: Final = 0.15  # of a core, that others may use meanwhile; below it is the tick's inaccuracy

DELAY: Final = 0.002  # s of the origin of known latency
STALL: Final = 0.1  # s, once a second
KNOWN_RATE: Final = 2000.0  # requests/s
KNOWN_SECONDS: Final = 2.25  # with 0.25 of warm-up: two stalls are counted
DELAY_TOO_MUCH: Final = 0.0003  # s above DELAY
STALL_AROUND: Final = 0.01  # s; the p99 has 40 of 4,000 requests above it, give or take 6, which is 1.5 ms
OVERLOAD: Final = 1.3  # of a capacity
LEAST_OVERLOAD: Final = 1.1
CAPACITY_AROUND: Final = 0.2  # between wrk's rate and ours when the server is what is slow


def add_arguments(parser: argparse.ArgumentParser) -> None:
    default = ["direct", "nginx", "haproxy", "shield", "envoy", "traefik", "caddy"]
    parser.add_argument("--rounds", type=bounded(int, 1, MOST_ROUNDS), default=5)
    parser.add_argument("--seconds", type=bounded(float, 1, 60), default=3.0, help="of each peer's turn")
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=default, metavar="PEER")
    parser.add_argument("--json", type=json_file, help="where the raw results go (default: bench/results)")


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
        shown.step(0, "the generator against an origin of known latency")
        checks = known(Path(folder), cores)
        shown.step(0, "capacity of each peer")
        origin_port = start_origins(Path(folder), cores, started)
        setup = Setup(Path(folder), 0, origin_port, 0, Limits.OUT_OF_REACH, OUT_OF_REACH)
        contenders = start_all(names, cores.proxy, setup, started)
        capacities = {contender.name: capacity(contender, cores.load) for contender in contenders}
        slowest = min(contenders, key=lambda c: (c.name == "direct", capacities[c.name]))
        checks["overload"] = overload(slowest, capacities[slowest.name], cores)
        rates = [min(MOST_RATE, round(share * capacities[slowest.name])) for share in SHARES]
        rows = rounds(contenders, rates, arguments, cores, started, shown)
    at = [
        {"share": share, "rate": rate, "peers": summary([row for row in rows if row["rate"] == rate])}
        for share, rate in zip(SHARES, rates, strict=True)
    ]
    missed = held_against_envoy(at)
    return {
        "suite": "latency",
        "machine": report.machine(),
        "cores": cores.describe(),
        "spin": alone(cores),
        "connections": open_loop.CONNECTIONS,
        "seconds": arguments.seconds,
        "rounds": arguments.rounds,
        "missing": missing,
        "checks": checks,
        "capacities": capacities,
        "titles": {contender.name: contender.title for contender in contenders},
        "rates": at,
        "turns": rows,
        "missed": missed,
        "problems": judge(rows, arguments.rounds) + judge_checks(checks) + missed,
    }


# The generator itself


def alone(cores: Cores) -> bool:
    """Whether the generator has a core for itself, and may keep it busy."""
    return shutil.which("taskset") is not None and not cores.load & (cores.proxy | cores.origin)


def known(folder: Path, cores: Cores) -> dict[str, dict[str, float]]:
    """What the generator measures where the latency is known: the p50 of a delay, the p99 of a stall."""
    found = {}
    for name, setting, quantile in (("delay", DELAY, "p50"), ("stall", STALL, "p99")):
        (port,) = free_ports(1)
        argv = [sys.executable, "-m", "bench.origins.known_origin", "--port", str(port), f"--{name}", str(setting)]
        with running([]) as started:
            started.append(launch(f"known-{name}", argv, folder, cores.proxy))
            wait_until_answers(started[0], port)
            plan = open_loop.Plan(Target("127.0.0.1", port), KNOWN_RATE, KNOWN_SECONDS, spin=alone(cores))
            result = open_loop.run(plan, cores.load)
        # Stalls begin once a second, so the share STALL - x of all requests takes longer than x.
        expected = setting if name == "delay" else setting - (1 - open_loop.QUANTILES[quantile])
        found[name] = {"expected": expected, "measured": getattr(result, quantile), "failed": result.failed}
    return found


def overload(contender: Contender, carried: float, cores: Cores) -> dict[str, float]:
    """Offered more than it can carry, a server answers at its own rate: that has to be the one of the closed loop."""
    rate = min(OVERLOAD * carried, MOST_RATE)
    if rate < LEAST_OVERLOAD * carried:  # a machine so fast that we may not
        return {"expected": carried, "measured": float("nan"), "failed": 0}
    where = Target("127.0.0.1", contender.port)
    result = open_loop.run(open_loop.Plan(where, rate, 1.25, CONNECTIONS, spin=alone(cores)), cores.load)
    return {"expected": carried, "measured": result.carried, "failed": result.failed}


def judge_checks(checks: dict[str, dict[str, float]]) -> list[str]:
    """What the generator measures wrongly."""
    delay, stall, closed = checks["delay"], checks["stall"], checks["overload"]
    problems = []
    if not 0 <= delay["measured"] - delay["expected"] < DELAY_TOO_MUCH:
        problems.append(
            f"the generator measures {1000 * delay['measured']:.2f} ms where it was {1000 * delay['expected']:g} ms"
        )
    if not abs(stall["measured"] - stall["expected"]) < STALL_AROUND:
        problems.append(
            f"the generator measures a p99 of {1000 * stall['measured']:.0f} ms "
            f"where stalls made it {1000 * stall['expected']:.0f} ms"
        )
    if abs(closed["measured"] / closed["expected"] - 1) > CAPACITY_AROUND:  # not for NaN: that was left out
        problems.append(
            f"overloaded, the slowest peer answers {closed['measured']:,.0f}/s to the generator "
            f"and {closed['expected']:,.0f}/s to the closed loop"
        )
    return problems


def capacity(contender: Contender, cores: frozenset[int]) -> float:
    """Requests/s in a closed loop."""
    plan = Plan(Target("127.0.0.1", contender.port), CONNECTIONS, CAPACITY_SECONDS)
    generate = generators.with_wrk if generators.have_wrk() else generators.with_own
    generate(plan, cores)  # warms up
    return generate(plan, cores).rate


# Turns


def rounds(
    contenders: Sequence[Contender],
    rates: Sequence[float],
    arguments: argparse.Namespace,
    cores: Cores,
    started: Sequence[Process],
    shown: Bar,
) -> list[dict[str, Any]]:
    """Each peer at each rate once a round, in an order that rotates; rows that are thrown out say why."""
    rows: list[dict[str, Any]] = []
    done = 0
    for index in range(arguments.rounds):
        first = index % len(contenders)
        for rate in rates:
            for contender in [*contenders[first:], *contenders[:first]]:
                for _ in range(TRIES):
                    shown.step(done * (arguments.seconds + PAUSE), f"{rate:g}/s: {contender.title}, round {index + 1}")
                    rows.append(turn(contender, index, rate, arguments.seconds, cores, started))
                    if rows[-1]["thrown_out"] is None:
                        break
                done += 1
    return rows


def turn(
    contender: Contender, index: int, rate: float, seconds: float, cores: Cores, started: Sequence[Process]
) -> dict[str, Any]:
    """One peer at one rate. The schedule of arrivals depends on the round and the rate only."""
    time.sleep(0.1)
    plan = open_loop.Plan(Target("127.0.0.1", contender.port), rate, seconds, seed=index, spin=alone(cores))
    began, before = time.monotonic(), foreign_seconds(cores, started)
    result = open_loop.run(plan, cores.load)
    foreign = (foreign_seconds(cores, started) - before) / (time.monotonic() - began)
    row = {"peer": contender.name, "round": index, "rate": rate, "foreign": foreign, **asdict(result)}
    return {**row, "thrown_out": why_thrown_out(result)}


def why_thrown_out(result: open_loop.Result) -> str | None:
    """A generator that was late has measured itself."""
    if result.late.p99 <= LATE * result.p99:  # not for NaN
        return None
    return f"the generator was {1e6 * result.late.p99:.0f} µs late, in a p99 of {1e6 * result.p99:.0f} µs"


def foreign_seconds(cores: Cores, started: Sequence[Process]) -> float:
    """CPU seconds so far on our cores, by the kernel's ticks, that neither a server nor a generator of ours used."""
    used = 0
    mine = {f"cpu{core}" for core in cores.proxy | cores.load | cores.origin}
    with contextlib.suppress(OSError):
        for line in Path("/proc/stat").read_text().splitlines():
            name, *fields = line.split()
            if name in mine:
                user, nice, system, _idle, _iowait, irq, softirq, steal, *_ = map(int, fields)
                used += user + nice + system + irq + softirq + steal
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    ours = sum(process.cpu_seconds() for process in started)
    return used / TICKS - ours - ended.ru_utime - ended.ru_stime


def judge(rows: Sequence[dict[str, Any]], number: int) -> list[str]:
    """What makes latencies worthless."""
    problems = [
        f"{PEERS[row['peer']].TITLE} at {row['rate']:g}/s, round {row['round'] + 1}: "
        f"{row['failed']} requests failed, {row['refused']} were refused"
        for row in rows
        if row["failed"] or row["refused"]
    ]
    for name, rate in dict.fromkeys((row["peer"], row["rate"]) for row in rows):
        own = [row for row in rows if (row["peer"], row["rate"]) == (name, rate)]
        good = sum(row["thrown_out"] is None for row in own)
        if good < number:
            why = next(row["thrown_out"] for row in own if row["thrown_out"])
            problems.append(
                f"{PEERS[name].TITLE} at {rate:g}/s: {len(own) - good} turns thrown out, which leaves {good} of "
                f"{number} rounds ({why})"
            )
    if busy := [row["foreign"] for row in rows if row["foreign"] > FOREIGN]:
        problems.append(
            f"in {len(busy)} of {len(rows)} turns other work used our cores, up to {max(busy):.0%} of one: "
            "it is in these figures"
        )
    at_half = sorted({row["rate"] for row in rows})[SHARES.index(HALF) :][:1]
    for name, peer in summary([row for row in rows if row["rate"] in at_half]).items():
        if name != "direct" and not peer["added"]["p99"] > 0:
            problems.append(f"{PEERS[name].TITLE} adds less than nothing at p99 at half load: noise hides what it adds")
    return problems


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """By peer: the median over the rounds of each percentile, of what it is above the origin's in that round, and of
    the generator's lateness."""
    good = [row for row in rows if row["thrown_out"] is None]
    direct = {row["round"]: row for row in good if row["peer"] == "direct"}
    found = {}
    for name in dict.fromkeys(row["peer"] for row in rows):
        own = [row for row in good if row["peer"] == name]
        pairs = [(row, direct[row["round"]]) for row in own if row["round"] in direct]
        found[name] = {
            "latency": {q: median([row[q] for row in own]) for q in NAMES},
            "added": {q: median([row[q] - base[q] for row, base in pairs]) for q in NAMES},
            "late": {
                field.name: median([row["late"][field.name] for row in own])
                for field in dataclasses.fields(open_loop.Lateness)
            },
        }
    return found


def held_against_envoy(rates: Sequence[dict[str, Any]]) -> list[str]:
    """Whether Shield adds more than is wanted. Where noise hides what Envoy adds, judge() says so."""
    at = next(entry for entry in rates if entry["share"] == HALF)
    if not {"shield", "envoy"} <= at["peers"].keys():
        return []
    ours, theirs = (at["peers"][name]["added"]["p99"] for name in ("shield", "envoy"))
    if not theirs > 0 or ours <= WANTED * theirs:
        return []
    told = f"at half load Shield adds {1000 * ours:.3f} ms at p99, Envoy {1000 * theirs:.3f} ms"
    return [f"{told}: at most {WANTED:g} times that is wanted"]
