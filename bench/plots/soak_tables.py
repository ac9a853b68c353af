"""What a soak showed, as a table: what Shield held before and after, and what became of the requests."""

from __future__ import annotations

from typing import Any

from bench.plots import report


def markdown(results: dict[str, Any]) -> str:
    rows = [[name, f"{results['before'][name]:,}", f"{results['after'][name]:,}"] for name in results["after"]]
    asked, attacks = sum(results["asked"].values()), sum(results["attacks"].values())
    lines = [
        f"# Soak of {results['seconds']:.0f} s",
        "",
        f"{asked:,} honest requests, {attacks:,} hostile connections, {results['falls']} falls of a server.",
        "",
        report.table(["what Shield held", "after the warm-up", "at the end"], rows),
        "",
        f"Honest requests: {results['outcomes']}. {results['more_than_once']} came to the service more than once.",
        "",
        f"Connections: {results['status']['connections']}.",
    ]
    lines += [f"\n**Problem**: {problem}." for problem in results["problems"]]
    return "\n".join(lines)
