"""Openings: in calm weather visits begin only as far as the queue has room for what they ask for next.

A browser that gets a page asks for its parts over `CONNECTIONS` connections at once. Where all who come begin together,
each has a page, and the queue is full of parts: it turns away what comes, which is mostly parts, and nobody has all of
them. So whoever would begin a visit while the queue holds `FILLED` of what can be served within the patience is *held*:
it waits behind all others of its tier, and has its turn when parts have left. Then the visits under way are done with
one after the other, and those held that have waited too long come again.

How much a visit asks for next is learned from what comes into the queue: pages of many parts have all connections busy,
and what programs ask for has no parts. What is part of a visit finds room in a full queue (length.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from shield.policy.queue.order import Waiting

CONNECTIONS: Final = 6.0
"""That Chromium, Firefox and Safari open to one host over HTTP/1.1. So much is expected of a visit until more is known,
and no more ever."""
KEPT: Final = 0.99  # of what was seen of visits, with each further one
FILLED: Final = 0.9
"""Share of what can be served within the patience. Of seventy first visits (`shield simulate first-visits`) fewer get
all of their page with 0.75 of it, and with 1.0."""


class Openings:
    """Counts what waits: parts of visits, requests that begin one, and those of these that are held."""

    __slots__ = ("_begin", "_parts_seen", "_seen", "held", "most", "parts")

    def __init__(self) -> None:
        self.most = 0.0  # requests of visits that may wait before others begin
        self.parts = 0
        self.held = 0
        self._begin = 0  # those that are not held
        self._seen = 1.0 / (1.0 - KEPT)  # visits that began, fading ...
        self._parts_seen = CONNECTIONS * self._seen  # ... and parts that waited

    @property
    def full(self) -> bool:
        """Whether no further visit may begin."""
        each = min(max(self._parts_seen / self._seen, 1.0), CONNECTIONS)
        return self.parts + each * self._begin >= self.most

    def see(self, part: bool) -> None:
        """Somebody comes."""
        if part:
            self._parts_seen += 1.0
        else:
            self._seen = KEPT * self._seen + 1.0
            self._parts_seen *= KEPT

    def count(self, waiting: Iterable[Waiting]) -> None:
        """Count anew: these wait."""
        self.parts = self.held = self._begin = 0
        for one in waiting:
            self._count(one, 1)

    def add(self, one: Waiting) -> None:
        """Somebody waits."""
        self._count(one, 1)

    def drop(self, one: Waiting) -> None:
        """Somebody waits no more."""
        self._count(one, -1)

    def let_in(self, one: Waiting) -> None:
        """Hold somebody no longer."""
        self._count(one, -1)
        one.let_in()
        self._count(one, 1)

    def _count(self, one: Waiting, by: int) -> None:
        if one.part:
            self.parts += by
        elif one.held:
            self.held += by
        else:
            self._begin += by
