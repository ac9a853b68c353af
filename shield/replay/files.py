"""Logs, line by line: plain, .gz or .zst, told apart by their first bytes. Bounded memory, whatever is in them.

What cannot be read as a line of a log is counted, and the first few are named. A file that ends in the middle of a
compressed part, or is damaged, gives what comes before that.
"""

from __future__ import annotations

import gzip
import importlib
import io
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from shield.errors import StartError
from shield.replay import json_lines
from shield.replay.lines import MOST_BYTES, ForeignError, Line, Parser

NAMED: Final = 5
"""Lines that are named."""
MOST_FILES: Final = 2000
GZIP: Final = b"\x1f\x8b"
READ_BYTES: Final = 1 << 14
"""Of a compressed log at once: as much is lost before the place where it is damaged."""
ZSTD: Final = b"\x28\xb5\x2f\xfd"


class LogError(StartError):
    """A log cannot be read at all; str() says which, and what to do."""


class Skipped:
    """What was not replayed, and why."""

    __slots__ = ("foreign", "named", "other")

    def __init__(self) -> None:
        self.foreign = 0  # lines that are in no format that is known, or broken
        self.other = 0  # lines that tell of no request
        self.named: list[str] = []  # the first of the foreign ones, as "file:line: why"

    def note(self, name: str, number: int, why: str) -> None:
        """A line that cannot be read."""
        self.foreign += 1
        if len(self.named) < NAMED:
            self.named.append(f"{name}:{number}: {why}")


class Progress:
    """How many bytes of all logs were read: of compressed ones, as they are on disk."""

    __slots__ = ("done", "total")

    def __init__(self, total: int) -> None:
        self.total = max(total, 1)
        self.done = 0


def check(names: Sequence[str]) -> int:
    """The bytes of all logs together. LogError for one that is not there, is no file, or is nothing."""
    if len(names) > MOST_FILES:
        raise LogError(f"more than {MOST_FILES} logs at the same time")
    total = 0
    for name in names:
        path = Path(name)
        try:
            if path.is_dir():
                raise LogError(f"{name}: this is a directory; name the logs in it")
            if not path.is_file():
                what = "this is no file; logs are read twice, so write it to a file first"
                raise LogError(f"{name}: {what if path.exists() else 'there is no such file'}")
            with path.open("rb") as file:
                head = file.read(4)
            if head == ZSTD:
                _zstd(name)
            total += path.stat().st_size
        except OSError as error:
            raise LogError(f"{name}: cannot be read: {error.strerror}") from error
    return total


def lines(name: str, skipped: Skipped, progress: Progress | None = None, times: int = 1) -> Iterator[Line]:
    """The requests that a log tells of, in its order. `times`: each byte counts as so many in the progress."""
    parse = Parser(json_lines.read).parse
    for number, data in raw_lines(name, skipped, progress, times):
        try:
            line = parse(data)
        except ForeignError as error:
            if not data.isspace():
                skipped.note(name, number, str(error))
            continue
        if line is None:
            skipped.other += 1
        else:
            yield line


def raw_lines(
    name: str, skipped: Skipped, progress: Progress | None = None, times: int = 1
) -> Iterator[tuple[int, bytes]]:
    """The lines of a log with their numbers, whatever is in them."""
    number, before = 0, 0
    with Path(name).open("rb") as raw, closing(_opened(name, raw)) as file:
        readline = file.readline
        try:
            while data := readline(MOST_BYTES):
                number += 1
                if data[-1:] != b"\n" and len(data) == MOST_BYTES:
                    while data and data[-1:] != b"\n":
                        data = readline(MOST_BYTES)
                    skipped.note(name, number, f"longer than {MOST_BYTES} bytes")
                    continue
                yield number, data
                if progress is not None and not number & 0x3FF:
                    at = raw.tell()
                    progress.done += (at - before) * times
                    before = at
        except (EOFError, zlib.error, gzip.BadGzipFile, OSError, _zstd_error()) as error:
            why = "it ends too early" if isinstance(error, EOFError) else f"it is damaged: {error}"
            skipped.note(name, number + 1, f"{why}; the rest is left out")
    if progress is not None:
        progress.done += (Path(name).stat().st_size - before) * times


def _opened(name: str, raw: BinaryIO) -> BinaryIO:
    head = raw.read(4)
    raw.seek(0)
    if head[:2] == GZIP:
        return cast("BinaryIO", io.BufferedReader(gzip.GzipFile(fileobj=raw), READ_BYTES))
    if head == ZSTD:
        return cast("BinaryIO", io.BufferedReader(_zstd(name).ZstdFile(raw), READ_BYTES))
    return raw


class _Nothing(Exception):
    """Stands for errors of a library that is not there."""


def _zstd_module() -> Any:
    for module in ("compression.zstd", "backports.zstd"):
        try:
            return importlib.import_module(module)
        except ImportError:
            continue
    return None


def _zstd(name: str) -> Any:
    module = _zstd_module()
    if module is None:
        raise LogError(
            f"{name}: reading .zst needs Python 3.14, or: pip install backports.zstd. Or unpack it: zstd -d {name}"
        )
    return module


def _zstd_error() -> type[Exception]:
    return getattr(_zstd_module(), "ZstdError", _Nothing)
