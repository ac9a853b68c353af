"""Spans, without a collector: which requests have one, and what the service is told."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from shield.operator import tracing
from shield.operator.tracing import Traces, TracesSettings
from tests.harness import get, request_head, shielded
from tests.operator.test_combined import request

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The spans that have ended."""
    spans: list[Any] = []
    monkeypatch.setattr(tracing, "_processor", lambda _: SimpleNamespace(on_end=spans.append, shutdown=lambda: None))
    return spans


def make(sample: float = 1.0) -> Traces:
    return Traces(TracesSettings("http://127.0.0.1:9", sample, 10_000), lambda: 0.0, 0.0)


def test_one_that_is_turned_away_after_it_has_waited_ends_with_that(
    ended: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a flood would fill the table, and no request had a span any more."""
    monkeypatch.setattr(tracing, "MOST_OPEN", 1)
    traces = make()
    for number in range(3):
        asked = request()
        assert traces.begin(asked, request_head(), False, number)[1]
        traces.refused(asked, 503, "id", number)
    assert [span.attributes["http.response.status_code"] for span in ended] == [503] * 3


def test_one_that_is_turned_away_at_once_may_have_a_span(ended: list[Any]) -> None:
    make().refused(request(), 429, "id", 0.0)
    make(0.0).refused(request(), 429, "id", 0.0)
    assert len(ended) == 1


class Second(Traces):
    """Gives each second request a span."""

    turn = False

    def begin(self, *args: Any) -> Any:
        self.turn = not self.turn
        return (args[1], b"") if self.turn else super().begin(*args)


@pytest.mark.parametrize("place", [0, 1])
async def test_the_service_gets_all_fields_and_one_traceparent(ended: list[Any], place: int) -> None:
    """Also of a head that comes again, whose lines were joined."""
    async with shielded() as (shield, origin), await shield.client() as client:
        shield.log.traces = Second(TracesSettings("http://127.0.0.1:9", 1.0, 10_000), lambda: 0.0, 0.0)
        fields = ["X-A: 1", "X-B: 2"]
        fields.insert(place, f"Traceparent: {PARENT}")
        for _ in range(4):
            assert (await client.ask(get("/", *fields))).status == 200
        told = [asked.all("traceparent") for asked in origin.requests]
        assert told[0] == told[2] == [PARENT]
        for (value,) in told[1::2]:
            assert value.startswith(f"00-{TRACE}-")
            assert value != PARENT
        for asked in origin.requests:
            assert (asked.get("X-A"), asked.get("X-B")) == ("1", "2")
