"""The status is one typed object: how it is shown, measured and merged is said by its fields."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

import orjson
from prometheus_client.core import Metric

from shield.marks import Counter, Gauge, Merge
from shield.operator import exposition
from shield.operator.metrics import Metrics
from shield.operator.status import (
    MERGES,
    CertificateStatus,
    CrawlerStatus,
    DatabaseStatus,
    ListStatus,
    ServerStatus,
    Status,
    UntrustedProxyStatus,
    parts,
    plain,
)
from shield.policy.engine import Engine
from shield.policy.keys import Keys
from shield.policy.settings import EngineSettings
from shield.policy.status import PolicyStatus

KEY = bytes(32)


def policy_status(**more: Any) -> PolicyStatus:
    return replace(Engine(EngineSettings(), Keys(KEY), bytes, 0.0, 0).status(1.0), **more)


def make_status(**more: Any) -> Status:
    server = ServerStatus(server="http://a:1", healthy=True, ejected=False, outstanding=0, idle=2)
    certificates = {"/site.pem": CertificateStatus(864_000.0, 7_776_000.0)}
    proxy = UntrustedProxyStatus("10.0.0.5", 0.9)
    return Status(
        True,
        False,
        policy_status(**more),
        Metrics().counters(),
        3,
        [server],
        certificates,
        proxy,
        databases={"/asn.mmdb": DatabaseStatus("asn", "GeoLite2-ASN", 1_700_000_000.0, 86_400.0, False, "")},
        lists={"/drop.txt": ListStatus("deny", 1000, 1, 1_700_000_000.0, 3600.0, True, 'line 3: "x" is no network')},
        crawlers={"Googlebot": CrawlerStatus(12, 3, 9, 1, 0, 0)},
        crawlers_answered={"Googlebot": 1_700_000_000.0},
    )


def families(status: Any) -> dict[str, Metric]:
    return {family.name: family for family in exposition.families(status)}


def classes(cls: Any) -> set[Any]:
    """A status class and those of its parts."""
    inner = [part.kind for part in parts(cls) if is_dataclass(part.kind)]
    return {cls}.union(*map(classes, inner))


def test_it_stands_in_json_as_it_always_did() -> None:
    shown = plain(make_status())
    assert orjson.loads(orjson.dumps(shown)) == shown
    assert list(shown) == [
        "ready", "dry_run", "pressure", "pressure_target", "strictness", "overload", "own", "brownout", "attack",
        "attack_seconds", "attack_cause", "attack_peak", "demand", "known_demand", "capacity", "served",
        "requests_per_second", "congestion", "concurrency", "concurrency_found", "probing", "in_flight", "long",
        "waiting", "queue", "bought_kept", "standing_queue", "median_rtt", "cutoff", "requests_by_tier", "active_bans",
        "dropped", "tried", "would", "would_seconds", "live_passes", "bought_passes", "bought_rate", "price", "market",
        "challenged", "hitters", "strangers", "networks", "routes", "board",
        "tables", "requests", "responses", "faults", "rules", "handshakes", "connections", "bytes", "challenges",
        "passes", "latency", "log_lines", "tasks", "upstream", "certificates", "untrusted_proxy",
        "networks_in", "databases", "lists", "crawlers", "crawlers_answered", "rules_tried", "cluster", "sites",
    ]  # fmt: skip
    assert shown["bytes"] == {"in": 0, "out": 0}
    assert shown["requests"] == {}
    assert shown["upstream"][0] == {
        "server": "http://a:1", "healthy": True, "ejected": False, "outstanding": 0, "idle": 2
    }  # fmt: skip
    assert list(shown["tables"]["history"]) == ["entries", "max", "bytes_per_entry"]


def test_gauges_from_the_policy() -> None:
    got = families(policy_status(pressure=0.5, attack=True, waiting=3))
    assert got["shield_pressure"].samples[0].value == 0.5
    assert got["shield_attack"].samples[0].value == 1
    assert got["shield_queue_length"].samples[0].value == 3
    tables = {sample.labels["table"]: sample.value for sample in got["shield_table_max_entries"].samples}
    assert (tables["clients"], tables["history"], len(tables)) == (200_000, 100_000, 8)


def test_gauges_from_a_part_within() -> None:
    status = policy_status()
    market = replace(status.market, price=1 << 20, solves_per_second=1.5, waiting=7, flash_crowd=True)
    got = families(replace(status, market=market))
    names = ("shield_challenge_price_hashes", "shield_solves_per_second", "shield_waiting_room", "shield_flash_crowd")
    assert [got[name].samples[0].value for name in names] == [1 << 20, 1.5, 7, 1]


def test_no_name_is_given_twice() -> None:
    kinds = [kind for kind in classes(Status) if not kind.__name__.endswith("TableStatus")]  # they share their names
    fields_of_all = [part for kind in kinds for part in parts(kind)]
    marks = [mark for part in fields_of_all for mark in part.marks if isinstance(mark, (Gauge, Counter))]
    names = [mark.name for mark in marks]
    assert len(names) == len(set(names)) > 30
    assert all(mark.documentation.endswith(".") for mark in marks)


def test_every_total_has_its_rule() -> None:
    shown = plain(make_status())
    assert set(MERGES) <= set(shown)
    for key, rule in MERGES.items():
        value = shown[key]
        if rule in (Merge.ANY, Merge.ALL):
            assert isinstance(value, bool)
        else:
            assert isinstance(value, (int, float, dict))
            assert not isinstance(value, bool)


def test_a_status_is_a_value() -> None:
    for cls in classes(Status):
        assert cls.__dataclass_params__.frozen
        assert {field.name for field in fields(cls)} == set(cls.__slots__)
