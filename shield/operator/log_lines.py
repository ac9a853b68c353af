"""Lines of the log, from fields to bytes: the time, the worker, JSON, and a short wait for other lines."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import orjson

from shield.operator.combined import clock

FLUSH_SECONDS: Final = 0.050
"""Seconds that a line waits for others at most: a write for each would cost more than the line."""

CallLater = Callable[[float, Callable[[], None]], Any]
"""The event loop's call_later: it calls a function after so many seconds."""


class LineWriter(Protocol):
    """Where lines go (log_writer.py). Neither method waits."""

    written: int
    dropped: int

    def put(self, line: bytes) -> None: ...
    def flush(self) -> bool:
        """Hand the lines to the writer; False when some are left for later."""
        ...


class LogLines:
    """Puts lines into `writer`, and calls `flush` a little later.

    `clock() + wall_offset` is the Unix time. `call_later` is the event loop's; without one (before the loop runs, and
    in tests) whoever owns this flushes by itself.
    """

    __slots__ = (
        "_call_later", "_clf_second", "_clf_text", "_flush", "_milli", "_milli_text", "_scheduled", "_second",
        "_second_text", "_wall_offset", "_worker", "writer",
    )  # fmt: skip

    def __init__(
        self,
        writer: LineWriter,
        wall_offset: float,
        worker: int | None,
        flush: Callable[[], None],
        call_later: CallLater | None,
    ) -> None:
        self.writer = writer
        self._wall_offset = wall_offset
        self._worker = worker
        self._flush = flush
        self._call_later = call_later
        self._scheduled = False
        self._milli = -1
        self._milli_text = ""
        self._second = -1
        self._second_text = ""
        self._clf_second = -1
        self._clf_text = ""

    def use(self, call_later: CallLater) -> None:
        """From now on, flush by these timers."""
        self._call_later = call_later
        self.schedule()

    def put(self, line: dict[str, Any]) -> None:
        if self._worker is not None:
            line["worker"] = self._worker
        try:
            data = orjson.dumps(line, default=str, option=orjson.OPT_APPEND_NEWLINE)
        except orjson.JSONEncodeError:  # a lone surrogate out of undecodable bytes, or a huge number
            data = orjson.dumps(_printable(line), default=str, option=orjson.OPT_APPEND_NEWLINE)
        self.put_bytes(data)

    def put_bytes(self, line: bytes) -> None:
        """Put a line that is made already, newline included."""
        self.writer.put(line)
        self.schedule()

    def schedule(self) -> None:
        """Call `flush` soon, unless that is going to happen anyway."""
        if not self._scheduled and self._call_later is not None:
            self._scheduled = True
            self._call_later(FLUSH_SECONDS, self._run)

    def time(self, now: float) -> str:
        """RFC 3339 in UTC with milliseconds; the last text is kept, as lines share it, and so is that of the second."""
        milli = int((now + self._wall_offset) * 1000)
        if milli != self._milli:
            self._milli = milli
            second = milli // 1000
            if second != self._second:
                self._second = second
                self._second_text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
            self._milli_text = f"{self._second_text}.{milli % 1000:03d}Z"
        return self._milli_text

    def clock(self, now: float) -> str:
        """The same time as the Combined Log Format has it, in seconds."""
        second = int(now + self._wall_offset)
        if second != self._clf_second:
            self._clf_second = second
            self._clf_text = clock(second)
        return self._clf_text

    def _run(self) -> None:
        self._scheduled = False
        self._flush()


def _printable(value: Any) -> Any:
    """The value with \\udcXX for what is no UTF-8, and text for integers beyond 64 bits."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {str(_printable(key)): _printable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_printable(item) for item in value]
    return str(value) if isinstance(value, int) and value.bit_length() > 63 else value
