"""What users notice of connection attempts from addresses that are dropped, and what these cost Shield: with the kernel
dropping them, and with Shield closing them itself.

Users ask at a fixed rate, over kept connections. In each round each of two Shields, one of which has `drops.kernel`
off, has a turn without attempts, one with attempts, and one in which the same attempts go elsewhere: to a listener that
is full and not Shield's, so that the kernel drops them there. What attempts elsewhere cost users is the sender's doing,
who shares cores with users and service where there are few. What counts is the ratio within a round.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from bench.common.guard import MOST_ATTEMPTS, MOST_RATE, MOST_ROUNDS, Target, bounded, json_file
from bench.common.processes import (
    ROOT,
    Cores,
    Process,
    free_ports,
    launch,
    own_cores,
    pinned,
    raise_file_limit,
    run_seconds,
    running,
    share_out,
    wait_until_answers,
)
from bench.common.progress import bar
from bench.common.stats import median
from bench.load import attempts, open_loop
from bench.peers.contender import start_origins
from bench.plots import report

WANTED_P95: Final = 1.1  # of calm
WANTED_CPU: Final = 1.05  # of calm
LEAD: Final = 0.5  # s of attempts before the users' turn, and after it
HUGE: Final = "{ rate = 1e9, burst = 1e9 }"
CALM: Final = "calm"
HERE: Final = "here"
ELSEWHERE: Final = "elsewhere"
KINDS: Final = (CALM, HERE, ELSEWHERE)
CONFIG: Final = """\
[listen]
address = "127.0.0.1:{port}"
workers = {workers}
[upstream]
servers = ["http://127.0.0.1:{origin}"]
[admin]
address = ""
[limits]
honeypots = ["{trap}"]
client = {huge}
address = {huge}
network = {huge}
[drops]
kernel = {kernel}
least_seconds = 600
[log]
level = "warning"
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=bounded(int, 1, MOST_ROUNDS), default=5)
    parser.add_argument("--seconds", type=bounded(float, 1, 30), default=4.0, help="of each turn")
    parser.add_argument("--attempts", type=bounded(float, 1, MOST_ATTEMPTS), default=50_000.0, help="wanted, 1/s")
    parser.add_argument("--addresses", type=bounded(int, 1, attempts.MOST_ADDRESSES), default=20, help="dropped ones")
    parser.add_argument("--rate", type=bounded(float, 1, MOST_RATE), default=1000.0, help="of users, requests/s")
    parser.add_argument("--workers", type=bounded(int, 1, 4), default=1)
    parser.add_argument("--json", type=json_file, help="where the raw results go (default: bench/results)")


def run(arguments: argparse.Namespace) -> int:
    """Everything that was asked for; prints the table, writes it, and returns the exit status."""
    results = play(arguments)
    return report.publish(results, markdown(results), arguments.json)


def play(arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything that was asked for; the raw results."""
    raise_file_limit()
    cores = share_out(own_cores())
    turns: list[dict[str, Any]] = []
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as name,
        running([]) as processes,
        full_listener() as elsewhere,
        bar("kernel", 6 * arguments.rounds) as shown,
    ):
        folder = Path(name)
        origin = start_origins(folder, cores, processes)
        shields = {kernel: start(folder, kernel, origin, arguments, cores, processes) for kernel in (True, False)}
        for round_ in range(arguments.rounds):
            for kernel, (where, shield) in shields.items():
                for kind, aim in ((CALM, None), (HERE, where), (ELSEWHERE, elsewhere)):
                    shown.step(len(turns), f"{'kernel' if kernel else 'Shield'} drops, attempts: {kind}")
                    found = turn(where, shield, aim, round_, arguments, cores)
                    turns.append({"kernel": kernel, "kind": kind, "round": round_, **found})
    rows = [summary(kernel, turns) for kernel in (True, False)]
    results: dict[str, Any] = {
        "suite": "kernel",
        "machine": report.machine(),
        "cores": cores.describe(),
        "seconds": arguments.seconds,
        "rounds": arguments.rounds,
        "rate": arguments.rate,
        "wanted": arguments.attempts,
        "addresses": arguments.addresses,
        "workers": arguments.workers,
        "turns": turns,
        "rows": rows,
    }
    results["missed"] = missed(rows)
    results["problems"] = results["missed"] + problems(turns)
    return results


def start(
    folder: Path, kernel: bool, origin: int, arguments: argparse.Namespace, cores: Cores, processes: list[Process]
) -> tuple[Target, Process]:
    """One Shield that has dropped the addresses."""
    (port,) = free_ports(1)
    name = "kernel" if kernel else "itself"
    config = folder / f"{name}.toml"
    config.write_text(
        CONFIG.format(
            port=port,
            origin=origin,
            trap=attempts.TRAP,
            huge=HUGE,
            kernel=str(kernel).lower(),
            workers=arguments.workers,
        )
    )
    argv = [sys.executable, "-m", "shield", "run", "--config", str(config)]
    processes.append(launch(name, argv, folder, cores.proxy))
    wait_until_answers(processes[-1], port)
    where = Target("127.0.0.1", port)
    with attacking(where, ["--unwelcome"], arguments, cores) as attack:
        told(attack, 120.0)
    if kernel and "not_dropped_by_kernel" in processes[-1].wrote(100_000):
        raise RuntimeError(f"the kernel does not drop connections here: {processes[-1].wrote()}")
    return where, processes[-1]


@contextlib.contextmanager
def attacking(
    where: Target, options: list[str], arguments: argparse.Namespace, cores: Cores
) -> Iterator[subprocess.Popen[str]]:
    """The attempts' process; it ends by itself, and at the latest with this context."""
    argv = [sys.executable, "-m", "bench.load.attempts", "--target", where.url]
    argv += ["--addresses", str(arguments.addresses), *options]
    with subprocess.Popen(
        pinned(argv, cores.load), stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def told(process: subprocess.Popen[str], seconds: float) -> dict[str, Any]:
    """What it says at its end. Raises RuntimeError when it fails."""
    said, _ = process.communicate(timeout=seconds)
    if process.returncode:
        raise RuntimeError("the attempts gave no report")
    found: dict[str, Any] = json.loads(said)
    return found


@contextlib.contextmanager
def full_listener() -> Iterator[Target]:
    """Where nobody accepts and no connection fits any more: the kernel drops whatever comes."""
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        where = listening.getsockname()
        for _ in range(2):
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(where)
        yield Target(*where)


def turn(
    where: Target, shield: Process, aim: Target | None, seed: int, arguments: argparse.Namespace, cores: Cores
) -> dict[str, Any]:
    """The users' few seconds, with attempts beside them if there is something to aim at."""
    seconds = arguments.seconds
    plan = open_loop.Plan(where, arguments.rate, seconds, connections=64, seed=seed)
    whole = seconds + 2 * LEAD + 1.0  # the users' generator takes a while to begin
    with contextlib.ExitStack() as stack:
        attack = None
        if aim is not None:
            options = ["--rate", str(arguments.attempts), "--seconds", str(whole)]
            attack = stack.enter_context(attacking(aim, options, arguments, cores))
            with contextlib.suppress(subprocess.TimeoutExpired):
                attack.wait(LEAD)
        before = run_seconds(shield.pid)
        users = open_loop.run(plan, cores.load)
        used = run_seconds(shield.pid) - before
        made = told(attack, whole + 10.0) if attack is not None else {"attempts": 0, "established": 0, "seconds": 1.0}
    return {
        "p50": users.p50,
        "p95": users.p95,
        "p99": users.p99,
        "answered": users.answered,
        "refused": users.refused,
        "failed": users.failed,
        "cpu": 1000 * used / max(users.due, 1),
        "attempts": made["attempts"] / made["seconds"],
        "established": made["established"] / made["seconds"],
    }


def summary(kernel: bool, turns: list[dict[str, Any]]) -> dict[str, Any]:
    """The row of one Shield: medians, and the medians of the ratios within rounds."""
    mine = {kind: [each for each in turns if (each["kernel"], each["kind"]) == (kernel, kind)] for kind in KINDS}

    def ratio(key: str, base: str) -> float:
        return median([there[key] / here[key] for here, there in zip(mine[base], mine[HERE], strict=True)])

    row = {f"{key}_{kind}": median([each[key] for each in mine[kind]]) for kind in KINDS for key in ("p95", "cpu")}
    return {
        "kernel": kernel,
        "attempts": median([each["attempts"] for each in mine[HERE]]),
        "established": median([each["established"] for each in mine[HERE]]),
        **row,
        "p95_of_calm": ratio("p95", CALM),
        "p95_of_elsewhere": ratio("p95", ELSEWHERE),
        "cpu_of_calm": ratio("cpu", CALM),
    }


def missed(rows: list[dict[str, Any]]) -> list[str]:
    """Where attempts that the kernel drops cost users or Shield more than is wanted."""
    found = []
    for row in rows:
        least = min(row["p95_of_calm"], row["p95_of_elsewhere"])
        if row["kernel"] and least > WANTED_P95:
            found.append(f"users' p95 is {least:.2f} of that without attempts at Shield, wanted {WANTED_P95:g}")
        if row["kernel"] and row["cpu_of_calm"] > WANTED_CPU:
            found.append(f"Shield's processor time is {row['cpu_of_calm']:.2f} of calm, wanted {WANTED_CPU:g}")
    return found


def problems(turns: list[dict[str, Any]]) -> list[str]:
    """What makes the figures worthless."""
    found = []
    if any(each["refused"] or each["failed"] for each in turns):
        found.append("users were refused, or got no answer")
    if any(each["kernel"] and each["kind"] == HERE and each["established"] > 0.01 * each["attempts"] for each in turns):
        found.append("the kernel let attempts through")
    return found


def markdown(results: dict[str, Any]) -> str:
    """The table."""
    how = (
        f"{results['rate']:,.0f} requests/s of users, kept connections, while {results['addresses']} dropped addresses "
    )
    how += f"try to connect {results['wanted']:,.0f} times a second, or as often as their core makes. "
    how += f"{results['rounds']} rounds of {results['seconds']:g} s; {results['workers']} workers; {results['cores']}; "
    how += f"load average {results['machine']['load_average']:.1f}. Ratios are medians of those within a round."
    heads = ["dropped by", "attempts/s", "established/s", "p95 calm, ms", "p95, ms", "elsewhere, ms", "of calm"]
    heads += ["of elsewhere", "CPU ms per request calm", "CPU ms per request", "of calm"]
    rows = [
        [
            "the kernel" if row["kernel"] else "Shield",
            report.figure(row["attempts"], 0),
            report.figure(row["established"], 0),
            *(report.figure(1000 * row[f"p95_{kind}"]) for kind in KINDS),
            report.figure(row["p95_of_calm"]),
            report.figure(row["p95_of_elsewhere"]),
            *(report.figure(row[f"cpu_{kind}"], 3) for kind in (CALM, HERE)),
            report.figure(row["cpu_of_calm"]),
        ]
        for row in results["rows"]
    ]
    return "\n".join(["# Kernel", f"\n{how}\n", report.table(heads, rows), *report.verdicts(results)])
