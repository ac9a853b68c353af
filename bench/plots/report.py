"""Results on paper: the machine, JSON with every raw figure, and Markdown tables."""

from __future__ import annotations

import contextlib
import json
import math
import os
import platform
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from bench.common.processes import ROOT

RESULTS: Final = ROOT / "bench" / "results"  # one set for each suite: the next run takes its place
LOOKS: Final = ROOT / "build" / "bench"  # what is not to be quoted, and is ignored by git


def cpu_name() -> str:
    """As /proc/cpuinfo has it."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.machine()
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def machine() -> dict[str, Any]:
    """What a reader needs to judge the figures; nothing that identifies the machine."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "cpu": cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release().split("-")[0],
        "python": platform.python_version(),
        "load_average": os.getloadavg()[0],
    }


def place(results: Mapping[str, Any]) -> Path:
    """Where raw results go unless somebody says otherwise. Those of all suites in one file are a look only."""
    suite = results["suite"]
    return (LOOKS if suite == "all" or results.get("quick") else RESULTS) / f"{suite}.json"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, the others are figures, aligned to the right."""
    cells = [list(heads), *map(list, rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]
    lines = []
    for number, row in enumerate(cells):
        padded = [
            cell.ljust(w) if column == 0 else cell.rjust(w)
            for column, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(f"| {' | '.join(padded)} |")
        if number == 0:
            rules = ["-" * w if column == 0 else "-" * (w - 1) + ":" for column, w in enumerate(widths)]
            lines.append(f"| {' | '.join(rules)} |")
    return "\n".join(lines)


def verdicts(results: dict[str, Any]) -> list[str]:
    """Lines about what falls short of what is wanted (`missed`), and about what makes the figures worthless."""
    return [
        f"\n**{'Not as wanted' if problem in results['missed'] else 'Problem'}**: {problem}."
        for problem in results["problems"]
    ]


def figure(value: float | None, digits: int = 2, unit: str = "") -> str:
    """A number for a table; a dash for none."""
    return "-" if value is None or math.isnan(value) else f"{value:,.{digits}f}{unit}"


def clean(value: Any) -> Any:
    """The same without NaN, which JSON does not know, and with no more digits than were measured."""
    if isinstance(value, dict):
        return {key: clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.9g}") if math.isfinite(value) else None
    return value


def publish(results: dict[str, Any], text: str, json_file: Path | None) -> int:
    """Print the tables, write them with the raw figures, draw the plots; the exit status, 1 when there are problems."""
    path = write(results, text, json_file)
    print(text)
    print(f"\nraw results: {path}")
    with contextlib.suppress(ImportError):  # matplotlib comes with the bench extra
        from bench.plots.plot import draw  # noqa: PLC0415

        if plots := draw(results, path):
            print("plots:", *plots)
    return 1 if results["problems"] else 0


def write(results: dict[str, Any], markdown: str, json_file: Path | None) -> Path:
    """Raw results as JSON and the tables beside them; where `json_file` says, else in their place."""
    path = json_file or place(results)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(clean(results), separators=(",", ":")) + "\n")
    path.with_suffix(".md").write_text(markdown + "\n")
    return path
