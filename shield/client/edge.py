"""What every connection of the proxy shares: the policy, the pool, the settings, the counters, one clock.

One object per process, built by service.py. It holds no state of a request.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge, Gt, Le
from typing_extensions import Doc

from shield.client.crowding import Crowding
from shield.client.peer import Recognition
from shield.http.plain_head import PlainHeads
from shield.marks import Unit, Why
from shield.policy.request import Request
from shield.replies.own_pages import OwnPages
from shield.replies.proof import ProofOfWork

if TYPE_CHECKING:
    from shield.client.sweep import Sweep
    from shield.http.forwarded import Forwarding
    from shield.http.head import Examiner, HttpSettings
    from shield.operator.log import AccessLog
    from shield.operator.metrics import Metrics
    from shield.policy.engine import Engine
    from shield.replies.rendering import Replies
    from shield.upstream.crawlers import Crawlers
    from shield.upstream.pool import Pool
    from shield.upstream.settings import UpstreamSettings


@dataclass(frozen=True, slots=True)
class TimeoutSettings:
    """The [timeouts] table: how long a client may take. Those for the upstream are in [upstream]."""

    header: Annotated[
        float,
        Gt(0),
        Le(300),
        Unit("s"),
        Doc("Time for a request's head, from its first byte; 408 beyond."),
        Why(
            "Precedent", "Apache's mod_reqtimeout allows 20 s at first, nginx 60 s; a head fits into one or two packets"
        ),
    ] = 10.0
    keep_alive: Annotated[
        float,
        Gt(0),
        Le(3600),
        Unit("s"),
        Doc("Time between two requests of a connection."),
        Why("Precedent", "nginx's keepalive_timeout"),
    ] = 75.0
    connection: Annotated[
        float,
        Gt(0),
        Unit("s"),
        Doc("Life of a connection, after which the next answer ends it (Connection: close). WebSockets stay."),
        Why("Precedent", "nginx's keepalive_time"),
    ] = 3600.0
    progress: Annotated[
        float,
        Gt(0),
        Le(300),
        Unit("s"),
        Doc("Time within which a body, in either direction, must have moved by min_rate times this."),
        Why("Precedent", "Apache's mod_reqtimeout: body=20"),
    ] = 20.0
    min_rate: Annotated[
        int,
        Ge(0),
        Le(1 << 20),
        Unit("bytes/s"),
        Doc("Least payload rate of an upload and of a client that reads a response; 0 is none."),
        Why("Precedent", "Apache's mod_reqtimeout: MinRate=500"),
    ] = 500
    linger: Annotated[
        float,
        Gt(0),
        Le(30),
        Unit("s"),
        Doc(
            "Time after an error in which what the client still sends is read and dropped, so that it sees the answer."
        ),
        Why("Chosen", "two round trips of a bad line; nginx's lingering_timeout is 5 s"),
    ] = 2.0
    drain: Annotated[
        float,
        Ge(0),
        Le(3600),
        Unit("s"),
        Doc("Time after SIGTERM in which requests in flight may end."),
        Why("Precedent", "the grace period of Kubernetes"),
    ] = 30.0


@dataclass(slots=True)
class Edge:
    """The shared half of ClientConnection and Exchange."""

    engine: Engine
    pool: Pool
    replies: Replies
    metrics: Metrics
    log: AccessLog
    forwarding: Forwarding
    examiner: Examiner
    deadlines: Sweep
    crawlers: Crawlers
    http: HttpSettings
    timeouts: TimeoutSettings
    upstream: UpstreamSettings
    cookie: bytes
    cookie_anywhere: bool
    pass_lifetime: int
    clock: Callable[[], float]
    loop: Any
    request_ids: Callable[[], bytes]
    max_streams: int = sys.maxsize  # exchanges without a slot, which metrics.streams_open counts
    draining: bool = field(default=False)
    on_close: Callable[[], None] = field(default=lambda: None)
    hsts: bytes = b""  # the line that is added to responses over TLS, if any
    ahead: int = 0  # bytes of responses that were read ahead of slow clients
    laggards: int = 0  # exchanges too slow for a slot, which hold an upstream connection without one
    plain: PlainHeads = field(init=False)
    connections: Crowding = field(init=False)
    recognition: Recognition = field(init=False)
    proof: ProofOfWork = field(init=False)
    own_pages: OwnPages = field(init=False)

    def __post_init__(self) -> None:
        self.connections = Crowding(
            self.engine, self.log, self.metrics.connections_closed, self.forwarding.trusts, self.clock
        )
        self.plain = PlainHeads(self.examiner)
        self.recognition = Recognition(self.engine, self.forwarding, self.crawlers, self.cookie)
        self.proof = ProofOfWork(self.engine, self.replies, self.metrics)
        self.own_pages = OwnPages(self.proof, self.replies, self.metrics)

    def resume(self, released: Sequence[Request], now: float) -> None:
        """Carry on with requests whose verdict the policy has changed."""
        for request in released:
            request.owner.resume(now)
