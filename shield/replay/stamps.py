"""The times that logs write, as Unix time in seconds. ValueError for what is none.

Most lines of a log are of the same second as the one before, so the last text is kept with its time.
"""

from __future__ import annotations

from calendar import timegm
from datetime import UTC, datetime
from typing import Final

_MONTHS: Final = {
    name: number
    for number, name in enumerate(
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), 1
    )
}
LATEST: Final = 32_503_680_000.0
"""The year 3000: a later time is in other units."""


class Stamps:
    """Reads the times of one log."""

    __slots__ = ("_last", "_text")

    def __init__(self) -> None:
        self._text = ""
        self._last = 0.0

    def common(self, text: str) -> float:
        """Of the Common Log Format: 30/Nov/2026:10:03:19 +0100."""
        if text != self._text:
            zone = text[21:]
            if len(zone) != 5 or zone[0] not in "+-":
                raise ValueError("no time zone")
            shift = int(zone[1:3]) * 3600 + int(zone[3:5]) * 60
            self._last = _clock(text[:20]) - (shift if zone[0] == "+" else -shift)
            self._text = text
        return self._last

    def haproxy(self, text: str) -> float:
        """Of HAProxy: 30/Nov/2026:10:03:19.123, in local time without its zone: taken as UTC."""
        second = text[:20]
        if second != self._text:
            self._last = _clock(second)
            self._text = second
        return self._last + int(text[21:24]) / 1000.0


def _clock(text: str) -> float:
    day, month, year = int(text[:2]), _MONTHS[text[3:6]], int(text[7:11])
    hour, minute, second = int(text[12:14]), int(text[15:17]), int(text[18:20])
    if not (1 <= day <= 31 and hour < 24 and minute < 60 and second <= 60 and year >= 1970):
        raise ValueError("no time of day")
    return float(timegm((year, month, day, hour, minute, second)))


def anything(value: object) -> tuple[float, bool]:
    """A time as JSON logs have it: a number (seconds, or thousandths, millionths or billionths of one), the same as a
    text, ISO 8601, or that of the Common Log Format or HAProxy. And whether it is finer than a second."""
    if isinstance(value, bool) or value is None:
        raise ValueError("no time")
    if isinstance(value, int | float):
        return _number(float(value)), not isinstance(value, int) or value > LATEST
    text = str(value)
    try:
        return _number(float(text)), "." in text or float(text) > LATEST
    except ValueError:
        pass
    if text[2:3] == "/":
        exact = text[20:21] == "."
        return (Stamps().haproxy(text) if exact else Stamps().common(text)), exact
    found = datetime.fromisoformat(text.replace("/", "-", 2))
    if found.tzinfo is None:
        found = found.replace(tzinfo=UTC)
    return found.timestamp(), "." in text


def _number(value: float) -> float:
    for _ in range(3):
        if value <= LATEST:
            break
        value /= 1000.0
    if not 0.0 < value <= LATEST:
        raise ValueError("no time")
    return value
