"""What a process has learned, for the one that comes in its place and is another program already (upgrade.py).

Lines of JSON over a socket, in parts, so that neither keeps its clients waiting. Both serve the same sockets for a
moment, and what is said of a client twice is taken twice, so the last word holds.

    {"about": {...}}                                   before which service it was learned
    {"history": [row, ...]}, {"learned": [row, ...]}   as the engine exports them
    {"whole": true}                                    the heir may begin
    {"learned": [row, ...]}                            as it was when the giver accepted nothing more; then the end

The other end is this very Shield, started by us or the one that started us: what comes is believed.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import orjson

from shield.policy.sites import Sites
from shield.process.keeper import same_service

GIVEN_ROWS: Final = 250
"""Rows in a line. To make or to take them keeps the loop for 2.5 ms."""
LINE_BYTES: Final = 16 << 20
"""More than any line has: 250 rows of the longest names."""


async def give(to: socket.socket, engine: Sites, clock: Callable[[], float], about: Mapping[str, Any]) -> None:
    """All that the heir needs to begin. `clock` gives monotonic seconds. Raises OSError when the heir is gone."""
    await _say(to, {"about": dict(about)})
    await _give_rows(to, "history", engine.export_history(clock()))
    await give_rest(to, engine, clock)
    await _say(to, {"whole": True})


async def give_rest(to: socket.socket, engine: Sites, clock: Callable[[], float]) -> None:
    """What was learned, once more, when nothing is accepted any more. Raises OSError when the heir is gone."""
    await _give_rows(to, "learned", engine.export_learned(clock(), heir=True))


async def _give_rows(to: socket.socket, kind: str, rows: Iterable[Any]) -> None:
    rows = iter(rows)
    while chunk := list(itertools.islice(rows, GIVEN_ROWS)):
        await _say(to, {kind: [row for row in chunk if row is not None]})


async def _say(to: socket.socket, line: dict[str, Any]) -> None:
    await asyncio.get_running_loop().sock_sendall(to, orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))


class Inheritance:
    """The heir's end: `take`, then `take_rest` while it serves already, then `close`."""

    __slots__ = ("_homes", "_same", "_socket", "_stream", "_writer", "known")

    def __init__(self, given: socket.socket) -> None:
        self._socket = given
        self._stream: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._same: frozenset[str] = frozenset()  # sites before whose service it was learned
        self._homes: dict[str, str] = {}
        self.known = 0
        """Records of the history."""

    async def take(self, engine: Sites, clock: Callable[[], float], about: Mapping[str, Any]) -> bool:
        """All that is needed to begin; False when the giver ended before it had said that."""
        self._stream, self._writer = await asyncio.open_connection(sock=self._socket, limit=LINE_BYTES)
        return await self._take(engine, clock, about)

    async def take_rest(self, engine: Sites, clock: Callable[[], float], about: Mapping[str, Any]) -> None:
        """What comes until the giver has ended."""
        await self._take(engine, clock, about)
        await self.close()

    async def _take(self, engine: Sites, clock: Callable[[], float], about: Mapping[str, Any]) -> bool:
        assert self._stream is not None  # noqa: S101 - `take` came first
        try:
            while (data := await self._stream.readline()).endswith(b"\n"):
                match orjson.loads(data):
                    case {"about": dict(given)}:
                        self._same = same_service(given, about)
                    case {"history": list(rows)}:
                        self.known += engine.import_history(rows, clock(), self._homes)
                    case {"learned": list(rows)}:
                        engine.import_learned(rows, clock(), self._same)
                    case {"whole": True}:
                        return True
                await asyncio.sleep(0)
        except (OSError, ValueError):  # it was killed, or said what is no line: what came counts
            pass
        return False

    async def close(self) -> None:
        """Take nothing more. Idempotent."""
        if self._writer is None:
            self._socket.close()
        else:
            self._writer.close()
