"""The journal: what must not be forgotten, written down a moment after it happened.

Between two snapshots (keeper.py) up to half a minute passes. What must outlive a crash in that time is appended to a
journal beside the snapshot every BATCH_SECONDS, in a thread: bans, the pardons that lift them, revoked passes and spent
challenges, as rows of policy/remembered.py. A snapshot has all of these, so each one empties the journal.

    shield-journal 1
    DIGEST [TIME,KIND,...]       a row and when it was written, by the wall clock; the digest is of the JSON
    ...

A process that is killed may leave a line that is cut off: that is no damage, and the next one to write removes it. A
line that is damaged otherwise is left out, and the others are taken. The file is opened anew for each batch, so
whatever is done to it or its directory is noticed. A row for which there is no room, here or on the disk, is in the
next snapshot, which is made soon then.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import os
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import orjson

from shield.config.state import StateSettings
from shield.policy.sites import Sites
from shield.process.build import Setting
from shield.process.state import (
    CLOCK_SECONDS,
    JOURNAL,
    EventLog,
    UnusableError,
    descriptor_of,
    files_of,
    name_aside,
    open_trusted,
    path_of,
    set_aside,
    sweep,
    write_whole,
)

BATCH_SECONDS: Final = 0.1
SLICE_ROWS: Final = 500
"""Rows that are made at a time, in 2 ms or less, in which no request is served."""
MOST_BYTES: Final = 32 << 20
"""Of a journal: about 200,000 bans. One that is so long waits for the next snapshot."""
HEADER: Final = b"shield-journal 1\n"
DIGEST_BYTES: Final = 8
MOST_LINE: Final = 65_536
"""Bytes in which the end of a line must be found; a line takes about 170."""

Row = list[Any]
Entry = tuple[float, Row]
"""When it was written, by the wall clock, and what."""


class Journal:
    """Writes down what one engine notes. Does nothing without a `state.directory`.

    `behind`: something that belongs into it is neither there nor in a snapshot.
    """

    __slots__ = ("_engine", "_lost", "_path", "_setting", "_since", "_told", "_writing", "behind")

    def __init__(self, setting: Setting, engine: Sites) -> None:
        self._setting = setting
        self._engine = engine
        state, share = setting.config.state, setting.share
        self._path = path_of(state, JOURNAL, None if share is None else share.worker) if state.directory else None
        self._writing = asyncio.Lock()
        self._since: list[bytes] | None = None  # written since a snapshot has begun that has not ended
        self._lost = 0  # of the engine's journal, as far as is known
        self._told = ""  # what stands in the way, and was logged
        self.behind = True  # what was taken over from before is in no snapshot of this process

    def keep(self, keeps: bool) -> None:
        """Whether what is noted from now on is this process's and engine's to write."""
        self._engine.journal.on = keeps and self._path is not None

    async def run(self) -> None:
        """Write what is noted, until cancelled."""
        while self._path is not None:
            await asyncio.sleep(BATCH_SECONDS)
            await self.write()

    async def write(self) -> None:
        """Write what was noted since the last call."""
        if self._path is None:
            return
        async with self._writing:
            if self._engine.journal.lost != self._lost:
                self._lost, self.behind = self._engine.journal.lost, True
            rows: list[Row] = []
            noted = self._engine.export_journal()
            while chunk := list(itertools.islice(noted, SLICE_ROWS)):
                rows += chunk
                await asyncio.sleep(0)
            if not rows:
                return
            wall = self._setting.clock() + self._setting.wall_offset
            loop = asyncio.get_running_loop()
            data = await loop.run_in_executor(None, encode, rows, wall)
            if self._since is not None:
                self._since.append(data)
            self._tell(await loop.run_in_executor(None, append, self._path, data))

    def begin_snapshot(self) -> None:
        """A snapshot is being made. It has all that was written so far."""
        self.behind = False
        self._since = []

    async def end_snapshot(self, error: str) -> None:
        """It has been made, unless there is an error: then the journal goes on."""
        since, self._since = self._since or [], None
        if error or self._path is None or not self._engine.journal.on:
            self.behind = True
            return
        async with self._writing:
            self._tell(await asyncio.get_running_loop().run_in_executor(None, replace, self._path, since))

    def _tell(self, error: str) -> None:
        if error:
            self.behind = True
            if error != self._told:
                self._setting.log.event("journal_not_saved", path=str(self._path), error=error)
        self._told = error


def encode(rows: Iterable[Row], wall: float) -> bytes:
    """The lines of rows that are written at that time of the wall clock."""
    lines = bytearray()
    for row in rows:
        line = orjson.dumps([round(wall, 3), *row])
        lines += b"%b %b\n" % (_digest(line), line)
    return bytes(lines)


def append(path: Path, data: bytes) -> str:
    """Add whole lines to a journal, and make it if there is none. What stands in the way, or nothing."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = descriptor_of(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW)
        try:
            size = _end_of_lines(descriptor)
            if size >= MOST_BYTES:
                return "it is full until the next snapshot"
            try:
                _write(descriptor, data if size else HEADER + data)
                os.fdatasync(descriptor)
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(descriptor, size)
                raise
        finally:
            os.close(descriptor)
    except OSError as error:
        return str(error.strerror)
    return ""


def replace(path: Path, lines: Sequence[bytes]) -> str:
    """Have a journal hold these lines and no others. What stands in the way, or nothing."""
    try:
        if lines:
            write_whole(path, [HEADER, *lines])
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        return str(error.strerror)
    return ""


def load(
    settings: StateSettings, log: EventLog, wall: float, mine: Callable[[int | None], bool] = lambda worker: True
) -> list[Entry]:
    """What stands in the journals of all processes, in the order of time. `mine` says of which workers this process may
    repair the journals: the others may be writing theirs.

    A journal that cannot be used is put aside and reported. One that is damaged in part is replaced by what is whole of
    it.
    """
    if not settings.directory:
        return []
    sweep(settings, JOURNAL)
    entries: list[Entry] = []
    for path, worker in files_of(settings, JOURNAL):
        try:
            found, whole, fault = read(path, wall)
            entries += found
            if fault:
                _repair(path, whole, fault, log, mine(worker))
        except FileNotFoundError:
            continue
        except UnusableError as error:
            set_aside(path, JOURNAL, log, str(error))
        except OSError as error:
            set_aside(path, JOURNAL, log, str(error.strerror))
    entries.sort(key=lambda entry: entry[0])
    return entries


def written_since(settings: StateSettings, since: float) -> list[Entry]:
    """What was written into any journal at or after that time of the wall clock, in the order of time. What cannot be
    read is left out."""
    entries: list[Entry] = []
    for path, _ in files_of(settings, JOURNAL):
        with contextlib.suppress(OSError, UnusableError):
            entries += [entry for entry in read(path, math.inf)[0] if entry[0] >= since]
    entries.sort(key=lambda entry: entry[0])
    return entries


def read(path: Path, wall: float) -> tuple[list[Entry], list[bytes], str]:
    """The entries of a journal, its lines that are whole, and what is wrong with others, or nothing. An end that is cut
    off is not wrong. Raises UnusableError, or OSError."""
    with open_trusted(path, os.O_NOFOLLOW) as file:
        data = file.read(2 * MOST_BYTES + 1)
    if len(data) > 2 * MOST_BYTES:
        raise UnusableError(f"more than {2 * MOST_BYTES} bytes")
    if not data.startswith(HEADER):
        if HEADER.startswith(data):
            return [], [], ""  # it was about to be made
        version = data.partition(b"\n")[0].removeprefix(b"shield-journal ")
        if version.isdigit():
            raise UnusableError(f"of version {version.decode()}: another Shield wrote it")
        raise UnusableError("no journal of Shield's")
    entries, whole, damaged, later = [], [], 0, 0
    *lines, _ = data[len(HEADER) :].split(b"\n")
    for line in lines:
        entry = _entry(line)
        if entry is None:
            damaged += 1
        elif entry[0] > wall + CLOCK_SECONDS:
            later += 1
        else:
            entries.append(entry)
            whole.append(line + b"\n")
    faults = []
    if damaged:
        faults.append(f"{damaged} of {len(lines)} lines are damaged")
    if later:
        faults.append(f"{later} of {len(lines)} lines were written later than now: the clock has gone back")
    return entries, whole, "; ".join(faults)


def _repair(path: Path, whole: list[bytes], fault: str, log: EventLog, mine: bool) -> None:
    """Keep a journal that is damaged in part under another name, and what is whole of it under its own."""
    aside = path
    if mine:
        name = name_aside(path)
        try:
            name.unlink(missing_ok=True)
            name.hardlink_to(path)
            write_whole(path, [HEADER, *whole])
            aside = name
        except OSError as failure:
            fault = f"{fault}; it cannot be put aside: {failure.strerror}"
    log.event("journal_unusable", path=str(path), error=fault, kept_as=str(aside))


def _entry(line: bytes) -> Entry | None:
    digest, _, text = line.partition(b" ")
    if digest != _digest(text):
        return None
    try:
        content = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    match content:
        case [float(time) | int(time), str(kind), *values]:
            return float(time), [kind, *values]
    return None


def _digest(line: bytes) -> bytes:
    return blake2b(line, digest_size=DIGEST_BYTES).hexdigest().encode("ascii")


def _end_of_lines(descriptor: int) -> int:
    """The size of a journal, without an end that was cut off, which is removed. Raises OSError where that is none."""
    size = os.fstat(descriptor).st_size
    begin = max(0, size - MOST_LINE)
    tail = os.pread(descriptor, size - begin, begin)
    whole = begin + tail.rfind(b"\n") + 1
    if whole == begin > 0:
        raise OSError(0, "it is no journal of Shield's")
    if whole < size:
        os.ftruncate(descriptor, whole)
    return whole


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
