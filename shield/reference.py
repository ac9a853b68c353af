"""`python -m shield.reference` writes docs/configuration.md out of the settings classes; a test keeps the file current."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Annotated, Any, Final

from typing_extensions import Doc

from shield.config import Config
from shield.validation import describe, hints, toml_name

_HEAD: Final = """\
# Configuration

<!-- Written by `make docs` from the settings classes. Change those, not this file. -->

Shield reads one TOML file: `--config FILE`, else `config.toml` in the current directory, else the one it ships.
Whatever is left out has the default given here. Unknown keys are refused, and `shield check` reports every mistake at
once, each with its line. Changes take effect at a restart, or on SIGHUP where the text says so.
"""


def reference() -> str:
    """The whole document."""
    return "\n".join(_document())


def _document() -> Iterator[str]:
    yield _HEAD
    tables = []
    yield "## Top level\n"
    for field in fields(Config):
        annotation = hints(Config)[toml_name(field.name)]
        if is_dataclass(_plain(annotation)):
            tables.append((toml_name(field.name), annotation))
        else:
            yield from _option(field, annotation)
    for name, annotation in tables:
        yield f"## [{name}]\n"
        yield f"{_doc(annotation)}\n"
        cls = _plain(annotation)
        for field in fields(cls):
            yield from _option(field, hints(cls)[toml_name(field.name)])


def _option(field: Field[Any], annotation: Any) -> Iterator[str]:
    yield f"### `{toml_name(field.name)}`\n"
    yield f"{_doc(annotation)}\n"
    yield f"- Allowed: {describe(annotation)}"
    inner = _inner(annotation)
    if inner is not None:
        for name, kind in hints(inner).items():
            yield f"  - `{name}`: {describe(kind)}. {_doc(kind)}".rstrip()
    yield f"- Default: `{_toml(_default(field))}`\n"


def _default(field: Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default


def _inner(annotation: Any) -> Any:
    """The dataclass of a list's elements or of a table's values, whose keys want a list of their own."""
    plain = _plain(annotation)
    if is_dataclass(plain):
        return plain if any(_doc(kind) for kind in hints(plain).values()) else None
    if typing.get_origin(plain) in (typing.Union, types.UnionType):
        return next(filter(None, map(_inner, typing.get_args(plain))), None)
    return next((_plain(part) for part in typing.get_args(plain) if is_dataclass(_plain(part))), None)


def _plain(annotation: Any) -> Any:
    return typing.get_args(annotation)[0] if typing.get_origin(annotation) is Annotated else annotation


def _doc(annotation: Any) -> str:
    if typing.get_origin(annotation) is Annotated:
        for item in typing.get_args(annotation)[1:]:
            if isinstance(item, Doc):
                return item.documentation
    return ""


def _toml(value: Any) -> str:
    """A default as one would write it in the file."""
    if is_dataclass(value):
        return "{ " + ", ".join(f"{toml_name(f.name)} = {_toml(getattr(value, f.name))}" for f in fields(value)) + " }"
    if isinstance(value, Mapping):
        return (
            "{ " + ", ".join(f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items()) + " }"
            if value
            else "{}"
        )
    if isinstance(value, (tuple, list, frozenset)):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
    print(reference(), end="")
