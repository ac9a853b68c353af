"""A run of load: what is to be sent, what came back, and the process that sends it."""

from __future__ import annotations

import argparse
import collections
import json
import os
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from bench.common.guard import MOST_CONNECTIONS, MOST_REQUESTS, MOST_SECONDS, Target, bounded
from bench.common.processes import ROOT, pinned
from bench.common.stats import median

SESSION: Final = "0123456789abcdef0123456789abcdef"
BROWSER_FIELDS: Final = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
    "Accept-Language: en-GB,en;q=0.7,de;q=0.3\r\n"
    "Accept-Encoding: gzip, deflate, br, zstd\r\n"
    f"Cookie: session={SESSION}; theme=dark\r\n"
    "Upgrade-Insecure-Requests: 1\r\n"
    "Sec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Site: none\r\nSec-Fetch-User: ?1\r\n"
    "Priority: u=0, i\r\n"
)


@dataclass(frozen=True, slots=True)
class Plan:
    """One run: either `seconds` long, or `requests` many (0: as many as fit), never longer than MOST_SECONDS."""

    target: Target
    connections: int = 64
    seconds: float = 4.0
    requests: int = 0
    close: bool = False  # one request per connection
    body: int = 0  # bytes; with any it is a POST
    varied: bool = False  # another cookie in each request
    addresses: int = 1  # of 127.0.0.0/8 that the connections come from, in turn


@dataclass(frozen=True, slots=True)
class Result:
    """What one run sent and got. Latencies in seconds; `refused` are answers with 4xx or 5xx; `upgrades` are
    WebSockets, whose messages count as requests."""

    requests: int
    seconds: float
    bytes: int
    refused: int
    failed: int
    p50: float
    p99: float
    statuses: dict[str, int] = field(default_factory=dict)
    upgrades: int = 0
    p95: float = 0.0

    @property
    def rate(self) -> float:
        return self.requests / self.seconds if self.seconds else 0.0


def reported(argv: list[str], cores: frozenset[int], seconds: float) -> Result:
    """Run a generator pinned to these cores, for the line of JSON it ends with. Raises RuntimeError without one."""
    done = subprocess.run(
        pinned(argv, cores),
        capture_output=True,
        text=True,
        timeout=seconds + 30,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        raise RuntimeError(f"{argv[0]} gave no report: {done.stdout[-500:]}{done.stderr[-1500:]}")
    return Result(**json.loads(lines[-1]))


def share(whole: int, parts: int) -> list[int]:
    """`whole` as so many integers that differ by at most one."""
    return [whole // parts + (index < whole % parts) for index in range(parts)]


def merged(results: Sequence[Result]) -> Result:
    """What generators side by side sent and got together. Of their percentiles, the median and the greatest."""
    statuses: collections.Counter[str] = collections.Counter()
    for result in results:
        statuses.update(result.statuses)
    return Result(
        sum(result.requests for result in results),
        max(result.seconds for result in results),
        sum(result.bytes for result in results),
        sum(result.refused for result in results),
        sum(result.failed for result in results),
        median([result.p50 for result in results]),
        max(result.p99 for result in results),
        dict(statuses),
        p95=max(result.p95 for result in results),
    )


def add_arguments(parser: argparse.ArgumentParser, target: Callable[[str], Target], of: str) -> None:
    """What every generator of a closed loop is told; `of` is what counts, requests or messages."""
    parser.add_argument("--target", type=target, required=True, help="a URL on loopback, with its port")
    parser.add_argument("--connections", type=bounded(int, 1, MOST_CONNECTIONS), default=64)
    parser.add_argument("--seconds", type=bounded(float, 0.1, MOST_SECONDS), default=4.0, help="at most")
    parser.add_argument("--requests", type=bounded(int, 0, MOST_REQUESTS), default=0, help=f"{of}; 0: as many as fit")
