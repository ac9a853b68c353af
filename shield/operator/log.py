"""What Shield tells the operator: one line per request and per decision of note, as JSON; on stderr, if nothing else is
said.

Which events there are is in events.py. Lines are made here and in log_lines.py, on the event loop, and written
elsewhere (log_writer.py), so that neither a full disk nor a reader that has stopped can hold up a request. A flood must
not become a flood of lines: refused requests, failures and each kind of event have a budget of lines per second of
their own, and how many were left out is itself logged.

Lines about requests may go to another place than the others, as JSON or in the Combined Log Format (combined.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from annotated_types import Ge, Le
from typing_extensions import Doc

from shield.complaints import Complaint
from shield.http.grammar import TCHARS
from shield.http.head import Head
from shield.marks import Unit, Why
from shield.model import Action, Fault, Reason, Tier, Verdict
from shield.operator import combined
from shield.operator.events import EVENTS, LEVELS, Level
from shield.operator.log_lines import CallLater, LineWriter, LogLines
from shield.operator.refusals import Refusals
from shield.operator.sampler import FairSampler, Sampler
from shield.operator.timeline import Timeline
from shield.operator.tracing import Traces
from shield.policy.fingerprint import shape
from shield.policy.request import Request
from shield.policy.whereabouts import Where, Whereabouts

EVENTS_PER_SECOND: Final = 20
"""Lines per second for each name of event; names come from the code, so their number is bounded."""

METHOD_CHARACTERS: Final = 32
"""Of the first word of a head that was not understood."""

PATH_CHARACTERS: Final = 1024
"""A longer path is cut in the log: the buffer is for many requests, not for one."""

AGENT_CHARACTERS: Final = 256
"""As many of User-Agent and Host: no honest one is longer."""

TRACEBACK_CHARACTERS: Final = 4096
"""The end of a traceback says what went wrong."""

HTTP: Final = "HTTP/1.1"
OLD: Final = "HTTP/1.0"
HTTP_2: Final = "2"
_VERSIONS: Final = {"": HTTP, "1.0": OLD, HTTP_2: "HTTP/2.0"}

SHAPE_FIELDS: Final = ("Accept", "Accept-Encoding", "Connection")
"""Fields whose values count for a request's shape. Whoever varies the User-Agent keeps these."""


_BAN: Final = Action.BAN
_T2: Final = Tier.T2
_ROUTE_RATE: Final = Reason.ROUTE_RATE
_CRAWLER: Final = Reason.CRAWLER
NOT_SENT: Final = "fail"
"""In place of the action of a request that the policy let through and no server got, as of one whose body never came
whole."""
_NOT_SENT: Final = {
    fault.value: fault.status
    for fault in (Fault.UPSTREAM_UNAVAILABLE, Fault.UPSTREAM_REFUSED, Fault.STREAMS_FULL, Fault.OUT_OF_FILES)
}


def _asked(head: bytes | bytearray | Head) -> dict[str, str]:
    """Method and path of a head; of one that was not understood, the words in their places, if there are any."""
    if isinstance(head, Head):
        return {"method": head.method, "path": head.path[:PATH_CHARACTERS]}
    line = bytes(head[: PATH_CHARACTERS + METHOD_CHARACTERS]).partition(b"\r")[0]
    if not line or line[0] not in TCHARS:  # nothing has come, or another protocol
        return {}
    method, _, rest = line.decode("latin-1").partition(" ")
    path = rest.partition(" ")[0].partition("?")[0]
    return {"method": method[:METHOD_CHARACTERS], "path": path[:PATH_CHARACTERS]}


def _locate(line: dict[str, Any], there: Whereabouts) -> None:
    """Say in a line where its address is, as far as that is known."""
    if there.asn:
        line["asn"] = there.asn
    if there.country:
        line["country"] = there.country


@dataclass(frozen=True, slots=True)
class LogSettings:
    """What is written, where, and how."""

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
        Why(
            "Chosen",
            "enough to see what is refused, and a flood writes no more than that",
        ),
    ] = 10
    output: Annotated[
        str,
        Doc(
            'Where lines go: "stderr", "syslog" (the daemon at /dev/log; another socket as "syslog:/run/log"), or the '
            "path of a file. A file that was renamed is opened anew by itself, and all are at SIGUSR1."
        ),
    ] = "stderr"
    access_output: Annotated[str, Doc("Where the lines about requests go, likewise. Empty: where all others go.")] = ""
    access_format: Annotated[
        Literal["json", "combined"],
        Doc(
            'How the lines about requests are written. "combined" is the Combined Log Format of Apache and nginx, '
            "which says neither why a request was refused nor how long it took. Other lines are JSON."
        ),
    ] = "json"
    syslog_facility: Annotated[
        Literal["daemon", "user", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"],
        Doc("Which part of the system the syslog daemon takes Shield for."),
    ] = "daemon"

    def complaints(self) -> Iterator[Complaint]:
        for key in ("output", "access_output"):
            if wrong := _wrong_place(getattr(self, key)):
                yield (key,), wrong
        if not self.output:
            yield ("output",), 'allowed: "stderr", "syslog", or the path of a file; to write nothing, set log.level'


def _wrong_place(text: str) -> str:
    """What is wrong with a place for lines; "" when nothing is."""
    if text in ("", "stderr", "syslog"):
        return ""
    path = Path(text.removeprefix("syslog:"))
    if not path.is_absolute():
        return 'allowed: "stderr", "syslog", or an absolute path'
    if path.is_dir():
        return "this is a directory; a file is needed"
    return "" if path.parent.is_dir() else f"the directory {path.parent} does not exist"


class AccessLog:
    """The log of one process: which lines are written. `clock` gives monotonic seconds; see LogLines for the rest.

    Lines beyond their budgets are counted in `suppressed`. Refused requests are kept in `refusals`, too, whether they
    get a line or not. Where several processes write, each line says which `worker` it is from. Lines about requests go
    to `access`, if there is one.

    It has more than 15 attributes because lines about requests have a place, a form and budgets of their own.
    """

    __slots__ = (
        "_access", "_clock", "_combined", "_events", "_faults", "_level", "_lines", "_loop", "_next_report",
        "_refusals", "_refused", "_requests", "_thread", "_writers", "site_of", "suppressed", "timeline", "traces",
        "where",
    )  # fmt: skip

    def __init__(
        self,
        settings: LogSettings,
        writer: LineWriter,
        clock: Callable[[], float],
        wall_offset: float,
        call_later: CallLater | None = None,
        worker: int | None = None,
        refusals: Refusals | None = None,
        timeline: Timeline | None = None,
        access: LineWriter | None = None,
    ) -> None:
        self._level = LEVELS[settings.level]
        info = self._level <= LEVELS["info"]
        self._requests = settings.requests and info
        self._refused = FairSampler(settings.refused_per_second if info else 0)
        self._faults = Sampler(settings.refused_per_second if info else 0)
        self._events: dict[str, Sampler] = {}
        self._writers = (writer,) if access is None else (writer, access)
        self._lines = LogLines(writer, wall_offset, worker, self.flush, call_later)
        self._access = self._lines
        if access is not None:
            self._access = LogLines(access, wall_offset, worker, self.flush, call_later)
        self._combined = settings.access_format == "combined"
        self._clock = clock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.get_ident()
        self._next_report = float("-inf")
        self._refusals = refusals
        self.timeline = timeline
        """Where events are kept besides, whatever the level."""
        self.site_of: Callable[[Request], str] | None = None  # where there are several
        self.where: Where | None = None  # where there is a database
        self.traces: Traces | None = None  # who is told of requests besides, if anybody
        self.suppressed = 0

    @property
    def written(self) -> int:
        """Lines that reached their places."""
        return sum(writer.written for writer in self._writers)

    @property
    def dropped(self) -> int:
        """Lines lost because their places would not take them."""
        return sum(writer.dropped for writer in self._writers)

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """From now on, flush by timers of `loop`, which runs in this thread; other threads' events are handed to it."""
        self._loop = loop
        self._thread = threading.get_ident()
        self._lines.use(loop.call_later)
        if self._access is not self._lines:
            self._access.use(loop.call_later)

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
        rule: str = "",
        http: str = "",
    ) -> None:
        """Log a forwarded request that has ended.

        `seconds` from its head to its end; `sent` bytes of body to the client; `server` the one tried last, if any;
        `fault` why it failed, if it did; `ja4` of the client's program, over TLS; `rule` that the response broke;
        `http`: the version that it was made in, "1.0" or "2"; empty for the usual one.
        """
        if self.traces is not None:
            self.traces.ended(request, status, seconds, server, request_id, fault, now)
        if not self._requests and not (fault and self._admit_fault(now)):
            return
        if self._combined:
            self._put_combined(now, request, status, sent, http)
            return
        verdict = request.verdict
        client = request.client
        line = {
            "time": self._access.time(now),
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
        if self.where is not None:
            _locate(line, self.where(client.address))
        if self.site_of is not None:
            line["site"] = self.site_of(request)
        if verdict.reason is _ROUTE_RATE:
            line["route"] = request.braked_by
        if verdict.reason is _CRAWLER and (bot := getattr(request, "bot", "")):
            line["bot"] = bot
        if ja4:
            line["ja4"] = ja4
        if fault:
            line["fault"] = fault
            if not server or _NOT_SENT.get(fault) == status:
                line["action"], line["reason"] = NOT_SENT, fault
        if rule:
            line["rule"] = rule
        if http == HTTP_2:
            line["http"] = http
        self._access.put(line)

    def _put_combined(self, now: float, request: Request, status: int, sent: int, http: str) -> None:
        asked = f"{request.method} {request.path[:PATH_CHARACTERS]} {_VERSIONS[http]}"
        when = self._access.clock(now)
        self._access.put_bytes(
            combined.line(when, request.client.address, asked, status, sent, request.headers, AGENT_CHARACTERS)
        )

    def _put_combined_unread(
        self, now: float, address: str, asked: dict[str, str], status: int, http: str = ""
    ) -> None:
        """A line of a request that was not understood or not read: what there is of it."""
        line = f"{asked['method']} {asked['path']} {_VERSIONS[http]}" if asked else "-"
        self._access.put_bytes(combined.line(self._access.clock(now), address, line, status, 0))

    def refused(
        self, now: float, request: Request, status: int, request_id: bytes = b"", ja4: str = "", http: str = ""
    ) -> None:
        """Log a request that Shield answered itself because of its verdict. Its `shape`, and over TLS its `ja4`, tell
        programs apart; `http` is "2" if it came over HTTP/2."""
        verdict = request.verdict
        client = request.client
        # Who is banned is refused before anybody asks for the tier.
        holds = verdict.action is not _BAN and request.tier <= _T2
        if self._refusals is not None:
            self._refusals.note(now, request, status, request_id, holds)
        if self.traces is not None:
            self.traces.refused(request, status, request_id.decode("ascii"), now)
        if not self._refused.admit(client.network, holds, now):
            self._lines.schedule()
            return
        if self._combined:
            self._put_combined(now, request, status, 0, http)
            return
        headers = request.headers
        line = {
            "time": self._access.time(now),
            "event": "refused",
            "address": client.address,
            "client": client.key.hex(),
            "shape": shape(list(headers), [headers.get(name, "") for name in SHAPE_FIELDS]),
            "method": request.method,
            "host": headers.get("Host", "")[:AGENT_CHARACTERS],
            "path": request.path[:PATH_CHARACTERS],
            "user_agent": headers.get("User-Agent", "")[:AGENT_CHARACTERS],
            "status": status,
            "action": verdict.action._value_,
            "reason": verdict.reason._value_,
        }
        if self.where is not None:
            _locate(line, self.where(client.address))
        if self.site_of is not None:
            line["site"] = self.site_of(request)
        if verdict.reason is _ROUTE_RATE:
            line["route"] = request.braked_by
        if verdict.action is not _BAN:
            line["tier"] = int(request.tier)
        if ja4:
            line["ja4"] = ja4
        if request_id:
            line["id"] = request_id.decode("ascii")
        if http == HTTP_2:
            line["http"] = http
        self._access.put(line)

    def refused_unread(
        self,
        now: float,
        address: str,
        verdict: Verdict,
        status: int,
        ja4: str = "",
        head: bytes = b"",
        request_id: bytes = b"",
        http: str = "",
    ) -> None:
        """Log a request that was refused for the ban of its address. Nothing was read of its `head`; its first line is
        looked at here, if there is room for a line."""
        if self._refusals is not None and request_id:
            self._refusals.note_unread(now, address, verdict, status, request_id)
        if not self._refused.admit(address.rpartition("." if "." in address else ":")[0], False, now):
            self._lines.schedule()
            return
        if self._combined:
            self._put_combined_unread(now, address, _asked(head), status, http)
            return
        line = {
            "time": self._access.time(now),
            "event": "refused",
            "address": address,
            **_asked(head),
            "status": status,
            "action": verdict.action._value_,
            "reason": verdict.reason._value_,
        }
        if self.where is not None:
            _locate(line, self.where(address))
        if ja4:
            line["ja4"] = ja4
        if http:
            line["http"] = http
        if request_id:
            line["id"] = request_id.decode("ascii")
        self._access.put(line)

    def fault(
        self,
        now: float,
        address: str,
        fault: str,
        status: int = 0,
        detail: str = "",
        ja4: str = "",
        head: bytes | bytearray | Head = b"",
        rule: str = "",
        request_id: bytes = b"",
        http: str = "",
    ) -> None:
        """Log a request or connection that failed before or beside any verdict. `head`: what there is of a request,
        read or not; its method and path are told. `rule` is the one that it broke, if it broke one. `request_id` is
        the one that the reply names. `http` is "2" if it came over HTTP/2."""
        if not self._admit_fault(now):
            return
        http = http or (head.http if isinstance(head, Head) else "")
        if self._combined and status:
            self._put_combined_unread(now, address, _asked(head), status, http)
            return
        line = {
            "time": self._lines.time(now),
            "event": "fault",
            "address": address,
            **_asked(head),
            "fault": fault,
            "status": status,
        }
        if self.where is not None:
            _locate(line, self.where(address))
        if rule:
            line["rule"] = rule
        if ja4:
            line["ja4"] = ja4
        if request_id:
            line["id"] = request_id.decode("ascii")
        if detail:
            line["detail"] = detail[:PATH_CHARACTERS]
        if http == HTTP_2:
            line["http"] = http
        (self._access if status else self._lines).put(line)

    def _admit_fault(self, now: float) -> bool:
        """Whether the budget of failures, which a flood of refusals does not touch, has room for a line."""
        if self._faults.admit(now):
            return True
        self._lines.schedule()
        return False

    def event(self, name: str, level: Level | None = None, **fields: Any) -> None:
        """Log one of the events that events.py names; `level` where it is not the usual one.

        What JSON cannot say in `fields` is shown by str().
        """
        level = level or EVENTS[name].level
        wanted = LEVELS[level] >= self._level
        if not wanted and self.timeline is None:
            return
        if self._loop is not None and threading.get_ident() != self._thread:
            with contextlib.suppress(RuntimeError):  # the loop is closed: there is nobody left to tell
                self._loop.call_soon_threadsafe(lambda: self.event(name, level, **fields))
            return
        now = self._clock()
        if self.timeline is not None:
            self.timeline.note(now, name, fields)
        if not wanted:
            return
        sampler = self._events.get(name)
        if sampler is None:
            sampler = self._events[name] = Sampler(EVENTS_PER_SECOND)
        if not sampler.admit(now):
            self._lines.schedule()
            return
        self._lines.put({"time": self._lines.time(now), "event": name, "level": level, **fields})

    def exception(self, message: str, error: BaseException | None) -> None:
        """Log an error that nobody expected, with the end of its traceback."""
        trace = "" if error is None else "".join(traceback.format_exception(error))[-TRACEBACK_CHARACTERS:]
        self.event("exception", message=message, traceback=trace)

    def flush(self) -> None:
        """Say what was left out, at most once per second, and have the log writer take the lines."""
        now = self._clock()
        if now >= self._next_report:
            self._report(now)
        if not self._flushed() or self._pending():
            self._lines.schedule()

    def close(self) -> None:
        """Write the last lines: what was left out since the last report."""
        self._report(self._clock())
        self._flushed()

    def _flushed(self) -> bool:
        """Have the log writers take the lines; whether all have."""
        taken = [writer.flush() for writer in self._writers]
        return all(taken)

    def _pending(self) -> bool:
        return any(sampler.suppressed for _, sampler in self._samplers())

    def _samplers(self) -> Iterator[tuple[str, Sampler | FairSampler]]:
        yield "refused", self._refused
        yield "fault", self._faults
        yield from self._events.items()

    def _report(self, now: float) -> None:
        for name, sampler in self._samplers():
            if sampler.suppressed:
                self.suppressed += sampler.suppressed
                if self._level <= LEVELS["info"]:
                    self._lines.put(
                        {"time": self._lines.time(now), "event": "suppressed", "of": name, "lines": sampler.suppressed}
                    )
                sampler.suppressed = 0
                self._next_report = now + 1.0
