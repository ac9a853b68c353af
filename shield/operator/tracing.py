"""Traces: a span for some requests, sent to an OpenTelemetry collector (OTLP over HTTP). Off without `traces.endpoint`.

A span begins when a request is sent on (`begin`), and the service gets its id in `traceparent`; it ends when the
request does. One that Shield refuses has a span that begins and ends then. The packages of OpenTelemetry, which are an
extra, are imported when there is an endpoint, and only then. Their batch processor sends from a thread of its own: the
loop puts a span into its queue, which is bounded, and waits for nothing.
"""

from __future__ import annotations

import asyncio
import importlib
import threading
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

from annotated_types import Ge, Le, MaxLen
from typing_extensions import Doc

from shield import __version__
from shield.complaints import WEBHOOK, Complaint
from shield.errors import StartError
from shield.http import trace_context
from shield.marks import Unit, Why
from shield.operator.sampler import Sampler

if TYPE_CHECKING:
    from shield.http.head import Head
    from shield.http.trace_context import TraceContext
    from shield.policy.request import Request

QUEUE: Final = 2048
"""Spans that wait to be sent; of more, the oldest are lost."""
BATCH: Final = 512
SEND_EVERY_MS: Final = 2000.0
SEND_SECONDS: Final = 5.0
"""For which a collector may take to answer."""
END_SECONDS: Final = 3.0
"""For which the end of Shield waits until the last spans are sent."""
MOST_OPEN: Final = 10_000
"""Spans of requests that have not ended."""
_PATH_CHARS: Final = 1024
_AGENT_CHARS: Final = 256
_SERVER_ERROR: Final = 500


@dataclass(frozen=True, slots=True)
class TracesSettings:
    """Which requests are told to an OpenTelemetry collector, as spans. It needs the extra: pip install '.[traces]'."""

    endpoint: Annotated[
        str,
        Doc(
            'URL that is sent spans as OTLP over HTTP: "http://127.0.0.1:4318/v1/traces". Redirects are not followed, '
            "and no proxy of the environment is asked. Empty: none are made, and traceparent is passed on as it came."
        ),
    ] = ""
    sample: Annotated[
        float,
        Ge(0.0),
        Le(1.0),
        Unit("share"),
        Doc(
            "Share of requests that get a span. Where a trusted proxy sends a traceparent, it says whether they do. "
            "Of others it only says which trace they belong to."
        ),
        Why("Chosen", "of 1,000 requests/s ten have a span, which is enough to see where time goes"),
    ] = 0.01
    per_second: Annotated[
        int,
        Ge(1),
        Le(10_000),
        Unit("spans/s"),
        Doc("Most spans of a process: beyond, requests get none."),
        Why("Chosen", "a span takes as long as a request or two, so a flood of them is no load"),
    ] = 100
    service: Annotated[str, MaxLen(100), Doc("What the collector calls Shield: service.name.")] = "shield"

    def complaints(self) -> Iterator[Complaint]:
        if self.endpoint and not WEBHOOK.fullmatch(self.endpoint):
            yield ("endpoint",), "a URL that begins with http:// or https:// and has a host"


class _Span(NamedTuple):
    """One that has begun."""

    trace: int
    number: int
    parent: TraceContext | None


class Traces:
    """The spans of one process. `clock` gives monotonic seconds, and with `wall_offset` Unix time. StartError without
    the packages."""

    def __init__(self, settings: TracesSettings, clock: Callable[[], float], wall_offset: float) -> None:
        try:
            self._api = importlib.import_module("opentelemetry.trace")
            self._sdk = importlib.import_module("opentelemetry.sdk.trace")
            resources = importlib.import_module("opentelemetry.sdk.resources")
            scope = importlib.import_module("opentelemetry.sdk.util.instrumentation")
            self._processor = _processor(settings.endpoint)
        except ImportError as error:
            raise StartError(
                f"traces.endpoint needs OpenTelemetry, which is not installed ({error}): pip install "
                "opentelemetry-sdk opentelemetry-exporter-otlp-proto-http"
            ) from error
        self._share = settings.sample
        self._clock = clock
        self._wall_offset = wall_offset
        self._budget = Sampler(settings.per_second)
        self._random = Random()  # noqa: S311 - ids of traces are no secrets, and are drawn in a microsecond
        self._resource = resources.Resource({"service.name": settings.service, "service.version": __version__})
        self._scope = scope.InstrumentationScope("shield", __version__)
        self._open: dict[Request, _Span] = {}
        self._upstream: dict[Request, float] = {}

    def begin(self, request: Request, head: Head, trusted: bool, now: float) -> tuple[Head, bytes]:
        """A request is sent on: the head that the service is to get, and a field line for it, empty without a span.
        `trusted`: a trusted proxy has sent it."""
        parent = _parent(request)
        wanted = parent.sampled if trusted and parent is not None else self._random.random() < self._share
        if not wanted or len(self._open) >= MOST_OPEN or not self._budget.admit(now):
            return head, b""
        span = self._open[request] = self._new(parent)
        if "Traceparent" in request.headers:
            head = copy(head)
            head.fields = trace_context.without(head.lines())
            head.written = None
        return head, trace_context.line(span.trace, span.number)

    def answered(self, request: Request, seconds: float) -> None:
        """The service has taken so long until its first byte."""
        if request in self._open:
            self._upstream[request] = seconds

    def ended(
        self, request: Request, status: int, seconds: float, server: str, request_id: str, fault: str, now: float
    ) -> None:
        """A request that was sent on has ended, `seconds` after it came."""
        span = self._open.pop(request, None)
        if span is not None:
            more: dict[str, Any] = {"shield.server": server} if server else {}
            upstream = self._upstream.pop(request, None)
            if upstream is not None:
                more["shield.upstream_seconds"] = round(upstream, 6)
            if fault:
                more["shield.fault"] = fault
            self._close(span, request, status, seconds, request_id, now, more)

    def refused(self, request: Request, status: int, request_id: str, now: float) -> None:
        """Shield itself has answered a request, which may have waited to be sent on."""
        span = self._open.pop(request, None)
        if span is None and self._random.random() < self._share and self._budget.admit(now):
            span = self._new(_parent(request))
        if span is not None:
            self._upstream.pop(request, None)
            self._close(span, request, status, 0.0, request_id, now, {})

    def _new(self, parent: TraceContext | None) -> _Span:
        trace = parent.trace if parent is not None else self._random.getrandbits(128) or 1
        return _Span(trace, self._random.getrandbits(64) or 1, parent)

    def _close(
        self,
        span: _Span,
        request: Request,
        status: int,
        seconds: float,
        request_id: str,
        now: float,
        more: dict[str, Any],
    ) -> None:
        api, verdict, headers = self._api, request.verdict, request.headers
        attributes = {
            "http.request.method": request.method,
            "url.path": request.path[:_PATH_CHARS],
            "server.address": headers.get("Host", "")[:_AGENT_CHARS],
            "user_agent.original": headers.get("User-Agent", "")[:_AGENT_CHARS],
            "client.address": request.client.address,
            "http.response.status_code": status,
            "shield.action": verdict.action.value,
            "shield.reason": verdict.reason.value,
            "shield.tier": int(request.tier),
            "shield.request_id": request_id,
            **more,
        }
        parent = span.parent
        failed = "shield.fault" in more or status >= _SERVER_ERROR
        ended = int((now + self._wall_offset) * 1e9)
        made = self._sdk.ReadableSpan(
            request.method,
            context=self._context(span.trace, span.number, False),
            parent=None if parent is None else self._context(parent.trace, parent.span, True),
            resource=self._resource,
            attributes=attributes,
            kind=api.SpanKind.SERVER,
            status=api.Status(api.StatusCode.ERROR if failed else api.StatusCode.UNSET),
            start_time=ended - int(seconds * 1e9),
            end_time=ended,
            instrumentation_scope=self._scope,
        )
        self._processor.on_end(made)

    def _context(self, trace: int, span: int, remote: bool) -> Any:
        return self._api.SpanContext(trace, span, remote, self._api.TraceFlags(trace_context.SAMPLED))

    async def close(self) -> None:
        """Send what waits, for END_SECONDS at most."""
        done, loop = asyncio.Event(), asyncio.get_running_loop()

        def end() -> None:
            self._processor.shutdown()
            loop.call_soon_threadsafe(done.set)

        # No pool's thread: the end of the program would wait for that, and a collector may hang.
        threading.Thread(target=end, name="traces", daemon=True).start()
        try:
            async with asyncio.timeout(END_SECONDS):
                await done.wait()
        except TimeoutError:
            pass


def _parent(request: Request) -> TraceContext | None:
    value = request.headers.get("Traceparent")
    return None if value is None else trace_context.parse(value)


def _processor(endpoint: str) -> Any:
    """What sends spans, from a thread of its own."""
    http = importlib.import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    export = importlib.import_module("opentelemetry.sdk.trace.export")
    session = importlib.import_module("requests").Session()
    session.trust_env = False  # only what the config says is asked
    session.max_redirects = 0
    exporter = http.OTLPSpanExporter(endpoint=endpoint, timeout=SEND_SECONDS, session=session)
    return export.BatchSpanProcessor(
        exporter, max_queue_size=QUEUE, schedule_delay_millis=SEND_EVERY_MS, max_export_batch_size=BATCH
    )
