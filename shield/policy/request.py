"""The request as the policy sees it: what its client asked for, and what the policy notes on it until it ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shield.model import Tier, Verdict
from shield.policy.entries import Pass
from shield.policy.identity import Client
from shield.policy.routes import Route
from shield.readers import Reader


class Request:
    """One request. Its maker fills the first group of attributes; the second is the policy's.

    `headers` is a case-insensitive mapping (first value of a repeated field). `path` is the path part of the target as
    sent. `shown_pass` is the pass that came with it, which the policy replaces by what holds now. `owner` is opaque to
    the policy: whoever made the request finds its way back by it. `reader` is who reads what Shield says to it: None
    until somebody asks that (provoked.py), unless its maker knows. While `body_pending` is true the body is not
    buffered yet: decide() then judges the request and takes no concurrency slot, which enter() takes later.

    It has more than 15 attributes because the policy's notes stand here: an object of their own would have to be made
    for each request.
    """

    __slots__ = (
        "admitted",
        "body_pending",
        "bot",
        "braked_by",
        "charged_factor",
        "charged_pass",
        "client",
        "cost",
        "epoch",
        "grant",
        "has_slot",
        "headers",
        "method",
        "most_charged",
        "owner",
        "path",
        "queued_at",
        "rank",
        "reader",
        "route",
        "shown_pass",
        "tier",
        "verdict",
    )

    # for whoever asked
    verdict: Verdict  # the latest; changes while the request is queued
    tier: Tier
    braked_by: str  # of a verdict for the limit of a route, in a dry run too: what the route is called; else not set
    bot: str  # who has signed it; only set where somebody has
    grant: bool  # the response may carry an earned pass: ask the engine's grant()
    has_slot: bool
    queued_at: float  # when it was put into the queue; 0 when it is not in it
    # how it is charged
    route: Route
    cost: float  # units, as estimated from the route
    charged_pass: Pass | None  # the pass or API key that the cost is charged to; None: its client and address
    charged_factor: float  # the factor on the rate that it was charged at; NOT_CHARGED when it was not charged
    most_charged: float  # units that it is charged for at most
    # while it waits, and at the upstream
    admitted: Verdict  # the one to FORWARD that it was queued with
    rank: float  # within its tier; a higher one goes first
    epoch: int  # of the concurrency limit, in which it took its slot

    def __init__(
        self,
        client: Client,
        method: str,
        path: str,
        headers: Mapping[str, str],
        shown_pass: Pass | None,
        body_pending: bool,
        owner: Any,
        reader: Reader | None = None,
    ) -> None:
        self.client = client
        self.method = method
        self.path = path
        self.headers = headers
        self.shown_pass = shown_pass
        self.body_pending = body_pending
        self.owner = owner
        self.reader = reader
