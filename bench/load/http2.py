"""Closed-loop load over HTTP/2 by h2load (Debian's nghttp2-client), which is not ours: so many connections, and so many
streams open on each. It sends the fields that the other generators send."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from bench.common.processes import pinned
from bench.common.stats import quantile
from bench.load.plan import BROWSER_FIELDS, Plan, Result

_DONE: Final = re.compile(r"^requests: \d+ total, \d+ started, (\d+) done, ", re.MULTILINE)
_STATUSES: Final = re.compile(r"^status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", re.MULTILINE)
_TRAFFIC: Final = re.compile(r" headers \(.*\), \S+ \((\d+)\) data$", re.MULTILINE)
_SECONDS: Final = re.compile(r"^finished in ([0-9.]+)(us|ms|s),", re.MULTILINE)
_UNITS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
_SPOKEN: Final = "Application protocol: h2\n"


def missing() -> str | None:
    return None if shutil.which("h2load") else "h2load (nghttp2-client) is not on PATH"


def run(plan: Plan, streams: int, cores: frozenset[int]) -> Result:
    """Raises RuntimeError when it does not report, or something else than HTTP/2 was spoken."""
    threads = min(len(cores), plan.connections)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        argv = ["h2load", f"-t{threads}", f"-c{plan.connections}", f"-m{streams}", f"--log-file={log}"]
        argv += [f"-n{plan.requests}"] if plan.requests else [f"-D{plan.seconds:g}"]
        for line in BROWSER_FIELDS.splitlines():
            argv += ["-H", line]
        done = subprocess.run(
            pinned([*argv, plan.target.url], cores),
            capture_output=True,
            text=True,
            timeout=plan.seconds + 30,
            check=False,
        )
        times = [float(line.rpartition("\t")[2]) / 1e6 for line in log.read_text().splitlines()] if log.exists() else []
    return read(done.stdout, times)


def read(said: str, times: list[float]) -> Result:
    """What h2load said, and how long each answer took, in seconds."""
    found = [pattern.search(said) for pattern in (_DONE, _STATUSES, _TRAFFIC, _SECONDS)]
    requests, statuses, traffic, seconds = found
    if requests is None or statuses is None or traffic is None or seconds is None or _SPOKEN not in said:
        raise RuntimeError(f"h2load gave no report: {said[-1000:]}")
    fine, moved, refused, failed = map(int, statuses.groups())
    answered = fine + moved + refused + failed
    return Result(
        answered,
        float(seconds[1]) * _UNITS[seconds[2]],
        int(traffic[1]),
        refused + failed,
        int(requests[1]) - answered,
        quantile(times, 0.5) if times else 0.0,
        quantile(times, 0.99) if times else 0.0,
        {"2xx": fine, "3xx": moved, "4xx": refused, "5xx": failed},
    )
