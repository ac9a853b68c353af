"""Each event is named in one place, with the fields that it may have; what is logged anywhere is in that table."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import shield
from shield.operator.events import EVENTS, LEVELS, LINES

ROOT = Path(shield.__file__).parent
TELL = {"event", "add", "add_turning_point", "_notify", "_tell", "tell"}  # what an event is told by
ELSEWHERE = {"connections_refused", "connections_displaced"}  # made of a word, in client/crowding.py


def calls() -> Iterator[tuple[str, set[str], str]]:
    """Name, fields and place of every event that is told by name; a conditional name is two."""
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and node.args and called(node.func) in TELL:
                fields = {keyword.arg for keyword in node.keywords if keyword.arg is not None}
                for name in names(node.args[0]):
                    yield name, fields, f"{path.name}:{node.lineno}"


def called(function: ast.expr) -> str:
    """The name of what is called: of a method, or of a function that was handed in."""
    return getattr(function, "attr", getattr(function, "id", ""))


def names(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from names(node.body)
        yield from names(node.orelse)


def test_every_event_that_is_told_is_in_the_table_with_its_fields() -> None:
    found = list(calls())
    assert len(found) > 25
    assert [call for call in found if call[0] not in EVENTS] == []
    assert [call for call in found if not call[1] <= set(EVENTS[call[0]].fields)] == []


def test_every_event_in_the_table_is_told_by_somebody() -> None:
    assert set(EVENTS) - {name for name, _, _ in calls()} - ELSEWHERE == set()


def test_an_event_says_what_it_is() -> None:
    for name, event in {**EVENTS, **LINES}.items():
        assert event.meaning.endswith("."), name
        assert event.level in LEVELS
        assert len(event.fields) == len(set(event.fields)), name
    assert not set(EVENTS) & set(LINES)
