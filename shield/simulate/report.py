"""The outcome of a scene as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isfinite
from typing import TYPE_CHECKING

from shield.simulate.story import story

if TYPE_CHECKING:
    from shield.simulate.result import Result, Tally


def text(result: Result) -> str:
    """Who got what, why they were refused, and what happened when."""
    return "\n".join(_lines(result))


def _lines(result: Result) -> Iterator[str]:
    scene = result.scene
    yield f"{scene.title} ({scene.seconds:.0f} s, seed {result.seed}; took {result.wall_seconds:.0f} s)"
    yield ""
    yield from _table(
        ("", "asked", "served", "visits", "whole", "at once", "p50", "p95", "challenged", "solved", "locked out"),
        [_row(name, tally) for name, tally in result.populations.items()],
    )
    yield ""
    for name, tally in result.populations.items():
        why = ", ".join(f"{reason.value} {count:,}" for reason, count in tally.refusals.most_common(5))
        if why:
            yield f"{name} refused: {why}"
    yield (
        f"the service: {result.goodput(0.0, scene.seconds):.0f} good answers/s, "
        f"upstream time p50 {_seconds(result.upstream.quantile(0.5))}, p99 {_seconds(result.upstream.quantile(0.99))}"
    )
    yield ""
    for at, what in story(result):
        yield f"{at:8.1f} s  {what}"


def _row(name: str, tally: Tally) -> tuple[str, ...]:
    return (
        name,
        f"{tally.asked():,}",
        _share(tally.share),
        _share(tally.share_of_visits()),
        _share(tally.share_of_whole()),
        _share(tally.share_at_once),
        _seconds(tally.latency(0.5)),
        _seconds(tally.latency(0.95)),
        f"{tally.challenged:,}",
        f"{tally.solved:,}",
        _seconds(tally.longest_lockout) if tally.longest_lockout and tally.kind != "attackers" else "",
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for row in (head, *rows):
        first, *rest = (cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths)))  # noqa: B905
        yield "  ".join((first, *rest)).rstrip()


def _share(share: float) -> str:
    return f"{100 * share:.1f} %" if isfinite(share) else ""


def _seconds(seconds: float) -> str:
    if not isfinite(seconds):
        return ""
    return f"{1000 * seconds:.0f} ms" if seconds < 1.0 else f"{seconds:.1f} s"
