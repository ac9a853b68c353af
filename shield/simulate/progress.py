"""Progress on a terminal: a bar from rich (the `simulate` extra), a line now and then without it, nothing in a pipe."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable, Iterator

LINES: int = 10


@contextlib.contextmanager
def bar(
    title: str, start: float, end: float, shown: str = "{at:.0f} s, {doing}"
) -> Iterator[Callable[[float, str], None]]:
    """A function to be called with (a place between start and end, what is done there), for a bar on stderr. `shown`
    is what of these is said."""
    if not sys.stderr.isatty():
        yield lambda at, doing: None
        return
    try:
        rich = importlib.import_module("rich.progress")
        console = importlib.import_module("rich.console").Console(stderr=True)
    except ImportError:
        yield _lines(title, start, end)
        return
    columns = (
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.TimeElapsedColumn(),
        rich.TimeRemainingColumn(),
        rich.TextColumn("{task.fields[doing]}"),
    )
    with rich.Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(title, total=end - start, doing="")
        yield lambda at, doing: progress.update(task, completed=at - start, doing=shown.format(at=at, doing=doing))


def _lines(title: str, start: float, end: float) -> Callable[[float, str], None]:
    told = -1

    def tell(at: float, doing: str) -> None:
        nonlocal told
        part = int((at - start) / (end - start) * LINES)
        if part > told:
            told = part
            print(f"{title}: {part * 100 // LINES:3d} % {doing}", file=sys.stderr, flush=True)

    return tell
