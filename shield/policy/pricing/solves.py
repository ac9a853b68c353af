"""Who solved challenges in some time, and how many passes were issued, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Solves:
    """Of one worker, or several."""

    fresh: float = 0.0  # of networks of which nobody waits or holds a live bought pass
    networks: float = 0.0  # that solved
    known: float = 0.0  # of these, the known ones
    issued: float = 0.0  # passes


NO_SOLVES: Final = Solves()
