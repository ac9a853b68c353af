"""Puts together what client connections are served with, from the policy to the pool. Tests and benchmarks do the same
with parts of their own."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from shield.client.connections import Connections
from shield.client.crowding import Crowding
from shield.client.flow import ReadAhead
from shield.client.h2.response import FieldPairs
from shield.client.h2.session import Terms
from shield.client.peer import Recognition
from shield.client.resting import Resting
from shield.client.routed import Routed, largest
from shield.client.serving import Serving
from shield.client.shut_out import ShutOut
from shield.client.watch import Limits, TimeoutSettings
from shield.exchange.budgets import Budgets
from shield.exchange.earned import EarnedPasses
from shield.exchange.forwarder import Forwarder
from shield.exchange.slot import Streams
from shield.exchange.spool import Spools
from shield.http.head import Examiner
from shield.http.origins import Origins
from shield.http.plain_head import PlainHeads
from shield.http.settings import HttpSettings
from shield.replies.own_pages import OwnPages
from shield.replies.proof import ProofOfWork
from shield.wire.sideline import Lane, Sideline
from shield.wire.spill import Spill
from shield.wire.splice import Pipe
from shield.wire.turns import Turns

if TYPE_CHECKING:
    from shield.http.forwarded import Forwarding
    from shield.operator.log import AccessLog
    from shield.operator.metrics import Metrics
    from shield.policy.challenge.settings import ChallengeSettings
    from shield.policy.engine import Engine
    from shield.policy.sites import Sites
    from shield.replies.rendering import Replies
    from shield.upstream.crawlers import Crawlers
    from shield.upstream.pool import Pool


def assemble(
    *,
    engine: Engine,
    pool: Pool,
    replies: Replies,
    crawlers: Crawlers,
    forwarding: Forwarding,
    http: HttpSettings,
    timeouts: TimeoutSettings,
    challenge: ChallengeSettings,
    metrics: Metrics,
    log: AccessLog,
    clock: Callable[[], float],
    loop: asyncio.AbstractEventLoop,
    request_ids: Callable[[], bytes],
    most_streams: int = sys.maxsize,
    hsts: bytes = b"",
    h2c: bool = False,
    on_close: Callable[[], None] = lambda: None,
    others: Sequence[HttpSettings] = (),
    guard: Sites | None = None,
    tell_api_keys: bool = False,
) -> Serving:
    """What the only site, or the first one, is served with.

    `request_ids` returns a new id at each call. At most `most_streams` exchanges go on without a slot. `on_close` is
    called when a client connection has been closed. For `hsts` and `h2c` see Serving. `others` are the settings of
    further sites, and `guard` has the engines of all.
    """

    headers = [name for name in (challenge.header, engine.api_key_header) if name]
    proof = ProofOfWork(engine, replies, metrics, log)
    origins = Origins()
    crowding = Crowding(engine, log, metrics.connections_closed, forwarding.trusts, clock)
    turns = pool.dialer.turns = Turns(loop, clock)
    crowding.backlog.limit(http.unsent_bytes, lambda: loop.call_soon(crowding.relieve))
    crowding.backlog.spill = Spill(
        http.unsent_memory_bytes,
        http.body_spool_directory,
        clock,
        lambda error: log.event("answers_not_spilled", error=str(error)),
    )
    limits = Limits(timeouts, pool.settings)
    routed = None if engine.routing is None and guard is None else Routed(engine.routing, limits, http.max_body_bytes)
    most_body = _most_body(http, engine)
    if guard is not None:
        bodies = [_most_body(each, one) for each, one in zip((http, *others), guard, strict=True)]
        most_body = max(bodies) if all(bodies) else 0
    sideline = Sideline(loop, turns, clock)
    return Serving(
        connections=Connections(
            crowding,
            ReadAhead(http.response_buffer_bytes, http.response_buffers_bytes),
            metrics,
            on_close,
        ),
        limits=limits,
        heads=PlainHeads(Examiner(replace(http, max_body_bytes=most_body), challenge.header, forwarding.mark)),
        recognition=Recognition(engine, forwarding, crawlers, challenge.cookie.encode("ascii")),
        shut_out=ShutOut(
            guard or engine,
            forwarding.trusts,
            challenge.cookie,
            headers,
            http.max_fields,
            replies,
            metrics,
            log,
            request_ids,
        ),
        engine=engine,
        forwarder=Forwarder(
            engine=engine,
            pool=pool,
            streams=Streams(metrics, most_streams),
            earned=_earned(engine, metrics, replies, challenge),
            origins=origins,
            metrics=metrics,
            log=log,
            clock=clock,
            loop=loop,
            request_ids=request_ids,
            body_buffer_bytes=http.body_buffer_bytes,
            spools=Spools(http.body_spool_bytes, http.body_spools_bytes, http.body_spool_directory, log, clock),
            linger=timeouts.linger,
            backlog=crowding.backlog,
            turns=turns,
            pipe=Pipe(),
            read_fields=_read_fields(challenge, engine),
            budgets=Budgets(engine) if tell_api_keys else None,
        ),
        replies=replies,
        proof=proof,
        own_pages=OwnPages(proof, replies, metrics, log, origins),
        metrics=metrics,
        log=log,
        clock=clock,
        loop=loop,
        hsts=hsts,
        resting=Resting(),
        sideline=sideline,
        lane=_lane(sideline, engine),
        routed=routed,
        http2=Terms(http.max_head_bytes, http.max_fields),
        field_pairs=FieldPairs(hsts),
        h2c=h2c,
    )


def assemble_site(
    first: Serving,
    *,
    engine: Engine,
    pool: Pool,
    http: HttpSettings,
    timeouts: TimeoutSettings,
    challenge: ChallengeSettings,
    most_streams: int = sys.maxsize,
) -> Serving:
    """What another site is served with: all that is not its own is that of the first."""
    metrics, log, replies = first.metrics, first.log, first.replies
    limits = Limits(timeouts, pool.settings)
    proof = ProofOfWork(engine, replies, metrics, log)
    pool.dialer.turns = first.forwarder.turns
    return replace(
        first,
        engine=engine,
        lane=_lane(first.sideline, engine),
        limits=limits,
        forwarder=replace(
            first.forwarder,
            engine=engine,
            pool=pool,
            streams=Streams(metrics, most_streams),
            earned=_earned(engine, metrics, replies, challenge),
            body_buffer_bytes=http.body_buffer_bytes,
            read_fields=_read_fields(challenge, engine),
            budgets=None if first.forwarder.budgets is None else Budgets(engine),
        ),
        proof=proof,
        own_pages=OwnPages(proof, replies, metrics, log, first.forwarder.origins),
        routed=Routed(engine.routing, limits, http.max_body_bytes),
    )


def _read_fields(challenge: ChallengeSettings, engine: Engine) -> Collection[bytes]:
    """The fields that show a pass or a key, by their names in lower case."""
    return {name.lower().encode("ascii") for name in (challenge.header, engine.api_key_header) if name}


def _lane(sideline: Sideline, engine: Engine) -> Lane:
    """Where strangers of a site stand. While Shield's own core is full, one who would have to wait for a slot is not
    read: to wait in the queue costs as much as all that the policy does besides. Under pressure all are read, as the
    policy says then who is let in."""
    return sideline.lane(lambda: engine.full and not engine.pressed, engine.awaits)


def _earned(engine: Engine, metrics: Metrics, replies: Replies, challenge: ChallengeSettings) -> EarnedPasses:
    def set_cookie(token: str, secure: bool) -> bytes:
        return replies.set_cookie(token, int(challenge.pass_lifetime), secure)

    return EarnedPasses(engine, metrics, set_cookie, challenge.earned_anywhere)


def _most_body(http: HttpSettings, engine: Engine) -> int:
    """Bytes that any body may have at a site; 0 for any number."""
    routes = () if engine.routing is None else engine.routing.routes
    return largest(http.max_body_bytes, (one.settings.body_bytes for one in routes))
