"""Field lines as HTTP/2 has them: pairs of a name in lower case and a value (RFC 9113 section 8.2)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from shield.http.http2_head import CONNECTION_FIELDS
from shield.http.line_memory import LineMemory

Pair = tuple[bytes, bytes]

NEVER: Final[Pair] = (b"", b"")
"""What a line is that HTTP/2 must not have."""


class PairMemory:
    """Makes pairs of lines, and remembers them by their lines: most come again and again."""

    __slots__ = ("_lines",)

    def __init__(self) -> None:
        self._lines: LineMemory[Pair] = LineMemory()

    def add(self, pairs: list[Pair], lines: Iterable[bytes], without: bytes = b"") -> None:
        """Add what these lines are, with or without CRLF, but those of the name `without`."""
        known = self._lines.known
        for line in lines:
            pair = known.get(line)
            if pair is None:
                pair = self._learn(line)
            if pair is not NEVER and (not without or pair[0] != without):
                pairs.append(pair)

    def _learn(self, line: bytes) -> Pair:
        pair = pair_of(line)
        if not pair[0] or pair[0] in CONNECTION_FIELDS:
            pair = NEVER
        self._lines.remember(line, pair[0], pair)
        return pair


def pair_of(line: bytes) -> Pair:
    """The pair of a line that is one of a head."""
    name, _, value = line.partition(b":")
    return name.strip().lower(), value.strip(b" \t\r\n")


def as_head(first: bytes, pairs: Sequence[Pair]) -> bytes:
    """The same as HTTP/1.1 writes it behind a `first` line, without the empty line at the end."""
    return b"\r\n".join((first, *[b"%b: %b" % pair for pair in pairs]))
