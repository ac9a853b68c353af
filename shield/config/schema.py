"""The config as a JSON Schema (2020-12), by which editors complete its keys and say what each is.

pydantic makes it from the settings classes; the meaning and unit of each key are added from their marks. What no type
can say (checks.py) is not in it: `shield check` has the last word.
"""

from __future__ import annotations

import json
import typing
from collections.abc import Iterator
from dataclasses import is_dataclass
from typing import Annotated, Any, Final

from pydantic import TypeAdapter
from typing_extensions import Doc

from shield.config.settings import Config
from shield.config.validation import hints
from shield.marks import Unit

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, Any]:
    """The schema, as JSON has it."""
    made = TypeAdapter(Config).json_schema()
    defined = made.pop("$defs")
    for cls in dict.fromkeys(_classes(Config)):
        _explain(made if cls is Config else defined[cls.__name__], cls)
    made |= {"title": "Shield's config", "description": "What is left out has its default. Other keys are refused."}
    return {"$schema": DIALECT, **made, "$defs": dict(sorted(defined.items()))}


def as_text() -> str:
    """The schema as a file has it."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


def _classes(annotation: Any) -> Iterator[type]:
    """The settings classes that an annotation is made of."""
    if is_dataclass(annotation) and isinstance(annotation, type):
        yield annotation
        for kind in hints(annotation).values():
            yield from _classes(kind)
    for part in typing.get_args(annotation):
        yield from _classes(part)


def _explain(table: dict[str, Any], cls: type) -> None:
    """Say in the schema of a table what each key means, and leave out what only repeats its name or its keys."""
    table.pop("title", None)
    table["description"] = " ".join((cls.__doc__ or "").split())
    for name, kind in hints(cls).items():
        key = table["properties"][name]
        key.pop("title", None)
        _without_null(key)
        if isinstance(key.get("default"), dict):
            del key["default"]  # the keys within have theirs
        if said := _meaning(kind):
            key["description"] = said


def _without_null(key: dict[str, Any]) -> None:
    """What may be left out cannot be null in TOML."""
    if "anyOf" in key:
        kinds = [kind for kind in key.pop("anyOf") if kind != {"type": "null"}]
        key |= kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
    if key.get("default", 0) is None:
        del key["default"]


def _meaning(annotation: Any) -> str:
    """What a key means, and its unit."""
    if typing.get_origin(annotation) is not Annotated:
        return ""
    marks = typing.get_args(annotation)[1:]
    said = next((mark.documentation for mark in marks if isinstance(mark, Doc)), "")
    unit = next((mark.name for mark in marks if isinstance(mark, Unit)), "")
    return f"{said} Unit: {unit}." if unit else said
