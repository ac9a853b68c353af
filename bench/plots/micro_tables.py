"""What the steps of a request cost, as a table."""

from __future__ import annotations

from typing import Any

from bench.plots import report


def markdown(results: dict[str, Any]) -> str:
    machine = results["machine"]
    rows = [
        [
            case["title"],
            report.figure(case["median"]),
            report.figure(case["least"]),
            report.figure(case["deviation"]),
            report.figure(case["wanted"], 1),
            report.figure(case["reach"], 1),
        ]
        for case in results["cases"].values()
    ]
    setting = (
        f"{machine['cpu']}, Linux {machine['kernel']}, Python {machine['python']}, load {machine['load_average']:.1f}; "
        f"CPU time, by pyperf {results['pyperf']} in {results['processes']} processes each, no sockets, no garbage "
        "collection."
    )
    heads = ["", "µs", "least", "std dev", "wanted", "reach"]
    lines = ["# What the steps cost", "", setting, "", report.table(heads, rows)]
    lines += [f"\n**Not as wanted**: {problem}." for problem in results["problems"]]
    return "\n".join(lines)
