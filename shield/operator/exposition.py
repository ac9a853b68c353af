"""From the status to what Prometheus reads: families by the marks of its fields, and a registry around them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import is_dataclass
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from shield.marks import Counter, Gauge, Label
from shield.operator.status import parts


def families(status: Any) -> Iterator[Metric]:
    """The gauges and counters of a status, or of a part of one."""
    for part in parts(type(status)):
        value = getattr(status, part.attribute)
        for mark in part.marks:
            if isinstance(mark, Gauge):
                yield GaugeMetricFamily(mark.name, mark.documentation, value=float(value))
            elif isinstance(mark, Counter):
                yield _counter(mark, value)
            elif isinstance(mark, Label):
                yield from labelled(mark.name, value if isinstance(value, Mapping) else _rows(value))
        if is_dataclass(value) and not any(isinstance(mark, (Counter, Label)) for mark in part.marks):
            yield from families(value)


def labelled(label: str, rows: Mapping[str, Any]) -> Iterator[Metric]:
    """The gauges and counters of several objects of one kind, told apart by `label`."""
    found: dict[str, Metric] = {}
    for name, row in rows.items():
        for part in parts(type(row)):
            value = getattr(row, part.attribute)
            for mark in part.marks:
                if isinstance(mark, Gauge):
                    gauge = GaugeMetricFamily(mark.name, mark.documentation, labels=[label])
                    found.setdefault(mark.name, gauge).add_sample(mark.name, {label: name}, float(value))
                elif isinstance(mark, Counter):
                    counter = CounterMetricFamily(mark.name, mark.documentation, labels=[label, *mark.labels])
                    for keys, count in _leaves(value):
                        labels = dict(zip((label, *mark.labels), (name, *keys), strict=True))
                        found.setdefault(mark.name, counter).add_sample(f"{mark.name}_total", labels, count)
    yield from found.values()


def _counter(mark: Counter, value: Any) -> Metric:
    """A counter's family out of a number, or out of a table with a level of keys for each of its labels."""
    family = CounterMetricFamily(mark.name, mark.documentation, labels=mark.labels)
    for keys, count in _leaves(value):
        family.add_metric(keys, count)
    return family


def _leaves(value: Any) -> Iterator[tuple[tuple[str, ...], float]]:
    """The numbers of a table, each with the keys that lead to it."""
    if is_dataclass(value):
        value = _rows(value)
    if not isinstance(value, Mapping):
        yield (), value
        return
    for key, inner in value.items():
        yield from (((key, *keys), count) for keys, count in _leaves(inner))


def _rows(whole: Any) -> dict[str, Any]:
    return {part.key: getattr(whole, part.attribute) for part in parts(type(whole))}


class _Scrape(Collector):
    """Adapts a function to the registry, which wants an object with a `collect` method."""

    def __init__(self, collect: Callable[[], Iterable[Metric]]) -> None:
        self._collect = collect

    def collect(self) -> Iterable[Metric]:
        return self._collect()


def registry(collect: Callable[[], Iterable[Metric]]) -> CollectorRegistry:
    """A registry of its own (never the global one) over `collect`, which is called once per scrape."""
    own = CollectorRegistry(auto_describe=False)
    own.register(_Scrape(collect))
    return own
