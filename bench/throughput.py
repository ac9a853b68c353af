"""How many requests one core of each proxy carries, side by side.

All peers stay up and take turns on the same pinned core, a few seconds each, in rounds whose order changes, so that a
machine that slows down for a while slows all of them. Ratios are medians over the rounds of the ratio within a round.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from bench import load, report
from bench.guard import MOST_ROUNDS, Target, bounded
from bench.peers import PEERS
from bench.peers.plan import Limits, Setup
from bench.processes import Cores, ask, own_cores, running, share_out
from bench.progress import Bar, bar
from bench.scene import Contender, choose, start_all, start_origins
from bench.stats import median, ratio_of_rounds, spread

CONNECTIONS: Final = 64
BASES: Final = ("nginx", "envoy", "caddy", "aiohttp")  # what Shield is held against
OUT_OF_REACH: Final = 1000  # upstream.max_concurrency: 64 requests in flight are to be no pressure


@dataclass(frozen=True, slots=True)
class Workload:
    """One table. `refused` is the status that every answer but a handful has to have; None: no 4xx or 5xx may be."""

    name: str
    title: str
    limits: Limits
    close: bool
    refused: int | None
    without: frozenset[str] = frozenset()  # peers that have no limiter to measure
    path: str = "/"
    body: int = 0  # bytes; with any it is a POST
    connections: int = CONNECTIONS
    exact: int = 20_000  # requests of the run by number
    challenge: bool = False

    @property
    def transfer(self) -> bool:
        """Whether bytes/s are what counts."""
        return self.path != "/"

    def plan(self, port: int, seconds: float, requests: int = 0) -> load.Plan:
        where = Target("127.0.0.1", port, self.path)
        return load.Plan(where, self.connections, seconds, requests, self.close, self.body)


POST_BYTES: Final = 10 << 10
DOWNLOAD_BYTES: Final = 1 << 20
NO_LIMITER: Final = frozenset({"direct", "aiohttp", "caddy"})
WORKLOADS: Final = {
    workload.name: workload
    for workload in (
        Workload("proxied", "Proxied small GET, limits out of reach", Limits.OUT_OF_REACH, False, None),
        Workload("refused", "Refused (429) on keep-alive connections", Limits.TINY, False, 429, NO_LIMITER),
        Workload("refused-close", "Refused (429), one request per connection", Limits.TINY, True, 429, NO_LIMITER),
        Workload(
            "challenged",
            "Challenged (503), a page with a challenge of its own each",
            Limits.OUT_OF_REACH,
            False,
            503,
            frozenset(PEERS) - {"shield"},  # nobody else has any
            challenge=True,
        ),
        Workload(
            "post", "Proxied POST of 10 KiB, limits out of reach", Limits.OUT_OF_REACH, False, None, body=POST_BYTES
        ),
        Workload(
            "download",
            "Proxied download of 1 MiB, limits out of reach",
            Limits.OUT_OF_REACH,
            False,
            None,
            path=f"/bytes/{DOWNLOAD_BYTES}",
            connections=16,
            exact=200,
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Turn:
    """One peer's few seconds. `counted` are the decisions that Shield's metrics gained meanwhile."""

    peer: str
    round: int
    result: load.Result
    cpu_seconds: float
    counted: dict[str, float] | None

    @property
    def cpu_per_1000(self) -> float:
        return 1000 * self.cpu_seconds / self.result.requests if self.result.requests else float("nan")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=bounded(int, 1, MOST_ROUNDS), default=5)
    parser.add_argument("--seconds", type=bounded(float, 1, 60), default=4.0, help="of each peer's turn")
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=list(PEERS), metavar="PEER")
    parser.add_argument("--workloads", nargs="+", choices=list(WORKLOADS), default=list(WORKLOADS), metavar="WORKLOAD")
    parser.add_argument("--own-load", action="store_true", help="use our own generator even where wrk exists")
    parser.add_argument("--json", type=Path, help="where the raw results go (default: bench/results)")


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
    wrk = load.have_wrk() and not arguments.own_load
    chosen = [WORKLOADS[name] for name in arguments.workloads]
    turns = sum(len([n for n in names if n not in w.without]) for w in chosen) * arguments.rounds
    results: dict[str, Any] = {
        "suite": "throughput",
        "machine": report.machine(),
        "cores": cores.describe(),
        "load": f"{'wrk -t1' if wrk else 'own generator,'} -c{CONNECTIONS}, {arguments.seconds:g} s a turn",
        "missing": missing,
        "workloads": {},
    }
    problems: list[str] = []
    with bar("throughput", turns * (arguments.seconds + 0.5)) as shown:
        done = 0
        for workload in chosen:
            present = [name for name in names if name not in workload.without]
            bench = Bench(workload, cores, arguments.seconds, wrk, shown, done)
            results["workloads"][workload.name] = bench.run(present, arguments.rounds)
            problems += bench.problems
            done += len(present) * arguments.rounds
    results["problems"] = problems
    return results


class Bench:
    """One workload: its origin, its peers, its rounds."""

    def __init__(self, workload: Workload, cores: Cores, seconds: float, wrk: bool, shown: Bar, done: int) -> None:
        self.workload = workload
        self.cores = cores
        self.seconds = seconds
        self.generate = load.with_wrk if wrk else load.with_own
        self.shown = shown
        self.done = done
        self.problems: list[str] = []

    def run(self, names: list[str], rounds: int) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder, running([]) as started:
            origin_port = start_origins(Path(folder), self.cores, started)
            setup = Setup(Path(folder), 0, origin_port, 0, self.workload.limits, OUT_OF_REACH)
            setup = dataclasses.replace(setup, challenge=self.workload.challenge)
            contenders = start_all(names, setup, self.cores.proxy, started)
            for contender in contenders:
                self.turn(contender, -1, min(1.0, self.seconds))  # fills pools and caches; not counted
            turns = []
            for number in range(rounds):
                first = number % len(contenders)
                for contender in contenders[first:] + contenders[:first]:
                    turns.append(self.turn(contender, number, self.seconds))
                    self.done += 1
            exact = [self.exact(contender) for contender in contenders if contender.metrics]
            calibration = self.calibrate(contenders)
        return {
            "title": self.workload.title,
            "transfer": self.workload.transfer,
            "peers": {c.name: summary(c, [turn for turn in turns if turn.peer == c.name]) for c in contenders},
            "ratios": ratios(turns),
            "exact": exact,
            "calibration": calibration,
        }

    def turn(self, contender: Contender, number: int, seconds: float) -> Turn:
        doing = f"{self.workload.name}: {contender.title}, {'warming up' if number < 0 else f'round {number + 1}'}"
        self.shown.step(self.done * (self.seconds + 0.5), doing)
        time.sleep(0.1)  # what the last turn left open closes
        plan = self.workload.plan(contender.port, seconds)
        before, cpu = contender.decisions(), contender.cpu_seconds()
        result = self.generate(plan, self.cores.load)
        cpu = contender.cpu_seconds() - cpu
        counted = gained(before, contender.decisions())
        if number >= 0:
            self.problems += self.judge(contender, result, counted)
        return Turn(contender.name, number, result, cpu, counted)

    def judge(self, contender: Contender, result: load.Result, counted: dict[str, float] | None) -> list[str]:
        """A fast wrong answer is no answer."""
        title = f"{self.workload.name}, {contender.title}"
        problems = []
        good = result.requests - result.refused
        if self.workload.refused and good > 0.01 * result.requests:
            problems.append(f"{title}: {good} of {result.requests} requests were not refused")
        wanted = self.workload.refused
        if wanted is not None and (status := ask(contender.port)[0]) != wanted:
            problems.append(f"{title}: refusals have status {status}, not {wanted}")
        if not self.workload.refused and result.refused:
            problems.append(f"{title}: {result.refused} of {result.requests} answers were 4xx or 5xx")
        if result.failed > self.workload.connections and not (self.workload.close and contender.name == "direct"):
            problems.append(f"{title}: {result.failed} requests failed")
        if counted is not None:
            decisions = decided(counted)
            # When the time is up, up to one request per connection is under way: decided, but not in the load's count.
            if not result.requests <= decisions <= result.requests + self.workload.connections:
                problems.append(f"{title}: the load counts {result.requests} requests, the metrics {decisions:.0f}")
        return problems

    def calibrate(self, contenders: list[Contender]) -> dict[str, Any] | None:
        """Our own generator against wrk on a proxy that is slower than both: they have to see the same rate."""
        slow = next((contender for contender in contenders if contender.name == "aiohttp"), None)
        if slow is None or self.workload.name != "proxied" or not load.have_wrk():
            return None
        plan = load.Plan(Target("127.0.0.1", slow.port), CONNECTIONS, min(2.0, self.seconds))
        self.shown.step(self.done * (self.seconds + 0.5), "our own load generator against wrk")
        pairs = [(load.with_own(plan, self.cores.load), load.with_wrk(plan, self.cores.load)) for _ in range(3)]
        own, wrk = [one.rate for one, _ in pairs], [other.rate for _, other in pairs]
        return {"own": own, "wrk": wrk, "ratio": ratio_of_rounds(own, wrk)}

    def exact(self, contender: Contender) -> dict[str, Any]:
        """A run by number, whose every request is answered: the metrics have to show that number exactly."""
        before = contender.decisions()
        number = self.workload.exact
        plan = self.workload.plan(contender.port, 60.0, number)
        result = load.with_own(plan, self.cores.load)
        counted = gained(before, contender.decisions()) or {}
        decisions = decided(counted)
        if not result.requests == decisions == number:
            self.problems.append(
                f"{self.workload.name}, {contender.title}: of {number} requests {result.requests} "
                f"were answered and {decisions:.0f} counted"
            )
        return {"peer": contender.name, "sent": number, "answered": result.requests, "counted": counted}


def decided(counted: dict[str, float]) -> float:
    """How many requests these counters stand for. One that had to queue first is counted again when it leaves it."""
    return sum(value for key, value in counted.items() if not key.startswith("queue/"))


def gained(before: dict[str, float] | None, after: dict[str, float] | None) -> dict[str, float] | None:
    """What the counters gained, without those that stood still."""
    if before is None or after is None:
        return None
    return {key: value - before.get(key, 0.0) for key, value in after.items() if value != before.get(key, 0.0)}


def summary(contender: Contender, turns: Sequence[Turn]) -> dict[str, Any]:
    rates = [turn.result.rate for turn in turns]
    return {
        "title": contender.title,
        "says": contender.says,
        "rate": median(rates),
        "bytes_per_second": median([turn.result.bytes / turn.result.seconds for turn in turns]),
        "spread": spread(rates),
        "cpu_per_1000": median([turn.cpu_per_1000 for turn in turns]) if contender.process else None,
        "p50": median([turn.result.p50 for turn in turns]),
        "p99": median([turn.result.p99 for turn in turns]),
        "turns": [{**asdict(turn), "rate": turn.result.rate} for turn in turns],
    }


def ratios(turns: Sequence[Turn]) -> dict[str, dict[str, float]]:
    """Every peer over those that Shield is held against."""
    rates: dict[str, list[float]] = {}
    for turn in turns:
        rates.setdefault(turn.peer, []).append(turn.result.rate)
    # Turns are in the order of the rounds within each peer, so equal places are of one round.
    return {
        base: {name: ratio_of_rounds(own, rates[base]) for name, own in rates.items()}
        for base in BASES
        if base in rates
    }


def markdown(results: dict[str, Any]) -> str:
    machine = results["machine"]
    setting = (
        f"{machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}, Python {machine['python']}; "
        f"{results['cores']}; {results['load']}, rounds interleaved, logs off. Ratios count; "
        "rates are this machine's on that day."
    )
    lines = ["# Throughput on one core", "", setting]
    for workload in results["workloads"].values():
        bases = workload["ratios"]
        transfer = workload["transfer"]
        heads = [
            "",
            *(f"of {PEERS[base].TITLE}" for base in bases),
            "requests/s",
            *(["MB/s"] if transfer else []),
            "spread",
            "CPU s per 1,000",
            "p50 ms",
            "p99 ms",
        ]
        rows = [
            [
                peer["title"],
                *(report.figure(bases[base][name]) for base in bases),
                report.figure(peer["rate"], 0),
                *([report.figure(peer["bytes_per_second"] / 1e6, 0)] if transfer else []),
                report.figure(100 * peer["spread"], 0, " %"),
                report.figure(peer["cpu_per_1000"], 4),
                report.figure(1000 * peer["p50"], 2),
                report.figure(1000 * peer["p99"], 2),
            ]
            for name, peer in workload["peers"].items()
        ]
        lines += ["", f"## {workload['title']}", "", report.table(heads, rows)]
        lines += [f"\n{peer['title']}: {peer['says']}." for peer in workload["peers"].values() if peer["says"]]
        lines += [
            f"\nShield's metrics: of {exact['sent']:,} requests sent {exact['answered']:,} answered, "
            f"{decided(exact['counted']):,.0f} decisions counted."
            for exact in workload["exact"]
        ]
        if calibration := workload["calibration"]:
            lines.append(
                f"\nOn the usual aiohttp proxy our own generator sees {calibration['ratio']:.2f} of wrk's rate."
            )
    lines += [f"\nLeft out: {PEERS[name].TITLE} ({why})." for name, why in results["missing"].items()]
    lines += [f"\n**Problem**: {problem}." for problem in results["problems"]]
    return "\n".join(lines)
