"""What Shield counts, and how Prometheus reads it.

The edge adds to plain integers on its way; nothing is formatted, locked or looked up by label until somebody scrapes.
The idioms of the hot path, with their cost as measured on CPython 3.11:

    metrics.verdicts[v.action._value_][v.reason._value_] += 1     55 ns   (every pair exists; `_value_`, because
                                                                           hashing two Enum members costs 200 ns more)
    metrics.upstream_responses[status // 100] += 1                20 ns   (0 to 9, so any three-digit status fits)
    metrics.bytes_in += n                                         20 ns
    metrics.request_seconds.observe(seconds)                     160 ns
    metrics.faults["connect_timeout"] += 1                        35 ns   (names come from the code, never from a peer)
    counters = metrics.upstream("http://127.0.0.1:9000")                  (once per server, at start)
    counters.reuses += 1                                          15 ns

Every collection here is bounded: labels are enum values, names written in the code, or servers from the config.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from shield import __version__
from shield.model import DRY_RUN_TWIN, Action, Reason

LATENCY_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds. The Prometheus client libraries' defaults, with two finer steps for a proxy and one for slow pages."""


class Histogram:
    """Counts per bucket over fixed bounds in seconds; a bound belongs to the bucket below it, as in Prometheus."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...] = LATENCY_BOUNDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds

    def family(self, name: str, documentation: str) -> Metric:
        """The cumulative form that Prometheus wants."""
        buckets: list[tuple[str, float]] = []
        running = 0
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            running += count
            buckets.append(("+Inf" if bound == float("inf") else repr(bound), float(running)))
        return HistogramMetricFamily(name, documentation, buckets=buckets, sum_value=self.total)


class UpstreamCounters:
    """One upstream server's counters. `failures` is by fault name, as in `Metrics.faults`."""

    __slots__ = ("connects", "ejections", "failures", "requests", "retries", "reuses")

    def __init__(self) -> None:
        self.requests = 0
        self.connects = 0
        self.reuses = 0
        self.retries = 0
        self.ejections = 0
        self.failures: defaultdict[str, int] = defaultdict(int)


class LogCounts(Protocol):
    """What the log counts of itself, in lines; read at scrape time."""

    @property
    def written(self) -> int: ...
    @property
    def suppressed(self) -> int: ...
    @property
    def dropped(self) -> int: ...


class NoLog:
    """Counts nothing."""

    written = suppressed = dropped = 0


class Metrics:
    """All counters of one process. Made once by the service, shared by reference, never reset."""

    __slots__ = (
        "bytes_in",
        "bytes_out",
        "challenges_minted",
        "connections_closed",
        "connections_open",
        "connections_total",
        "faults",
        "handshakes",
        "log",
        "own_responses",
        "passes_granted",
        "redemptions",
        "request_seconds",
        "streams_open",
        "tunnels_open",
        "upstream_responses",
        "upstream_seconds",
        "upstreams",
        "verdicts",
    )

    def __init__(self) -> None:
        self.verdicts: dict[str, dict[str, int]] = {
            action.value: {reason.value: 0 for reason in Reason} for action in Action
        }
        # By status // 100. `own` are the answers that Shield itself makes, `upstream` those it passes on.
        self.upstream_responses = [0] * 10
        self.own_responses = [0] * 10
        self.faults: defaultdict[str, int] = defaultdict(int)
        self.handshakes: defaultdict[str, int] = defaultdict(int)  # by outcome (accept/handshakes.py)
        self.request_seconds = Histogram()  # head received to last byte handed to the client's socket
        self.upstream_seconds = Histogram()  # last byte sent upstream to response head (Outcome.rtt)
        self.bytes_in = 0  # from clients, as read from the socket (after TLS)
        self.bytes_out = 0
        self.connections_total = 0
        self.connections_open = 0
        self.connections_closed: dict[str, int] = {}  # before their time, by reason (connections.py)
        self.tunnels_open = 0
        self.streams_open = 0  # exchanges that gave their slot back: tunnels, event streams, slow readers
        self.challenges_minted = 0
        self.redemptions: defaultdict[str, int] = defaultdict(int)  # by Redeemed value
        self.passes_granted: dict[str, int] = {"earned": 0, "bought": 0}
        self.log: LogCounts = NoLog()  # the service puts its AccessLog here
        self.upstreams: dict[str, UpstreamCounters] = {}

    def upstream(self, server: str) -> UpstreamCounters:
        """The counters of one server, made at first use. `server` comes from the config, so their number is bounded."""
        counters = self.upstreams.get(server)
        if counters is None:
            counters = self.upstreams[server] = UpstreamCounters()
        return counters

    def summary(self) -> dict[str, Any]:
        """The counters that have counted something, for /api/status."""
        return {
            "requests": {
                action: shown
                for action, reasons in self.verdicts.items()
                if (shown := {reason: n for reason, n in reasons.items() if n})
            },
            "responses": {
                "upstream": {f"{c}xx": n for c, n in enumerate(self.upstream_responses) if n},
                "shield": {f"{c}xx": n for c, n in enumerate(self.own_responses) if n},
            },
            "faults": dict(self.faults),
            "handshakes": dict(self.handshakes),
            "connections": {
                "open": self.connections_open,
                "total": self.connections_total,
                "tunnels": self.tunnels_open,
                "streams": self.streams_open,
                "closed": {reason: n for reason, n in self.connections_closed.items() if n},
            },
            "bytes": {"in": self.bytes_in, "out": self.bytes_out},
            "challenges": {"minted": self.challenges_minted, "redeemed": dict(self.redemptions)},
            "passes": dict(self.passes_granted),
            "log_lines": {
                "written": self.log.written,
                "suppressed": self.log.suppressed,
                "dropped": self.log.dropped,
            },
        }

    def families(self) -> Iterator[Metric]:
        """The counters as Prometheus metric families; called once per scrape."""
        build = GaugeMetricFamily(
            "shield_build_info", "Always 1; the label says which version runs.", labels=["version"]
        )
        build.add_metric([__version__], 1)
        yield build
        yield self._requests()
        yield self._responses()
        yield _by_label("shield_faults", "Requests and connections that failed, by fault.", "fault", self.faults)
        if self.handshakes:
            yield _by_label("shield_tls_handshakes", "TLS handshakes, by outcome.", "outcome", self.handshakes)
        yield self.request_seconds.family(
            "shield_request_duration_seconds", "From the request's head to the last byte of the response."
        )
        yield self.upstream_seconds.family(
            "shield_upstream_response_seconds", "From the last byte sent upstream to the head of the response."
        )
        yield _counter("shield_received_bytes", "Bytes read from clients.", self.bytes_in)
        yield _counter("shield_sent_bytes", "Bytes written to clients.", self.bytes_out)
        yield _counter("shield_connections", "Client connections accepted.", self.connections_total)
        yield _by_label(
            "shield_connections_closed",
            "Client connections that were refused or closed to make room, or for their age.",
            "reason",
            self.connections_closed,
        )
        yield GaugeMetricFamily("shield_connections_open", "Client connections open now.", value=self.connections_open)
        yield GaugeMetricFamily("shield_tunnels_open", "WebSocket tunnels open now.", value=self.tunnels_open)
        yield GaugeMetricFamily(
            "shield_streams_open",
            "WebSockets, event streams and slow readers now, which hold no slot.",
            value=self.streams_open,
        )
        yield _counter("shield_challenges_minted", "Challenges handed out.", self.challenges_minted)
        yield _by_label("shield_challenges_redeemed", "Answers to challenges, by result.", "result", self.redemptions)
        yield _by_label("shield_passes_granted", "Passes handed out, by kind.", "kind", self.passes_granted)
        yield _counter("shield_log_lines", "Log lines written.", self.log.written)
        yield _counter("shield_log_lines_suppressed", "Log lines left out by sampling.", self.log.suppressed)
        yield _counter("shield_log_lines_dropped", "Log lines lost to a full or failed sink.", self.log.dropped)
        yield from self._upstreams()

    def _requests(self) -> Metric:
        family = CounterMetricFamily("shield_requests", "Requests by verdict and reason.", labels=["action", "reason"])
        for action, reasons in self.verdicts.items():
            for reason, count in reasons.items():
                if count or (action, reason) in _EXPECTED:
                    family.add_metric([action, reason], count)
        return family

    def _responses(self) -> Metric:
        family = CounterMetricFamily(
            "shield_responses", "Responses by status class and by who made them.", labels=["class", "source"]
        )
        for source, counts in (("upstream", self.upstream_responses), ("shield", self.own_responses)):
            for status_class, count in enumerate(counts):
                if count or 2 <= status_class <= 5:
                    family.add_metric([f"{status_class}xx", source], count)
        return family

    def _upstreams(self) -> Iterator[Metric]:
        for attribute, documentation in (
            ("requests", "Requests sent to this server, retries included."),
            ("connects", "Connections opened to this server."),
            ("reuses", "Requests sent over a connection kept from an earlier one."),
            ("retries", "Requests sent again after this server failed before answering."),
            ("ejections", "Times this server was taken out of rotation."),
        ):
            family = CounterMetricFamily(f"shield_upstream_{attribute}", documentation, labels=["server"])
            for server, counters in self.upstreams.items():
                family.add_metric([server], getattr(counters, attribute))
            yield family
        failures = CounterMetricFamily(
            "shield_upstream_failures", "Failures of this server, by fault.", labels=["server", "fault"]
        )
        for server, counters in self.upstreams.items():
            for fault, count in counters.failures.items():
                failures.add_metric([server, fault], count)
        yield failures


_EXPECTED: Final = frozenset(
    (action.value, reason.value)
    for reason in Reason
    for action in (reason.action, DRY_RUN_TWIN.get(reason.action, reason.action))
)
"""The pairs that a scrape shows from the start, at zero: a counter that appears late loses its first increase."""


def _counter(name: str, documentation: str, value: float) -> Metric:
    return CounterMetricFamily(name, documentation, value=value)


def _by_label(name: str, documentation: str, label: str, counts: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(name, documentation, labels=[label])
    for key, count in counts.items():
        family.add_metric([key], count)
    return family
