"""What the fields of settings and of the status say of themselves, beside their type and meaning (`Doc`).

The manual (docs/configuration.md, docs/constants.md) is made from `Unit` and `Why`; no code decides anything by them.
How the status is shown, what Prometheus calls its values and how those of several workers become one is read from the
others, by operator/.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final, Literal

# Settings

Source = Literal["Paper", "RFC", "Precedent", "Simulated", "Measured", "Computed", "Chosen"]
"""Where a default is from.

Paper and RFC: it is a published one. Precedent: another program's default. Simulated: seen in `shield simulate`, or in
the model that the tests of the concurrency limit use. Measured: on a running Shield. Computed: it follows from other
figures. Chosen: by judgement, and nothing was measured for it. The reason says what the value means, which setting it
follows, or what another value does.
"""


@dataclass(frozen=True, slots=True)
class Unit:
    """What one of a setting's value is: "s", "units/s", "share" (of 1), "times" (a factor)."""

    name: str


@dataclass(frozen=True, slots=True)
class Why:
    """Where a setting's default is from, and the reason for it. For an RFC, the reason begins with its number."""

    source: Source
    reason: str

    def __str__(self) -> str:
        return f"RFC {self.reason}" if self.source == "RFC" else f"{self.source}: {self.reason}"


# The status


class Merge(enum.Enum):
    """How the values of several workers become one. A field without it is shown by worker only."""

    SUM = "sum"  # numbers add up, tables key by key
    MAX = "max"  # likewise
    ANY = "any"
    ALL = "all"
    EACH = "each"  # of a table of objects, each by the marks of its own fields


class Shown(enum.Enum):
    """How a field stands in the JSON of /api/status, where its name and value alone do not say it."""

    IN_PLACE = "in place"  # the fields of this object stand beside the others, without a name around them
    NONZERO = "nonzero"  # of a table, only what has been counted


IN_PLACE: Final = Shown.IN_PLACE
NONZERO: Final = Shown.NONZERO


@dataclass(frozen=True, slots=True)
class Gauge:
    """The name and documentation of a Prometheus gauge."""

    name: str
    documentation: str


@dataclass(frozen=True, slots=True)
class Counter:
    """The same of a counter, without the `_total`. A table has a label for each level of its keys."""

    name: str
    documentation: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Label:
    """The label that tells apart the gauges of an object's parts: its values are the names of the parts."""

    name: str
