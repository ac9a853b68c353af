"""What other workers are to hear of: bans and scores, passes, places in the waiting room. Kept until it is sent."""

from __future__ import annotations

from typing import Any, Final

MOST_NEWS: Final = 2048
"""Things at a time; they are sent every 20 ms, and the ring that takes them has twice as many places."""


class News:
    """Collects them, each once, however often it changes meanwhile. `on`: there is somebody to tell."""

    __slots__ = ("_things", "lost", "on")

    def __init__(self, on: bool) -> None:
        self.on = on
        self.lost = 0
        self._things: dict[tuple[str, int], Any] = {}

    def changed(self, kind: str, thing: Any) -> None:
        """Note a thing of that kind (remembered.py)."""
        if not self.on:
            return
        things = self._things
        key = kind, id(thing)  # it stays itself, as it is held here
        if key not in things and len(things) >= MOST_NEWS:
            self.lost += 1
            return
        things[key] = thing

    def take(self) -> list[tuple[str, Any]]:
        """All since the last call, with their kinds."""
        taken = [(kind, thing) for (kind, _), thing in self._things.items()]
        self._things.clear()
        return taken


NOBODY: Final = News(False)
"""For a worker that is alone."""
