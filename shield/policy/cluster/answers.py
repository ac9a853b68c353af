"""An answer to a challenge buys one pass, whichever node it is sent to: the node that minted the challenge decides.

It alone knows for certain what is spent of its own. Another one that gets a right answer asks for it:

    wish    tag, when it expires (wall clock), the place that minted it, who asks
    grant   tag, for whom, and whether it is granted

and tells the client meanwhile to send the same again in a moment, which the page does by itself. Whoever sends one
answer to all nodes at once is granted it at one of them. While the store is away nobody is granted anything: an answer
is good where its challenge came from, and elsewhere there is another challenge to be had.

Each table holds MOST entries, and each entry lives as long as its challenge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from shield.policy.keys import TAG_BYTES
from shield.policy.rows import key, number, text

MOST: Final = 8192
PLACE_BYTES: Final = 2
AGAIN: Final = 1.0
"""Seconds after which a wish that nobody has answered is told again."""

Spend = Callable[[bytes, float, float], bool]
"""(tag, when it expires, now) -> whether it was not spent before, and is from now on."""


class _Wish:
    __slots__ = ("expires", "granted", "told")

    def __init__(self, expires: float, told: float) -> None:
        self.expires = expires
        self.told = told
        self.granted: bool | None = None


class Answers:
    """What this node has asked for, and what it has granted to others."""

    __slots__ = ("_granted", "_tell", "_wishes", "node", "others", "wall_offset")

    def __init__(self, tell: Callable[[list[Any]], None]) -> None:
        self._tell = tell
        self._wishes: dict[bytes, _Wish] = {}
        self._granted: dict[bytes, tuple[str, float]] = {}  # to whom, and until when that matters
        self.node = ""
        self.others: frozenset[bytes] = frozenset()
        """Places that mint at other nodes, as long as they can be asked."""
        self.wall_offset = 0.0

    def asked(self, tag: bytes) -> bool | None:
        """Whether this node may accept an answer: None when that is not known yet, or was not asked for."""
        wish = self._wishes.get(tag)
        return None if wish is None else wish.granted

    def waits(self, tag: bytes) -> bool:
        """Whether it was asked for, and there is no reply yet."""
        wish = self._wishes.get(tag)
        return wish is not None and wish.granted is None

    def ask(self, tag: bytes, place: bytes, expires: float, now: float) -> None:
        """Ask for an answer that is right, of a challenge from one of the `others`. One too many is not asked for, and
        its client waits."""
        wish = self._wishes.get(tag)
        if wish is None:
            if len(self._wishes) >= MOST:
                self._forget(now)
                if len(self._wishes) >= MOST:
                    return
            wish = self._wishes[tag] = _Wish(expires, now)
        elif wish.granted is not None or now < wish.told + AGAIN:
            return
        wish.told = now
        self._tell(["wish", tag.hex(), expires + self.wall_offset, place.hex(), self.node])

    def wished(self, row: list[Any], ours: Iterable[bytes], spend: Spend, now: float) -> bool:
        """Another node asks; whether it was for one of our places to say. Who asks again is told the same. ValueError
        when the row makes no sense."""
        name, expires, place, node = row
        tag, until, who = key(name, TAG_BYTES), number(expires) - self.wall_offset, text(node)
        if key(place, PLACE_BYTES) not in ours:
            return False
        before = self._granted.get(tag)
        if before is not None:
            granted = before[0] == who
        else:
            if len(self._granted) >= MOST:
                self._forget(now)
            granted = until > now and len(self._granted) < MOST and spend(tag, until, now)
            if granted:
                self._granted[tag] = who, until
        self._tell(["grant", name, who, granted])
        return True

    def granted(self, row: list[Any]) -> bool:
        """Another node replies; whether it was this one that had asked. ValueError when the row makes no sense."""
        name, who, granted = row
        wish = self._wishes.get(key(name, TAG_BYTES))
        if text(who) != self.node or wish is None:
            return False
        wish.granted = granted is True
        return True

    def _forget(self, now: float) -> None:
        """Drop what has expired."""
        self._wishes = {tag: wish for tag, wish in self._wishes.items() if wish.expires > now}
        self._granted = {tag: one for tag, one in self._granted.items() if one[1] > now}
