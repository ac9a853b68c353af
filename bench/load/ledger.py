"""What honest people asked for in a soak, what became of each request, and how often it came to the service."""

from __future__ import annotations

import collections
import time
from typing import Final

AFTERMATH: Final = 15.0  # s after a fall in which an error may still be its doing
RETRIES: Final = 2  # upstream.retries, and one for a stale connection
ONCE: Final = ("post", "chunked")  # what may never come to the service twice
MOST_PROBLEMS: Final = 50  # that are written down


class Ledger:
    """What was asked, and what became of it. `seen` counts how often each id came to the service."""

    def __init__(self) -> None:
        self.seen: collections.Counter[str] = collections.Counter()
        self.asked: collections.Counter[str] = collections.Counter()  # by kind
        self.outcomes: collections.Counter[str] = collections.Counter()
        self.answered: dict[str, tuple[str, str]] = {}  # id: kind, outcome
        self.falls = 0
        self.fell_at = float("-inf")
        self.problems: list[str] = []

    def fall(self) -> None:
        """A server falls over now."""
        self.falls += 1
        self.fell_at = time.monotonic()

    def write(self, kind: str, name: str, what: str, address: str) -> None:
        """What became of a request. An error or a cut answer soon after a fall is the fall's."""
        self.outcomes[what] += 1
        if kind != "websocket":
            self.answered[name] = (kind, what)
        of_the_fall = time.monotonic() - self.fell_at < AFTERMATH
        excused = what == "ok" or (of_the_fall and what in ("502", "503", "504", "cut"))
        if not excused and len(self.problems) < MOST_PROBLEMS:
            self.problems.append(f"{kind} {name} of {address}: {what}")

    def miscounted(self) -> list[str]:
        """What came to the service too often, or was answered without having come to it."""
        found = []
        for name, (kind, what) in self.answered.items():
            times = self.seen[name]
            most = 1 if kind in ONCE else 1 + RETRIES
            if times > most or (what == "ok" and not times):
                found.append(f"{kind} {name}, answered {what}, came to the service {times} times")
        return found
