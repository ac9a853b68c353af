"""The rules and the page about them say the same."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from shield.http.rules import Rule

PAGE: Final = (Path(__file__).parents[2] / "docs" / "framing-differences.md").read_text("utf-8")
RESPONSES_ONLY: Final = {Rule.STATUS_LINE, Rule.INTERIM_COUNT, Rule.SWITCH_UNASKED, Rule.SWITCH_UNPROVED}

SERVERS_OF_HTTP_2: Final = {Rule.CONNECTION_ERROR, Rule.FRAME_FLOOD}
HTTP_2_ONLY: Final = {Rule.PSEUDO_FIELD, Rule.CONNECTION_FIELD, Rule.SCHEME, Rule.STREAM_ERROR}


def rows(section: str, columns: int = 10) -> dict[str, str]:
    """What Shield does, by rule, of one of the two tables."""
    text = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| `")]
    assert all(len(cells) == columns for cells in lines), [cells[0] for cells in lines if len(cells) != columns]
    return {name: cells[-2] for cells in lines for name in re.findall(r"`(\w+)`", cells[0])}


@pytest.mark.parametrize(
    "rule", [rule for rule in Rule if rule not in RESPONSES_ONLY | SERVERS_OF_HTTP_2], ids=lambda rule: rule.value
)
def test_every_rule_of_requests_is_in_the_table_as_it_is(rule: Rule) -> None:
    decided = f"{rule.fault.status}: refuse, charge" if rule.charged else f"{rule.fault.status}: refuse"
    table = rows("Requests over HTTP/2", 4) if rule in HTTP_2_ONLY else rows("Requests")
    assert table[rule.value] == decided


def test_the_tables_name_no_other_rules() -> None:
    names = {rule.value for rule in Rule}
    assert {rule.value for rule in RESPONSES_ONLY} <= set(rows("Responses")) <= names
    assert set(rows("Requests over HTTP/2", 4)) == {rule.value for rule in HTTP_2_ONLY}
    assert set(rows("Responses over HTTP/2", 4)) == {rule.value for rule in {Rule.STREAM_ERROR, *SERVERS_OF_HTTP_2}}
    other = RESPONSES_ONLY | HTTP_2_ONLY | SERVERS_OF_HTTP_2
    assert set(rows("Requests")) == names - {rule.value for rule in other}
    assert set(rows("Responses").values()) == {"refuse"}
