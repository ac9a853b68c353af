"""python -m bench throughput | latency | memory | micro | attack | slow | all | soak | saturation | crowd | kernel
| page | operating | cluster | chaos | compare | asymmetry | readme"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any, Final

from bench.common.guard import json_file
from bench.plots import readme, report
from bench.suites import (
    asymmetry,
    attack,
    chaos,
    cluster,
    compare,
    crowd,
    kernel,
    latency,
    memory,
    micro,
    operating,
    page,
    saturation,
    slow,
    soak,
    throughput,
)

SUITES: Final[Mapping[str, tuple[ModuleType, str]]] = {
    "throughput": (throughput, "requests per second and core, next to the peers"),
    "latency": (latency, "what a proxy adds to a request at fixed rates of arrival"),
    "memory": (memory, "resident bytes per tracked client and per idle connection"),
    "micro": (micro, "what each step of a request costs in Python"),
    "attack": (attack, "what users notice of attacks, with Shield, without, and with the peers"),
    "slow": (slow, "what users notice of slowhttptest's slow connections, and that all sockets come back"),
}
"""Each module has add_arguments(parser), play(arguments) for the raw results, markdown(results), and run(arguments)."""

TOOLS: Final[Mapping[str, tuple[ModuleType, str]]] = {
    "soak": (soak, "minutes of honest and hostile traffic and falling servers: what goes wrong, and what is left over"),
    "chaos": (chaos, "minutes of killed processes, reloads, upgrades and a full disk: whether users notice"),
    "saturation": (saturation, "what is carried as more and more connections ask, next to nginx and HAProxy"),
    "crowd": (crowd, "what users notice while connections that ask without a pause fill the proxy's core"),
    "kernel": (kernel, "what connection attempts of dropped addresses cost users and Shield"),
    "page": (page, "how long a page of many parts takes far away, over HTTP/2 and HTTP/1.1"),
    "compare": (compare, "two checkouts of Shield, interleaved: what a change costs"),
    "operating": (operating, "what it costs requests that Shield is scraped, watched, ruled and logs"),
    "cluster": (cluster, "what several machines as one cost a node, the store and the wire"),
    "asymmetry": (asymmetry, "what a byte can cost: the most that a KiB of each kind of input takes"),
    "readme": (readme, "show the newest results in README.md"),
}
"""What is no part of `all`. Each module has add_arguments(parser) and run(arguments)."""

QUICK: Final[Mapping[str, list[str]]] = {
    "throughput": ["--rounds", "2", "--seconds", "1"],
    "latency": ["--rounds", "2", "--seconds", "1"],
    "memory": ["--clients", "100000"],
    "micro": ["--processes", "2", "--repeats", "3"],
    "attack": ["--scenes", "overload", "many", "--seconds", "10", "--calm", "8"],
    "slow": ["--seconds", "10", "--calm", "5"],
}
"""For a look while something is being changed, not for figures to quote."""


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=sys.modules["bench"].__doc__)
    suites = parser.add_subparsers(dest="suite", required=True)
    for name, (module, says) in SUITES.items():
        suite = suites.add_parser(name, help=says)
        module.add_arguments(suite)
        suite.set_defaults(run=module.run)
    everything = suites.add_parser("all", help="every suite as it is by default, one after the other")
    everything.add_argument("--suites", nargs="+", choices=list(SUITES), default=list(SUITES), metavar="SUITE")
    everything.add_argument("--quick", action="store_true", help="few and short rounds: for a look, not to quote")
    everything.add_argument("--json", type=json_file, help="one file for all raw results (default: each suite's own)")
    everything.set_defaults(run=run_all)
    for name, (module, says) in TOOLS.items():
        tool = suites.add_parser(name, help=says)
        module.add_arguments(tool)
        tool.set_defaults(run=module.run)
    arguments = parser.parse_args(argv)
    status: int = arguments.run(arguments)
    return status


def run_all(arguments: argparse.Namespace) -> int:
    """Every suite into files of its own; a quick run, and one with --json, into one file.

    A suite that fails is a problem, and the others still run.
    """
    together = arguments.quick or arguments.json is not None
    played, problems = {}, []
    texts = ["**A quick look**: few and short rounds, not to quote."] if arguments.quick else []
    for number, name in enumerate(arguments.suites, 1):
        print(f"[{number}/{len(arguments.suites)}] {name}", file=sys.stderr, flush=True)
        try:
            results = play(name, QUICK[name] if arguments.quick else [])
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            problems.append(f"{name} failed: {error}")
            texts.append(f"**Problem**: {problems[-1]}")
            continue
        played[name] = results
        texts.append(SUITES[name][0].markdown(results))
        problems += [f"{name}: {problem}" for problem in results["problems"]]
        if not together:
            report.publish(results, texts[-1], None)
    if not together:
        print(*(f"**Problem**: {problem}" for problem in problems if " failed: " in problem), sep="\n")
        return 1 if problems else 0
    results = {
        "suite": "all",
        "machine": report.machine(),
        "quick": arguments.quick,
        "suites": played,
        "problems": problems,
    }
    return report.publish(results, "\n\n".join(texts), arguments.json)


def play(name: str, options: list[str]) -> dict[str, Any]:
    """A suite's raw results with these options."""
    module = SUITES[name][0]
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    results: dict[str, Any] = module.play(parser.parse_args(options))
    return results


if __name__ == "__main__":
    sys.exit(main())
