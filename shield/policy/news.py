"""What others are to hear of, kept until it is sent.

other workers   bans and scores, passes, places in the waiting room
the journal     what must outlive a crash, before the next snapshot is made: bans, pardons, revoked passes, spent
                challenges (process/journal.py)
"""

from __future__ import annotations

from typing import Any, Final

MOST_NEWS: Final = 2048
"""Things at a time; they are sent every 20 ms, and the ring that takes them has twice as many places."""
MOST_IN_JOURNAL: Final = 8192
"""Things at a time; they are written every 100 ms. One core bans fewer clients than that in half a second."""


class News:
    """Collects up to `most` of them, each once, however often it changes meanwhile. `on`: there is somebody to tell.

    `lost` counts those that there was no room for.
    """

    __slots__ = ("_most", "_things", "lost", "on")

    def __init__(self, on: bool, most: int = MOST_NEWS) -> None:
        self.on = on
        self.lost = 0
        self._most = most
        self._things: dict[tuple[str, int], Any] = {}

    def changed(self, kind: str, thing: Any) -> None:
        """Note a thing of that kind (remembered.py)."""
        if not self.on:
            return
        things = self._things
        key = kind, id(thing)  # it stays itself, as it is held here
        if key not in things and len(things) >= self._most:
            self.lost += 1
            return
        things[key] = thing

    def take(self) -> list[tuple[str, Any]]:
        """All since the last call, with their kinds."""
        taken = [(kind, thing) for (kind, _), thing in self._things.items()]
        self._things.clear()
        return taken


NOBODY: Final = News(False)
"""For whoever has nobody to tell."""
