"""The field traceparent (W3C Trace Context, https://www.w3.org/TR/trace-context/): which trace a request belongs to."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

TRACEPARENT: Final = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)
"""Section 3.2.2: version, trace-id, parent-id, trace-flags. Later versions may have more behind these."""
NAME: Final = b"traceparent:"
SAMPLED: Final = 1


class TraceContext(NamedTuple):
    """What a traceparent says. `sampled`: whether who sent it has recorded its part."""

    trace: int
    span: int
    sampled: bool


def parse(value: str) -> TraceContext | None:
    """What the value says; None for one that is to be ignored."""
    found = TRACEPARENT.fullmatch(value.strip(" \t"))
    if found is None or (found[1] == "00" and found[5]):
        return None
    return TraceContext(int(found[2], 16), int(found[3], 16), bool(int(found[4], 16) & SAMPLED))


def line(trace: int, span: int) -> bytes:
    """The field of a span that is recorded, with its CRLF."""
    return b"traceparent: 00-%032x-%016x-01\r\n" % (trace, span)


def without(fields: list[bytes]) -> list[bytes]:
    """Field lines but for those of this name."""
    return [each for each in fields if each[: len(NAME)].lower() != NAME]
