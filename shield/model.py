"""The vocabulary that every part of Shield shares: actions, reasons, tiers, signals, verdicts, outcomes.

Nothing here decides or does anything, and it imports nothing of Shield. Logs, metrics, response fields, the admin API
and the tests use the `value` of these enums, so the words are the same everywhere. Times are monotonic seconds, costs
are units (one unit is ten milliseconds of undisturbed upstream time).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self

DEFAULT_SITE: Final = "default"
"""The name of the only site, and of that for the hosts which no other one names."""

UNIT_SECONDS: Final = 0.010
"""Upstream time that one unit of cost stands for."""


class Action(enum.Enum):
    """What to do with a request. In a dry run the `_DRY_RUN` twins are reported, and the request is forwarded."""

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
    """Why a request was forwarded, queued or refused. Each reason belongs to one `action`."""

    _value_: str
    action: Action

    __hash__ = object.__hash__  # Enum's is written in Python and costs 0.1 µs

    def __new__(cls, word: str, action: Action) -> Self:
        member = object.__new__(cls)
        member._value_ = word
        member.action = action
        return member

    OK = "ok", Action.FORWARD
    ALLOWLISTED = "allowlisted", Action.FORWARD
    API_KEY = "api_key", Action.FORWARD
    CRAWLER = "crawler", Action.FORWARD  # a crawler whose name and address were verified
    OPERATOR_ALLOWED = "operator_allowed", Action.FORWARD  # by a rule that the operator made at run time
    AT_CAPACITY = "at_capacity", Action.QUEUE  # every concurrency slot is taken
    CHALLENGE_ALWAYS = "challenge_always", Action.CHALLENGE  # challenge.mode = "always"
    NEWCOMER = "newcomer", Action.CHALLENGE  # under pressure, no pass, no history
    BAD_REPUTATION = "bad_reputation", Action.CHALLENGE  # under pressure, no pass, a score that makes T4
    OVERSUBSCRIBED = "oversubscribed", Action.CHALLENGE  # T0 and T1 alone ask for more than there is
    BAD_NEIGHBOUR = "bad_neighbour", Action.CHALLENGE  # at a banned address, no pass, no history
    PASS_RATE = "pass_rate", Action.LIMIT
    CLIENT_RATE = "client_rate", Action.LIMIT
    ADDRESS_RATE = "address_rate", Action.LIMIT
    NETWORK_RATE = "network_rate", Action.LIMIT
    FINGERPRINT_RATE = "fingerprint_rate", Action.LIMIT  # under pressure, a program of strangers, not of known clients
    OPERATOR_LIMIT = "operator_limit", Action.LIMIT  # by such a rule
    ROUTE_RATE = "route_rate", Action.LIMIT  # the limit of a single route
    QUEUE_FULL = "queue_full", Action.SHED
    OUTRANKED = "outranked", Action.SHED  # a full queue evicted its worst-ranked request
    QUEUE_TIMEOUT = "queue_timeout", Action.SHED
    DENYLISTED = "denylisted", Action.BAN
    OPERATOR_BANNED = "operator_banned", Action.BAN  # by such a rule, which ends
    OPERATOR_DENIED = "operator_denied", Action.BAN
    CLIENT_BANNED = "client_banned", Action.BAN
    ADDRESS_BANNED = "address_banned", Action.BAN
    HONEYPOT = "honeypot", Action.BAN


class Tier(enum.IntEnum):
    """Who goes first under pressure. A lower tier goes before a higher one."""

    T0 = 0  # a pass with history before the onset; API keys; verified crawlers; allowlist
    T1 = 1  # a client with history before the onset, or an earned pass without
    T2 = 2  # a pass bought during the attack
    T3 = 3  # no pass, no history
    T4 = 4  # a score above `reputation.bad_score`


class Signal(enum.Enum):
    """Misbehaviour on a connection that is no response of the upstream. Each is a key of `[reputation]`."""

    MALFORMED = "malformed"  # hard: a request that breaks HTTP as only a program can
    SLOW_ABORT = "slow_abort"  # soft: a head missed its deadline, or under pressure a body of which little has come


class Fault(enum.Enum):
    """What went wrong between a client, Shield and the upstream.

    The value is the word in logs, metrics and the types of problem documents. `status` is that of the reply, by RFC
    9110 section 15 and RFC 6585; what else the reply says stands in replies/faults.py.
    """

    _value_: str
    status: int

    __hash__ = object.__hash__  # Enum's is written in Python and costs 0.1 µs

    def __new__(cls, word: str, status: int) -> Self:
        member = object.__new__(cls)
        member._value_ = word
        member.status = status
        return member

    # The request breaks HTTP.
    MALFORMED_HEAD = "malformed_head", 400
    BAD_HOST = "bad_host", 400
    MISDIRECTED = "misdirected", 421
    BAD_TARGET = "bad_target", 400
    BAD_FRAMING = "bad_framing", 400
    CODING_UNKNOWN = "coding_unknown", 501
    VERSION_UNSUPPORTED = "version_unsupported", 505
    LOOP_DETECTED = "loop_detected", 508  # this Shield has sent the request on before
    METHOD_UNKNOWN = "method_unknown", 501
    METHOD_NOT_ALLOWED = "method_not_allowed", 405
    EXPECTATION_FAILED = "expectation_failed", 417
    # The request is too slow or too large.
    HEAD_TIMEOUT = "head_timeout", 408
    BODY_TIMEOUT = "body_timeout", 408
    BODY_TOO_LARGE = "body_too_large", 413
    TARGET_TOO_LONG = "target_too_long", 414
    HEAD_TOO_LARGE = "head_too_large", 431
    # The upstream failed.
    UPSTREAM_REFUSED = "upstream_refused", 502
    UPSTREAM_CLOSED = "upstream_closed", 502
    UPSTREAM_RESET = "upstream_reset", 502  # the stream of the request, over HTTP/2; the connection stays
    UPSTREAM_GARBAGE = "upstream_garbage", 502
    UPSTREAM_TIMEOUT = "upstream_timeout", 504
    UPSTREAM_UNAVAILABLE = "upstream_unavailable", 503
    # Shield itself.
    STREAMS_FULL = "streams_full", 503
    OUT_OF_FILES = "out_of_files", 503
    INTERNAL = "internal", 500
    # Below /.well-known/shield/.
    NOT_FOUND = "not_found", 404
    GET_ONLY = "get_only", 405
    POST_ONLY = "post_only", 405
    UNSUPPORTED_MEDIA = "unsupported_media", 415
    CROSS_SITE = "cross_site", 403
    # Where other proxies ask (listen.gate).
    GATE_PEER = "gate_peer", 403  # who asks is no trusted proxy
    GATE_QUESTION = "gate_question", 400  # what is asked is no question


@dataclass(eq=False, slots=True)
class Verdict:
    """What to do with a request, and why.

    One verdict is shared by all requests that it is the same for, so it is never changed. (It is not frozen: that
    costs 0.6 µs each.) It is compared and hashed by identity, so that what is made of it can be kept.

    `action` is the reason's, or its dry-run twin. `retry_after` is in whole seconds, 0 where it does not apply.
    `limit` is the (rate, burst) in units/s and units of the bucket that refused, `remaining` its units left: the
    RateLimit fields are made of them.
    """

    reason: Reason
    retry_after: int = 0
    limit: tuple[float, float] | None = None
    remaining: float = 0.0
    action: Action = field(init=False)

    def __post_init__(self) -> None:
        self.action = self.reason.action

    def in_dry_run(self) -> Verdict:
        """The same verdict as a dry run reports it: with the twin of its action where that refuses."""
        twin = Verdict(self.reason, self.retry_after, self.limit, self.remaining)
        twin.action = DRY_RUN_TWIN.get(self.action, self.action)
        return twin


class Outcome:
    """How a forwarded request ended, for the policy's learn().

    `status` is the response's, or the status that Shield answered with in the upstream's place (502, 503, 504), or 0
    when the client left before a response head came. `rtt` is the time in seconds from the last byte of the request
    sent to the response's head, negative when there was no head. Of these, up to `unsure` seconds may have been spent
    in Shield, which had others to serve. `stream` marks WebSockets and event streams, whose times are no samples of
    latency.
    """

    __slots__ = ("rtt", "status", "stream", "unsure")

    def __init__(self, status: int, rtt: float, stream: bool = False, unsure: float = 0.0) -> None:
        self.status = status
        self.rtt = rtt
        self.stream = stream
        self.unsure = unsure
