"""What all exchanges of a process share: the policy, the pool, the counters, one clock."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any, Protocol, cast

if TYPE_CHECKING:
    from shield.exchange.budgets import Budgets
    from shield.exchange.earned import EarnedPasses
    from shield.exchange.slot import Streams
    from shield.exchange.spool import Spools
    from shield.http.origins import Origins
    from shield.operator.log import AccessLog
    from shield.operator.metrics import Metrics
    from shield.policy.engine import Engine
    from shield.policy.request import Request
    from shield.upstream.pool import Pool
    from shield.wire.splice import Pipe
    from shield.wire.transport import Backlog
    from shield.wire.turns import Turns


class Asking(Protocol):
    """An exchange, as far as it is known here."""

    request: Request


@dataclass(slots=True)
class Forwarder:
    """One per process, put together by process/assembly.py. It holds no state of a request. It has more than 15
    attributes because each thing that exchanges share is one.

    `request_ids` gives another one with each call, for requests that bring none.
    `body_buffer_bytes` is http.body_buffer_bytes, and `linger` is timeouts.linger, in seconds. `backlog` counts what is
    kept of bodies in memory. `read_fields` show a pass or a key: their names in lower case.
    `budgets` tells who shows an API key what is left of it, where that is wanted.
    """

    engine: Engine
    pool: Pool
    streams: Streams
    earned: EarnedPasses
    origins: Origins
    metrics: Metrics
    log: AccessLog
    clock: Callable[[], float]
    loop: Any
    request_ids: Callable[[], bytes]
    body_buffer_bytes: int
    spools: Spools
    linger: float
    backlog: Backlog
    turns: Turns
    pipe: Pipe
    read_fields: Collection[bytes] = ()
    budgets: Budgets | None = None

    def buffer_for(self, request: Request) -> int:
        """Bytes of a request's body that are kept in memory, as its route says or http.body_buffer_bytes."""
        routing = self.engine.routing
        terms = None if routing is None else routing.of(request)
        return self.body_buffer_bytes if terms is None or terms.body_buffer is None else terms.body_buffer

    def make_way(self, now: float) -> None:
        """Have requests that the service lets wait for long go on without their slots, if others wait for these."""
        after = self.engine.long_after(now)
        if after < inf:
            awaited = [each for server in self.pool.servers for each in server.awaited(now - after)]
            asking = [*cast("list[Asking]", awaited), *self.streams.trickling(after, now)]
            self.resume(self.engine.make_way([exchange.request for exchange in asking], now), now)

    def resume(self, released: Sequence[Request], now: float) -> None:
        """Carry on with queued requests whose verdict the policy has changed."""
        for request in released:
            request.owner.resume(now)
