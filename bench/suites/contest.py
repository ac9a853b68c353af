"""One workload: an origin, the contenders before it, and their turns on the same core, in rounds whose order rotates.

A fast wrong answer is no answer: after each turn what the load counts is held against what Shield's metrics count.
"""

from __future__ import annotations

import dataclasses
import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from bench.common.guard import Target
from bench.common.processes import Cores, Process, ask, running
from bench.common.progress import Bar
from bench.common.stats import median, ratio_of_rounds, spread
from bench.load import generators
from bench.load.plan import Plan, Result
from bench.peers import certificate
from bench.peers.contender import Contender, start_origins
from bench.peers.plan import Setup
from bench.plots.throughput_tables import BASES, decided
from bench.suites.workloads import CONNECTIONS, Workload

OUT_OF_REACH: Final = 1000  # upstream.max_concurrency: 64 requests in flight are to be no pressure
AGREE: Final = 0.25  # how far apart our own generator and wrk may see the same server
PAUSE: Final = 0.5  # s between turns, for the bar

Starter = Callable[[Setup, list[Process]], list[Contender]]
"""Starts all contenders by a template, and puts their processes into the list."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One peer's few seconds. `counted` are the decisions that Shield's metrics gained meanwhile."""

    peer: str
    round: int
    result: Result
    cpu_seconds: float
    counted: dict[str, float] | None

    @property
    def cpu_per_1000(self) -> float:
        return 1000 * self.cpu_seconds / self.result.requests if self.result.requests else math.nan

    @property
    def cpu_per_gigabyte(self) -> float:
        return 1e9 * self.cpu_seconds / self.result.bytes if self.result.bytes else math.nan

    @property
    def bytes_per_second(self) -> float:
        return self.result.bytes / self.result.seconds if self.result.seconds else 0.0

    @property
    def busy(self) -> float:
        """The share of one core."""
        return self.cpu_seconds / self.result.seconds if self.result.seconds else math.nan


class Contest:
    """One workload: its origin, its contenders, its rounds. `problems` are wrong answers and wrong counts."""

    def __init__(self, workload: Workload, cores: Cores, seconds: float, wrk: bool, shown: Bar, done: int) -> None:
        self.workload = workload
        self.cores = cores
        self.seconds = seconds
        self.wrk = wrk
        self.shown = shown
        self.done = done
        self.problems: list[str] = []

    def run(self, start: Starter, rounds: int) -> dict[str, Any]:
        """The workload's part of the raw results."""
        with tempfile.TemporaryDirectory(prefix="bench-") as folder, running([]) as started:
            origin_port = start_origins(Path(folder), self.cores, started)
            setup = Setup(Path(folder), 0, origin_port, 0, self.workload.limits, OUT_OF_REACH)
            setup = dataclasses.replace(
                setup,
                challenge=self.workload.challenge,
                tls=certificate.make(Path(folder)) if self.workload.tls else None,
                http2=self.workload.streams > 0,
                large=self.workload.transfer,
            )
            contenders = start(setup, started)
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
            "unit": self.workload.unit,
            "connections": self.workload.connections,
            "generator": self.workload.generator if self.wrk or self.workload.streams else "own",
            "peers": {
                c.name: summary(c, [turn for turn in turns if turn.peer == c.name], self.workload.transfer)
                for c in contenders
            },
            "ratios": ratios(turns, self.workload.transfer),
            "by_cpu": by_cpu(turns, self.workload.transfer),
            "exact": exact,
            "calibration": calibration,
        }

    def turn(self, contender: Contender, number: int, seconds: float) -> Turn:
        doing = f"{self.workload.name}: {contender.title}, {'warming up' if number < 0 else f'round {number + 1}'}"
        self.shown.step(self.done * (self.seconds + PAUSE), doing)
        time.sleep(0.1)  # what the last turn left open closes
        plan = self.workload.plan(contender.port, seconds)
        before, cpu = contender.decisions(), contender.cpu_seconds()
        result = self.workload.by_time(plan, self.cores, self.wrk)
        cpu = contender.cpu_seconds() - cpu
        counted = gained(before, contender.decisions())
        if number >= 0:
            self.problems += self.judge(contender, result, counted)
        return Turn(contender.name, number, result, cpu, counted)

    def judge(self, contender: Contender, result: Result, counted: dict[str, float] | None) -> list[str]:
        """A fast wrong answer is no answer."""
        title = f"{self.workload.name}, {contender.title}"
        problems = []
        if not (result.bytes if self.workload.transfer else result.requests):
            problems.append(f"{title}: nothing was answered")
        good = result.requests - result.refused
        if self.workload.refused and good > 0.01 * result.requests:
            problems.append(f"{title}: {good} of {result.requests} requests were not refused")
        wanted = self.workload.refused
        if wanted is not None and (status := ask(contender.port, tls=self.workload.tls)[0]) != wanted:
            problems.append(f"{title}: refusals have status {status}, not {wanted}")
        if not self.workload.refused and result.refused:
            problems.append(f"{title}: {result.refused} of {result.requests} answers were 4xx or 5xx")
        # What was under way when the time was up may count as failed; but no message may be lost, or come back changed.
        if result.failed > (0 if self.workload.websocket else self.workload.in_flight):
            problems.append(f"{title}: {result.failed} {self.workload.unit} failed")
        if self.workload.websocket and result.upgrades != self.workload.connections:
            problems.append(f"{title}: {result.upgrades} of {self.workload.connections} connections were upgraded")
        if counted is not None:
            decisions = decided(counted)
            # Of a WebSocket its request is decided upon. Otherwise, when the time is up, up to one request per
            # connection, or stream, is under way: decided, but not in the load's count.
            least = result.upgrades if self.workload.websocket else result.requests
            most = least + (0 if self.workload.websocket else self.workload.in_flight)
            if not least <= decisions <= most:
                problems.append(f"{title}: the load counts {least} requests, the metrics {decisions:.0f}")
        return problems

    def calibrate(self, contenders: list[Contender]) -> dict[str, Any] | None:
        """Our own generator against wrk on a proxy that is slower than both: they have to see the same rate."""
        slow = next((contender for contender in contenders if contender.name == "aiohttp"), None)
        if slow is None or self.workload.name != "proxied" or not generators.have_wrk():
            return None
        plan = Plan(Target("127.0.0.1", slow.port), CONNECTIONS, min(2.0, self.seconds))
        self.shown.step(self.done * (self.seconds + PAUSE), "our own load generator against wrk")
        pairs = [
            (generators.with_own(plan, self.cores.load), generators.with_wrk(plan, self.cores.load)) for _ in range(3)
        ]
        own, wrk = [one.rate for one, _ in pairs], [other.rate for _, other in pairs]
        ratio = ratio_of_rounds(own, wrk)
        if not abs(ratio - 1) <= AGREE:
            self.problems.append(f"on {slow.title} our own generator sees {ratio:.2f} of wrk's rate")
        return {"own": own, "wrk": wrk, "ratio": ratio}

    def exact(self, contender: Contender) -> dict[str, Any]:
        """A run by number, whose every request is answered: the metrics have to show that number exactly."""
        self.shown.step(self.done * (self.seconds + PAUSE), f"{self.workload.name}: the metrics against a known number")
        time.sleep(0.1)  # what the last turn left open closes
        before = contender.decisions()
        number = self.workload.exact
        plan = self.workload.plan(contender.port, 60.0, number)
        result = self.workload.by_number(plan, self.cores)
        told = {
            "sent": number,
            "answered": result.requests,
            "requests": self.workload.connections if self.workload.websocket else number,
            "good": result.upgrades if self.workload.websocket else result.requests - result.refused,
            "counted": gained(before, contender.decisions()) or {},
        }
        self.problems += [f"{self.workload.name}, {contender.title}: {problem}" for problem in miscounted(told)]
        return {"peer": contender.name, **told}


def miscounted(told: Mapping[str, Any]) -> list[str]:
    """What a run by number and the metrics disagree about. `good` answers are the origin's: they were forwarded."""
    decisions = decided(told["counted"])
    forwarded = sum(value for key, value in told["counted"].items() if key.startswith("forward/"))
    problems = []
    if told["answered"] != told["sent"]:
        problems.append(f"of {told['sent']} sent {told['answered']} were answered")
    if decisions != told["requests"]:
        problems.append(f"of {told['requests']} requests {decisions:.0f} were counted")
    if forwarded != told["good"]:
        problems.append(f"the origin answered {told['good']} requests, and {forwarded:.0f} count as forwarded")
    return problems


def gained(before: dict[str, float] | None, after: dict[str, float] | None) -> dict[str, float] | None:
    """What the counters gained, without those that stood still."""
    if before is None or after is None:
        return None
    return {key: value - before.get(key, 0.0) for key, value in after.items() if value != before.get(key, 0.0)}


def summary(contender: Contender, turns: Sequence[Turn], transfer: bool) -> dict[str, Any]:
    alone = contender.process is None
    return {
        "title": contender.title,
        "says": contender.says,
        "rate": median([turn.result.rate for turn in turns]),
        "bytes_per_second": median([turn.bytes_per_second for turn in turns]),
        "spread": spread([turn.bytes_per_second if transfer else turn.result.rate for turn in turns]),
        "cpu_per_1000": None if alone else median([turn.cpu_per_1000 for turn in turns]),
        "cpu_per_gigabyte": None if alone else median([turn.cpu_per_gigabyte for turn in turns]),
        "busy": None if alone else median([turn.busy for turn in turns]),
        "p50": median([turn.result.p50 for turn in turns]),
        "p99": median([turn.result.p99 for turn in turns]),
        "turns": [
            {
                **asdict(turn),
                "rate": turn.result.rate,
                "bytes_per_second": turn.bytes_per_second,
                "cpu_per_1000": turn.cpu_per_1000,
                "cpu_per_gigabyte": turn.cpu_per_gigabyte,
            }
            for turn in turns
        ],
    }


def ratios(turns: Sequence[Turn], transfer: bool) -> dict[str, dict[str, float]]:
    """Every peer over those that Shield is held against: of bytes/s where they count, else of requests/s."""
    rates: dict[str, list[float]] = {}
    for turn in turns:
        rates.setdefault(turn.peer, []).append(turn.bytes_per_second if transfer else turn.result.rate)
    # Turns are in the order of the rounds within each peer, so equal places are of one round.
    return {
        base: {name: ratio_of_rounds(own, rates[base]) for name, own in rates.items()}
        for base in BASES
        if base in rates
    }


def by_cpu(turns: Sequence[Turn], transfer: bool) -> dict[str, float]:
    """What Shield carries per CPU second, over what the others do: fair also where something else was the limit."""
    costs: dict[str, list[float]] = {}
    for turn in turns:
        costs.setdefault(turn.peer, []).append(turn.cpu_per_gigabyte if transfer else turn.cpu_per_1000)
    if "shield" not in costs:
        return {}
    return {base: ratio_of_rounds(costs[base], costs["shield"]) for base in BASES if base in costs}
