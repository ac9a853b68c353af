"""Values from a TOML document into a tree of settings dataclasses, with every mistake found at once.

The dataclasses say everything: types, bounds (annotated_types), meaning (Doc) and defaults. pydantic checks them,
strictly: "3" is no number, and an unknown key is refused. This module turns what it finds into sentences for people.
A field whose name ends in "_" (because Python keeps the word) stands in TOML without it.
"""

from __future__ import annotations

import difflib
import json
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Annotated, Any, Final, Literal, TypeVar, Union

import annotated_types as at
from pydantic import ConfigDict, TypeAdapter, ValidationError

from shield.config.key_lines import Path

T = TypeVar("T")

STRICT: Final = ConfigDict(
    extra="forbid", strict=True, allow_inf_nan=False, alias_generator=lambda name: name.removesuffix("_")
)
"""The `__pydantic_config__` of the topmost settings class; those inside it inherit it."""

_FOUND_CHARACTERS: Final = 80
SECRETS: Final = frozenset({"api_keys"})
"""Keys whose values are never shown: somebody will write the API key itself where its hash belongs."""
_USER_INFO: Final = re.compile(r"//[^/@\s]*@")
INLINE_FIELDS: Final = 4
"""A settings class with more fields is a table of its own in TOML and not spelled out in a sentence."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong. `path` is empty where the whole document is meant, `line` 0 where none can be named,
    `found` empty where there is nothing to show."""

    path: Path
    line: int
    found: str
    allowed: str

    @property
    def key(self) -> str:
        """("upstream", "servers", 1) is written upstream.servers[1]; indices count from 0, as in the document."""
        text = ""
        for part in self.path:
            text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
        return text

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line else ""
        key = f"{self.key}: " if self.path else ""
        found = f"found {self.found}; " if self.found else ""
        return f"{where}{key}{found}{self.allowed}"


def validate(cls: type[T], data: Mapping[str, Any], lines: Mapping[Path, int]) -> tuple[T | None, list[Mistake]]:
    """An instance of `cls` (whose `__pydantic_config__` is STRICT) out of parsed TOML, or what is wrong, by line."""
    adapter = TypeAdapter(cls)
    try:
        # By way of JSON, because there strict mode still takes an array for a tuple and a whole number for a float.
        # Dates become null, which no setting accepts.
        return adapter.validate_json(json.dumps(data, default=lambda _: None)), []
    except ValidationError as error:
        return None, list(_mistakes(cls, data, lines, error))


def mistake(data: Mapping[str, Any], lines: Mapping[Path, int], path: Path, allowed: str) -> Mistake:
    """A mistake at `path`; what was found there and the line are looked up."""
    return Mistake(path, _line(lines, path), _found(data, path), allowed)


def toml_name(field: str) -> str:
    return field.removesuffix("_")


def hints(cls: Any) -> dict[str, Any]:
    """The annotations of a settings class by their TOML names, metadata included."""
    annotations = typing.get_type_hints(cls, include_extras=True)
    return {toml_name(field.name): annotations[field.name] for field in fields(cls)}


def describe(annotation: Any) -> str:
    """What a setting may be, in words: "a whole number from 1 to 100"."""
    if typing.get_origin(annotation) is Annotated:
        base, *metadata = typing.get_args(annotation)
        return describe(base) + _bounds(metadata)
    return _describe_plain(annotation, typing.get_origin(annotation), typing.get_args(annotation))


def _describe_plain(annotation: Any, origin: Any, arguments: tuple[Any, ...]) -> str:
    if origin in (Union, types.UnionType):
        return " or ".join(describe(argument) for argument in arguments if argument is not types.NoneType)
    if origin is Literal:
        return _either([json.dumps(argument) for argument in arguments])
    if origin in (tuple, list, frozenset):
        return f"a list of values, each {describe(arguments[0])}"
    if _is_mapping(annotation):
        return f"a table of names, each with {describe(arguments[1])}"
    if is_dataclass(annotation):
        if len(fields(annotation)) > INLINE_FIELDS:
            return "a table"
        return "a table { " + ", ".join(f"{name} = {describe(kind)}" for name, kind in hints(annotation).items()) + " }"
    return {bool: "true or false", int: "a whole number", float: "a number", str: "a text in quotes"}[annotation]


def _bounds(metadata: Iterable[Any]) -> str:
    low = high = ""
    for item in _flat(metadata):
        match item:
            case at.Gt(gt):
                low = f"greater than {gt}"
            case at.Ge(ge):
                low = f"from {ge}"
            case at.Lt(lt):
                high = f"less than {lt}"
            case at.Le(le):
                high = f"to {le}" if low.startswith("from") else f"at most {le}"
            case at.MinLen(1):
                low = "not empty"
            case at.MinLen(length):
                low = f"of at least {length}"
            case at.MaxLen(length):
                high = f"of at most {length}"
            case _:
                pass
    if low.startswith("from") and not high.startswith("to"):
        low = low.replace("from", "not below", 1)
    if low and high == low.replace("least", "most"):
        return low.replace("of at least", ", exactly") + " of them"
    joined = f"{low} {high}" if high.startswith("to") else " and ".join(part for part in (low, high) if part)
    return f", {joined}" if low == "not empty" else f" {joined}" if joined else ""


def _flat(metadata: Iterable[Any]) -> Iterator[Any]:
    for item in metadata:
        if isinstance(item, at.GroupedMetadata):
            yield from _flat(item)
        else:
            yield item


def _either(words: list[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " or " + words[-1]


def _mistakes(
    cls: type, data: Mapping[str, Any], lines: Mapping[Path, int], error: ValidationError
) -> Iterator[Mistake]:
    seen: dict[Path, None] = {}
    found: list[Mistake] = []
    for row in error.errors():
        path, annotation, owner = _resolve(cls, row["loc"])
        if path in seen:  # each branch of a union complains for itself
            continue
        seen[path] = None
        match row["type"]:
            case "unexpected_keyword_argument":
                found.append(Mistake(path, _line(lines, path), "", _unknown(str(path[-1]), owner)))
            case "missing":
                found.append(Mistake(path, _line(lines, path), "nothing", f"needed: {describe(annotation)}"))
            case "value_error":
                reason = str(row.get("ctx", {}).get("error", row["msg"]))
                found.append(Mistake(path, _line(lines, path), "", reason))
            case _:
                found.append(mistake(data, lines, path, f"allowed: {describe(annotation)}"))
    # A union complains as a whole too when one of its branches complains of an element.
    inner = {path[:depth] for path in seen for depth in range(len(path))}
    yield from sorted(
        (item for path, item in zip(seen, found, strict=True) if path not in inner), key=lambda item: item.line
    )


def _resolve(cls: Any, location: tuple[str | int, ...]) -> tuple[Path, Any, Any]:
    """pydantic's location as a path in the document: (path, annotation there, class that owns the last key).

    A location inside a union or a mapping carries words that are no keys; the walk takes what the annotations know.
    """
    path: list[str | int] = []
    annotation: Any = cls
    owner: Any = cls
    for part in location:
        plain = _plain(_there(_plain(annotation)))
        if is_dataclass(plain) and isinstance(part, str):
            owner = plain
            path.append(part)
            annotation = hints(plain).get(part)
            if annotation is None:
                break
        elif isinstance(part, int) or _is_mapping(plain):
            path.append(part)
            annotation = _element(plain)
        # else: the name of a union's branch
    return tuple(path), annotation, owner


def _plain(annotation: Any) -> Any:
    return typing.get_args(annotation)[0] if typing.get_origin(annotation) is Annotated else annotation


def _there(annotation: Any) -> Any:
    """What may stand where something may be left out: of `X | None` X."""
    if typing.get_origin(annotation) in (Union, types.UnionType):
        kinds = [kind for kind in typing.get_args(annotation) if kind is not types.NoneType]
        return kinds[0] if len(kinds) == 1 else annotation
    return annotation


def _is_mapping(annotation: Any) -> bool:
    origin = typing.get_origin(annotation)
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _element(annotation: Any) -> Any:
    """What the elements of a list or table are; of a union, of its first branch that has elements."""
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) in (Union, types.UnionType):
        return next((_element(_plain(branch)) for branch in arguments if typing.get_args(_plain(branch))), annotation)
    return arguments[-1] if _is_mapping(annotation) else arguments[0]


def _unknown(key: str, owner: Any) -> str:
    known = sorted(hints(owner))
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    if close:
        return f"unknown key; did you mean {close[0]}?"
    return "unknown key; known here: " + ", ".join(known)


def _line(lines: Mapping[Path, int], path: Path) -> int:
    """The line of `path`, or of the nearest thing around it that the document has."""
    while path:
        if path in lines:
            return lines[path]
        path = path[:-1]
    return 0


def _found(data: Any, path: Path) -> str:
    """What stands at `path`, short enough for a line, without secrets: a report is shown and mailed around."""
    if not SECRETS.isdisjoint(path):
        return ""
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return ""
    text = repr(data) if isinstance(data, float) else json.dumps(data, default=str, ensure_ascii=False)
    text = _USER_INFO.sub("//***@", text)
    return text if len(text) <= _FOUND_CHARACTERS else text[: _FOUND_CHARACTERS - 1] + "…"
