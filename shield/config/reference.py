"""`python -m shield.config.reference docs` writes docs/configuration.md, constants.md, log.md and config.schema.json.

The first two are made from the settings classes and the marks on their fields, the third from the table of events, the
JSON Schema by schema.py. A test keeps them current.
"""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Container, Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

from typing_extensions import Doc

from shield.config.schema import as_text as schema
from shield.config.settings import Config
from shield.config.spelling import as_toml
from shield.config.validation import describe, hints, toml_name
from shield.marks import Unit, Why
from shield.model import UNIT_SECONDS
from shield.operator.events import EVENTS, LINES

T = TypeVar("T")
_HEAD: Final = """\
# Configuration

<!-- Written by `make docs` from the settings classes. Change those, not this file. -->

Shield reads one TOML file: `--config FILE`, else `config.toml` in the current directory, else the one it ships.
Whatever is left out has the default given here. Unknown keys are refused, and `shield check` reports every mistake at
once, each with its line. It also remarks on keys that have no effect beside the others, or are unwise, and calls the
config fine all the same. Changes take effect at a reload (SIGHUP). [config.schema.json](config.schema.json) is the same
for editors.
"""


_WHY_HEAD: Final = """\
# Why the defaults are what they are

<!-- Written by `make docs` from the settings classes. Change those, not this file. -->

An operator need not know any of these numbers, but each can be changed. Units, ranges and meanings are in
[configuration.md](configuration.md), the defences that rest on the numbers in [defences](defences/README.md).

The first word of a reason says where the number is from. *Paper* or *RFC*: it is a published one. *Precedent*: another
program's default. *Simulated*: seen in `shield simulate` or in the model that the tests of the concurrency limit use.
*Measured*: on a running Shield. *Computed*: it follows from other figures. *Chosen*: by judgement,
and nothing was measured for it. The reason says what the value means, which key it follows, or what another value does.
"""

_NO_KEYS: Final = f"""\
## What is no key

- **{UNIT_SECONDS * 1000:.0f} ms** is what a unit is, as a metre is one: all costs, rates and bursts are counted in it.
- **The form of the rules**: that costs are divided by the slowness, the square root of n/n* and of the limit, log2 of
  the units served, /24 and /48, no slowness at the start, 502 to 504 as errors of the service, 400, 401 and 404 as a
  client's. Another form would be another defence, and needs other proof than a number.
- **The size of tokens and MACs**, and the 64-bit target: a protocol that clients implement
  ([protocol.md](protocol.md)).
- **The fifth of what is kept for bought passes** in the queue that each doubling of what a pass has taken leaves to
  others. Simulated: with a tenth a botnet's passes left newcomers 20 to 31 % of what they asked for, with a fifth 31
  to 51 %.
- **The statistics of the concurrency limit**: how full the service must be for a sample to count, how many samples a
  median takes, how many standard deviations are beyond chance. They hold together only as a whole, and are constants
  beside the code, each with its reason.
"""


_LOG_HEAD: Final = """\
# What the log says

<!-- Written by `make docs` from shield/operator/events.py. Change that, not this file. -->

Shield writes one JSON object per line to stderr. Every line has `time` (RFC 3339, UTC) and `event`, and with several
workers `worker`, the number of the one it is from. Which lines are written is set by `log.level`, `log.requests` and
`log.refused_per_second`; how floods of lines are held back is in [log floods](defences/log-floods.md).
"""


def configuration() -> str:
    """The page that says what each setting means."""
    return "\n".join(_configuration())


def constants() -> str:
    """The page that says why each default is what it is."""
    return "\n".join(_constants())


def log() -> str:
    """The page that lists what is logged."""
    return "\n".join(_log())


def _log() -> Iterator[str]:
    yield _LOG_HEAD
    yield "## Requests and connections\n"
    yield "| Event | When | Fields, where they apply |"
    yield "|---|---|---|"
    for name, event in LINES.items():
        yield _row(f"`{name}`", event.meaning, ", ".join(f"`{field}`" for field in event.fields))
    yield "\n## Everything else\n"
    yield "These lines also have `level`.\n"
    yield "| Event | Level | When | Fields, where they apply |"
    yield "|---|---|---|---|"
    for name, event in EVENTS.items():
        yield _row(f"`{name}`", event.level, event.meaning, ", ".join(f"`{field}`" for field in event.fields))
    yield ""


def _configuration() -> Iterator[str]:
    yield _HEAD
    tables = _tables()
    yield "## Top level\n"
    yield from _rows(Config, skip={**tables, **_arrays()})
    for name, kind in tables.items():
        yield f"## [{name}]\n"
        yield f"{_doc(kind)}\n"
        yield from _rows(_plain(kind))
    for name, kind in _arrays().items():
        yield f"## [[{name}]]\n"
        yield f"{_doc(kind)} {_said(_element(kind))}\n"
        yield from _rows(_element(kind))


def _constants() -> Iterator[str]:
    yield _WHY_HEAD
    for table, kind in _tables().items():
        cls = _plain(kind)
        kinds = hints(cls)
        rows = []
        for field in fields(cls):
            why = _mark(kinds[toml_name(field.name)], Why)
            if why is not None:
                key = f"{table}.{toml_name(field.name)}"
                rows.append(
                    _row(f"`{key}`", f"`{as_toml(_default(field))}`", _unit(kinds[toml_name(field.name)]), str(why))
                )
        if rows:
            yield f"## [{table}]\n"
            yield f"{_doc(kind)}\n"
            yield "| Key | Default | Unit | Why |"
            yield "|---|---|---|---|"
            yield from rows
            yield ""
    yield _NO_KEYS


def _tables() -> dict[str, Any]:
    """The annotation of each table, by its name."""
    return {name: kind for name, kind in hints(Config).items() if is_dataclass(_plain(kind))}


def _arrays() -> dict[str, Any]:
    """The annotation of each table of which there may be several, by its name."""
    return {name: kind for name, kind in hints(Config).items() if is_dataclass(_element(kind))}


def _element(annotation: Any) -> Any:
    """What the elements of a list are; None for what is no list."""
    plain = _plain(annotation)
    return typing.get_args(plain)[0] if typing.get_origin(plain) is tuple else None


def _said(cls: type) -> str:
    """The docstring of a settings class as one line."""
    return " ".join((cls.__doc__ or "").split())


def _rows(cls: Any, skip: Container[str] = ()) -> Iterator[str]:
    """The options of one settings class as a table."""
    yield "| Key | Default | Unit | Allowed | Meaning |"
    yield "|---|---|---|---|---|"
    kinds = hints(cls)
    inner: dict[str, Any] = {}
    elsewhere = {*map(_plain, _tables().values()), *map(_element, _arrays().values())}  # these have lists of their own
    for field in fields(cls):
        name = toml_name(field.name)
        if name in skip:
            continue
        kind = kinds[name]
        default = "needed" if _needed(field) else f"`{as_toml(_default(field))}`"
        yield _row(f"`{name}`", default, _unit(kind), describe(kind), _doc(kind))
        part = _inner(kind)
        if part is not None and part not in elsewhere:
            inner.setdefault(part.__name__, part)
    yield ""
    for part in inner.values():
        yield f"Keys of each such table ({', '.join(f'`{name}`' for name in hints(part))}):\n"
        for name, kind in hints(part).items():
            unit = _unit(kind)
            yield f"- `{name}`{f' ({unit})' if unit else ''}: {_doc(kind)}"
        yield ""


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(field: Field[Any]) -> Any:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return field.default


def _needed(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


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
    doc = _mark(annotation, Doc)
    return "" if doc is None else doc.documentation


def _unit(annotation: Any) -> str:
    unit = _mark(annotation, Unit)
    return "" if unit is None else unit.name


def _mark(annotation: Any, kind: type[T]) -> T | None:
    """The one mark of this kind that an annotation carries."""
    if typing.get_origin(annotation) is not Annotated:
        return None
    return next((item for item in typing.get_args(annotation)[1:] if isinstance(item, kind)), None)


def write(folder: Path) -> None:
    """Replace the three pages and the schema in `folder`."""
    (folder / "configuration.md").write_text(configuration(), "utf-8")
    (folder / "constants.md").write_text(constants(), "utf-8")
    (folder / "log.md").write_text(log(), "utf-8")
    (folder / "config.schema.json").write_text(schema(), "utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
