"""Starts peers for a run: folders, ports, pinning, waiting until they answer; and reads Shield's counters."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.common.processes import (
    Cores,
    Process,
    ask,
    free_ports,
    group_resident_bytes,
    launch,
    wait_until_answers,
)
from bench.peers import PEERS
from bench.peers.plan import Setup


@dataclass(frozen=True, slots=True)
class Contender:
    """A peer that answers on `port`. `process` is None for the origin alone."""

    name: str
    title: str
    says: str
    port: int
    process: Process | None
    metrics: tuple[int, str] | None  # port, path

    def cpu_seconds(self) -> float:
        return self.process.cpu_seconds() if self.process else 0.0

    def resident_bytes(self) -> int:
        return group_resident_bytes(self.process.pid) if self.process else 0

    def decisions(self) -> dict[str, float] | None:
        """Verdicts that Shield has counted so far, as `action/reason`; None for peers that count none."""
        if self.metrics is None:
            return None
        status, body = ask(*self.metrics)
        if status != 200:
            raise RuntimeError(f"{self.title} answers {status} for its metrics")
        return verdicts(body.decode())


SAMPLE: Final = re.compile(r"^shield_requests_total\{(?P<labels>[^}]*)\} (?P<value>\S+)", re.MULTILINE)
LABEL: Final = re.compile(r'(\w+)="([^"]*)"')


def verdicts(exposition: str) -> dict[str, float]:
    """`shield_requests_total` of a Prometheus exposition by `action/reason`, summed over any other label."""
    counted: dict[str, float] = {}
    for sample in SAMPLE.finditer(exposition):
        labels = dict(LABEL.findall(sample["labels"]))
        key = "/".join(filter(None, (labels.get("action"), labels.get("reason"))))
        counted[key] = counted.get(key, 0.0) + float(sample["value"])
    return counted


def start_origins(folder: Path, cores: Cores, started: list[Process]) -> int:
    """One origin per core that it may use, behind the one port that is returned."""
    (port,) = free_ports(1)
    for core in sorted(cores.origin):
        argv = [sys.executable, "-m", "bench.origins.small_origin", "--port", str(port)]
        started.append(launch(f"origin{core}", argv, folder, frozenset({core})))
        wait_until_answers(started[-1], port)
    return port


def start_capacity_origin(
    folder: Path, cores: Cores, parallel: int, service: float, started: list[Process]
) -> tuple[int, int]:
    """The service with a hard capacity: `parallel` requests at a time in `service` seconds each. Its port, and the port
    of its counters."""
    port, counters_port = free_ports(2)
    argv = [sys.executable, "-m", "bench.origins.capacity_origin", "--port", str(port), "--side-port"]
    argv += [str(counters_port), "--parallel", str(parallel), "--service", str(service)]
    started.append(launch("origin", argv, folder, cores.origin))
    wait_until_answers(started[-1], port)
    return port, counters_port


def start(
    name: str,
    setup: Setup,
    cores: frozenset[int],
    started: list[Process],
    environment: Mapping[str, str] | None = None,
) -> Contender:
    """Start one peer and wait for it. The process is put into `started` before anything can fail."""
    module = PEERS[name]
    folder = setup.folder / name
    folder.mkdir()
    plan = module.plan(dataclasses.replace(setup, folder=folder))
    process = None
    if plan.argv:
        process = launch(name, plan.argv, folder, cores, environment)
        started.append(process)
        wait_until_answers(process, plan.port, plan.unready, tls=setup.tls is not None)
    metrics = (setup.side_port, plan.metrics) if plan.metrics else None
    return Contender(name, module.TITLE, plan.says, plan.port, process, metrics)


def start_all(
    names: list[str],
    cores: frozenset[int],
    template: Setup,
    started: list[Process],
    environment: Mapping[str, str] | None = None,
) -> list[Contender]:
    """Start every peer named, on ports of its own, in folders under the template's."""
    contenders = []
    for name in names:
        port, side_port = free_ports(2)
        setup = dataclasses.replace(template, port=port, side_port=side_port)
        contenders.append(start(name, setup, cores, started, environment))
    return contenders


def choose(wanted: list[str]) -> tuple[list[str], dict[str, str]]:
    """The peers that can run here, and why each of the others cannot. Raises KeyError for a name that nobody has."""
    reasons = {name: PEERS[name].missing() for name in wanted}
    return [name for name in wanted if reasons[name] is None], {k: why for k, why in reasons.items() if why is not None}
