"""What client connections serve requests with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shield.client.connections import Connections
    from shield.client.h2.response import FieldPairs
    from shield.client.h2.session import Terms
    from shield.client.hosting import Hosting
    from shield.client.peer import Recognition
    from shield.client.resting import Resting
    from shield.client.routed import Routed
    from shield.client.shut_out import ShutOut
    from shield.client.watch import Limits
    from shield.exchange.forwarder import Forwarder
    from shield.http.plain_head import PlainHeads
    from shield.operator.log import AccessLog
    from shield.operator.metrics import Metrics
    from shield.policy.engine import Engine
    from shield.replies.own_pages import OwnPages
    from shield.replies.proof import ProofOfWork
    from shield.replies.rendering import Replies
    from shield.wire.sideline import Lane, Sideline


@dataclass(slots=True)
class Serving:
    """One per site, mostly for a whole process; put together by process/assembly.py. It holds no state of a request.

    A connection turns banned addresses away with `shut_out`, reads with `heads`, finds out who asks with `recognition`,
    asks `engine`, sends on with `forwarder`, and says itself what `replies`, `proof` and `own_pages` give it. `hsts` is
    a field line for what is sent over TLS, with its CRLF, or empty. `resting` are those who are not read for a moment;
    strangers are read on the `lane` of the `sideline` while that is open. `routed` is what is set for single routes,
    None where nothing is. `http2` and `field_pairs` are for clients that speak HTTP/2; `h2c`: they may without TLS.
    `hosting` finds the Serving of another site, None where there is one: only engine, lane, forwarder, limits, proof,
    own_pages and routed differ between sites.
    Each part that a connection asks is in it by name, so it has more than 15 attributes.
    """

    connections: Connections
    limits: Limits
    heads: PlainHeads
    recognition: Recognition
    shut_out: ShutOut
    engine: Engine
    forwarder: Forwarder
    replies: Replies
    proof: ProofOfWork
    own_pages: OwnPages
    metrics: Metrics
    log: AccessLog
    clock: Callable[[], float]
    loop: Any
    hsts: bytes
    resting: Resting
    sideline: Sideline
    lane: Lane
    routed: Routed | None
    http2: Terms
    field_pairs: FieldPairs
    h2c: bool
    hosting: Hosting[Serving] | None = None
