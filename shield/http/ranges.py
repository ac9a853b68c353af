"""Ranges of a resource that a request asks for: whether the upstream should see them.

A server that answers each range of a list may be made to send, or to hold in memory, many times the whole
(CVE-2011-3192: "bytes=0-,5-0,5-1,..."). Nobody needs the same bytes three times, so such a Range is left out. The
response is the whole resource then, which a client must expect in any case (RFC 9110 section 14.2). A single range is
always forwarded.
"""

from __future__ import annotations

from typing import Final

from shield.http.grammar import RANGE_SPEC

MOST: Final = 200
"""Ranges of one field, as in Apache. Players and PDF readers ask for one, or a dozen; package managers for up to 256 at
first, and then for fewer."""
OVERLAPS: Final = 2
"""Overlapping ranges of one field; more may be refused (RFC 9110 section 14.2)."""

_END: Final = 1 << 64  # of a resource whose length is not known


def modest(value: bytes) -> bool:
    """Whether a Range asks for little enough to be forwarded. Only ranges of bytes are looked into."""
    count = value.count(b",") + 1
    if count == 1:
        return True
    if count > MOST:
        return False
    unit, _, specs = value.partition(b"=")
    if unit.strip().lower() != b"bytes":
        return True
    spans = []
    for spec in specs.split(b","):
        match = RANGE_SPEC.fullmatch(spec)
        if match is None:
            return False  # no server may answer it with parts
        first, last = match.groups()
        if first:
            spans.append((int(first), int(last) if last else _END))
        else:
            spans.append((_END - int(last or b"0"), _END))
    spans.sort()
    overlaps, reach = 0, -1
    for first_byte, last_byte in spans:
        overlaps += first_byte <= reach
        reach = max(reach, last_byte)
    return overlaps <= OVERLAPS
