"""The writers of one process: one for each place that a config has had lines go to.

A config that is read again may name other places. Services of the one before write to theirs until they end, so a
place stays open to the end of the process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from shield.operator.log import LogSettings
from shield.operator.log_outputs import DEV_LOG, Descriptor, File, Output, Syslog, close_quietly, write_whole_lines
from shield.operator.log_writer import LogWriter

STDERR: Final = "stderr"
SYSLOG: Final = "syslog"


class LogPlaces:
    """`shared`: other processes write to the same stderr. `failed` is called, in any thread, with a path and a reason
    when a file cannot be opened again."""

    __slots__ = ("_failed", "_shared", "_writers")

    def __init__(self, shared: bool, failed: Callable[[str, str], None]) -> None:
        self._shared = shared
        self._failed = failed
        self._writers: dict[tuple[str, str], LogWriter] = {}

    def writers(self, settings: LogSettings) -> tuple[LogWriter, LogWriter | None]:
        """For all lines; and for those about requests, where these go to another place. Raises StartError."""
        access = settings.access_output or settings.output
        other = None if access == settings.output else self._writer(access, settings.syslog_facility)
        return self._writer(settings.output, settings.syslog_facility), other

    def reopen(self) -> list[str]:
        """Have all files opened again; their paths."""
        files = [writer.output for writer in self._writers.values() if isinstance(writer.output, File)]
        for file in files:
            file.reopen()
        return [file.path for file in files]

    def close(self) -> None:
        """Write what is left."""
        for writer in self._writers.values():
            writer.close()
            close_quietly(writer.output)

    def _writer(self, place: str, facility: str) -> LogWriter:
        found = self._writers.get((place, facility))
        if found is None:
            found = self._writers[place, facility] = LogWriter(self._open(place, facility))
        return found

    def _open(self, place: str, facility: str) -> Output:
        if place == STDERR:
            return Descriptor(2, write_whole_lines) if self._shared else Descriptor(2)
        name, _, path = place.partition(":")
        if name == SYSLOG:
            return Syslog(path or DEV_LOG, facility)
        return File(place, self._failed)
