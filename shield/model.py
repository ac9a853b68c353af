"""The vocabulary that every part of Shield shares: requests, clients, verdicts, reasons, outcomes.

Nothing here decides or does anything. Logs, metrics, response fields, the admin API and the tests use the
`value` of these enums, so the words are the same everywhere. Times are monotonic seconds, costs are units
(one unit is ten milliseconds of undisturbed upstream time).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from shield.policy.identity import Client
    from shield.policy.passes import Pass
    from shield.policy.routes import Route

UNIT_SECONDS: Final = 0.010
"""Upstream time that one unit of cost stands for."""


class Action(enum.Enum):
    """What the edge is to do with a request. The `_DRY_RUN` twins are forwarded all the same."""

    FORWARD = "forward"
    QUEUE = "queue"
    CHALLENGE = "challenge"
    LIMIT = "limit"
    SHED = "shed"
    BAN = "ban"
    CHALLENGE_DRY_RUN = "challenge_dry_run"
    LIMIT_DRY_RUN = "limit_dry_run"
    SHED_DRY_RUN = "shed_dry_run"
    BAN_DRY_RUN = "ban_dry_run"

    __hash__ = object.__hash__  # Enum's is written in Python and costs 0.1 µs


DRY_RUN_TWIN: Final[Mapping[Action, Action]] = {
    Action.CHALLENGE: Action.CHALLENGE_DRY_RUN,
    Action.LIMIT: Action.LIMIT_DRY_RUN,
    Action.SHED: Action.SHED_DRY_RUN,
    Action.BAN: Action.BAN_DRY_RUN,
}


class Reason(enum.Enum):
    """Why. Each reason belongs to the action named in the comment."""

    __hash__ = object.__hash__  # Enum's is written in Python and costs 0.1 µs

    OK = "ok"  # forward
    ALLOWLISTED = "allowlisted"  # forward
    API_KEY = "api_key"  # forward
    CRAWLER = "crawler"  # forward: a crawler whose name and address were verified
    AT_CAPACITY = "at_capacity"  # queue: every concurrency slot is taken
    CHALLENGE_ALWAYS = "challenge_always"  # challenge: challenge.mode = "always"
    NEWCOMER = "newcomer"  # challenge: under pressure, no pass, no history
    BAD_REPUTATION = "bad_reputation"  # challenge: under pressure, no pass, score 8 or more
    OVERSUBSCRIBED = "oversubscribed"  # challenge: T0 and T1 alone ask for more than there is
    PASS_RATE = "pass_rate"  # limit
    CLIENT_RATE = "client_rate"  # limit
    ADDRESS_RATE = "address_rate"  # limit
    NETWORK_RATE = "network_rate"  # limit
    FINGERPRINT_RATE = (
        "fingerprint_rate"  # limit: under pressure, a program that strangers use and known clients do not
    )
    QUEUE_FULL = "queue_full"  # shed
    OUTRANKED = "outranked"  # shed: a full queue evicted its worst-ranked entry
    QUEUE_TIMEOUT = "queue_timeout"  # shed
    DENYLISTED = "denylisted"  # ban
    CLIENT_BANNED = "client_banned"  # ban
    ADDRESS_BANNED = "address_banned"  # ban
    HONEYPOT = "honeypot"  # ban


class Tier(enum.IntEnum):
    """Who goes first. Lower is better."""

    T0 = 0  # a pass with history before the onset; API keys; verified crawlers; allowlist
    T1 = 1  # a client with history before the onset
    T2 = 2  # a pass bought during the attack
    T3 = 3  # no pass, no history
    T4 = 4  # a score of 8 or more


class Signal(enum.Enum):
    """Something the edge saw of a client that is not a response (section 5 of the design: hard signals)."""

    MALFORMED = "malformed"  # a request that breaks HTTP
    SLOW_ABORT = "slow_abort"  # head, body or reading below its deadline


class Fault(enum.Enum):
    """What went wrong between a client, Shield and the upstream.

    The value is the word in logs, metrics and the types of problem documents. What each one is answered with stands in
    replies/faults.py.
    """

    # The request breaks HTTP.
    MALFORMED_HEAD = "malformed_head"
    BAD_HOST = "bad_host"
    MISDIRECTED = "misdirected"
    BAD_TARGET = "bad_target"
    BAD_FRAMING = "bad_framing"
    VERSION_UNSUPPORTED = "version_unsupported"
    METHOD_UNKNOWN = "method_unknown"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    EXPECTATION_FAILED = "expectation_failed"
    # The request is too slow or too large.
    HEAD_TIMEOUT = "head_timeout"
    BODY_TIMEOUT = "body_timeout"
    BODY_TOO_LARGE = "body_too_large"
    TARGET_TOO_LONG = "target_too_long"
    HEAD_TOO_LARGE = "head_too_large"
    # The upstream failed.
    UPSTREAM_REFUSED = "upstream_refused"
    UPSTREAM_CLOSED = "upstream_closed"
    UPSTREAM_GARBAGE = "upstream_garbage"
    UPSTREAM_TIMEOUT = "upstream_timeout"
    UPSTREAM_UNAVAILABLE = "upstream_unavailable"
    # Shield itself.
    STREAMS_FULL = "streams_full"
    OUT_OF_FILES = "out_of_files"
    INTERNAL = "internal"
    # Below /.well-known/shield/.
    NOT_FOUND = "not_found"
    GET_ONLY = "get_only"
    POST_ONLY = "post_only"
    UNSUPPORTED_MEDIA = "unsupported_media"
    CROSS_SITE = "cross_site"


@dataclass(eq=False, slots=True)
class Verdict:
    """What to do with one request, and why.

    Shared by the requests that it is the same for, so it is never changed (not frozen: that costs 0.6 µs each), and
    compared and hashed by identity, so that what is made of it can be kept.
    `retry_after` is in whole seconds, 0 where it does not apply. `limit` is the `(rate, burst)` in units/s and
    units of the bucket that refused, `remaining` its units left: the RateLimit fields are made of them.
    """

    action: Action
    reason: Reason
    retry_after: int = 0
    limit: tuple[float, float] | None = None
    remaining: float = 0.0


class Request:
    """One request, as the policy sees it. The edge fills the first group; the rest is the policy's.

    `headers` is a case-insensitive mapping (first value of a repeated field). `path` is the path part of the target as
    sent, `owner` is opaque to the policy: the edge finds its way back by it. `held` is true while the body is not
    buffered yet: decide() then judges without taking a concurrency slot, and enter() takes it later.
    """

    __slots__ = (
        "admitted",
        "admitted_at",
        "client",
        "cost",
        "epoch",
        "grant",
        "has_slot",
        "headers",
        "held",
        "method",
        "most",
        "owner",
        "path",
        "queued_at",
        "rank",
        "route",
        "shadow",
        "subject",
        "tier",
        "token",
        "verdict",
    )

    # the policy's
    verdict: Verdict  # the latest; changes while the request is queued
    admitted: Verdict  # while it is queued: the one to FORWARD that it was queued with
    tier: Tier
    grant: bool  # the response may carry an earned pass: ask grant()
    route: Route
    cost: float  # units, as estimated on entry
    subject: Pass | None  # the pass or API key that its cost is charged to; None: its client and address
    most: float  # units it may count for
    shadow: float  # the factor that it was charged at; negative when it was not charged
    rank: float  # within its tier, higher goes first
    queued_at: float  # when it was put into the queue; 0 when it is not in it
    has_slot: bool
    epoch: int  # of the concurrency limit, in which it took its slot

    def __init__(
        self,
        client: Client,
        method: str,
        path: str,
        headers: Mapping[str, str],
        token: Pass | None,
        held: bool,
        owner: Any,
    ) -> None:
        self.client = client
        self.method = method
        self.path = path
        self.headers = headers
        self.token = token
        self.held = held
        self.owner = owner


class Outcome:
    """How a forwarded request ended, for learn().

    `status` is the response's, or the status Shield answered with in the upstream's place (502, 503, 504), or 0
    when the client left before a response head came. `rtt` is in seconds from the last byte of the request sent to
    the response's head, negative when there was no head. `stream` marks WebSockets and event streams, which are no
    samples of latency.
    """

    __slots__ = ("rtt", "status", "stream")

    def __init__(self, status: int, rtt: float, stream: bool = False) -> None:
        self.status = status
        self.rtt = rtt
        self.stream = stream
