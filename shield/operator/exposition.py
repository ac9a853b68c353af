"""From numbers to the text that Prometheus reads: gauges out of `engine.status()`, and the registry around them all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

_MARKET: Final = (
    ("price", "shield_challenge_price_hashes", "Expected hashes of a challenge for a stranger of good repute."),
    (
        "solves_per_second",
        "shield_solves_per_second",
        "Networks without a live pass that solve challenges, under attack.",
    ),
    ("passes_per_second", "shield_passes_per_second", "Bought passes that can be issued, under attack."),
    ("waiting", "shield_waiting_room", "Solvers who wait for a pass."),
    ("flash_crowd", "shield_flash_crowd", "1 while those who solve are taken for the usual people."),
)


def status_families(status: Mapping[str, Any]) -> Iterator[Metric]:
    """The gauges that are read from `engine.status()` at scrape time. Keys that are missing are left out."""
    for key, name, documentation in (
        ("pressure", "shield_pressure", "Pressure on the upstream, 0 to 1."),
        ("strictness", "shield_strictness", "Pressure as far as it acts on people, 0 to 1."),
        ("brownout", "shield_brownout", "1 while the service is taken to have become worse by itself."),
        ("demand", "shield_demand_units_per_second", "Cost per second that all subjects together ask for."),
        ("capacity", "shield_capacity_units_per_second", "Cost per second that the upstream was seen to serve."),
        ("in_flight", "shield_requests_in_flight", "Requests that hold a concurrency slot."),
        ("concurrency", "shield_concurrency_limit", "Concurrency slots in all."),
        ("waiting", "shield_queue_length", "Requests waiting for a slot."),
        ("attack", "shield_attack", "1 from the onset of an attack to its end."),
    ):
        value = status.get(key)
        if isinstance(value, (bool, int, float)):
            yield GaugeMetricFamily(name, documentation, value=float(value))
    own = status.get("own")
    if isinstance(own, Mapping):
        yield GaugeMetricFamily(
            "shield_event_loop_lag_seconds", "How late Shield's own event loop is, on average.", value=own["lag"]
        )
        yield GaugeMetricFamily(
            "shield_event_loop_busy_ratio", "Share of the time in which it runs or waits for a core.", value=own["busy"]
        )
    market = status.get("market")
    if isinstance(market, Mapping):
        for key, name, documentation in _MARKET:
            yield GaugeMetricFamily(name, documentation, value=float(market[key]))
    tables = status.get("tables")
    if isinstance(tables, Mapping):
        yield from _table_families(tables)


def _table_families(tables: Mapping[str, Mapping[str, Any]]) -> Iterator[Metric]:
    for key, name, documentation in (
        ("entries", "shield_table_entries", "Entries in a table now."),
        ("max", "shield_table_max_entries", "Entries that a table can hold."),
        ("bytes_per_entry", "shield_table_entry_bytes", "Measured size of one entry, in bytes."),
    ):
        family = GaugeMetricFamily(name, documentation, labels=["table"])
        for table, row in tables.items():
            value = row.get(key)
            if isinstance(value, (int, float)):
                family.add_metric([table], float(value))
        yield family


class _Scrape(Collector):
    """Adapts a function to the registry, which wants an object with a `collect` method."""

    def __init__(self, families: Callable[[], Iterable[Metric]]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families()


def registry(families: Callable[[], Iterable[Metric]]) -> CollectorRegistry:
    """A registry of its own (never the global one) over `families`, which is called once per scrape."""
    own = CollectorRegistry(auto_describe=False)
    own.register(_Scrape(families))
    return own
