"""Two checkouts beside each other as a table: medians, what one costs of the other, how far the rounds disagree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.plots import report


def markdown(results: Mapping[str, Any]) -> str:
    machine = results["machine"]
    which = "; ".join(f"{each['name']} is {each['commit'] or 'unknown'}" for each in results["checkouts"])
    setting = (
        f"{machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}, Python {machine['python']}, load "
        f"{machine['load_average']:.1f}; {results['rounds']} interleaved rounds. {which}. The ratio is what here costs "
        f"of what base costs, the median of the rounds: above 1 here is slower, above {results['bound']:g} it is worse."
    )
    lines = [f"# Two checkouts: {results['compared']}", "", setting, "", table(results)]
    if any(not row["judged"] for row in results["rows"]):
        lines.append("\nNot judged: rates of a Shield that did not use up its core, since something else limited them.")
    lines += [f"\n**Problem**: {problem}." for problem in results["wrong"]]
    lines += [f"\n**Worse**: {problem}." for problem in results["problems"] if problem not in results["wrong"]]
    return "\n".join(lines)


def table(results: Mapping[str, Any]) -> str:
    """A line per row; the spread is that of the rounds' ratios, from the least to the most."""
    rows = [
        [
            row["name"],
            row["unit"],
            report.figure(row["base_median"]),
            report.figure(row["here_median"]),
            report.figure(row["ratio"], 3),
            f"{report.figure(row['least'], 3)} to {report.figure(row['most'], 3)}",
            said(row, results["bound"]),
        ]
        for row in results["rows"]
    ]
    return report.table(["", "unit", "base", "here", "ratio", "spread of the ratio", ""], rows)


def said(row: Mapping[str, Any], bound: float) -> str:
    """What follows from the ratio."""
    if not row["judged"]:
        return "not judged"
    return "ok" if row["ratio"] <= bound else "worse"
