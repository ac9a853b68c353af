"""A case, what it is made of, and the timer that runs it."""

from __future__ import annotations

import asyncio
import functools
import gc
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import uvloop

BATCH: Final = 1000  # operations that are prepared at a time, at most

Batch = Callable[[int], float]  # runs so many operations; CPU seconds of what is to be timed
cpu: Final = time.process_time


@dataclass(frozen=True, slots=True)
class Case:
    """One row. `make` is called within an event loop. `wanted` is what the operation may cost at most, in µs, and
    `reach` what would be better still."""

    name: str
    title: str
    make: Callable[[], Batch]
    wanted: float | None = None
    reach: float | None = None


def timed(work: Callable[..., Any], *arguments: Any) -> Batch:
    """The same call again and again. The loop itself takes some 0.02 µs of each."""
    call = functools.partial(work, *arguments)

    def batch(number: int) -> float:
        began = cpu()
        for _ in itertools.repeat(None, number):
            call()
        return cpu() - began

    return batch


class Timer:
    """Makes a case when its first value is asked for, and keeps it for the others of this process."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self.made: dict[str, Batch] = {}

    def value(self, operations: int, case: Case) -> float:
        """CPU seconds of so many operations."""

        async def within_a_loop() -> float:
            if case.name not in self.made:
                self.made[case.name] = case.make()
            batch = self.made[case.name]
            gc.collect()
            gc.disable()  # as timeit does: whose turn the collector takes is chance
            try:
                return sum(batch(min(BATCH, operations - first)) for first in range(0, operations, BATCH))
            finally:
                gc.enable()

        return self.runner.run(within_a_loop())
