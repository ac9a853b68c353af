"""What the throughput runs showed, as tables: ratios first, and beside each table what has to be known with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bench.peers import PEERS
from bench.plots import report

BASES: Final = ("nginx", "envoy", "caddy", "aiohttp")  # what Shield is held against
QUOTABLE: Final = 5  # rounds; with fewer the figures are for a look only
BUSY: Final = 0.9  # of its core; a proxy that used less was not what limited its rate


def markdown(results: dict[str, Any]) -> str:
    machine = results["machine"]
    setting = (
        f"{machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}, Python {machine['python']}, load "
        f"{machine['load_average']:.1f}; {results['cores']}; {results['load']}, {results['rounds']} interleaved "
        "rounds, logs off. Ratios count; rates are this machine's on that day."
    )
    lines = ["# Throughput on one core", "", setting]
    if results["rounds"] < QUOTABLE:
        lines += ["", f"**A quick look**: fewer than {QUOTABLE} rounds, not to quote."]
    for workload in results["workloads"].values():
        lines += ["", f"## {workload['title']}", "", table(workload), *notes(workload)]
    titles = {name: peer.TITLE for name, peer in PEERS.items()}
    lines += [f"\nLeft out: {titles.get(name, name)} ({why})." for name, why in results["missing"].items()]
    lines += [f"\n**Problem**: {problem}." for problem in results["problems"]]
    return "\n".join(lines)


def table(workload: Mapping[str, Any]) -> str:
    """Ratios first."""
    bases, transfer, unit = workload["ratios"], workload["transfer"], workload["unit"]
    heads = ["", *(f"of {PEERS[base].TITLE}" for base in bases), "MB/s" if transfer else f"{unit}/s", "spread"]
    heads += ["CPU s per GB" if transfer else "CPU s per 1,000", "of its core", "p50 ms", "p99 ms"]
    rows = []
    for name, peer in workload["peers"].items():
        rate = peer["bytes_per_second"] / 1e6 if transfer else peer["rate"]
        cost = report.figure(peer["cpu_per_gigabyte"], 3) if transfer else report.figure(peer["cpu_per_1000"], 4)
        busy = None if peer["busy"] is None else 100 * peer["busy"]
        row = [peer["title"], *(report.figure(bases[base][name]) for base in bases)]
        row += [report.figure(rate, 0), report.figure(100 * peer["spread"], 0, " %"), cost]
        row += [
            report.figure(busy, 0, " %"),
            report.figure(1000 * peer["p50"], 2),
            report.figure(1000 * peer["p99"], 2),
        ]
        rows.append(row)
    return report.table(heads, rows)


def notes(workload: Mapping[str, Any]) -> list[str]:
    """What has to be known beside a table."""
    peers = workload["peers"].values()
    generator = {"wrk": "wrk", "own": "our own generator", "h2load": "h2load"}[workload["generator"]]
    lines = [f"\nLoad from {generator} over {workload['connections']} connections."]
    lines += [f"\n{peer['title']}: {peer['says']}." for peer in peers if peer["says"]]
    if by_cpu := [f"{ratio:.2f} of {PEERS[base].TITLE}" for base, ratio in workload["by_cpu"].items()]:
        lines.append(f"\nPer second of processor time Shield carries {', '.join(by_cpu)}.")
    if idle := [peer["title"] for peer in peers if peer["busy"] is not None and peer["busy"] < BUSY]:
        lines.append(
            f"\nNot at their limit: {'; '.join(idle)}. They had time to spare: what held them back was the load, the "
            "origin, or other work on the machine. Alone they would be faster; see what each needs of its processor."
        )
    of = "connections" if workload["unit"] == "messages" else "requests"
    lines += [
        f"\nShield's metrics: of {exact['sent']:,} {workload['unit']} sent {exact['answered']:,} answered; "
        f"of {exact['requests']:,} {of} {decided(exact['counted']):,.0f} decisions counted."
        for exact in workload["exact"]
    ]
    if calibration := workload["calibration"]:
        lines.append(f"\nOn the usual aiohttp proxy our own generator sees {calibration['ratio']:.2f} of wrk's rate.")
    by_reason: dict[str, list[str]] = {}
    for name, why in workload["without"].items():
        by_reason.setdefault(why, []).append(PEERS[name].TITLE)
    lines += [f"\nNot in this table: {', '.join(titles)} ({why})." for why, titles in by_reason.items()]
    return lines


def decided(counted: dict[str, float]) -> float:
    """How many requests these counters stand for. One that had to queue first is counted again when it leaves it."""
    return sum(value for key, value in counted.items() if not key.startswith("queue/"))
