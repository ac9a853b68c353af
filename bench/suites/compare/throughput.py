"""Both checkouts' Shield on the same core, before the same origin, under the same load."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any

from bench.common.processes import Process, own_cores, share_out
from bench.common.progress import bar
from bench.load import generators
from bench.peers.contender import Contender, start_all
from bench.peers.plan import Setup
from bench.plots.throughput_tables import BUSY
from bench.suites.compare.checkouts import Checkout, Measured, Row
from bench.suites.contest import PAUSE, Contest
from bench.suites.workloads import WORKLOADS


def measure(both: Sequence[Checkout], arguments: argparse.Namespace) -> Measured:
    """Two rows for each workload: processor time, and the rate."""
    cores = share_out(own_cores())
    rows: list[Row] = []
    detail: dict[str, Any] = {}
    wrong: list[str] = []
    turns = 2 * arguments.rounds
    names = list(dict.fromkeys(arguments.workloads))
    with bar("compare", len(names) * turns * (arguments.seconds + PAUSE)) as shown:
        for number, name in enumerate(names):
            contest = Contest(WORKLOADS[name], cores, arguments.seconds, generators.have_wrk(), shown, number * turns)
            detail[name] = contest.run(partial(start_both, both, cores.proxy), arguments.rounds)
            wrong += contest.problems
            rows += rows_of(name, detail[name])
    return rows, detail, wrong


def start_both(
    both: Sequence[Checkout], cores: frozenset[int], template: Setup, started: list[Process]
) -> list[Contender]:
    """A Shield of each checkout."""
    contenders = []
    for each in both:
        folder = template.folder / each.name
        folder.mkdir()
        setup = dataclasses.replace(template, folder=folder)
        (made,) = start_all(["shield"], cores, setup, started, each.environment)
        contenders.append(dataclasses.replace(made, name=each.name, title=f"Shield, {each.name}"))
    return contenders


def rows_of(name: str, found: dict[str, Any]) -> list[Row]:
    """Of a workload's results. A rate is judged only where both used up their core: else something else limited it."""
    base, here = (found["peers"][which] for which in ("base", "here"))
    transfer = found["transfer"]
    cost, rate = ("cpu_per_gigabyte", "bytes_per_second") if transfer else ("cpu_per_1000", "rate")
    at_limit = min(base["busy"], here["busy"]) >= BUSY

    def by_round(peer: dict[str, Any], key: str, unit: float) -> list[float]:
        return [unit * turn[key] for turn in peer["turns"]]

    def row(title: str, unit: str, key: str, factor: float, **how: bool) -> Row:
        return Row(f"{name}: {title}", unit, by_round(base, key, factor), by_round(here, key, factor), **how)

    per = ("processor time", "ms per GB", 1e3) if transfer else ("processor time", f"µs per {found['unit'][:-1]}", 1e3)
    speed = ("rate", "MB/s", 1e-6) if transfer else ("rate", f"{found['unit']}/s", 1.0)
    return [
        row(per[0], per[1], cost, per[2]),
        row(speed[0], speed[1], rate, speed[2], rate=True, judged=at_limit),
    ]
