"""What Shield tells the operator: one JSON line per request and per decision of note, on stderr.

Lines are made here, on the event loop, and written elsewhere (sink.py), so that neither a full disk nor a reader
that has stopped can hold up a request. A flood must not become a flood of lines: refused requests, failures and each
kind of event have a budget of lines per second of their own, and how many were left out is itself logged.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, Protocol

import orjson
from annotated_types import Ge, Le
from typing_extensions import Doc

from shield.marks import Unit, Why
from shield.model import Action
from shield.policy.fingerprint import shape
from shield.policy.request import Request

FLUSH_SECONDS: Final = 0.050
"""Lines wait at most this long for company: a write per line would cost more than the line."""

EVENTS_PER_SECOND: Final = 20
"""Lines per second for each name of event; names come from the code, so their number is bounded."""

PATH_CHARACTERS: Final = 1024
"""A longer path is cut in the log: the buffer is for many requests, not for one."""

TRACEBACK_CHARACTERS: Final = 4096
"""The end of a traceback says what went wrong."""

SHAPE_FIELDS: Final = ("Accept", "Accept-Encoding", "Connection")
"""Of these the values count for a request's shape: they are the program's. Who varies the User-Agent keeps them."""

_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40, "off": 100}

Level = Literal["debug", "info", "warning", "error", "off"]


@dataclass(frozen=True, slots=True)
class LogSettings:
    level: Annotated[
        Level, Doc("Least severity that is written. Requests and refusals are info; off writes nothing.")
    ] = "info"
    requests: Annotated[
        bool,
        Doc(
            "Whether each forwarded request gets a line. Refused and failed ones have theirs, within "
            "refused_per_second."
        ),
    ] = True
    refused_per_second: Annotated[
        int,
        Ge(0),
        Le(100_000),
        Unit("lines/s"),
        Doc("Refused requests that are logged, and as many failures. The others are counted, and the count is logged."),
        Why("Chosen", "enough to see what it is"),
    ] = 10


class LineSink(Protocol):
    written: int
    dropped: int

    def put(self, line: bytes) -> None: ...
    def flush(self) -> bool: ...


class Sampler:
    """Admits at most `per_second` in each second of the caller's clock and counts the rest."""

    __slots__ = ("_ends", "_left", "_per_second", "suppressed")

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._left = per_second
        self._ends = float("-inf")
        self.suppressed = 0

    def admit(self, now: float) -> bool:
        if now >= self._ends:
            self._ends = now + 1.0
            self._left = self._per_second
        if self._left > 0:
            self._left -= 1
            return True
        self.suppressed += 1
        return False


class AccessLog:
    """The lines themselves. `clock` gives monotonic seconds; `clock() + wall_offset` is the Unix time.

    `call_later(seconds, callback)` is the event loop's; without one (before the loop runs, and in tests) the owner
    calls flush(). Lines beyond their budgets are counted in `suppressed`. Where several
    processes write, each line says which `worker` it is from.
    """

    __slots__ = (
        "_call_later", "_clock", "_events", "_faults", "_level", "_loop", "_next_report", "_refused", "_requests",
        "_scheduled", "_second", "_second_text", "_sink", "_thread", "_wall_offset", "_worker", "suppressed",
    )  # fmt: skip

    def __init__(
        self,
        settings: LogSettings,
        sink: LineSink,
        clock: Callable[[], float],
        wall_offset: float,
        call_later: Callable[[float, Callable[[], None]], Any] | None = None,
        worker: int | None = None,
    ) -> None:
        self._worker = worker
        self._level = _LEVELS[settings.level]
        self._requests = settings.requests and self._level <= _LEVELS["info"]
        budget = settings.refused_per_second if self._level <= _LEVELS["info"] else 0
        self._refused = Sampler(budget)
        self._faults = Sampler(budget)
        self._events: dict[str, Sampler] = {}
        self._sink = sink
        self._clock = clock
        self._wall_offset = wall_offset
        self._call_later = call_later
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.get_ident()
        self._scheduled = False
        self._next_report = float("-inf")
        self._second = -1
        self._second_text = ""
        self.suppressed = 0

    @property
    def written(self) -> int:
        """Lines that reached the file descriptor."""
        return self._sink.written

    @property
    def dropped(self) -> int:
        """Lines lost because it would not take them."""
        return self._sink.dropped

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """From now on, flush by timers of `loop`, which runs in this thread; other threads' events are handed to it."""
        self._loop = loop
        self._thread = threading.get_ident()
        self._call_later = loop.call_later
        self._schedule()

    def request(
        self,
        now: float,
        request: Request,
        status: int,
        seconds: float,
        sent: int = 0,
        server: str = "",
        request_id: str = "",
        fault: str = "",
        ja4: str = "",
    ) -> None:
        """One forwarded request, at its end.

        `seconds` from its head to its end; `sent` bytes of body to the client; `server` the one tried last, if any;
        `fault` why it failed, if it did; `ja4` of the client's program, over TLS.
        """
        if not self._requests and not (fault and self._admit_fault(now)):
            return
        verdict = request.verdict
        client = request.client
        line = {
            "time": self._time(now),
            "event": "request",
            "address": client.address,
            "client": client.key.hex(),
            "method": request.method,
            "path": request.path[:PATH_CHARACTERS],
            "status": status,
            "action": verdict.action._value_,
            "reason": verdict.reason._value_,
            "tier": int(request.tier),
            "ms": int(seconds * 1e6) / 1e3,
            "sent": sent,
            "server": server,
            "id": request_id,
        }
        if ja4:
            line["ja4"] = ja4
        if fault:
            line["fault"] = fault
        self._put(line)

    def refused(self, now: float, request: Request, status: int, request_id: str = "", ja4: str = "") -> None:
        """One request that Shield answered itself because of its verdict. Its `shape`, and over TLS its `ja4`, tell
        programs apart."""
        if not self._refused.admit(now):
            self._schedule()
            return
        verdict = request.verdict
        client = request.client
        headers = request.headers
        line = {
            "time": self._time(now),
            "event": "refused",
            "address": client.address,
            "client": client.key.hex(),
            "shape": shape(list(headers), [headers.get(name, "") for name in SHAPE_FIELDS]),
            "method": request.method,
            "path": request.path[:PATH_CHARACTERS],
            "status": status,
            "action": verdict.action._value_,
            "reason": verdict.reason._value_,
        }
        if verdict.action is not Action.BAN:  # who is banned is refused before anybody asks for the tier
            line["tier"] = int(request.tier)
        if ja4:
            line["ja4"] = ja4
        if request_id:
            line["id"] = request_id
        self._put(line)

    def fault(self, now: float, address: str, fault: str, status: int = 0, detail: str = "", ja4: str = "") -> None:
        """A request or connection that failed before or beside any verdict."""
        if not self._admit_fault(now):
            return
        line = {"time": self._time(now), "event": "fault", "address": address, "fault": fault, "status": status}
        if ja4:
            line["ja4"] = ja4
        if detail:
            line["detail"] = detail[:PATH_CHARACTERS]
        self._put(line)

    def _admit_fault(self, now: float) -> bool:
        """Whether the budget of failures, which a flood of refusals does not touch, has room for a line."""
        if self._faults.admit(now):
            return True
        self._schedule()
        return False

    def event(self, name: str, level: Level = "info", **fields: Any) -> None:
        """A decision of note or a change of state. What JSON cannot say in `fields` is shown by str()."""
        if _LEVELS[level] < self._level:
            return
        if self._loop is not None and threading.get_ident() != self._thread:
            with contextlib.suppress(RuntimeError):  # the loop is closed: there is nobody left to tell
                self._loop.call_soon_threadsafe(lambda: self.event(name, level, **fields))
            return
        now = self._clock()
        sampler = self._events.get(name)
        if sampler is None:
            sampler = self._events[name] = Sampler(EVENTS_PER_SECOND)
        if not sampler.admit(now):
            self._schedule()
            return
        self._put({"time": self._time(now), "event": name, "level": level, **fields})

    def exception(self, message: str, error: BaseException | None) -> None:
        """An error that nobody expected, with the end of its traceback."""
        trace = "" if error is None else "".join(traceback.format_exception(error))[-TRACEBACK_CHARACTERS:]
        self.event("exception", "error", message=message, traceback=trace)

    def flush(self) -> None:
        """Say what was left out, at most once per second, and hand the lines to the sink's writer."""
        self._scheduled = False
        now = self._clock()
        if now >= self._next_report:
            self._report(now)
        if not self._sink.flush() or self._pending():
            self._schedule()

    def close(self) -> None:
        """The last lines: what was left out since the last report."""
        self._report(self._clock())
        self._sink.flush()

    def _pending(self) -> bool:
        return any(sampler.suppressed for _, sampler in self._samplers())

    def _samplers(self) -> Iterator[tuple[str, Sampler]]:
        yield "refused", self._refused
        yield "fault", self._faults
        yield from self._events.items()

    def _report(self, now: float) -> None:
        for name, sampler in self._samplers():
            if sampler.suppressed:
                self.suppressed += sampler.suppressed
                if self._level <= _LEVELS["info"]:
                    self._put({"time": self._time(now), "event": "suppressed", "of": name, "lines": sampler.suppressed})
                sampler.suppressed = 0
                self._next_report = now + 1.0

    def _put(self, line: dict[str, Any]) -> None:
        if self._worker is not None:
            line["worker"] = self._worker
        try:
            data = orjson.dumps(line, default=str, option=orjson.OPT_APPEND_NEWLINE)
        except orjson.JSONEncodeError:  # a lone surrogate out of undecodable bytes, or a huge number
            data = orjson.dumps(_printable(line), default=str, option=orjson.OPT_APPEND_NEWLINE)
        self._sink.put(data)
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled and self._call_later is not None:
            self._scheduled = True
            self._call_later(FLUSH_SECONDS, self.flush)

    def _time(self, now: float) -> str:
        """RFC 3339 in UTC with milliseconds; the text of the second is kept, as most lines share it."""
        wall = now + self._wall_offset
        second = int(wall)
        if second != self._second:
            self._second = second
            self._second_text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return f"{self._second_text}.{int((wall - second) * 1000):03d}Z"


def _printable(value: Any) -> Any:
    """The same with \\udcXX for what is no UTF-8, and text for integers beyond 64 bits."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {str(_printable(key)): _printable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_printable(item) for item in value]
    return str(value) if isinstance(value, int) and value.bit_length() > 63 else value


class LoggingBridge(logging.Handler):
    """Brings what libraries say through `logging` (asyncio above all) into the same stream of lines."""

    def __init__(self, log: AccessLog) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def install(self) -> None:
        """Take over the root logger, until remove()."""
        logging.getLogger().addHandler(self)

    def remove(self) -> None:
        logging.getLogger().removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, Any] = {"logger": record.name, "message": record.getMessage()}
        if record.exc_info and record.exc_info[1] is not None:
            fields["traceback"] = "".join(traceback.format_exception(record.exc_info[1]))[-TRACEBACK_CHARACTERS:]
        self._log.event("library", "error" if record.levelno >= logging.ERROR else "warning", **fields)
