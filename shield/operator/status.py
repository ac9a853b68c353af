"""The status of one process, as one object: what /api/status shows and, without distributions, what /metrics shows.

Each field says by its marks (marks.py) how those of several workers become one and what Prometheus calls it. `plain`
makes JSON of it; exposition.py makes metrics of it, and merge.py goes by `MERGES`.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Annotated, Any, Final, NamedTuple

from shield.marks import IN_PLACE, NONZERO, Counter, Gauge, Label, Merge
from shield.policy.status import PolicyStatus, TriedRuleStatus


@dataclass(frozen=True, slots=True)
class ResponsesStatus:
    """Responses by the hundreds of their status, and by who made them."""

    upstream: Annotated[Mapping[str, int], NONZERO]
    shield: Annotated[Mapping[str, int], NONZERO]


@dataclass(frozen=True, slots=True)
class ConnectionsStatus:
    open: Annotated[int, Gauge("shield_connections_open", "Client connections open now.")]
    total: Annotated[int, Counter("shield_connections", "Client connections accepted.")]
    aside: Annotated[
        int,
        Gauge(
            "shield_connections_aside",
            "Client connections of strangers that are read after all others now, as Shield's own core is full.",
        ),
    ]
    tunnels: Annotated[int, Gauge("shield_tunnels_open", "WebSocket tunnels open now.")]
    streams: Annotated[
        int, Gauge("shield_streams_open", "WebSockets, event streams and slow readers now, which hold no slot.")
    ]
    closed: Annotated[
        Mapping[str, int],
        NONZERO,
        Counter(
            "shield_connections_closed",
            "Client connections that were refused or closed to make room, or for their age.",
            ("reason",),
        ),
    ]


@dataclass(frozen=True, slots=True)
class BytesStatus:
    in_: Annotated[int, Counter("shield_received_bytes", "Bytes read from clients.")]
    out: Annotated[int, Counter("shield_sent_bytes", "Bytes written to clients.")]


@dataclass(frozen=True, slots=True)
class ChallengesStatus:
    minted: Annotated[int, Counter("shield_challenges_minted", "Challenges handed out.")]
    redeemed: Annotated[
        Mapping[str, int], Counter("shield_challenges_redeemed", "Answers to challenges, by result.", ("result",))
    ]


@dataclass(frozen=True, slots=True)
class LogLinesStatus:
    written: Annotated[int, Counter("shield_log_lines", "Log lines written.")]
    suppressed: Annotated[int, Counter("shield_log_lines_suppressed", "Log lines left out by sampling.")]
    dropped: Annotated[int, Counter("shield_log_lines_dropped", "Log lines that the log did not take.")]


@dataclass(frozen=True, slots=True)
class CountersStatus:
    """What has been counted since the process began."""

    requests: Annotated[
        Mapping[str, Mapping[str, int]],
        Merge.SUM,
        NONZERO,
        Counter("shield_requests", "Requests by verdict and reason.", ("action", "reason")),
    ]
    responses: Annotated[
        ResponsesStatus,
        Merge.SUM,
        Counter("shield_responses", "Responses by status class and by who made them.", ("source", "class")),
    ]
    faults: Annotated[
        Mapping[str, int],
        Merge.SUM,
        Counter("shield_faults", "Requests and connections that failed, by fault.", ("fault",)),
    ]
    rules: Annotated[
        Mapping[str, Mapping[str, int]],
        Merge.SUM,
        NONZERO,
        Counter("shield_broken_rules", "Rules of HTTP that requests and responses broke.", ("side", "rule")),
    ]
    handshakes: Annotated[
        Mapping[str, int], Merge.SUM, Counter("shield_tls_handshakes", "TLS handshakes, by outcome.", ("outcome",))
    ]
    connections: Annotated[ConnectionsStatus, Merge.SUM]
    bytes: Annotated[BytesStatus, Merge.SUM]
    challenges: Annotated[ChallengesStatus, Merge.SUM]
    passes: Annotated[
        Mapping[str, int], Merge.SUM, Counter("shield_passes_granted", "Passes handed out, by kind.", ("kind",))
    ]
    latency: Annotated[Mapping[str, Mapping[str, int]], Merge.SUM, NONZERO]
    """Forwarded requests by tier, and by the bound in seconds within which they ended."""
    log_lines: Annotated[LogLinesStatus, Merge.SUM]


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """One upstream server."""

    server: str
    healthy: bool
    ejected: bool
    outstanding: int  # requests
    idle: int  # connections


@dataclass(frozen=True, slots=True)
class CertificateStatus:
    """One certificate."""

    ends_in: Annotated[
        float, Gauge("shield_certificate_ends_in_seconds", "Time until this certificate ends; negative once it has.")
    ]
    lifetime: Annotated[
        float, Gauge("shield_certificate_lifetime_seconds", "Time that this certificate was made to hold.")
    ]


@dataclass(frozen=True, slots=True)
class DatabaseStatus:
    """A database that tells the AS (`of` is "asn") or the country of addresses. `error` says why its newest version is
    not used; "" when it is."""

    of: str
    type: str
    built: float  # seconds since 1970
    age: Annotated[float, Gauge("shield_database_age_seconds", "Time since the database in use was made.")]
    failed: Annotated[bool, Gauge("shield_database_failed", "1 while the newest version of a database cannot be used.")]
    error: str


@dataclass(frozen=True, slots=True)
class ListStatus:
    """A file of networks that are allowed or denied (`of`), likewise. `spared` of them hold for nobody: they have a
    trusted proxy, or this machine."""

    of: str
    entries: Annotated[int, Gauge("shield_list_entries", "Networks in the list that is in use.")]
    spared: int
    changed: float  # seconds since 1970
    age: Annotated[float, Gauge("shield_list_age_seconds", "Time since the list in use was written.")]
    failed: Annotated[
        bool, Gauge("shield_list_failed", "1 while the newest version of a list cannot be used, or only in part.")
    ]
    error: str


@dataclass(frozen=True, slots=True)
class CrawlerStatus:
    """What has become of those who claim to be one of identity.crawlers; `claims` counts connections, the others
    addresses that were looked up in DNS."""

    claims: Annotated[int, Counter("shield_crawler_claims", "Clients that claimed to be a crawler.")]
    confirmed: Annotated[int, Counter("shield_crawler_confirmed", "Addresses that DNS confirmed to be a crawler's.")]
    refuted: Annotated[int, Counter("shield_crawler_refuted", "Addresses that DNS said are not the crawler's.")]
    unanswered: Annotated[int, Counter("shield_crawler_unanswered", "Addresses of which DNS said nothing.")]
    put_off: Annotated[int, Counter("shield_crawler_put_off", "Look-ups put off, as many others were under way.")]
    looking: Annotated[int, Gauge("shield_crawler_looking", "Addresses that are being looked up now.")]


@dataclass(frozen=True, slots=True)
class UntrustedProxyStatus:
    """Who looks like a proxy, and is not in listen.trusted_proxies; `peer` is "" when nobody does."""

    peer: str
    share: Annotated[
        float,
        Gauge(
            "shield_untrusted_proxy_ratio",
            "Share of clients that one private address tells of which is not in listen.trusted_proxies; 0: nobody is.",
        ),
    ]


@dataclass(frozen=True, slots=True)
class SiteStatus:
    """What is one of several sites' own."""

    ready: Annotated[bool, Merge.ALL, Gauge("shield_site_ready", "1 while a server of a site is healthy.")]
    dry_run: Annotated[bool, Merge.ANY, Gauge("shield_site_dry_run", "1 while a site refuses nothing.")]
    pressure: Annotated[float, Merge.MAX, Gauge("shield_site_pressure", "Pressure on a site's servers, 0 to 1.")]
    attack: Annotated[
        bool, Merge.ANY, Gauge("shield_site_attack", "1 from the onset of an attack on a site to its end.")
    ]
    attack_seconds: Annotated[float, Merge.MAX]
    attack_cause: str
    demand: Annotated[
        float, Merge.MAX, Gauge("shield_site_demand_units_per_second", "Cost per second that is asked of a site.")
    ]
    capacity: Annotated[
        float, Merge.MAX, Gauge("shield_site_capacity_units_per_second", "Cost per second that a site can serve.")
    ]
    concurrency: Annotated[float, Merge.MAX, Gauge("shield_site_concurrency_limit", "Concurrency slots of a site.")]
    in_flight: Annotated[
        int, Merge.SUM, Gauge("shield_site_requests_in_flight", "Requests that hold a concurrency slot of a site.")
    ]
    waiting: Annotated[int, Merge.SUM, Gauge("shield_site_queue_length", "Requests waiting for a slot of a site.")]
    price: Annotated[
        int, Merge.MAX, Gauge("shield_site_challenge_price_hashes", "Expected hashes of a challenge at a site.")
    ]
    requests_by_tier: Annotated[
        Mapping[str, int], Merge.SUM, Counter("shield_site_requests", "Requests for a site, by tier.", ("tier",))
    ]
    upstream: Sequence[ServerStatus]


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """The machines that are one, as this process sees them; `store` is "" where this one is alone."""

    store: str = ""
    name: str = ""
    node: str = ""
    connected: Annotated[
        bool, Gauge("shield_cluster_connected", "1 while this node and the others hear of each other over the store.")
    ] = False
    error: str = ""
    lost_seconds: Annotated[
        float, Gauge("shield_cluster_lost_seconds", "Time since the store was lost; 0: it is not.")
    ] = 0.0
    count: Annotated[int, Gauge("shield_cluster_nodes", "Nodes that there are, or were when last heard of.")] = 1
    nodes: Sequence[Mapping[str, Any]] = ()
    rates: Annotated[
        float, Gauge("shield_cluster_rates_ratio", "Part of each rate that this node goes by: 1 while it is connected.")
    ] = 1.0
    bursts: float = 1.0
    latency: Annotated[
        float,
        Gauge("shield_cluster_store_seconds", "Time that the store took for a round: the median of the last ones."),
    ] = 0.0
    latency_most: float = 0.0
    rounds: Annotated[int, Counter("shield_cluster_rounds", "Rounds with the store.")] = 0
    failed: Annotated[int, Counter("shield_cluster_rounds_failed", "Rounds that the store did not answer in time.")] = 0
    leases: Annotated[int, Gauge("shield_cluster_leases", "Clients, addresses and passes that are on lease here.")] = 0
    untold: Annotated[
        int, Gauge("shield_cluster_untold", "Bans and the like that the others were not told of yet.")
    ] = 0
    lost: Annotated[
        int,
        Counter("shield_cluster_lost", "Bans, charges and the like that there was no room for until they were told."),
    ] = 0
    rejected: Annotated[
        Mapping[str, int],
        Counter("shield_cluster_rejected", "Values in the store that were not believed, by reason.", ("reason",)),
    ] = field(default_factory=dict)
    disagreements: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Status:
    ready: Annotated[bool, Merge.ALL]
    dry_run: Annotated[bool, Merge.ANY]
    policy: Annotated[PolicyStatus, IN_PLACE]
    counters: Annotated[CountersStatus, IN_PLACE]
    tasks: int
    upstream: Sequence[ServerStatus]
    certificates: Annotated[Mapping[str, CertificateStatus], Merge.MAX, Label("certificate")]
    """By their files."""
    untrusted_proxy: Annotated[UntrustedProxyStatus, Merge.MAX]
    networks_in: Annotated[Mapping[str, str], Merge.MAX] = field(default_factory=dict)
    """Where the `networks` are, in words, as far as all of one is at the same place."""
    databases: Annotated[Mapping[str, DatabaseStatus], Merge.MAX, Label("database")] = field(default_factory=dict)
    """By their files, as lists are."""
    lists: Annotated[Mapping[str, ListStatus], Merge.MAX, Label("list")] = field(default_factory=dict)
    crawlers: Annotated[Mapping[str, CrawlerStatus], Merge.SUM, Label("crawler")] = field(default_factory=dict)
    """By their agents, as in identity.crawlers."""
    crawlers_answered: Annotated[Mapping[str, float], Merge.MAX] = field(default_factory=dict)
    """When DNS last said something of each, in seconds since 1970."""
    rules_tried: Annotated[Mapping[str, TriedRuleStatus], Merge.SUM, Label("rule")] = field(default_factory=dict)
    """By their numbers."""
    cluster: ClusterStatus = ClusterStatus()
    """The machines that are one."""
    sites: Annotated[Mapping[str, SiteStatus], Merge.EACH, Label("site")] = field(default_factory=dict)
    """Where there are several; what stands beside it is of the one that is worst off, or of all."""


class Part(NamedTuple):
    """One field of a status: its attribute, its key in JSON, its type and its marks."""

    attribute: str
    key: str
    kind: Any
    marks: tuple[Any, ...]


_PARTS: Final[dict[Any, tuple[Part, ...]]] = {}  # by class, of which there are as many as in this file and policy's


def parts(cls: Any) -> tuple[Part, ...]:
    """The fields of a status class. A name that Python keeps for itself ends in "_" and stands in JSON without it."""
    found = _PARTS.get(cls)
    if found is None:
        kinds = typing.get_type_hints(cls, include_extras=True)
        found = _PARTS[cls] = tuple(_part(field.name, kinds[field.name]) for field in fields(cls))
    return found


def _part(name: str, kind: Any) -> Part:
    marked = typing.get_origin(kind) is Annotated
    plain_kind, *marks = typing.get_args(kind) if marked else (kind,)
    return Part(name, name.removesuffix("_"), plain_kind, tuple(marks))


def plain(status: Any) -> Any:
    """A status, or a part of one, as plain JSON values."""
    if is_dataclass(status):
        return dict(_items(status))
    if isinstance(status, Mapping):
        return {key: plain(value) for key, value in status.items()}
    if isinstance(status, (list, tuple)):
        return [plain(value) for value in status]
    return status


def _items(status: Any) -> Iterator[tuple[str, Any]]:
    for part in parts(type(status)):
        value = getattr(status, part.attribute)
        if IN_PLACE in part.marks:
            yield from _items(value)
        else:
            yield part.key, plain(_counted(value) if NONZERO in part.marks else value)


def _counted(table: Mapping[str, Any]) -> dict[str, Any]:
    """A table without its zeros, and without tables that hold nothing else."""
    shown = {key: _counted(value) if isinstance(value, Mapping) else value for key, value in table.items()}
    return {key: value for key, value in shown.items() if value}


def _merges(cls: type) -> Iterator[tuple[str, Merge]]:
    for part in parts(cls):
        if IN_PLACE in part.marks:
            yield from _merges(part.kind)
        yield from ((part.key, mark) for mark in part.marks if isinstance(mark, Merge))


MERGES: Final[Mapping[str, Merge]] = dict(_merges(Status))
"""How the values of several workers become one, by their keys in /api/status."""
OF_SITE: Final[Mapping[str, Merge]] = dict(_merges(SiteStatus))
"""The same of one site's."""
