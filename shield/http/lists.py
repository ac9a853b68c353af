"""Lists of a field's value (RFC 9110 section 5.6.1), as far as they are read.

A value may be all commas: to look at each of the 32,000 members of one takes a millisecond. So beginnings are read.
"""

from __future__ import annotations

from typing import Final

MOST_MEMBERS: Final = 64
"""Members that are read. Browsers send five codings and a dozen languages."""


def members(value: str) -> list[str]:
    """The first members of a list, without whitespace around them; some may be empty."""
    return [each.strip(" \t") for each in value.split(",", MOST_MEMBERS)[:MOST_MEMBERS]]
