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
    """Tables that belong together are compared; of the others it is said that they are there."""
    old, new = _names(before), _names(after)
    pairs = _pairs(before, after)
    for place, table in enumerate(before):
        if place not in pairs:
            yield Difference(f"{key}[{old[place]}]", _short(table), "")
    back = {theirs: ours for ours, theirs in pairs.items()}
    for place, table in enumerate(after):
        if place in back:
            yield from _of_tables(f"{key}[{new[place]}].", before[back[place]], table)
        else:
            yield Difference(f"{key}[{new[place]}]", "", _short(table))
    moved = [pairs[place] for place in sorted(pairs)]
    if moved != sorted(moved):  # the first that fits holds
        yield Difference(f"order of {key}", *(", ".join(new[place] for place in way) for way in (moved, sorted(moved))))


def _pairs(before: Sequence[Any], after: Sequence[Any]) -> dict[int, int]:
    """Which tables belong together, by their places: equal ones first, then those of one name, then of those without a
    name the most alike."""
    found: dict[int, int] = {}
    ways = [(-_alike(one, two), abs(i - j), i, j) for i, one in enumerate(before) for j, two in enumerate(after)]
    for likeness, _, ours, theirs in sorted(ways):
        if likeness < 0 and ours not in found and theirs not in found.values():
            found[ours] = theirs
    return found


def _alike(one: Any, two: Any) -> int:
    """How much two tables are the same one, from 0: not at all."""
    names = {field.name: field.default for field in fields(one)}
    if one == two:
        return 2 * len(names) + 2
    label = str(getattr(one, "label", ""))
    if label != str(getattr(two, "label", "")):
        return 0
    said = (name for name, default in names.items() if getattr(one, name) != default)
    same = len([name for name in said if getattr(one, name) == getattr(two, name)])
    return same + (len(names) + 1 if label else 0)


def _names(tables: Sequence[Any]) -> list[str]:
    """What tables are called, by their label or their place."""
    return [str(getattr(table, "label", "")) or str(place) for place, table in enumerate(tables)]


def _short(table: Any) -> str:
    """A table, without what is as by default."""
    usual = {field.name: field.default for field in fields(table)}
    said = [
        f"{toml_name(name)} = {as_toml(getattr(table, name))}"
        for name, default in usual.items()
        if getattr(table, name) != default
    ]
    return "{ " + ", ".join(said) + " }"
