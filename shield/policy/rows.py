"""Reading plain rows of a file, which may hold anything: numbers and texts within bounds, or ValueError."""

from __future__ import annotations

import math
from typing import Any, Final

TEXT_CHARS: Final = 256
MOST_COUNT: Final = 1 << 40


def number(value: Any, least: float = -math.inf, most: float = math.inf) -> float:
    """A finite number, brought within `least` and `most`. ValueError for anything else."""
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError("no finite number")
    return min(max(float(value), least), most)


def count(value: Any) -> int:
    """A whole number from 0. ValueError for anything else."""
    return int(number(value, 0.0, MOST_COUNT))


def text(value: Any) -> str:
    """A short text. ValueError for anything else."""
    if type(value) is not str or len(value) > TEXT_CHARS:
        raise ValueError("no short text")
    return value


def key(value: Any, size: int) -> bytes:
    """The bytes that a text of hex digits stands for, `size` of them. ValueError for anything else."""
    found = bytes.fromhex(text(value))
    if len(found) != size:
        raise ValueError(f"not {size} bytes")
    return found
