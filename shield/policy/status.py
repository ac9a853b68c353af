"""What the policy shows of itself: its part of /api/status, of the metrics, and of the log during an attack.

Rates are in units/s and times in seconds unless a name says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from shield.marks import Counter, Gauge, Label, Merge

Entries = Annotated[int, Gauge("shield_table_entries", "Entries in a table now.")]
MaxEntries = Annotated[int, Gauge("shield_table_max_entries", "Entries that a table can hold.")]
EntryBytes = Annotated[int, Gauge("shield_table_entry_bytes", "Measured size of one entry, in bytes.")]


@dataclass(frozen=True, slots=True)
class TableStatus:
    """The fill of one table."""

    entries: Entries
    max: MaxEntries
    bytes_per_entry: EntryBytes


@dataclass(frozen=True, slots=True)
class ClockTableStatus:
    """The fill of a table that evicts; how often it did so far, and how often newcomers shared the overflow entry."""

    entries: Entries
    max: MaxEntries
    bytes_per_entry: EntryBytes
    evictions: int
    overflows: int


@dataclass(frozen=True, slots=True)
class TablesStatus:
    addresses: ClockTableStatus
    clients: ClockTableStatus
    networks: ClockTableStatus
    passes: ClockTableStatus
    history: TableStatus
    spent: TableStatus
    waiting: TableStatus
    routes: TableStatus


@dataclass(frozen=True, slots=True)
class BoardStatus:
    """What this worker does together with the others."""

    workers: Annotated[int, Gauge("shield_board_workers", "Workers that are alive, as this one sees it.")] = 1
    leads: Annotated[
        bool, Gauge("shield_board_leads", "1 where pressure, price and limit of all workers are found.")
    ] = True
    missed: Annotated[int, Counter("shield_board_missed", "Messages of other workers that came too fast.")] = 0
    lost: Annotated[int, Counter("shield_board_lost", "Messages to or of other workers that could not be used.")] = 0


@dataclass(frozen=True, slots=True)
class OwnLoadStatus:
    """What Shield itself has to carry."""

    lag: Annotated[float, Gauge("shield_event_loop_lag_seconds", "How late Shield's own event loop is, on average.")]
    busy: Annotated[
        float, Gauge("shield_event_loop_busy_ratio", "Share of the time in which it runs or waits for a core.")
    ]


@dataclass(frozen=True, slots=True)
class PricingStatus:
    """What a bought pass costs, and how many there are."""

    price: Annotated[
        int, Gauge("shield_challenge_price_hashes", "Expected hashes of a challenge for a stranger of good repute.")
    ]
    solves_per_second: Annotated[
        float, Gauge("shield_solves_per_second", "Networks without a live pass that solve challenges, under attack.")
    ]
    passes_per_second: Annotated[
        float, Gauge("shield_passes_per_second", "Bought passes that can be issued, under attack.")
    ]
    used_share: float  # of what a pass is worth
    bought_demand: float
    flash_crowd: Annotated[bool, Gauge("shield_flash_crowd", "1 while those who solve are taken for the usual people.")]
    waiting: Annotated[int, Gauge("shield_waiting_room", "Solvers who wait for a pass.")]


@dataclass(frozen=True, slots=True)
class ChallengedStatus:
    """Clients that were challenged and could answer, by tier and browser (challenged.py). Who is neither let in nor
    among those `not_yet` in has given up. `seconds`: those let in, by the greatest time that they took."""

    asked: Annotated[
        Mapping[str, Mapping[str, int]],
        Counter("shield_challenged_clients", "Clients that were challenged and could answer.", ("tier", "browser")),
    ]
    let_in: Annotated[
        Mapping[str, Mapping[str, int]],
        Counter("shield_challenged_let_in", "Clients that were challenged and got a pass.", ("tier", "browser")),
    ]
    not_yet: Mapping[str, Mapping[str, int]]
    seconds: Annotated[
        Mapping[str, Mapping[str, Mapping[str, int]]],
        Counter(
            "shield_challenged_within",
            "Clients that were challenged and got a pass, by the seconds within which they did.",
            ("tier", "browser", "seconds"),
        ),
    ]


@dataclass(frozen=True, slots=True)
class StandoutsStatus:
    """What stands out among the requests of strangers. Shares are those that each has at least."""

    pattern: str
    clients: int  # in the last minute
    requests_per_client: float
    fingerprints: Sequence[Mapping[str, Any]]
    networks: Mapping[str, float]
    routes: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class RouteStatus:
    route: str
    requests: int  # so far
    baseline: float
    cost: float  # units


@dataclass(frozen=True, slots=True)
class PassesStatus:
    in_use: int
    bought: int


@dataclass(frozen=True, slots=True)
class WouldStatus:
    """What dry runs would have done of one kind, since the start or the onset of the last attack."""

    requests: Annotated[int, Gauge("shield_would_requests", "Requests that a dry run would not have let through.")]
    visitors: Annotated[int, Gauge("shield_would_visitors", "Clients that these came from.")]
    known: Annotated[int, Gauge("shield_would_known", "Clients among these with a history or an earned pass.")]


@dataclass(frozen=True, slots=True)
class TriedRuleStatus:
    """What one rule of the operator's that is tried would have done, since it was made, or Shield was started."""

    requests: Annotated[
        int, Gauge("shield_rule_would_requests", "Requests that a rule which is tried would not have let through.")
    ]
    visitors: Annotated[int, Gauge("shield_rule_would_visitors", "Clients that these came from.")]
    known: Annotated[int, Gauge("shield_rule_would_known", "Clients among these with a history or an earned pass.")]


@dataclass(frozen=True, slots=True)
class WouldsStatus:
    """By what would have been done."""

    challenge: WouldStatus
    limit: WouldStatus
    ban: WouldStatus
    queue: WouldStatus


@dataclass(frozen=True, slots=True)
class PolicyStatus:
    """What the policy sees and holds at one moment."""

    pressure: Annotated[float, Merge.MAX, Gauge("shield_pressure", "Pressure on the upstream, 0 to 1.")]
    pressure_target: Annotated[float, Merge.MAX]
    strictness: Annotated[float, Merge.MAX, Gauge("shield_strictness", "Pressure as far as it acts on people, 0 to 1.")]
    overload: Sequence[str]  # what shows it
    own: OwnLoadStatus
    brownout: Annotated[
        bool, Merge.ANY, Gauge("shield_brownout", "1 while the service is taken to have become worse by itself.")
    ]
    attack: Annotated[bool, Merge.ANY, Gauge("shield_attack", "1 from the onset of an attack to its end.")]
    attack_seconds: Annotated[float, Merge.MAX]
    attack_cause: str
    attack_peak: Annotated[float, Merge.MAX]
    demand: Annotated[
        float,
        Merge.MAX,
        Gauge("shield_demand_units_per_second", "Cost per second that all clients together ask for."),
    ]
    known_demand: Annotated[float, Merge.MAX]
    capacity: Annotated[
        float,
        Merge.MAX,
        Gauge("shield_capacity_units_per_second", "Cost per second that the upstream was seen to serve."),
    ]
    served: Annotated[float, Merge.MAX]
    requests_per_second: Annotated[float, Merge.MAX]
    congestion: Annotated[float, Merge.MAX]
    concurrency: Annotated[float, Merge.MAX, Gauge("shield_concurrency_limit", "Concurrency slots in all.")]
    concurrency_found: bool
    probing: Annotated[bool, Merge.ANY]
    in_flight: Annotated[int, Merge.SUM, Gauge("shield_requests_in_flight", "Requests that hold a concurrency slot.")]
    long: Annotated[
        int, Merge.SUM, Gauge("shield_requests_long", "Requests at the upstream that take long, without a slot.")
    ]
    waiting: Annotated[int, Merge.SUM, Gauge("shield_queue_length", "Requests waiting for a slot.")]
    queue: int  # requests that may wait, at most
    bought_kept: float
    standing_queue: bool
    median_rtt: float
    cutoff: float  # the rank below which T1 is challenged
    requests_by_tier: Annotated[Mapping[str, int], Merge.SUM]
    active_bans: Annotated[Mapping[str, int], Merge.MAX]
    dropped: Annotated[
        int, Merge.SUM, Gauge("shield_dropped_addresses", "Addresses of which nothing is answered any more.")
    ]
    tried: Sequence[str]  # measures in a dry run of their own
    would: Annotated[WouldsStatus, Merge.SUM, Label("action")]
    would_seconds: Annotated[float, Merge.MAX]  # for which that was counted
    live_passes: Annotated[PassesStatus, Merge.MAX]
    bought_passes: Annotated[int, Merge.MAX]
    bought_rate: float
    price: int  # hashes
    market: PricingStatus
    challenged: Annotated[ChallengedStatus, Merge.SUM]
    hitters: StandoutsStatus
    strangers: Annotated[float, Merge.SUM]  # requests under pressure, of late: of a minute ago half
    networks: Annotated[Mapping[str, float], Merge.SUM]  # the same of those that ask most, each at least
    routes: Sequence[RouteStatus]
    board: BoardStatus
    tables: Annotated[TablesStatus, Label("table")]
