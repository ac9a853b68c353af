"""Progress on the terminal: a bar from rich (the `bench` extra), or a line per step without it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Protocol

try:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
except ImportError:  # the bench extra is not installed
    Progress = None  # type: ignore[assignment,misc]


class Bar(Protocol):
    def step(self, done: float, doing: str) -> None:
        """`done` in the unit of the total, from the start; `doing` in a few words."""


class _Rich:
    def __init__(self, progress: Progress, total: float, title: str) -> None:
        self.progress = progress
        self.task = progress.add_task(title, total=total, doing="")

    def step(self, done: float, doing: str) -> None:
        self.progress.update(self.task, completed=done, doing=doing)


class _Lines:
    def __init__(self, total: float, title: str) -> None:
        self.total = total
        self.title = title
        self.said = ""

    def step(self, done: float, doing: str) -> None:
        if doing != self.said:
            self.said = doing
            print(f"{self.title}: {done / self.total:4.0%} {doing}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def bar(title: str, total: float) -> Iterator[Bar]:
    """A bar on stderr, so that stdout holds the tables only."""
    if Progress is None or not sys.stderr.isatty():
        yield _Lines(total, title)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[doing]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield _Rich(progress, total, title)
