"""The lines of several logs in the order in which the requests came.

A server writes a line when a request ends, so a long one stands behind those that came later. And most write whole
seconds, in which hundreds of requests may have come: these are spread evenly over their second, in their order. Logs of
several servers are merged; of rotated ones each is opened when its time has come.

Of each open log at most MOST_HELD lines are held at a time. What came more than HELD_SECONDS before the latest line, or
is further out of order than that, is taken to have come when it can be replayed at the earliest. A single line that is
hours ahead of its neighbours is left out: its clock was wrong, and all others would be late.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from math import inf
from typing import Final

from shield.replay.lines import Line

HELD_SECONDS: Final = 60.0
MOST_HELD: Final = 50_000
LEAP: Final = 3600.0
"""Seconds between two lines from which on the next one must confirm the later of them."""

Log = tuple[float, Callable[[], Iterable[Line]]]
"""The time of its first line, and what opens it."""


class Astray:
    """How many lines were left out because of their times."""

    __slots__ = ("lines",)

    def __init__(self) -> None:
        self.lines = 0


def in_order(logs: Sequence[Log], astray: Astray) -> Iterator[Line]:
    """All lines of all logs by `at`, which never falls."""
    waiting = sorted(logs, key=lambda log: -log[0])
    heads: list[tuple[float, int, Line, Iterator[Line]]] = []
    latest = 0.0
    number = 0
    while waiting or heads:
        while waiting and (not heads or waiting[-1][0] - HELD_SECONDS <= heads[0][0]):
            opened = _sorted(_spread(_steady(waiting.pop()[1](), astray)))
            first = next(opened, None)
            number += 1
            if first is not None:
                heapq.heappush(heads, (first.at, number, first, opened))
        if not heads:
            continue
        _, which, line, source = heads[0]
        following = next(source, None)
        if following is None:
            heapq.heappop(heads)
        else:
            heapq.heapreplace(heads, (following.at, which, following, source))
        if line.at < latest:
            line.at = latest
        else:
            latest = line.at
        yield line


def _steady(lines: Iterable[Line], astray: Astray) -> Iterator[Line]:
    """Leave out lines that are far ahead of all others."""
    before = -inf
    ahead: Line | None = None
    for line in lines:
        if ahead is not None:
            if line.at >= ahead.at - LEAP:
                yield ahead
                before = ahead.at
            else:
                astray.lines += 1
            ahead = None
        if line.at > before + LEAP:
            ahead = line
            continue
        before = line.at
        yield line
    if ahead is not None:
        yield ahead


def _spread(lines: Iterable[Line]) -> Iterator[Line]:
    """Spread lines of the same second over it."""
    same: list[Line] = []
    ended = -1.0
    for line in lines:
        if line.exact:
            yield line
            continue
        end = line.at if line.seconds <= 0 else round(line.at + line.seconds, 3)
        if end != ended or len(same) >= MOST_HELD:
            yield from _apart(same)
            same, ended = [], end
        same.append(line)
    yield from _apart(same)


def _apart(same: list[Line]) -> Iterator[Line]:
    count = len(same)
    for number, line in enumerate(same):
        line.at += (number + 0.5) / count
        yield line


def _sorted(lines: Iterable[Line]) -> Iterator[Line]:
    """Sort by `at`, as far as what is held allows."""
    held: list[tuple[float, int, Line]] = []
    latest = 0.0
    for number, line in enumerate(lines):
        end = line.at + line.seconds if line.seconds > 0 else line.at
        if end > latest:
            latest = end
        heapq.heappush(held, (line.at, number, line))
        while held[0][0] < latest - HELD_SECONDS or len(held) > MOST_HELD:
            yield heapq.heappop(held)[2]
    while held:
        yield heapq.heappop(held)[2]
