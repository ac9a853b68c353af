"""What the fields of settings classes say of themselves, beside their type, bounds and meaning (`Doc`).

The manual (docs/configuration.md, docs/constants.md) is made from these marks; no code decides anything by them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Origin = Literal["Paper", "RFC", "Precedent", "Simulated", "Measured", "Computed", "Chosen"]
"""Where a default is from.

Paper and RFC: it is a published one. Precedent: another program's default. Simulated: seen in `shield simulate`, or in
the model that the tests of the concurrency limit use. Measured: on a running Shield. Computed: it follows from other
figures. Chosen: by the reason given, and by nothing better.
"""


@dataclass(frozen=True, slots=True)
class Unit:
    """What one of a setting's value is: "s", "units/s", "share" (of 1), "times" (a factor)."""

    name: str


@dataclass(frozen=True, slots=True)
class Why:
    """Where a setting's default is from, and the reason for it. For an RFC, the reason begins with its number."""

    origin: Origin
    reason: str

    def __str__(self) -> str:
        return f"RFC {self.reason}" if self.origin == "RFC" else f"{self.origin}: {self.reason}"
