"""What is kept of a day for a report: the figures of the dashboard by the minute, and what was counted, now and then.

A day takes 300 KB of figures, and 3 MB of counts at most.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from math import isnan, nan
from typing import Any, Final

from shield.operator.figures import COLUMNS

KEPT_SECONDS: Final = 86_400
MINUTE: Final = 60
COUNTS_SECONDS: Final = 300
"""Between two pictures of what was counted: what a report says of counts begins with one of these."""
AVERAGED: Final = frozenset(
    ("forward", "challenge", "limit", "shed", "ban", "would_refuse", "demand", "capacity", "in_flight")
)
"""Of these a minute has the mean, of all others the greatest value."""

Row = Sequence[float | None]


class Chronicle:
    """The last day of one Shield."""

    __slots__ = ("_counts", "_minute", "_minutes", "_rows")

    def __init__(self) -> None:
        self._minutes: deque[array[float]] = deque(maxlen=KEPT_SECONDS // MINUTE)
        self._rows: list[Row] = []  # of the present minute
        self._minute = -1
        self._counts: deque[tuple[float, Mapping[str, Any]]] = deque(maxlen=KEPT_SECONDS // COUNTS_SECONDS)

    def take(self, now: float, row: Row, counted: Mapping[str, Any]) -> None:
        """Note a row of the dashboard, and what has been counted until then. `now` is Unix time."""
        minute = int(now // MINUTE)
        if minute != self._minute:
            if self._rows:
                self._minutes.append(_together(self._minute * MINUTE, self._rows))
                self._rows = []
            self._minute = minute
        self._rows.append(row)
        if not self._counts or now >= self._counts[-1][0] + COUNTS_SECONDS:
            self._counts.append((now, counted))

    def minutes(self, since: float) -> list[list[float | None]]:
        """The rows of all minutes from then on, the oldest first; the last may be of a part of one."""
        rows = [row for row in self._minutes if row[0] + MINUTE > since]
        if self._rows:
            rows.append(_together(self._minute * MINUTE, self._rows))
        return [[None if isnan(value) else round(value, 4) for value in row] for row in rows]

    def counted(self, since: float, counted: Mapping[str, Any]) -> tuple[float, dict[str, Any]]:
        """What was counted until now, since the last picture before `since`, or the first there is; and its time."""
        then, before = self._counts[0] if self._counts else (since, {})
        for at, picture in self._counts:
            if at > since:
                break
            then, before = at, picture
        return then, _more(before, counted)


def _together(at: float, rows: Sequence[Row]) -> array[float]:
    """The rows of a minute as one."""
    made = array("d", [at])
    for place, name in enumerate(COLUMNS[1:], 1):
        values = [value for row in rows if (value := row[place]) is not None]
        made.append(nan if not values else sum(values) / len(values) if name in AVERAGED else max(values))
    return made


def _more(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """By how much each count has grown. One that has not is left out; one that has shrunk was begun anew."""
    found: dict[str, Any] = {}
    for key, value in now.items():
        if isinstance(value, Mapping):
            was = before.get(key)
            if more := _more(was if isinstance(was, Mapping) else {}, value):
                found[key] = more
        else:
            grown = value - before.get(key, 0)
            if grown := grown if grown >= 0 else value:
                found[key] = grown
    return found


def seconds_of(rows: Iterable[Row], since: float) -> list[Row]:
    """The rows from then on."""
    return [row for row in rows if row[0] is not None and row[0] >= since]
