"""`python -m shield.config.reference` prints docs/configuration.md, made from the settings classes.

A test keeps the page current.
"""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Container, Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Annotated, Any, Final

from typing_extensions import Doc

from shield.config.settings import Config
from shield.config.validation import describe, hints, toml_name

_HEAD: Final = """\
# Configuration

<!-- Written by `make docs` from the settings classes. Change those, not this file. -->

Shield reads one TOML file: `--config FILE`, else `config.toml` in the current directory, else the one it ships.
Whatever is left out has the default given here. Unknown keys are refused, and `shield check` reports every mistake at
once, each with its line. Changes take effect at a restart.
"""


def reference() -> str:
    """The whole document."""
    return "\n".join(_document())


def _document() -> Iterator[str]:
    yield _HEAD
    tables = {name: kind for name, kind in hints(Config).items() if is_dataclass(_plain(kind))}
    yield "## Top level\n"
    yield from _rows(Config, skip=tables)
    for name, kind in tables.items():
        yield f"## [{name}]\n"
        yield f"{_doc(kind)}\n"
        yield from _rows(_plain(kind))


def _rows(cls: Any, skip: Container[str] = ()) -> Iterator[str]:
    """The options of one settings class as a table, the unit first where the meaning begins with one."""
    yield "| Key | Default | Allowed | Meaning |"
    yield "|---|---|---|---|"
    kinds = hints(cls)
    inner: dict[str, Any] = {}
    for field in fields(cls):
        name = toml_name(field.name)
        if name in skip:
            continue
        yield _row(f"`{name}`", f"`{_toml(_default(field))}`", describe(kinds[name]), _doc(kinds[name]))
        part = _inner(kinds[name])
        if part is not None:
            inner.setdefault(part.__name__, part)
    yield ""
    for part in inner.values():
        yield f"Keys of each such table ({', '.join(f'`{name}`' for name in hints(part))}):\n"
        for name, kind in hints(part).items():
            yield f"- `{name}`: {_doc(kind)}"
        yield ""


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


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
