"""The threat model's figures are the code's."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from shield.config.settings import Config

PAGE = Path(__file__).parents[2] / "docs" / "threat-model.md"
BOUND = re.compile(r"`([a-z_]+(?:\.[a-z_]+)*\.[A-Za-z_0-9]+)` ([0-9]+(?:\.[0-9]+)?)")


def rows() -> list[list[str]]:
    """The cells of the table of bounds."""
    lines = PAGE.read_text("utf-8").partition("## What bounds each input")[2].partition("\n## ")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("| ")][1:]


def bounds() -> list[tuple[str, str]]:
    return sorted({found for row in rows() for found in BOUND.findall(row[1])})


def test_each_input_has_all_four_cells() -> None:
    assert len(rows()) > 25
    assert {len(row) for row in rows()} == {4}
    assert all(all(row) for row in rows())
    assert len(bounds()) > 60


@pytest.mark.parametrize(("name", "figure"), bounds(), ids=lambda value: value)
def test_each_figure_is_that_of_the_code(name: str, figure: str) -> None:
    place, _, last = name.rpartition(".")
    if last.isupper() or last.upper() == last:
        value = getattr(importlib.import_module(f"shield.{place}"), last)
    else:
        value = getattr(getattr(Config(), place), last)
    assert repr(value) == figure
