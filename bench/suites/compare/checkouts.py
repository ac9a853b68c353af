"""The two checkouts that are held against each other, and a row of figures of both."""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.common.stats import median


@dataclass(frozen=True, slots=True)
class Checkout:
    """A working tree of Shield. `commit` ends in "+" when files differ from it, and is empty without git."""

    name: str
    folder: Path
    commit: str

    @property
    def environment(self) -> dict[str, str]:
        """Makes Python import this one's modules."""
        return {"PYTHONPATH": str(self.folder)}


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of both, by round. `rate`: more is better. `judged` is False where the figure says little."""

    name: str
    unit: str
    base: Sequence[float]
    here: Sequence[float]
    rate: bool = False
    judged: bool = True

    @property
    def ratios(self) -> list[float]:
        """What here costs of what base costs, by round: above 1 it is worse."""
        pairs = [(b, h) if self.rate else (h, b) for b, h in zip(self.base, self.here, strict=True)]
        return [over / under for over, under in pairs if under]

    def told(self) -> dict[str, Any]:
        """With its medians."""
        ratios = self.ratios
        return {
            **asdict(self),
            "base_median": median(self.base),
            "here_median": median(self.here),
            "ratio": median(ratios),
            "least": min(ratios, default=float("nan")),
            "most": max(ratios, default=float("nan")),
        }


def checkout(text: str) -> Path:
    """An argparse type: a folder with Shield and its bench."""
    folder = Path(text).resolve()
    if not all((folder / part / "__main__.py").is_file() for part in ("shield", "bench")):
        raise argparse.ArgumentTypeError(f"{text} is no checkout of Shield with its bench")
    return folder


def commit(folder: Path) -> str:
    """The commit that is checked out."""
    argv = ["git", "-C", str(folder), "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    except OSError:
        return ""
    return done.stdout.strip()


def order(both: Sequence[Checkout], number: int) -> list[Checkout]:
    """Who is first changes each time, so that a machine that slows down steadily slows both alike."""
    return list(both if number % 2 == 0 else reversed(both))


Measured = tuple[list[Row], dict[str, Any], list[str]]
"""Rows, raw figures, and what was wrong with the answers."""
