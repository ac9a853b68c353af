"""The threat model's table of signals names every signal that the code has, and says of each what the code does."""

from __future__ import annotations

import re
import typing
from pathlib import Path

import pytest
from typing_extensions import Doc

from shield.model import Signal
from shield.policy.reputation import ReputationSettings

PAGE = Path(__file__).parents[2] / "docs" / "threat-model.md"
HINTS = typing.get_type_hints(ReputationSettings, include_extras=True)
KINDS = {
    key: found[1].lower()
    for key, hint in HINTS.items()
    for mark in typing.get_args(hint)
    if isinstance(mark, Doc) and (found := re.match("(Hard|Soft):", mark.documentation))
}
"""The kind of each signal, by its key in [reputation], as the setting says."""


def rows() -> dict[str, list[str]]:
    """The rows of the table that have points, by key."""
    table = PAGE.read_text("utf-8").partition("## Who can make whom be punished")[2].partition("\n## ")[0]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines() if line[:2] == "| "]
    assert {len(row) for row in cells} == {6}
    assert all(all(row) for row in cells)
    return {
        found[1]: [found[2], *row] for row in cells if (found := re.fullmatch(r"`reputation\.(\w+)` ([0-9.]+)", row[1]))
    }


def test_every_signal_is_in_the_table() -> None:
    assert set(rows()) == set(KINDS)
    assert {signal.value for signal in Signal} <= set(KINDS)
    assert set(KINDS.values()) == {"hard", "soft"}


@pytest.mark.parametrize("key", sorted(KINDS))
def test_each_row_says_what_the_code_does(key: str) -> None:
    figure, _, _, kind, _, page, _ = rows()[key]
    assert float(figure) == getattr(ReputationSettings(), key)
    assert kind == KINDS[key]
    if kind == "hard":
        assert page.startswith("no"), "what a page can have a browser send is never a hard signal"
