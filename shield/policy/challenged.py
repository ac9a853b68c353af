"""Whom Shield challenged, how long they took to get in, and who gave up: counted by tier and by browser.

What is counted are clients and not requests, and only those that could answer: a picture or a script's call cannot
(provoked.py). A client is asked at its first challenge, and again not before PATIENCE has passed or it got in; then it
has given up. It got in when it was given a pass, for work or for waiting.

    asked, let_in    so far
    not_yet          asked within PATIENCE, and not in
    gave up          what is left: asked - let_in - not_yet. It is not kept, since several workers may share a client:
                     one asks it and another lets it in, so that only the sum of all workers is right
    seconds          from the first challenge to the pass, where it is known

Bounded: a cell for each of five tiers and of the browsers named here. When a client begins to be asked is kept with
its entry (entries.py); of clients that share one, as the table is full, nothing is counted.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Mapping
from typing import Final

from shield.model import Tier
from shield.policy.entries import NEVER
from shield.policy.identity import Client
from shield.policy.status import ChallengedStatus

PATIENCE: Final = 300.0
"""s. A place in the waiting room is kept for two minutes, and a challenge may be answered within two."""
SPAN: Final = 10.0
"""s of clients that are counted together while they are not in yet."""
BOUNDS: Final = (0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, PATIENCE)
"""s; the greatest time, as nobody takes longer."""
MOST_KEPT: Final = 1024
"""User-Agents whose browser is remembered, of at most KEPT_CHARS."""
KEPT_CHARS: Final = 256

_ROBOTS: Final = ("bot", "spider", "crawl", "slurp")
_MARKS: Final = (
    ("Edg", "edge"),
    ("OPR/", "opera"),
    ("SamsungBrowser/", "samsung"),
    ("Firefox/", "firefox"),
    ("FxiOS/", "firefox"),
    ("Chrome/", "chrome"),
    ("Chromium/", "chrome"),
    ("CriOS/", "chrome"),
    ("AppleWebKit/", "safari"),
)
"""What stands in the User-Agent of a browser, those first that others claim to be, too."""
_TEXT: Final = ("Lynx/", "w3m/", "ELinks/", "Links (")
BROWSERS: Final = (
    "chrome",
    "edge",
    "firefox",
    "opera",
    "safari",
    "samsung",
    "other",
    "text",
    "robot",
    "program",
    "none",
)
_PLACES: Final = {name: place for place, name in enumerate(BROWSERS)}
_WIDTH: Final = len(BROWSERS)
_NEWCOMER: Final = int(Tier.T3)

Table = dict[str, dict[str, int]]


def browser_of(user_agent: str) -> str:
    """Which of BROWSERS a client says that it is. Nobody vouches for it."""
    if not user_agent:
        return "none"
    lower = user_agent.lower()
    if any(mark in lower for mark in _ROBOTS):
        return "robot"
    if user_agent.startswith(_TEXT):
        return "text"
    if not user_agent.startswith("Mozilla/"):
        return "program"
    return next((name for mark, name in _MARKS if mark in user_agent), "other")


class Challenged:
    """The counts of one site, at one worker."""

    __slots__ = ("_asked", "_known", "_let_in", "_not_yet", "_seconds")

    def __init__(self) -> None:
        cells = len(Tier) * _WIDTH
        self._asked = [0] * cells
        self._let_in = [0] * cells
        self._seconds = [[0] * len(BOUNDS) for _ in range(cells)]
        self._not_yet: deque[tuple[int, dict[int, int]]] = (
            deque()
        )  # by when they were asked, in SPANs; the oldest first
        self._known: dict[str, int] = {}  # User-Agent -> place of its browser

    def asked(self, client: Client, tier: Tier, now: float) -> None:
        """A client of a tier is challenged, and can answer."""
        entry = client.entry
        rare = entry.rare
        if rare.overflow or rare.asked_at + PATIENCE > now:
            return
        cell = tier * _WIDTH + self._browser(client.user_agent)
        entry.asked_at, entry.asked_as = now, cell
        self._asked[cell] += 1
        self._expire(now)
        span = int(now // SPAN)
        if not self._not_yet or self._not_yet[-1][0] != span:
            self._not_yet.append((span, {}))
        of_span = self._not_yet[-1][1]
        of_span[cell] = of_span.get(cell, 0) + 1

    def let_in(self, client: Client, now: float) -> None:
        """A client was given a pass for work, or for waiting."""
        entry = client.entry
        rare = entry.rare
        if rare.overflow:
            return
        asked_at = rare.asked_at
        if asked_at + PATIENCE <= now:  # another worker asked it; or it was forgotten, or thought to have given up
            self._let_in[_NEWCOMER * _WIDTH + self._browser(client.user_agent)] += 1
            return
        cell = rare.asked_as
        entry.asked_at = NEVER
        self._let_in[cell] += 1
        self._seconds[cell][bisect_left(BOUNDS, now - asked_at)] += 1
        span = int(asked_at // SPAN)
        for then, of_span in self._not_yet:
            if then == span:
                of_span[cell] -= 1

    def status(self, now: float) -> ChallengedStatus:
        """All counts, without zeros."""
        self._expire(now)
        still = [0] * len(self._asked)
        for _, of_span in self._not_yet:
            for cell, count in of_span.items():
                still[cell] += count
        seconds: dict[str, dict[str, Mapping[str, int]]] = {}
        for cell, counts in enumerate(self._seconds):
            if any(counts):
                by_bound = {f"{bound:g}": count for bound, count in zip(BOUNDS, counts, strict=True) if count}
                seconds.setdefault(Tier(cell // _WIDTH).name, {})[BROWSERS[cell % _WIDTH]] = by_bound
        return ChallengedStatus(_table(self._asked), _table(self._let_in), _table(still), seconds)

    def _browser(self, user_agent: str) -> int:
        place = self._known.get(user_agent)
        if place is None:
            place = _PLACES[browser_of(user_agent)]
            if len(user_agent) <= KEPT_CHARS:
                if len(self._known) >= MOST_KEPT:
                    self._known.clear()
                self._known[user_agent] = place
        return place

    def _expire(self, now: float) -> None:
        """Those who have been asked for longer than PATIENCE have given up."""
        while self._not_yet and (self._not_yet[0][0] + 1) * SPAN + PATIENCE <= now:
            self._not_yet.popleft()


def _table(counts: list[int]) -> Table:
    found: Table = {}
    for cell, count in enumerate(counts):
        if count:
            found.setdefault(Tier(cell // _WIDTH).name, {})[BROWSERS[cell % _WIDTH]] = count
    return found
