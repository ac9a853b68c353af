"""What Shield keeps of each client: an engine is driven by so many addresses, in a process of its own.

That process reads its own resident set before and after; for each of the numbers, because tables grow in steps.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from bench.common.guard import bounded
from bench.common.processes import PAGE, ROOT
from bench.suites import rig
from shield.model import Outcome
from shield.operator.status import plain
from shield.policy.request import Request

FEW: Final = 100_000
MANY: Final = 1_000_000
WARM: Final = 1000  # clients before the first reading
AGENTS: Final = 500  # different browsers
PER_NETWORK: Final = 100  # clients in a /24
PER_SECOND: Final = 5000  # clients, in the engine's time
SAY: Final = 50_000  # clients between two words on how far it is


def resident_bytes() -> int:
    """Of this process, from /proc/self/statm (proc(5))."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def address(number: int) -> str:
    """The client's address; PER_NETWORK of them share a /24. They are names only: nothing is sent."""
    network, host = divmod(number, PER_NETWORK)
    return f"10.{network >> 8 & 255}.{network & 255}.{host + 1}"


def drive(size: int, say: Callable[[int], None]) -> dict[str, Any]:
    """Every client makes one request that is forwarded and learned from. To be run in a process of its own.

    `say` is told now and then how many have."""
    tables = f"[tables]\naddresses = {size + 2 * WARM}\nclients = {size + 2 * WARM}\n"
    engine = rig.engine(rig.OUT_OF_REACH + tables)
    agents = [f"{rig.AGENT} {number}" for number in range(AGENTS)]

    def ask_as(number: int, now: float) -> None:
        client = engine.identify(address(number), agents[number % AGENTS], "en", "", now)
        request = Request(client, "GET", "/index.html", {}, None, False, None)
        engine.decide(request, now)
        engine.learn(request, Outcome(200, 0.002), now)

    now = rig.START
    for number in range(WARM):
        ask_as(size + number, now)
    gc.collect()
    before, tables_before = resident_bytes(), plain(engine.status(now).tables)
    for number in range(size):
        now += 1.0 / PER_SECOND
        ask_as(number, now)
        if number % (PER_SECOND // 2) == 0:
            engine.tick(now)
        if number % SAY == 0:
            say(number)
    gc.collect()
    grown, tables_after = resident_bytes() - before, plain(engine.status(now).tables)
    return {"clients": size, "bytes": grown / size, "tables": growth(tables_before, tables_after, size)}


def growth(before: dict[str, Any], after: dict[str, Any], clients: int) -> dict[str, dict[str, float]]:
    """By table: the entries that were added, and the bytes that the status claims for them per client."""
    found = {}
    for name, figures in after.items():
        entries = figures["entries"] - before[name]["entries"]
        found[name] = {"entries": entries, "claimed": entries * figures["bytes_per_entry"] / clients}
    return found


def in_a_process(size: int, say: Callable[[int], None]) -> dict[str, Any]:
    """drive() where nothing else has used the heap. Raises RuntimeError when it fails."""
    with subprocess.Popen(
        [sys.executable, "-m", "bench.suites.memory.clients", str(size)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        last = ""
        for line in process.stdout:  # numbers on the way, then the result
            last = line
            if line.strip().isdigit():
                say(int(line))
        wrong = process.stderr.read()  # a traceback at most, which the pipe holds
    if process.returncode:
        raise RuntimeError(f"the engine with {size} clients: {wrong[-1500:]}")
    result: dict[str, Any] = json.loads(last)
    return result


if __name__ == "__main__":
    number = int(bounded(int, 1, MANY)(sys.argv[1]))
    print(json.dumps(drive(number, lambda done: print(done, flush=True))))
