"""Spans at an OpenTelemetry collector on loopback: of what is served and of what is refused."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web

collector = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
pytest.importorskip("opentelemetry.exporter.otlp.proto.http.trace_exporter")

Start = Callable[..., Awaitable[Any]]
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
DEADLINE = 30.0


class Collector:
    """Takes spans, and keeps them."""

    def __init__(self) -> None:
        self.spans: list[dict[str, Any]] = []
        self.service = ""
        self.hangs = False
        self.url = ""
        self.news = asyncio.Condition()

    async def take(self, request: web.Request) -> web.Response:
        if self.hangs:
            await asyncio.sleep(60)
        said = collector.ExportTraceServiceRequest.FromString(await request.read())
        for resource in said.resource_spans:
            self.service = next(a.value.string_value for a in resource.resource.attributes if a.key == "service.name")
            for each in (span for scope in resource.scope_spans for span in scope.spans):
                attributes = {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in each.attributes}
                seconds = (each.end_time_unix_nano - each.start_time_unix_nano) / 1e9
                self.spans.append(
                    {"trace": each.trace_id.hex(), "span": each.span_id.hex(), "parent": each.parent_span_id.hex(),
                     "name": each.name, "seconds": seconds, "end": each.end_time_unix_nano / 1e9,
                     "failed": each.status.code == 2, **attributes}
                )  # fmt: skip
        async with self.news:
            self.news.notify_all()
        return web.Response(content_type="application/x-protobuf", body=b"")

    async def until(self, count: int) -> list[dict[str, Any]]:
        async with asyncio.timeout(DEADLINE), self.news:
            await self.news.wait_for(lambda: len(self.spans) >= count)
        return self.spans


@pytest.fixture
async def spans(serve: Callable[..., Awaitable[str]]) -> AsyncIterator[Collector]:
    made = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", made.take)
    made.url = f"{await serve(app)}/v1/traces"
    yield made
    with contextlib.suppress(RuntimeError):
        made.hangs = False


@pytest.fixture
async def service(serve: Callable[..., Awaitable[str]]) -> str:
    """Says which trace it was told."""

    async def answer(request: web.Request) -> web.Response:
        told = request.headers.getall("traceparent", [])
        return web.json_response({"told": told, "state": request.headers.get("tracestate", "")})

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    return await serve(app)


async def ask(shield: Any, path: str, **headers: str) -> tuple[int, dict[str, Any]]:
    async with aiohttp.ClientSession() as session, session.get(shield.url(path), headers=headers) as response:
        return response.status, await response.json(content_type=None) if response.status == 200 else {}


async def test_a_request_has_a_span_in_the_trace_of_who_asks(start: Start, spans: Collector, service: str) -> None:
    shield = await start(
        upstream={"servers": [service]}, traces={"endpoint": spans.url, "sample": 1.0, "service": "edge"},
        route=[{"path": "/closed", "limit": {"client": {"per_minute": 1, "burst": 1}}}],
    )  # fmt: skip
    status, said = await ask(shield, "/shop", traceparent=f"00-{TRACE}-{SPAN}-00", tracestate="a=1")
    (told,) = said["told"]
    _, trace, number, flags = told.split("-")
    assert (status, trace, flags, said["state"]) == (200, TRACE, "01", "a=1")
    assert number != SPAN
    for _ in range(2):
        status, _ = await ask(shield, "/closed")
    assert status == 429
    served, _, refused = sorted(await spans.until(3), key=lambda each: each["end"])
    assert spans.service == "edge"
    assert (served["trace"], served["span"], served["parent"]) == (TRACE, number, SPAN)
    assert (served["name"], served["url.path"], served["http.response.status_code"]) == ("GET", "/shop", 200)
    assert (served["shield.action"], served["shield.reason"], served["shield.tier"]) == ("forward", "ok", 3)
    assert 0 < served["shield.upstream_seconds"] <= served["seconds"] < DEADLINE
    assert abs(served["end"] - time.time()) < 2 * DEADLINE
    assert served["shield.server"] == service
    assert (await shield.logged("request", path="/shop"))["id"] == served["shield.request_id"]
    assert (refused["shield.action"], refused["shield.reason"]) == ("limit", "route_rate")
    assert refused["http.response.status_code"] == 429
    assert refused["parent"] == ""
    assert len({each["trace"] for each in spans.spans}) == 3


async def test_only_a_trusted_proxy_says_which_requests_have_one(start: Start, spans: Collector, service: str) -> None:
    traces = {"endpoint": spans.url, "sample": 0.0}
    shield = await start(upstream={"servers": [service]}, traces=traces)
    sampled = f"00-{TRACE}-{SPAN}-01"
    assert (await ask(shield, "/", traceparent=sampled))[1]["told"] == [sampled]
    assert (await ask(shield, "/"))[1]["told"] == []
    believing = await start(upstream={"servers": [service]}, traces=traces, listen={"trusted_proxies": ["127.0.0.0/8"]})
    (told,) = (await ask(believing, "/", traceparent=sampled))[1]["told"]
    assert told.startswith(f"00-{TRACE}-")
    assert told != sampled
    assert (await spans.until(1))[0]["trace"] == TRACE
    assert len(spans.spans) == 1


async def test_a_collector_that_hangs_holds_up_nobody(start: Start, spans: Collector, service: str) -> None:
    spans.hangs = True
    shield = await start(upstream={"servers": [service]}, traces={"endpoint": spans.url, "sample": 1.0})
    for _ in range(5):
        assert (await ask(shield, "/"))[0] == 200
    await shield.end()
    assert shield.seen("exception") == []


async def test_without_the_packages_it_says_what_to_install(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    from shield.errors import StartError
    from shield.operator import tracing

    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(tracing.importlib, "import_module", missing)
    with pytest.raises(StartError, match="pip install"):
        tracing.Traces(tracing.TracesSettings("http://127.0.0.1:1"), time.monotonic, 0.0)
