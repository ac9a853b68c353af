"""Closed-loop load by wrk, or by our own generator in a process for each core. Both send the same requests.

wrk resumes TLS sessions, so a handshake for each request is the own one's task: it makes full ones.
"""

from __future__ import annotations

import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from bench.load.plan import Plan, Result, merged, reported, share

TIMEOUT: Final = 30  # s that an answer may take before wrk counts it as failed; 100 MiB take a second or two
LUA: Final = Path(__file__).with_name("browser.lua")


def have_wrk() -> bool:
    return shutil.which("wrk") is not None


def with_wrk(plan: Plan, cores: frozenset[int]) -> Result:
    """Run wrk with a thread for each core. Raises RuntimeError when it does not report."""
    argv = ["wrk", f"-t{min(len(cores), plan.connections)}", f"-c{plan.connections}"]
    argv += [f"-d{max(1, round(plan.seconds))}s", "--timeout", f"{TIMEOUT}s", "-s", str(LUA), plan.target.url]
    argv += ["--", "close" if plan.close else "keep", str(plan.body), "varied" if plan.varied else "same"]
    return reported(argv, cores, plan.seconds)


def with_own(plan: Plan, cores: frozenset[int]) -> Result:
    """Run our own generator, in a process for each core."""
    number = min(len(cores), plan.connections)
    requests, connections = share(plan.requests, number), share(plan.connections, number)

    def one(core: int, index: int) -> Result:
        argv = [sys.executable, "-m", "bench.load.closed_loop", "--target", plan.target.url, "--body", str(plan.body)]
        argv += ["--connections", str(connections[index]), "--requests", str(requests[index])]
        argv += ["--seconds", str(plan.seconds), *(["--close"] if plan.close else [])]
        argv += ["--varied"] if plan.varied else []
        return reported(argv, frozenset({core}), plan.seconds)

    with ThreadPoolExecutor(number) as pool:
        return merged(list(pool.map(one, sorted(cores)[:number], range(number))))
