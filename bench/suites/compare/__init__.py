"""Two checkouts of Shield, side by side: what a change costs.

    python -m bench compare --base DIR --suite micro --rounds 5 --cases forward refuse
    python -m bench compare --base DIR --suite throughput --rounds 7 --workloads proxied refused

`base` is the checkout in DIR, `here` is the one that this is run from. They take turns in one session: base, here,
here, base, and so on, so that a machine that slows down for a while slows both.

micro times each checkout's own cases (`python -m bench micro`), because what they time is made of each checkout's own
classes. Each round has a process of each, and the two take turns of a few hundredths of a second on the same core.
throughput starts `python -m shield` of both once for each workload, on the same core, before the same origin and under
the same load; origin, load and config files are from here. Both use the Python that this runs with.

A row's ratio is what here costs of what base costs: the median over the rounds of the ratio within a round. Above 1
here is slower. The exit status is 1 where a ratio is above --bound, or where answers were wrong.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Any, Final

from bench.common.guard import MOST_ROUNDS, bounded, json_file
from bench.common.processes import ROOT
from bench.plots import report
from bench.plots.compare_tables import markdown
from bench.suites.compare import micro, throughput
from bench.suites.compare.checkouts import Checkout, checkout, commit
from bench.suites.micro import CASES
from bench.suites.workloads import WORKLOADS

HOT: Final = ["proxied", "proxied-varied", "refused", "refused-close"]  # workloads of the way that every request takes
KEPT: Final = ROOT / "build" / "compare"  # git ignores it: raw results of a comparison are nothing to commit


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--base", type=checkout, required=True, metavar="DIR", help="the checkout to hold this against")
    parser.add_argument("--suite", choices=["micro", "throughput"], required=True)
    parser.add_argument("--rounds", type=bounded(int, 1, MOST_ROUNDS), default=5, help="turns of each checkout")
    parser.add_argument("--bound", type=bounded(float, 1, 10), default=1.03, help="ratio above which a row is worse")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), metavar="CASE", help="of micro (default: all)")
    parser.add_argument("--repeats", type=bounded(int, 1, 1000), default=7, help="of micro: values in each round")
    parser.add_argument(
        "--workloads", nargs="+", choices=list(WORKLOADS), default=HOT, metavar="WORKLOAD", help="of throughput"
    )
    parser.add_argument("--seconds", type=bounded(float, 1, 60), default=3.0, help="of throughput: of each turn")
    parser.add_argument("--json", type=json_file, help="where the raw results go (default: build/compare)")


def run(arguments: argparse.Namespace) -> int:
    """Prints the table, keeps the raw results, and returns the exit status."""
    try:
        results = play(arguments)
    except RuntimeError as error:
        print(f"compare: {error}", file=sys.stderr)
        return 2
    path = arguments.json or KEPT / f"{time.strftime('%Y-%m-%d-%H%M%S')}-{arguments.suite}.json"
    text = markdown(results)
    report.write(results, text, path)
    print(text)
    print(f"\nraw results: {path}")
    return 1 if results["problems"] else 0


def play(arguments: argparse.Namespace) -> dict[str, Any]:
    """The raw results. Raises RuntimeError when one of the two cannot be measured."""
    both = [Checkout("base", arguments.base, commit(arguments.base)), Checkout("here", ROOT, commit(ROOT))]
    rows, detail, wrong = (micro if arguments.suite == "micro" else throughput).measure(both, arguments)
    told = [row.told() for row in rows]
    return {
        "suite": "compare",
        "compared": arguments.suite,
        "machine": report.machine(),
        "checkouts": [{"name": each.name, "commit": each.commit} for each in both],
        "rounds": arguments.rounds,
        "bound": arguments.bound,
        "rows": told,
        "detail": detail,
        "wrong": wrong,
        "problems": wrong + worse(told, arguments.bound),
    }


def worse(rows: Sequence[dict[str, Any]], bound: float) -> list[str]:
    """The rows whose ratio is above the bound. NaN, which stands for nothing measured, is above every bound."""
    return [
        f"{row['name']}: {row['ratio']:.3f} of what base costs, at most {bound:g} is wanted"
        for row in rows
        if row["judged"] and not row["ratio"] <= bound
    ]
