"""What it costs the data path that somebody operates Shield: the same Shield, looked at or not, side by side.

    plain     a log of warnings only, no rules, and nobody looks
    watched   plain, /metrics scraped each second, and the dashboard's stream open
    ruled     plain, and RULES rules made at run time, none of which is about those who ask
    operated  watched and ruled, and a log in a file with `log.requests = false`
    logged    plain, and a line in a file for each request
    all       operated, and a line in a file for each request

All stay up and take turns on the same core, so that a machine that slows down slows all of them. A ratio is what a
request costs of what it costs in `plain`: the median over the rounds of the ratio within a round.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import http.client
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

from bench.common.guard import MOST_ROUNDS, bounded, json_file, loopback
from bench.common.processes import ROOT, Process, free_ports, launch, own_cores, share_out, wait_until_answers
from bench.common.progress import bar
from bench.common.stats import ratio_of_rounds
from bench.load import generators
from bench.peers import shield
from bench.peers.contender import Contender
from bench.peers.plan import Setup
from bench.plots import report
from bench.suites.contest import PAUSE, Contest, Turn
from bench.suites.workloads import WORKLOADS

VARIANTS: Final = ("plain", "watched", "ruled", "operated", "logged", "all")
RULES: Final = 100
WATCHED: Final = ("watched", "operated", "all")
RULED: Final = ("ruled", "operated", "all")
LOGS: Final = {"operated": "requests = false\n", "logged": "", "all": ""}
QUIET: Final = '[log]\nlevel = "warning"\n'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=bounded(int, 1, MOST_ROUNDS), default=7)
    parser.add_argument("--seconds", type=bounded(float, 1, 60), default=3.0, help="of each turn")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="VARIANT")
    parser.add_argument("--json", type=json_file, help="where the raw results go (default: build/operating)")


def run(arguments: argparse.Namespace) -> int:
    """Prints the table, keeps the raw results, and returns the exit status."""
    cores = share_out(own_cores())
    names = ["plain", *(name for name in arguments.variants if name != "plain")]
    turns = len(names) * arguments.rounds
    with bar("operating", turns * (arguments.seconds + PAUSE)) as shown:
        contest = _Looked(WORKLOADS["proxied"], cores, arguments.seconds, generators.have_wrk(), shown, 0)
        found = contest.run(partial(_start, names, cores.proxy), arguments.rounds)
    results = {
        "suite": "operating",
        "machine": report.machine(),
        "cores": cores.describe(),
        "load": os.getloadavg(),
        "rounds": arguments.rounds,
        "found": found,
        "problems": contest.problems,
    }
    text = markdown(found)
    path = arguments.json or ROOT / "build" / "operating" / f"{time.strftime('%Y-%m-%d-%H%M%S')}.json"
    report.write(results, text, path)
    print(text)
    print(f"\n{arguments.rounds} rounds of {arguments.seconds:g} s; load {os.getloadavg()}; raw results: {path}")
    for problem in contest.problems:
        print(problem, file=sys.stderr)
    return 1 if contest.problems else 0


def markdown(found: dict[str, Any]) -> str:
    """The table."""
    costs = {name: [turn["cpu_per_1000"] for turn in peer["turns"]] for name, peer in found["peers"].items()}
    rates = {name: [turn["rate"] for turn in peer["turns"]] for name, peer in found["peers"].items()}
    lines = ["| | µs/request | of plain | requests/s | of plain |", "|---|---|---|---|---|"]
    for name, peer in found["peers"].items():
        cost, rate = ratio_of_rounds(costs[name], costs["plain"]), ratio_of_rounds(rates[name], rates["plain"])
        lines.append(f"| {name} | {1000 * peer['cpu_per_1000']:.1f} | {cost:.3f} | {peer['rate']:,.0f} | {rate:.3f} |")
    return "\n".join(lines)


class _Looked(Contest):
    """A contest in which some are looked at while it is their turn."""

    def turn(self, contender: Contender, number: int, seconds: float) -> Turn:
        with _watching(contender, self.cores.load) if contender.name in WATCHED else contextlib.nullcontext():
            return super().turn(contender, number, seconds)


@contextlib.contextmanager
def _watching(contender: Contender, cores: frozenset[int]) -> Iterator[None]:
    """Scrape /metrics each second and read the dashboard's stream, on these cores."""
    assert contender.metrics is not None
    port, done = contender.metrics[0], threading.Event()
    stream = socket.create_connection((loopback("127.0.0.1"), port), 5.0)
    stream.sendall(f"GET /api/stream HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())

    def scrape() -> None:
        os.sched_setaffinity(0, cores)
        while not done.is_set():
            _asked(port, "GET", "/metrics")
            done.wait(1.0)

    def read() -> None:
        os.sched_setaffinity(0, cores)
        stream.settimeout(10.0)
        with contextlib.suppress(OSError):
            while stream.recv(65_536):
                pass

    threads = [threading.Thread(target=each, daemon=True) for each in (scrape, read)]
    for each in threads:
        each.start()
    try:
        yield
    finally:
        done.set()
        stream.shutdown(socket.SHUT_RDWR)
        stream.close()
        for each in threads:
            each.join(10.0)


def _asked(port: int, method: str, path: str, body: dict[str, Any] | None = None) -> None:
    """Ask the admin listener; RuntimeError for an answer that is none of 2xx."""
    connection = http.client.HTTPConnection(loopback("127.0.0.1"), port, timeout=10.0)
    with contextlib.closing(connection):
        sent = None if body is None else json.dumps(body)
        connection.request(method, path, sent, {"Content-Type": "application/json"} if body else {})
        answer = connection.getresponse()
        said = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{path} answers {answer.status}: {said[:200]!r}")


def _start(names: list[str], cores: frozenset[int], template: Setup, started: list[Process]) -> list[Contender]:
    return [_started(name, cores, template, started) for name in names]


def _started(name: str, cores: frozenset[int], template: Setup, started: list[Process]) -> Contender:
    """One Shield as `name` says."""
    folder = template.folder / name
    folder.mkdir()
    port, side_port = free_ports(2)
    plan = shield.plan(dataclasses.replace(template, folder=folder, port=port, side_port=side_port))
    if name in LOGS:
        config = folder / "shield.toml"
        config.write_text(config.read_text().replace(QUIET, f'[log]\noutput = "{folder}/log"\n{LOGS[name]}'))
    process = launch(name, plan.argv, folder, cores)
    started.append(process)
    wait_until_answers(process, port, plan.unready)
    if name in RULED:
        for number in range(RULES):
            _asked(side_port, "POST", "/api/rules", _rule(number))
    return Contender(name, f"Shield, {name}", plan.says, port, process, (side_port, "/metrics"))


def _rule(number: int) -> dict[str, Any]:
    """Mostly bans of networks, and some that let in or limit."""
    kind = {8: "allow", 9: "limit"}.get(number % 10, "ban")
    value = {"value": "20/400"} if kind == "limit" else {}
    subject = f"198.18.{number}.7" if kind == "limit" else f"198.18.{number}.0/24"
    return {"kind": kind, "subject": subject, "note": "bench", **value}
