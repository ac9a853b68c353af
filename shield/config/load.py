"""Reading the config file.

load() reads, validates and cross-checks, and reports every mistake together. Each option is listed once, in its
dataclass; nothing here repeats a name, a bound or a default.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from shield.config.checks import check
from shield.config.idle import idle
from shield.config.key_lines import key_lines
from shield.config.settings import Config
from shield.config.unwise import unwise
from shield.config.validation import Mistake, mistake, validate
from shield.errors import MistakesError

FILE_NAME: Final = "config.toml"

MAX_FILE_BYTES: Final = 1 << 20
"""A config is written by hand; a larger file is the wrong file."""


class ConfigError(MistakesError):
    """The config cannot be used. `mistakes` are all of them, in the order of the lines; str() is the whole report."""

    def __init__(self, path: str, mistakes: Sequence[Mistake]) -> None:
        self.path = path
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(f"{path}: {item}" for item in self.mistakes))


def find(path: str | None) -> str:
    """The file to read: `path`, else config.toml in the current directory, else the one that Shield ships."""
    if path is not None:
        return path
    return FILE_NAME if Path(FILE_NAME).is_file() else shipped()


def shipped() -> str:
    """The file that Shield ships: the commented example, and the default."""
    package = Path(__file__).parents[1]
    file = package / FILE_NAME  # in a wheel
    return str(file if file.is_file() else package.parent / FILE_NAME)


def load(path: str | None = None) -> Config:
    """The settings in the file that find() finds. Raises ConfigError."""
    name = find(path)
    return parse(_text(name), name)


def remarks(path: str | None = None) -> list[Mistake]:
    """What the file that find() finds asks for without effect, or unwisely. Raises ConfigError where load() does."""
    name = find(path)
    text = _text(name)
    config, data, lines = parse(text, name), tomllib.loads(text), key_lines(text)
    noted = (*idle(config), *unwise(config))
    return sorted((mistake(data, lines, at, why) for at, why in noted), key=lambda item: item.line)


def _text(name: str) -> str:
    try:
        with Path(name).open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(name, [Mistake((), 0, "", f"cannot be read: {error.strerror}")]) from error
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError(name, [Mistake((), 0, "", f"more than {MAX_FILE_BYTES} bytes; is this the right file?")])
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = 1 + data.count(b"\n", 0, error.start)
        raise ConfigError(name, [Mistake((), line, f"byte 0x{data[error.start]:02x}", "allowed: UTF-8")]) from error


def parse(text: str, name: str = FILE_NAME) -> Config:
    """The settings in a TOML document; `name` is for the report. Raises ConfigError."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(name, [_syntax(str(error))]) from error
    lines = key_lines(text)
    config, mistakes = validate(Config, data, lines)
    if config is None:
        # What is sound is cross-checked all the same, so that one run of `shield check` shows everything.
        config, _ = validate(Config, _without(data, mistakes), lines)
    if config is not None:
        unsound = {item.path[:2] for item in mistakes}
        mistakes += [mistake(data, lines, at, why) for at, why in check(config) if unsound.isdisjoint((at[:1], at[:2]))]
    if config is None or mistakes:
        raise ConfigError(name, sorted(mistakes, key=lambda item: item.line))
    return config


def _without(data: Mapping[str, Any], mistakes: Sequence[Mistake]) -> dict[str, Any]:
    """The document less each option with a mistake in it; an option is a key of a table or of the top level. Of an
    array of tables nothing is left, or the others would have other numbers."""
    unsound = {item.path[:2] for item in mistakes}
    return {
        name: {key: value for key, value in table.items() if (name, key) not in unsound}
        if isinstance(table, dict)
        else table
        for name, table in data.items()
        if (name,) not in unsound and (isinstance(table, dict) or name not in {path[0] for path in unsound if path})
    }


def _syntax(message: str) -> Mistake:
    """tomllib's "Expected '=' after a key in a key/value pair (at line 3, column 5)" as a mistake."""
    match = re.search(r" \(at line (\d+), column \d+\)$", message)
    if match is None:
        return Mistake((), 0, "", f"not TOML: {message}")
    return Mistake((), int(match.group(1)), "", f"not TOML: {message[: match.start()]}")


def as_json(mistakes: Sequence[Mistake]) -> list[Mapping[str, Any]]:
    """For `shield check --json`."""
    return [{"key": m.key, "line": m.line, "found": m.found, "allowed": m.allowed} for m in mistakes]
