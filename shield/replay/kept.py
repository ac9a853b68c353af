"""The lines of the first reading, kept in a temporary file for the second, which then need not read the logs again.

To parse a line and put it in its place takes about six times as long as to read it from here. A file of MOST_BYTES has
the lines of logs of some millions of requests; of longer ones, and where the disk is full, nothing is kept, and the
logs are read twice.
"""

from __future__ import annotations

import marshal
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from struct import Struct
from typing import IO, Any, Final

from shield.replay.files import Progress
from shield.replay.lines import NOTHING, Line

MOST_BYTES: Final = 1 << 30
BATCH: Final = 4096
"""Lines that are written at once."""
MOST_AGENTS: Final = 10_000
"""User-Agents whose text is kept once for all lines that have it."""
_HEAD: Final = Struct("<Qd")  # bytes of a batch, and of the logs that were read by then


class Kept:
    """The temporary file. True while it has every line that was given to `keep`. `close` it at the end."""

    __slots__ = ("_agents", "_file", "_lines", "_size")

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        with suppress(OSError):  # the logs are read twice then
            self._file = tempfile.TemporaryFile(prefix="shield-replay-")  # noqa: SIM115 - it is closed by close()
        self._lines: list[tuple[Any, ...]] = []
        self._agents: dict[str, str] = {}
        self._size = 0

    def __bool__(self) -> bool:
        """Whether all lines are there."""
        return self._file is not None

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def keep(self, lines: Iterable[Line], read: Progress) -> Iterator[Line]:
        """The same lines, which are kept as they pass."""
        held, agents = self._lines, self._agents
        for line in lines:
            if self._file is not None:
                fields = None if line.fields is NOTHING else dict(line.fields)
                held.append(
                    (line.at, line.exact, line.address, agents.setdefault(line.agent, line.agent), line.host, line.key,
                     line.language, line.method, line.path, line.referer, line.seconds, line.service, line.status,
                     line.who, fields)
                )  # fmt: skip
                if len(held) >= BATCH:
                    self._write(read.done)
            yield line
        self._write(read.done)

    def _write(self, done: float) -> None:
        if self._file is None:
            return
        data = marshal.dumps(self._lines)
        self._lines.clear()
        if len(self._agents) > MOST_AGENTS:
            self._agents.clear()
        self._size += len(data)
        try:
            if self._size > MOST_BYTES:
                raise OSError
            self._file.write(_HEAD.pack(len(data), done))
            self._file.write(data)
        except OSError:
            self.close()

    def lines(self, read: Progress, times: int) -> Iterator[Line]:
        """All of them, once more. `times`: each byte of the logs counts as so many in the progress."""
        file, begun = self._file, read.done
        if file is None:
            return
        file.seek(0)
        while head := file.read(_HEAD.size):
            size, done = _HEAD.unpack(head)
            for values in marshal.loads(file.read(size)):  # noqa: S302 - this process has written it
                yield Line.again(values)
            read.done = begun + int(done * times)
