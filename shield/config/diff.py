"""What differs between two configs, key by key: behind `shield config diff`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Final

from shield.config.settings import Config
from shield.config.spelling import as_toml
from shield.config.validation import INLINE_FIELDS, SECRETS, toml_name

NOT_SHOWN: Final = "(not shown)"
"""In place of values that are secrets."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A key, and its value before and after as TOML has it; "" where there is none."""

    key: str
    before: str
    after: str


def differences(before: Config, after: Config) -> Iterator[Difference]:
    """In the order of the settings classes."""
    yield from _of_tables("", before, after)


def _of_tables(prefix: str, before: Any, after: Any) -> Iterator[Difference]:
    for field in fields(before):
        key = f"{prefix}{toml_name(field.name)}"
        yield from _of_values(key, getattr(before, field.name), getattr(after, field.name))


def _of_values(key: str, before: Any, after: Any) -> Iterator[Difference]:
    if before == after:
        return
    if is_dataclass(before) and type(before) is type(after) and len(fields(before)) > INLINE_FIELDS:
        yield from _of_tables(f"{key}.", before, after)
    elif _are_tables(before) or _are_tables(after):
        yield from _of_arrays(key, before, after)
    elif key.rpartition(".")[2] in SECRETS:
        yield Difference(key, NOT_SHOWN, NOT_SHOWN)
    else:
        yield Difference(key, as_toml(before), as_toml(after))


def _are_tables(value: Any) -> bool:
    """Whether this is a list of tables that are too large for a line."""
    return isinstance(value, tuple) and bool(value) and is_dataclass(value[0]) and len(fields(value[0])) > INLINE_FIELDS


def _of_arrays(key: str, before: Sequence[Any], after: Sequence[Any]) -> Iterator[Difference]:
    """Tables of the same name are compared; of the others it is said that they are there."""
    old, new = _named(before), _named(after)
    for name, table in old.items():
        if name not in new:
            yield Difference(f"{key}[{name}]", _short(table), "")
    for name, table in new.items():
        if name in old:
            yield from _of_tables(f"{key}[{name}].", old[name], table)
        else:
            yield Difference(f"{key}[{name}]", "", _short(table))
    order = [[name for name in names if name in old and name in new] for names in (old, new)]
    if order[0] != order[1]:  # the first that fits holds
        yield Difference(f"order of {key}", *(", ".join(names) for names in order))


def _named(tables: Sequence[Any]) -> dict[str, Any]:
    """Tables by what they are called, or by their numbers where that would not tell them apart."""
    names = [str(getattr(table, "label", "")) for table in tables]
    alike = len(set(names)) < len(names) or "" in names
    return {
        str(number) if alike else name: table for number, (name, table) in enumerate(zip(names, tables, strict=True))
    }


def _short(table: Any) -> str:
    """A table, without what is as by default."""
    usual = {field.name: field.default for field in fields(table)}
    said = [
        f"{toml_name(name)} = {as_toml(getattr(table, name))}"
        for name, default in usual.items()
        if getattr(table, name) != default
    ]
    return "{ " + ", ".join(said) + " }"
