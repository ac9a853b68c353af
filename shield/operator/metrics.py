"""What Shield counts.

Requests add to plain integers on their way; nothing is formatted, locked or looked up by label until somebody scrapes.
The idioms of the hot path, with their cost as measured on CPython 3.11:

    metrics.verdicts[v.action._value_][v.reason._value_] += 1     55 ns   (every pair exists; `_value_`, because
                                                                           hashing two Enum members costs 200 ns more;
                                                                           by decided(), half as much again)
    metrics.upstream_responses[status // 100] += 1                20 ns   (0 to 9, so any three-digit status fits)
    metrics.bytes_in += n                                         20 ns
    metrics.request_seconds[request.tier].observe(seconds)       180 ns
    metrics.faults["connect_timeout"] += 1                        35 ns   (names come from the code, never from a peer)
    counters = metrics.upstream("http://127.0.0.1:9000")                  (once per server, at start)
    counters.reuses += 1                                          15 ns

Every collection here is bounded: labels are enum values, names written in the code, or servers from the config.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Final, Protocol

from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric

from shield import __version__
from shield.marks import Counter
from shield.model import DRY_RUN_TWIN, Action, Reason, Tier, Verdict
from shield.operator.exposition import labelled
from shield.operator.status import (
    BytesStatus,
    ChallengesStatus,
    ConnectionsStatus,
    CountersStatus,
    LogLinesStatus,
    ResponsesStatus,
)

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

    def table(self) -> dict[str, int]:
        """The counts by the upper bound of their buckets, in seconds; the last is "inf"."""
        return dict(zip((*map(repr, self.bounds), "inf"), self.counts, strict=True))

    def family(self, name: str, documentation: str) -> Metric:
        """The cumulative form that Prometheus wants."""
        buckets: list[tuple[str, float]] = []
        running = 0
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            running += count
            buckets.append(("+Inf" if bound == float("inf") else repr(bound), float(running)))
        return HistogramMetricFamily(name, documentation, buckets=buckets, sum_value=self.total)


def _together(parts: Sequence[Histogram]) -> Histogram:
    """What several histograms of the same bounds have counted."""
    whole = Histogram(parts[0].bounds)
    whole.counts = [sum(counts) for counts in zip(*(part.counts for part in parts), strict=True)]
    whole.total = sum(part.total for part in parts)
    return whole


@dataclass(slots=True, eq=False)
class UpstreamCounters:
    """What one upstream server was asked for, and how it did."""

    requests: Annotated[int, Counter("shield_upstream_requests", "Requests sent to this server, retries included.")] = 0
    connects: Annotated[int, Counter("shield_upstream_connects", "Connections opened to this server.")] = 0
    reuses: Annotated[
        int, Counter("shield_upstream_reuses", "Requests sent over a connection kept from an earlier one.")
    ] = 0
    retries: Annotated[
        int, Counter("shield_upstream_retries", "Requests sent again after this server failed before answering.")
    ] = 0
    ejections: Annotated[int, Counter("shield_upstream_ejections", "Times this server was taken out of rotation.")] = 0
    failures: Annotated[
        defaultdict[str, int], Counter("shield_upstream_failures", "Failures of this server, by fault.", ("fault",))
    ] = field(default_factory=lambda: defaultdict(int))


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
    """All counters of one process. Made once by the service, shared by reference, never reset.

    It has more than 15 attributes because each is a counter, or a group of them by word.
    """

    __slots__ = (
        "bytes_in",
        "bytes_out",
        "challenges_minted",
        "connections_aside",
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
        "rules",
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
        self.rules: dict[str, defaultdict[str, int]] = {"request": defaultdict(int), "response": defaultdict(int)}
        self.handshakes: defaultdict[str, int] = defaultdict(int)  # by outcome (accept/handshakes.py)
        # Head received to last byte handed to the client's socket; by tier.
        self.request_seconds = tuple(Histogram() for _ in Tier)
        self.upstream_seconds = Histogram()  # last byte sent upstream to response head (Outcome.rtt)
        self.bytes_in = 0  # from clients, as read from the socket (after TLS)
        self.bytes_out = 0
        self.connections_total = 0
        self.connections_open = 0
        self.connections_aside = 0  # on the sideline (wire/sideline.py), as of the last half second
        self.connections_closed: dict[str, int] = {}  # before their time, by reason (client/crowding.py)
        self.tunnels_open = 0
        self.streams_open = 0  # exchanges that gave their slot back: tunnels, event streams, slow readers
        self.challenges_minted = 0
        self.redemptions: defaultdict[str, int] = defaultdict(int)  # by Redeemed value
        self.passes_granted: dict[str, int] = {"earned": 0, "bought": 0, "waited": 0}
        self.log: LogCounts = NoLog()  # the service puts its AccessLog here
        self.upstreams: dict[str, UpstreamCounters] = {}

    def decided(self, verdict: Verdict) -> None:
        """Count a verdict. Every request is counted once, by how it was decided in the end, which is after its head for
        one that was queued or whose body was awaited; `queue` counts those that had to wait besides."""
        self.verdicts[verdict.action._value_][verdict.reason._value_] += 1

    def upstream(self, server: str) -> UpstreamCounters:
        """The counters of one server, made at first use. `server` comes from the config, so their number is bounded."""
        counters = self.upstreams.get(server)
        if counters is None:
            counters = self.upstreams[server] = UpstreamCounters()
        return counters

    def counters(self) -> CountersStatus:
        """What has been counted, for /api/status and /metrics. The pairs and classes that a site is sure to have sooner
        or later are there from the start, at zero: a counter that appears late loses its first increase."""
        log = self.log
        return CountersStatus(
            requests={
                action: {reason: count for reason, count in reasons.items() if count or (action, reason) in _EXPECTED}
                for action, reasons in self.verdicts.items()
            },
            responses=ResponsesStatus(_classes(self.upstream_responses), _classes(self.own_responses)),
            faults=dict(self.faults),
            rules={side: dict(counts) for side, counts in self.rules.items()},
            handshakes=dict(self.handshakes),
            connections=ConnectionsStatus(
                open=self.connections_open,
                total=self.connections_total,
                aside=self.connections_aside,
                tunnels=self.tunnels_open,
                streams=self.streams_open,
                closed=dict(self.connections_closed),
            ),
            bytes=BytesStatus(self.bytes_in, self.bytes_out),
            challenges=ChallengesStatus(self.challenges_minted, dict(self.redemptions)),
            passes=dict(self.passes_granted),
            latency={tier.name: self.request_seconds[tier].table() for tier in Tier},
            log_lines=LogLinesStatus(log.written, log.suppressed, log.dropped),
        )

    def families(self) -> Iterator[Metric]:
        """What no status shows: the version, how long things took, and what each server did."""
        build = GaugeMetricFamily(
            "shield_build_info", "Always 1; the label says which version runs.", labels=["version"]
        )
        build.add_metric([__version__], 1)
        yield build
        yield _together(self.request_seconds).family(
            "shield_request_duration_seconds", "From the request's head to the last byte of the response."
        )
        yield self.upstream_seconds.family(
            "shield_upstream_response_seconds", "From the last byte sent upstream to the head of the response."
        )
        yield from labelled("server", self.upstreams)


def _classes(counts: list[int]) -> dict[str, int]:
    """`counts` by the class of the status: {"2xx": 5, ...}. Entry n of `counts` is of the class n00."""
    return {f"{hundreds}xx": count for hundreds, count in enumerate(counts) if count or 2 <= hundreds <= 5}


_EXPECTED: Final = frozenset(
    (action.value, reason.value)
    for reason in Reason
    for action in (reason.action, DRY_RUN_TWIN.get(reason.action, reason.action))
)
