"""Counters in, Prometheus families out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

from prometheus_client.core import Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

import shield.operator.metrics as metrics_module
from shield.model import Action, Reason, Tier
from shield.operator import exposition
from shield.operator.exposition import registry
from shield.operator.metrics import LATENCY_BOUNDS, Histogram, Metrics
from shield.operator.status import plain


def families(metrics: Metrics) -> Iterator[Metric]:
    yield from metrics.families()
    yield from exposition.families(metrics.counters())


def scrape(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    text = generate_latest(registry(lambda: families(metrics))).decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float:
    return scrape(metrics)[name, frozenset(labels.items())]


def test_every_possible_verdict_can_be_counted() -> None:
    metrics = Metrics()
    for action in Action:
        for reason in Reason:
            metrics.verdicts[action._value_][reason._value_] += 1
    counted = [n for (name, _), n in scrape(metrics).items() if name == "shield_requests_total"]
    assert counted == [1.0] * len(Action) * len(Reason)


def test_verdicts_that_may_come_are_shown_from_the_start() -> None:
    metrics = Metrics()
    assert value(metrics, "shield_requests_total", action="forward", reason="ok") == 0
    assert value(metrics, "shield_requests_total", action="limit_dry_run", reason="client_rate") == 0
    names = {labels for name, labels in scrape(metrics) if name == "shield_requests_total"}
    assert frozenset({("action", "forward"), ("reason", "client_rate")}) not in names


def test_every_counter_is_counted_by_somebody() -> None:
    own = Path(metrics_module.__file__)
    code = "\n".join(path.read_text("utf-8") for path in own.parents[1].rglob("*.py") if path != own)
    names = set(Metrics.__slots__) - {"upstreams"}  # filled by upstream()
    assert [name for name in names if not re.search(rf"(?<![a-z])metrics\.{name}\b", code)] == []


def test_counters() -> None:
    metrics = Metrics()
    metrics.verdicts["forward"]["ok"] += 3
    metrics.upstream_responses[200 // 100] += 2
    metrics.own_responses[999 // 100] += 1
    metrics.faults["connect_timeout"] += 4
    metrics.bytes_in += 10
    metrics.connections_open += 1
    metrics.redemptions["accepted"] += 5
    metrics.passes_granted["earned"] += 6
    assert value(metrics, "shield_requests_total", action="forward", reason="ok") == 3
    assert value(metrics, "shield_responses_total", **{"class": "2xx", "source": "upstream"}) == 2
    assert value(metrics, "shield_responses_total", **{"class": "9xx", "source": "shield"}) == 1
    assert value(metrics, "shield_responses_total", **{"class": "5xx", "source": "shield"}) == 0
    assert value(metrics, "shield_faults_total", fault="connect_timeout") == 4
    assert value(metrics, "shield_received_bytes_total") == 10
    assert value(metrics, "shield_connections_open") == 1
    assert value(metrics, "shield_challenges_redeemed_total", result="accepted") == 5
    assert value(metrics, "shield_passes_granted_total", kind="earned") == 6


def test_upstream_counters() -> None:
    metrics = Metrics()
    counters = metrics.upstream("http://a:1")
    assert metrics.upstream("http://a:1") is counters
    counters.reuses += 2
    counters.failures["upstream_timeout"] += 1
    metrics.upstream('odd"\n\\').connects += 1
    assert value(metrics, "shield_upstream_reuses_total", server="http://a:1") == 2
    assert value(metrics, "shield_upstream_failures_total", server="http://a:1", fault="upstream_timeout") == 1
    assert value(metrics, "shield_upstream_connects_total", server='odd"\n\\') == 1


def test_histogram() -> None:
    metrics = Metrics()
    for tier, seconds in zip(Tier, (0.0, 0.001, 0.0011, 0.3, 1e9), strict=True):
        metrics.request_seconds[tier].observe(seconds)
    name = "shield_request_duration_seconds"
    assert value(metrics, f"{name}_bucket", le="0.001") == 2
    assert value(metrics, f"{name}_bucket", le="0.0025") == 3
    assert value(metrics, f"{name}_bucket", le="0.5") == 4
    assert value(metrics, f"{name}_bucket", le="+Inf") == 5
    assert value(metrics, f"{name}_count") == 5
    assert value(metrics, f"{name}_sum") == 1e9 + 0.3021
    shown = plain(metrics.counters())["latency"]
    assert shown == {"T0": {"0.001": 1}, "T1": {"0.001": 1}, "T2": {"0.0025": 1}, "T3": {"0.5": 1}, "T4": {"inf": 1}}


def test_histogram_bounds_rise() -> None:
    assert list(LATENCY_BOUNDS) == sorted(set(LATENCY_BOUNDS))
    assert len(Histogram().counts) == len(LATENCY_BOUNDS) + 1


def test_names_follow_the_conventions() -> None:
    metrics = Metrics()
    metrics.upstream("a").failures["x"] += 1
    for family in families(metrics):
        assert family.name.startswith("shield_")
        assert not family.name.endswith("_total")
        assert family.documentation.endswith(".")
        assert "milli" not in family.name


def test_the_log_is_asked_at_scrape_time() -> None:
    metrics = Metrics()
    assert value(metrics, "shield_log_lines_total") == 0
    log = SimpleNamespace(written=1, suppressed=2, dropped=3)
    metrics.log = log
    log.written = 4
    assert value(metrics, "shield_log_lines_total") == 4
    assert value(metrics, "shield_log_lines_suppressed_total") == 2
    assert value(metrics, "shield_log_lines_dropped_total") == 3
    assert plain(metrics.counters())["log_lines"] == {"written": 4, "suppressed": 2, "dropped": 3}


def test_the_status_leaves_out_what_never_happened() -> None:
    metrics = Metrics()
    metrics.verdicts["limit"]["client_rate"] += 2
    metrics.own_responses[4] += 2
    shown = plain(metrics.counters())
    assert shown["requests"] == {"limit": {"client_rate": 2}}
    assert shown["responses"] == {"upstream": {}, "shield": {"4xx": 2}}
