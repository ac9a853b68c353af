"""The paths that a service may take a path for.

Services differ in what they make of escapes, dot segments, empty segments, backslashes, parameters after ";" and the
case of letters. Who wants to be under no route, or under another one, writes a path so that Shield and the service read
it differently: "/%6Cogin", "//login", "/x/../login", "/login;a=b", "/x/..;/login". So a path has each reading that a
service may have:

    as it was sent
    its escapes left, decoded once, or decoded twice; in each case with parameters and without
    dot segments resolved, empty ones left out, "\\" as "/"

All are in lower case. Most paths have none of these characters, and one reading.
"""

from __future__ import annotations

import re
from typing import Final

LONGEST: Final = 512
"""Characters of a path that is read in all ways. That takes 90 µs at most; of 8 KiB it would be a way to occupy
Shield."""

_AMBIGUOUS: Final = re.compile(r"/\.(?![0-9A-Za-z_-])|//|\\|%(?:2[ef5]|5c)", re.IGNORECASE)
_CHARACTERS: Final = {f"{code:02x}": chr(code).lower() for code in range(0x21, 0x7F)}
"""Visible ASCII characters by the digits of their escapes; others are in no path that an operator writes down."""


def ambiguous(path: str) -> bool:
    """Whether a service may read the path as one in another folder: it has dot segments, empty segments, backslashes,
    or escapes of a slash, a dot, a backslash or a percent sign. A name such as ".well-known" is no dot segment."""
    return _AMBIGUOUS.search(path) is not None


def readings(path: str) -> tuple[str, ...]:
    """All readings, first the path as it was sent; none when they are too many to look at, and it may be any path."""
    lower = path.lower()
    if not ("%" in lower or ";" in lower or "\\" in lower or "//" in lower or "/." in lower):  # a regex is slower
        return (lower,)
    if len(lower) > LONGEST:
        return ()
    once = _decoded(lower)
    twice = _decoded(once)
    found = {lower: None}
    for text in dict.fromkeys((lower, once, twice)):
        found[_resolved(text, False)] = None
        if ";" in text:
            found[_resolved(text, True)] = None
    return tuple(found)


def under(path: str, prefix: str) -> bool:
    """Whether a path is the prefix or below it. A prefix ends with no slash; that of all paths is empty."""
    return path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in ("", "/")


def _decoded(text: str) -> str:
    """With the escapes of visible ASCII characters decoded."""
    first, *parts = text.split("%")
    known = _CHARACTERS
    return first + "".join([known[part[:2]] + part[2:] if part[:2] in known else "%" + part for part in parts])


def _resolved(text: str, stripped: bool) -> str:
    """Without dot segments (RFC 3986 section 5.2.4) and empty segments; if `stripped`, without parameters."""
    kept: list[str] = []
    for segment in text.replace("\\", "/").split("/"):
        name = segment.partition(";")[0] if stripped else segment
        if name == "..":
            del kept[-1:]
        elif name and name != ".":
            kept.append(name)
    return "/" + "/".join(kept)
