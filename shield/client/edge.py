"""What every connection of the proxy shares: the policy, the pool, the settings, the counters, one clock.

One object per process, built by service.py. It holds no state of a request.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shield.client.crowding import Crowding
from shield.client.flow import ReadAhead
from shield.client.peer import Recognition
from shield.exchange.earned import EarnedPasses
from shield.exchange.forwarder import Forwarder
from shield.exchange.slot import Streams
from shield.http.plain_head import PlainHeads
from shield.replies.own_pages import OwnPages
from shield.replies.proof import ProofOfWork

if TYPE_CHECKING:
    from shield.client.sweep import Sweep
    from shield.client.watch import TimeoutSettings
    from shield.http.forwarded import Forwarding
    from shield.http.head import Examiner
    from shield.http.settings import HttpSettings
    from shield.operator.log import AccessLog
    from shield.operator.metrics import Metrics
    from shield.policy.engine import Engine
    from shield.replies.rendering import Replies
    from shield.upstream.crawlers import Crawlers
    from shield.upstream.pool import Pool
    from shield.upstream.settings import UpstreamSettings


@dataclass(slots=True)
class Edge:
    """The shared half of ClientConnection."""

    engine: Engine
    pool: Pool
    replies: Replies
    metrics: Metrics
    log: AccessLog
    forwarding: Forwarding
    examiner: Examiner
    deadlines: Sweep[Any]
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
    plain: PlainHeads = field(init=False)
    connections: Crowding = field(init=False)
    recognition: Recognition = field(init=False)
    proof: ProofOfWork = field(init=False)
    own_pages: OwnPages = field(init=False)
    forwarder: Forwarder = field(init=False)
    ahead: ReadAhead = field(init=False)

    def __post_init__(self) -> None:
        self.connections = Crowding(
            self.engine, self.log, self.metrics.connections_closed, self.forwarding.trusts, self.clock
        )
        self.plain = PlainHeads(self.examiner)
        self.recognition = Recognition(self.engine, self.forwarding, self.crawlers, self.cookie)
        self.proof = ProofOfWork(self.engine, self.replies, self.metrics)
        self.own_pages = OwnPages(self.proof, self.replies, self.metrics)
        self.ahead = ReadAhead(self.http.response_buffer_bytes, self.http.response_buffers_bytes)
        replies, lifetime = self.replies, self.pass_lifetime
        self.forwarder = Forwarder(
            engine=self.engine,
            pool=self.pool,
            streams=Streams(self.metrics, self.max_streams),
            earned=EarnedPasses(
                self.engine,
                self.metrics,
                lambda token, secure: replies.set_cookie(token, lifetime, secure),
                self.cookie_anywhere,
            ),
            metrics=self.metrics,
            log=self.log,
            clock=self.clock,
            loop=self.loop,
            body_buffer_bytes=self.http.body_buffer_bytes,
            linger=self.timeouts.linger,
        )
