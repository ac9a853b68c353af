"""What a byte can cost, as a table."""

from __future__ import annotations

from typing import Any

from bench.plots import report


def markdown(results: dict[str, Any]) -> str:
    machine = results["machine"]
    rows = [
        [
            each["input"],
            each["situation"],
            str(each["bytes"]),
            report.figure(each["us"], 1),
            report.figure(each["per_unit"], 2),
            report.figure(each["per_kib"], 1),
            report.figure(each["ratio"], 2),
            report.figure(each["unit_ratio"], 2),
            report.figure(each["wire_ratio"], 2),
        ]
        for each in results["rows"]
    ]
    setting = (
        f"{machine['cpu']}, Linux {machine['kernel']}, Python {machine['python']}, load {machine['load_average']:.1f}; "
        "CPU time, the least of several values, no sockets. A unit is a request or a read. "
        "The last three columns are times an ordinary GET's: by KiB, by unit, by KiB with the headers of packets."
    )
    heads = ["", "", "bytes", "µs", "µs per unit", "µs per KiB", "by KiB", "by unit", "on the wire"]
    lines = ["# What a byte can cost", "", setting, "", report.table(heads, rows)]
    lines += [f"\n**Not as wanted**: {problem}." for problem in results["problems"]]
    return "\n".join(lines)
