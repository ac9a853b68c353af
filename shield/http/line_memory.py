"""What lines of heads mean, remembered by their bytes. Shared by all connections of one side.

Browsers, programs and servers write the same lines again and again, and all of one make write them alike. To look a
line up costs 0.1 µs, to read one 1.5 µs.

Never remembered are lines that give whoever reads them somebody's rights: cookies, passwords, keys, tokens, passes. A
remembered line outlives its request, perhaps by days, and a dump of the memory would show it. Nothing is lost by it:
such lines differ from client to client, and would only push out those that repeat. The name alone decides, by the
words in SECRET_WORDS; a secret in another field, such as a token in the URL of a Location, is not recognized.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Generic, TypeVar

MOST_LINES: Final = 4096
"""Lines of one memory. When there is one more, all are forgotten: who fills it with lines of its own makes the reading
of heads slower for a moment, by what it takes to read some tens of lines again."""
LONGEST_LINE: Final = 512
"""bytes. A longer line is read each time."""

SECRET_WORDS: Final = (b"cookie", b"auth", b"key", b"pass", b"secret", b"token")
"""Parts of the names of fields whose lines are never remembered."""

_LEAST_SECRET: Final = min(map(len, SECRET_WORDS))

T = TypeVar("T")


class LineMemory(Generic[T]):
    """At most `most` lines and their meanings.

    `known` is there to be looked into, without a call; only remember() changes it, and it stays the same dict.
    """

    __slots__ = ("_longest", "_most", "_secret_names", "known")

    def __init__(self, secret_names: Iterable[bytes] = (), most: int = MOST_LINES, longest: int = LONGEST_LINE) -> None:
        """`secret_names`: names in lower case, besides those with one of SECRET_WORDS; `longest`: bytes of a line."""
        self._secret_names = frozenset(secret_names)
        self._most = most
        self._longest = longest
        self.known: dict[bytes, T] = {}

    def remember(self, line: bytes, name: bytes, meaning: T) -> None:
        """Remember a line, unless that is too long or secret. `name`: its field in lower case, b"" where there is
        none."""
        if len(line) > self._longest or name in self._secret_names:
            return
        # A loop, not any(): a cookie, which comes with each request, must cost little. Nor must a head of short names.
        for word in SECRET_WORDS if len(name) >= _LEAST_SECRET else ():
            if word in name:
                return
        if len(self.known) >= self._most:
            self.known.clear()
        self.known[line] = meaning
