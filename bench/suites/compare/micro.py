"""Both checkouts' micro cases, a few hundredths of a second at a time, on the same core."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Self

from bench.common.processes import own_cores, pinned, share_out
from bench.common.progress import bar
from bench.suites.compare.checkouts import Checkout, Measured, Row, order

WORKER: Final = Path(__file__).with_name("worker.py")
LEAST_SECONDS: Final = 0.02  # of a value, as long as micro's are
MOST_OPERATIONS: Final = 1 << 20


class Worker:
    """A process that times a checkout's cases. Use as a context manager. `cases` are their names."""

    def __init__(self, checkout: Checkout, cores: frozenset[int], seed: int) -> None:
        self.checkout = checkout
        self.process = subprocess.Popen(
            pinned([sys.executable, "-P", str(WORKER)], cores),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=checkout.folder,
            env={**os.environ, **checkout.environment, "PYTHONHASHSEED": str(seed)},
        )
        self.cases: list[str] = []

    def __enter__(self) -> Self:
        self.cases = json.loads(self.read())
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def read(self) -> str:
        """A line of its answers. Raises RuntimeError when it has ended instead."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            _, wrong = self.process.communicate()
            raise RuntimeError(f"micro's worker of {self.checkout.name} has ended: {wrong[-1500:]}")
        return line

    def value(self, case: str, operations: int) -> float:
        """Processor time of an operation, in s: the mean of so many."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # read() says why
            self.process.stdin.write(f"{case} {operations}\n")
            self.process.stdin.flush()
        return float(self.read()) / operations


def measure(both: Sequence[Checkout], arguments: argparse.Namespace) -> Measured:
    """A row for each case that both have. A round has processes, and with them heaps and hash seeds, of its own.

    A round's figure is the least of its values: whatever else runs on the machine can only add to one.
    """
    cores = share_out(own_cores()).proxy
    found: dict[str, dict[str, list[list[float]]]] = {}
    operations: dict[str, int] = {}
    with bar("compare", arguments.rounds) as shown:
        for number in range(arguments.rounds):
            with contextlib.ExitStack() as stack:
                workers = {each.name: stack.enter_context(Worker(each, cores, number + 1)) for each in both}
                cases = common(workers, arguments.cases)
                for place, case in enumerate(cases):
                    shown.step(number + place / len(cases), f"round {number + 1}")
                    if case not in operations:
                        operations[case] = enough(workers["base"], case)
                    values = timed(workers, both, case, operations[case], arguments.repeats)
                    for name, own in values.items():
                        found.setdefault(case, {}).setdefault(name, []).append(own)
    rows = [
        Row(case, "µs", [min(values) for values in rounds["base"]], [min(values) for values in rounds["here"]])
        for case, rounds in found.items()
    ]
    return rows, found, []


def common(workers: Mapping[str, Worker], wanted: Sequence[str] | None) -> list[str]:
    """The cases that both have, of those that are wanted. Raises RuntimeError for one that base has not."""
    cases = [name for name in workers["here"].cases if name in workers["base"].cases]
    if missing := set(wanted or ()) - set(cases):
        raise RuntimeError(f"base has no case {', '.join(sorted(missing))}")
    return [name for name in cases if not wanted or name in wanted]


def timed(
    workers: Mapping[str, Worker], both: Sequence[Checkout], case: str, operations: int, repeats: int
) -> dict[str, list[float]]:
    """The values of both in µs, taken in turn. The first of each warms up, and does not count."""
    values: dict[str, list[float]] = {each.name: [] for each in both}
    for number in range(repeats + 1):
        for each in order(both, number):
            value = workers[each.name].value(case, operations)
            if number:
                values[each.name].append(1e6 * value)
    return values


def enough(worker: Worker, case: str) -> int:
    """Operations that take LEAST_SECONDS together."""
    operations = 1
    while operations < MOST_OPERATIONS and worker.value(case, operations) * operations < LEAST_SECONDS:
        operations *= 2
    return operations
