"""Decisions of note, kept for the log until they are asked for."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

MOST_NOTES: Final = 64

Note = tuple[str, dict[str, Any]]
"""The name of an event, and its fields."""


class Notes:
    """The newest `MOST_NOTES` of each kind: what concerns one client, and the turning points of an attack.

    They are kept apart, so that a flood of bans never pushes the onset of the attack out.
    """

    __slots__ = ("_of_clients", "_turning_points")

    def __init__(self) -> None:
        self._of_clients: deque[Note] = deque(maxlen=MOST_NOTES)
        self._turning_points: deque[Note] = deque(maxlen=MOST_NOTES)

    def add(self, name: str, **fields: Any) -> None:
        """Note what was done about one client, pass or fingerprint."""
        self._of_clients.append((name, fields))

    def add_turning_point(self, name: str, **fields: Any) -> None:
        """Note that an attack or a brownout has begun or ended."""
        self._turning_points.append((name, fields))

    def take(self) -> list[Note]:
        """All notes since the last call, the turning points first."""
        taken = [*self._turning_points, *self._of_clients]
        self._turning_points.clear()
        self._of_clients.clear()
        return taken
