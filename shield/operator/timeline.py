"""What has happened of late, kept in memory for the dashboard: the events of the log that story.py has words for.

What concerns one client and what concerns all are kept apart, so that a flood of bans never pushes the onset of the
attack out. Nothing is left out for the log's level, nor for its budgets.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from shield.operator.story import OF_CLIENTS, TOLD

MOST: Final = 100
"""Events of each kind: an attack has a turning point every ten seconds."""


class Timeline:
    """The latest events of one process. `shift`: from the process's clock to Unix time, in seconds."""

    __slots__ = ("_of_clients", "_others", "_shift")

    def __init__(self, shift: float) -> None:
        self._shift = shift
        self._of_clients: deque[dict[str, Any]] = deque(maxlen=MOST)
        self._others: deque[dict[str, Any]] = deque(maxlen=MOST)

    def note(self, now: float, name: str, fields: Mapping[str, Any]) -> None:
        """Keep an event, if it is one to be told."""
        if name in TOLD:
            ring = self._of_clients if name in OF_CLIENTS else self._others
            ring.append({"at": round(now + self._shift, 3), "event": name, "fields": dict(fields)})

    def plain(self) -> list[dict[str, Any]]:
        """All that are kept, the newest first; `at` is Unix time."""
        return sorted((*self._of_clients, *self._others), key=lambda each: -each["at"])
