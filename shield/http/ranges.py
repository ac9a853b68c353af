"""Ranges of a resource that a request asks for: whether they are worth passing on.

A server that answers every range of a list may be made to send, or to hold in memory, many times the whole
(CVE-2011-3192: "bytes=0-,5-0,5-1,..."). Nobody needs the same bytes three times, so such a field is left out: the
answer is then the whole resource, which a client must expect in any case (RFC 9110 section 14.2). Single ranges are
not looked into.
"""

from __future__ import annotations

from typing import Final

from shield.http.grammar import RANGE_SPEC

MOST: Final = 200
"""Ranges of one field. Apache: 200. Players and PDF readers ask for one, or a dozen; package managers for up to 256 at
first, and then for fewer."""
OVERLAPS: Final = 2
"""RFC 9110 section 14.2: more than two overlapping ranges may be refused."""

_END: Final = 1 << 64  # of a resource whose length is not known


def modest(value: bytes) -> bool:
    """Whether a Range is worth passing on, whatever its unit."""
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
