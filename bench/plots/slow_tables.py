"""What the runs with slow connections showed, as a table."""

from __future__ import annotations

from typing import Any, Final

from bench.plots import report

CALM: Final = "calm"  # the name of the run without an attack


def markdown(results: dict[str, Any]) -> str:
    machine = results["machine"]
    lines = ["# Slow connections", ""]
    if results["missing"]:
        return "\n".join([*lines, f"Left out: {results['missing']}."])
    size = f"{results['connections']:,} connections of slowhttptest for {results['seconds']} s."
    lines += [
        f"{size} {machine['cpu']}, Linux {machine['kernel']}, Python {machine['python']}; {results['cores']}.",
        "",
    ]
    rows = [
        [
            found["title"],
            report.figure(100 * found["attack"]["success"], 1, " %"),
            report.figure(1e3 * found["attack"]["p95"], 0),
            f"{slowdown(found, results['modes'][CALM]) - 1.0:+.0%}",
            report.figure(1e3 * found["attack"]["p50"], 0),
            "no" if "NO" in found["tool"]["available"] else "yes",
            f"{found['most']['open']:,}",
            f"{found['before']['open']} / {found['after']['open']}",
            " / ".join(str(found[when]["files"] - found[when]["kept"]) for when in ("before", "after")),
            report.figure((found["most"]["resident"] - found["before"]["resident"]) / 2**20, 1),
        ]
        for found in results["modes"].values()
    ]
    heads = [
        "",
        "users' success",
        "p95, ms",
        "change",
        "p50, ms",
        "available",
        "most open",
        "open before / after",
        "descriptors before / after",
        "MiB more",
    ]
    lines.append(report.table(heads, rows))
    lines += ["", "Available: by the probe of slowhttptest. Descriptors: without those kept to the service."]
    lines += [f"\n**Not as wanted**: {problem}." for problem in results["problems"]]
    return "\n".join(lines)


def slowdown(found: dict[str, Any], without: dict[str, Any]) -> float:
    """How many times the p95 without an attack the users' p95 is."""
    return float(found["attack"]["p95"]) / float(without["attack"]["p95"])
