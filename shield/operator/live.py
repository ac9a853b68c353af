"""The live side of the dashboard: a row each second, kept whether or not anybody looks, and sent to those who do.

`GET /api/stream` is a stream of server-sent events: `history` at first, then `now` each second.

    history    {"columns": [...], "rows": [[...], ...]}    the last quarter of an hour
    now        {"row": [...], "state": {...}}              `state.events` only if they have changed since the last
    closed     {"detail": "..."}                           the last one: why it ends

A page cannot give a token to EventSource, so it reads the stream by fetch(), which can. At most MOST_STREAMS are open:
one more ends the oldest, so that no forgotten tab keeps the operator out. Of what a reader has not taken, one event
waits: who is slow misses seconds, and who takes nothing for WRITE_SECONDS is cut.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

from aiohttp import web

from shield.operator.api import encoded
from shield.operator.chronicle import MINUTE, Chronicle, seconds_of
from shield.operator.figures import COLUMNS, KEPT_SECONDS, Clock, Recorder, counts_of

MOST_STREAMS: Final = 8
WRITE_SECONDS: Final = 5.0
"""Within which a reader takes an event: else it does not read any more."""
NOTHING: Final[dict[str, Any]] = {}
CROWDED: Final = "Another window has taken the place of this one: there are at most 8."
ENDED: Final = "Shield ends, or another process has come in its place."


class Shown(Protocol):
    """What is shown. As AdminView has it."""

    def status(self) -> dict[str, Any]: ...
    async def recent(self) -> dict[str, Any]: ...


class _Reader:
    """One open stream. `news` is set when there is an event for it, or it is to end."""

    __slots__ = ("closed", "had", "news")

    def __init__(self) -> None:
        self.news = asyncio.Event()
        self.had = -1  # the number of the last event that it got
        self.closed = ""  # why it is to end


class Live:
    """Records from `start` to `close`, and streams. `view()` is the present view, `refresh` is awaited before it is
    asked; `clock` is Unix time."""

    def __init__(
        self,
        view: Callable[[], Shown],
        refresh: Callable[[str], Awaitable[None]],
        clock: Clock = time.time,
    ) -> None:
        self._view = view
        self._refresh = refresh
        self._clock = clock
        self._recorder = Recorder()
        self._chronicle = Chronicle()
        self._readers: list[_Reader] = []  # the oldest first
        self._task: asyncio.Task[None] | None = None
        self._number = 0  # of the present event
        self._whole = self._brief = b""
        self._events: list[dict[str, Any]] = []

    def start(self) -> None:
        """Record from now on."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Record no more, and end all streams."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        for reader in self._readers:
            _end(reader, ENDED)

    @property
    def readers(self) -> int:
        """Streams that are open."""
        return len(self._readers)

    def history(self) -> dict[str, Any]:
        """What was recorded."""
        return self._recorder.history()

    def report(self, seconds: float, recent: Mapping[str, Any], bans: int) -> dict[str, Any]:
        """What has happened in the last seconds, for a report; `recent` is of the view, `bans` are in force now."""
        now = self._clock()
        since, status = now - seconds, self._view().status()
        brief = seconds <= KEPT_SECONDS
        rows = seconds_of(self._recorder.history()["rows"], since) if brief else self._chronicle.minutes(since)
        counted_since, more = self._chronicle.counted(since, counts_of(status))
        state = self._recorder.state(status, recent) if rows else {}
        kept = ("attack", "dry_run", "strangers", "networks", "stands_out", "passes", "sites")
        return {
            "at": now,
            "since": since,
            "step": 1.0 if brief else float(MINUTE),
            "columns": list(COLUMNS),
            "rows": rows,
            "counted_since": counted_since,
            "counted": more,
            "state": {key: state[key] for key in kept if key in state} | {"would": status.get("would", {})},
            "events": recent["events"],
            "refused": state.get("refused", []),
            "bans": bans,
        }

    async def stream(self, request: web.BaseRequest, headers: Mapping[str, str]) -> web.StreamResponse:
        """Answer with a stream, to its end."""
        response = web.StreamResponse(headers={**headers, "Content-Type": "text/event-stream; charset=utf-8"})
        reader = _Reader()
        self._readers.append(reader)
        for oldest in self._readers[:-MOST_STREAMS]:
            _end(oldest, CROWDED)
        try:
            await response.prepare(request)
            await self._serve(reader, response)
        except (TimeoutError, ConnectionError):  # it reads no more, or is gone
            response.force_close()
            if request.transport is not None:
                request.transport.abort()
        finally:
            self._readers.remove(reader)
        return response

    async def _serve(self, reader: _Reader, response: web.StreamResponse) -> None:
        await _write(response, _event("history", self.history()))
        while True:
            await reader.news.wait()
            reader.news.clear()
            if reader.closed:
                break
            event = self._brief if reader.had == self._number - 1 else self._whole
            reader.had = self._number
            await _write(response, event)
        await _write(response, _event("closed", {"detail": reader.closed}))
        await asyncio.wait_for(response.write_eof(), WRITE_SECONDS)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(1.0 - self._clock() % 1.0)
            try:
                await self._second()
            except Exception as error:
                what = {"message": "the dashboard has missed a second", "exception": error}
                asyncio.get_running_loop().call_exception_handler(what)

    async def _second(self) -> None:
        view, recent = self._view(), NOTHING
        if self._readers:
            _, recent = await asyncio.gather(self._refresh("/api/status"), view.recent())
        else:
            await self._refresh("/api/status")
        status = view.status()
        now = self._clock()
        row = self._recorder.take(now, status)
        self._chronicle.take(now, row, counts_of(status))
        if not self._readers or recent is NOTHING:
            return
        state = self._recorder.state(status, recent)
        self._number += 1
        self._whole = self._brief = _event("now", {"row": row, "state": state})
        if state["events"] == self._events:
            del state["events"]
            self._brief = _event("now", {"row": row, "state": state})
        else:
            self._events = state["events"]
        for reader in self._readers:
            reader.news.set()


def _end(reader: _Reader, why: str) -> None:
    reader.closed = why
    reader.news.set()


async def _write(response: web.StreamResponse, event: bytes) -> None:
    await asyncio.wait_for(response.write(event), WRITE_SECONDS)


def _event(name: str, data: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), encoded(data))
