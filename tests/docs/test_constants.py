"""docs/constants.md names each constant's key and default; both are the code's."""

from __future__ import annotations

import re
import tomllib
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from shield.config.settings import Config
from shield.config.validation import hints

PAGE = Path(__file__).parents[2] / "docs" / "constants.md"
ROW = re.compile(
    r"\| (?P<design>[^|]+) \| (?P<what>[^|]+) \| `(?P<key>[^`|]+)` \| `(?P<default>[^`|]+)` \| (?P<why>[^|]+) \|"
)
WORDS = ("Paper:", "RFC", "Precedent:", "Simulated", "Measured:", "Computed:", "Chosen:", "Differs", "As ")
UNITS = {"s": 1, "ms": 0.001, "min": 60, "h": 3600, "days": 86400}


def rows() -> list[dict[str, str]]:
    """The cells of all tables; every line of a table must be one."""
    lines = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ") and "| Key |" not in line]
    found = [ROW.fullmatch(line) for line in lines]
    assert None not in found, lines[found.index(None)]
    return [match.groupdict() for match in found if match is not None]


def shipped(key: str) -> Any:
    """The default, as TOML has it."""
    table, name = key.split(".")
    settings = getattr(Config(), table)
    assert name in hints(type(settings)), f"there is no key {key}"
    value = getattr(settings, name, None) if hasattr(settings, name) else getattr(settings, f"{name}_")
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def number(design: str) -> float | None:
    """The design's number where it is one of a unit that can be told."""
    match = re.fullmatch(r"(-?[0-9.]+)(?: (s|ms|min|h|days))?", design)
    return float(match[1]) * UNITS.get(match[2], 1) if match else None


def test_there_is_a_table_for_each_topic() -> None:
    assert len(rows()) > 100
    assert len({row["key"] for row in rows()}) == len(rows())


@pytest.mark.parametrize("row", rows(), ids=lambda row: row["key"])
def test_a_row_is_true(row: dict[str, str]) -> None:
    default = tomllib.loads(f"x = {row['default']}")["x"]
    value = shipped(row["key"])
    assert default == (list(value) if isinstance(value, tuple) else value)
    assert row["why"].startswith(WORDS)
    design = number(row["design"])
    if design is not None:
        assert (abs(design) == pytest.approx(default)) is not row["why"].startswith("Differs")
