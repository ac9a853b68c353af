"""The composition root of one process: the one place that builds every part and hands each its settings.

The order is that in which parts need each other: keys and history, the policy, the upstream, what serves clients, and
the listening sockets last. Nothing is accepted yet when `build` returns.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Final

from shield.accept import file_limit, sockets
from shield.accept.certificates import Certificates
from shield.accept.entrance import Entrance
from shield.accept.first_read import FirstRead
from shield.accept.handshakes import OUTCOMES, Handshakes
from shield.accept.listener import Listener
from shield.accept.prelude import Prelude
from shield.accept.tls import hsts_field
from shield.client.connection import ClientConnection
from shield.client.crowding import MOST_PER_ADDRESS, MOST_PER_NETWORK, share_of
from shield.client.gate import GateConnection
from shield.client.h2.connection import Http2Connection
from shield.client.hosting import Hosting
from shield.client.serving import Serving
from shield.config.settings import Config, Site
from shield.demo.site import start_demo
from shield.errors import StartError
from shield.http.forwarded import Forwarding
from shield.lookup.bot_keys import BotKeys
from shield.lookup.known import Known
from shield.lookup.web_bot_auth import WebBotAuth
from shield.model import Fault
from shield.operator.desk import Desk
from shield.operator.log import AccessLog
from shield.operator.metrics import Metrics
from shield.operator.refusals import Refusals
from shield.operator.tracing import Traces
from shield.policy.board.seat import Seat
from shield.policy.cluster.leases import Leases
from shield.policy.cluster.side import Side
from shield.policy.engine import Engine
from shield.policy.keys import Keys, loop_tag
from shield.policy.request import Request
from shield.policy.sites import Sites
from shield.process.assembly import assemble, assemble_site
from shield.process.board import Seats
from shield.process.rules_desk import RulesDesk
from shield.process.share import Share
from shield.process.state import load_keys
from shield.replies import hashwx, looks
from shield.replies.looks import Looks
from shield.replies.redirect import Redirect
from shield.replies.rendering import Replies
from shield.upstream.connection import UpstreamConnection
from shield.upstream.crawlers import Crawlers
from shield.upstream.pool import Pool
from shield.upstream.resolve import Resolver
from shield.upstream.settings import DEMO
from shield.wire.client_hello import Program
from shield.wire.proxy_protocol import Ends

ADDRESS_SHARE: Final = 4
"""One address may hold one in so many connections, where `listen.max_connections_per_address` is 0."""
NETWORK_SHARE: Final = 2
"""One network may hold one in so many connections, where `listen.max_connections_per_network` is 0."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What every part is built in: `clock` gives monotonic seconds, `share` is for one of several workers.

    `sockets` are descriptors of listening sockets for the service and for tls.redirect_from, in the order of their
    addresses. `drop` has connections dropped (dropper.py). `metrics` go on from before where a config was read
    again. `admin` are sockets of the admin listener, where somebody else has bound it. `keys` sign passes, where this
    process serves alone. `seats` are those of one of several workers at their boards. `desk` is what the admin
    listener of one that serves alone can change. `refusals` are kept beyond a config that is read again. `known` is
    what the service before this one has read of files that tell of addresses. `rules_desk` has the operator's rules,
    which are changed at other machines, too.
    """

    config: Config
    log: AccessLog
    clock: Callable[[], float]
    wall_offset: float
    sockets: tuple[Sequence[int], Sequence[int]]
    drop: Callable[[Sequence[tuple[str, float]]], bool]
    share: Share | None = None
    metrics: Metrics | None = None
    keys: tuple[bytes, bytes | None] | None = None
    admin: Sequence[socket.socket] = ()
    seats: Seats | None = None
    desk: Desk | None = None
    refusals: Refusals = field(default_factory=Refusals)
    known: Known | None = None
    rules_desk: RulesDesk | None = None


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of one process."""

    metrics: Metrics
    keys: Keys
    sites: Sites
    replies: Replies
    places: Sequence[Place]  # in the order of `sites`
    serving: Serving  # that of the first
    certificates: Certificates | None
    known: Known
    crawlers: Crawlers
    bots: WebBotAuth | None
    listeners: Sequence[Listener]  # the first is for the service, the second for tls.redirect_from
    connections: int  # that clients may have at the same time


@dataclass(frozen=True, slots=True)
class Place:
    """What one site has of its own."""

    site: Site
    engine: Engine
    pool: Pool
    serving: Serving


async def build(setting: Setting, closing: AsyncExitStack) -> Parts:
    """Build everything. What must be closed at the end is pushed to `closing`. Raises StartError."""
    config, log, clock = setting.config, setting.log, setting.clock
    listening = [_adopted(each, config.listen.backlog, closing) for each in setting.sockets]
    metrics = _metrics(setting)
    keys = _keys(setting)
    configured, connections = _within_file_limit(config)
    sites = Sites(list(_engines(setting, configured, keys)))
    first = sites.first
    known = await _known(setting, sites)
    bots = await _bots(setting, first)
    certificates = None
    if config.tls.certificates:
        http2 = config.http.h2 and not config.listen.gate
        certificates = Certificates(config.tls.certificates, log.event, http2=http2)
        metrics.handshakes.update(dict.fromkeys(OUTCOMES, 0) | metrics.handshakes)
    resolvers = _resolvers(config, clock, closing)
    crawlers = Crawlers(resolvers[config.upstream.resolver], lambda address, ok: first.vouch(address, ok, clock()))
    closing.push_async_callback(crawlers.close)
    pools = [await _pool(setting, site, metrics, resolvers[site.upstream.resolver], closing) for site in configured]
    wasm = hashwx.module() if config.challenge.algorithm == "hashwx" else b""
    replies = Replies(config.challenge.cookie, config.challenge.header, _looks(config), wasm)
    listeners: list[Listener] = []

    def accept_again() -> None:
        for listener in listeners:
            listener.check()

    serving = assemble(
        engine=first,
        pool=pools[0],
        replies=replies,
        crawlers=crawlers,
        forwarding=_forwarding(config, configured, keys),
        http=configured[0].http,
        timeouts=configured[0].timeouts,
        challenge=config.challenge,
        metrics=metrics,
        log=log,
        clock=clock,
        loop=asyncio.get_running_loop(),
        request_ids=request_ids(os.urandom(4).hex()),
        most_streams=file_limit.stream_limit(configured[0].upstream.max_streams, connections),
        hsts=hsts_field(config.tls),
        h2c=config.listen.h2c and not config.listen.gate,
        on_close=accept_again,
        others=[site.http for site in configured[1:]],
        guard=sites if config.site else None,
        tell_api_keys=config.identity.tell_api_keys,
    )
    closing.callback(serving.sideline.close)
    places = _places(config, configured, sites, pools, serving, connections)
    serving = places[0].serving
    crowd, listen = serving.connections.crowding, config.listen
    crowd.per_address = share_of(listen.max_connections_per_address, connections, ADDRESS_SHARE, MOST_PER_ADDRESS)
    crowd.per_network = share_of(listen.max_connections_per_network, connections, NETWORK_SHARE, MOST_PER_NETWORK)
    trusts = serving.recognition.forwarding.trusts
    entrance = Entrance(
        serving.loop, clock, metrics, log, crowd, trusts, accept_again, serving.forwarder.turns, serving.sideline
    )
    for listener in _listeners(config, listening, serving, entrance, certificates, connections):
        listeners.append(listener)
        closing.callback(listener.stop)
    log.traces = None
    if config.traces.endpoint:
        log.traces = traces = Traces(config.traces, clock, setting.wall_offset)
        closing.push_async_callback(traces.close)
    return Parts(
        metrics, keys, sites, replies, places, serving, certificates, known, crawlers, bots, listeners, connections
    )


async def _known(setting: Setting, sites: Sites) -> Known:
    """What is read of files that tell of addresses; the engines and the log go by it."""
    config, log = setting.config, setting.log
    known = Known(config.identity, config.listen.trusted_proxies, log.event, setting.known)
    if known.sources:
        await asyncio.to_thread(known.load)
        sites.know(known.standing(), setting.clock())
    if known.tells:
        log.where = known.where
    return known


async def _bots(setting: Setting, first: Engine) -> WebBotAuth | None:
    """Who verifies the signatures of bots, where there are keys of any; the engines ask it."""
    directory = setting.config.identity.bot_keys
    if not directory:
        return None
    keys = BotKeys(directory, setting.log.event)
    await asyncio.to_thread(keys.load)
    bots = first.clients.bots.verify = WebBotAuth(keys, setting.wall_offset)
    return bots


def _looks(config: Config) -> Looks:
    try:
        return looks.load(config.pages)
    except looks.LooksError as error:
        raise StartError(f"pages.{error.key}: {error}") from None


def _metrics(setting: Setting) -> Metrics:
    if setting.metrics is not None:
        return setting.metrics
    metrics = Metrics()
    metrics.log = setting.log
    metrics.faults.update((fault.value, 0) for fault in Fault)  # a counter that appears late loses its first step
    return metrics


def _keys(setting: Setting) -> Keys:
    """The signing keys, which are the same in all workers."""
    keys = setting.keys if setting.share is None else setting.share.keys
    return Keys(*(keys or load_keys(setting.config.state, setting.log)))


def _forwarding(config: Config, sites: Sequence[Site], keys: Keys) -> Forwarding:
    """Which proxies are believed about their clients, and the field in which they name them at each site."""
    usual, mark = config.listen.forwarded_from, _mark(config, keys)
    if all(site.forwarded_from == usual for site in sites):
        return Forwarding(config.listen.trusted_proxies, usual, mark)
    fields = Hosting([(site.hosts, site.forwarded_from) for site in sites])
    return Forwarding(config.listen.trusted_proxies, usual, mark, fields.of)


def _mark(config: Config, keys: Keys) -> bytes:
    """What CDN-Loop says of this Shield: the same in all its workers, and another one in a Shield that listens
    elsewhere, even with the same keys."""
    place = " ".join((socket.gethostname(), *config.listen.addresses)).encode("utf-8")
    return b"shield-" + loop_tag(keys.current, place).hex().encode("ascii")


def _engines(setting: Setting, sites: Sequence[Site], keys: Keys) -> Iterator[Engine]:
    first: Engine | None = None
    check_hashwx = hashwx.HashWX().check if setting.config.challenge.algorithm == "hashwx" else None
    side = _side(setting, keys)
    for site in sites:
        most, seat = site.upstream.max_concurrency, _seat(setting, site.name)
        engine = Engine(
            site.policy,
            keys,
            os.urandom,
            setting.wall_offset,
            most,
            seat=seat,
            site=site.name,
            beside=first,
            check_hashwx=check_hashwx,
            side=side,
        )
        first = first or engine
        yield engine


def _side(setting: Setting, keys: Keys) -> Side | None:
    """What the engines tell other machines, where there are any."""
    if not setting.config.cluster.store:
        return None
    limits = setting.config.limits
    return Side(Leases(limits.client, limits.address, limits.wide, limits.least_factor, keys))


def _seat(setting: Setting, site: str) -> Seat | None:
    """The seat at a site's board, of one of several workers."""
    if setting.seats is None or setting.share is None:
        return None
    seat = setting.seats.at(setting.share.boards.get(site, 0))
    seat.spread = not setting.share.steered
    return seat


def _resolvers(config: Config, clock: Callable[[], float], closing: AsyncExitStack) -> dict[str, Resolver]:
    """One for each DNS server that is named."""
    found: dict[str, Resolver] = {}
    for upstream in (config.upstream, *(site.upstream for site in config.site)):
        if upstream.resolver not in found:
            resolver = found[upstream.resolver] = Resolver(upstream.resolver, clock)
            closing.push_async_callback(resolver.close)
    return found


def _places(
    config: Config,
    configured: Sequence[Site],
    sites: Sites,
    pools: Sequence[Pool],
    first: Serving,
    connections: int,
) -> list[Place]:
    """All sites, with what each is served with; and how the connections find it, where there are several."""
    servings = [first]
    for site, engine, pool in list(zip(configured, sites, pools, strict=True))[1:]:
        most = file_limit.stream_limit(site.upstream.max_streams, connections)
        servings.append(
            assemble_site(
                first,
                engine=engine,
                pool=pool,
                http=site.http,
                timeouts=site.timeouts,
                challenge=config.challenge,
                most_streams=most,
            )
        )
    if config.site:
        hosting = Hosting([(site.hosts, serving) for site, serving in zip(configured, servings, strict=True)])
        for serving in servings:
            serving.hosting = hosting

        def site_of(request: Request) -> str:
            serving = hosting.of(request.headers.get("Host", "").encode("latin-1"))
            return first.engine.site if serving is None else serving.engine.site

        first.log.site_of = site_of
    return [Place(*each) for each in zip(configured, sites, pools, servings, strict=True)]


def _within_file_limit(config: Config) -> tuple[tuple[Site, ...], int]:
    """The sites, each with no more idle connections than there are descriptors for, and how many connections clients
    may have beside them."""
    sites = config.sites
    files = file_limit.raise_file_limit()
    servers = sum(len(site.upstream.servers) for site in sites)
    limited = []
    idle = 0
    for site in sites:
        keep = file_limit.idle_limit(site.upstream.keep_alive_connections, files, servers)
        idle += keep * len(site.upstream.servers)
        limited.append(replace(site, upstream=replace(site.upstream, keep_alive_connections=keep)))
    return tuple(limited), file_limit.connection_limit(config.listen.max_connections, files, idle)


async def _pool(setting: Setting, site: Site, metrics: Metrics, resolver: Resolver, closing: AsyncExitStack) -> Pool:
    upstream, preserve_host = site.upstream, site.http.preserve_host
    servers = list(upstream.servers)
    if DEMO in servers:
        address, demo = await start_demo()
        closing.push_async_callback(demo.cleanup)
        servers = [address if server == DEMO else server for server in servers]
    shared = upstream.proxy_protocol == "off"
    try:
        pool = Pool(
            upstream,
            servers,
            metrics,
            resolver,
            lambda server: UpstreamConnection(server, preserve_host, shared),
            lambda event, server: setting.log.event(event, server=server),
        )
    except (OSError, ValueError) as error:
        raise StartError(f"upstream: {error}") from error
    pool.dialer.preserve_host = preserve_host
    closing.callback(pool.close)
    return pool


def _adopted(descriptors: Sequence[int], backlog: int, closing: AsyncExitStack) -> list[socket.socket]:
    adopted = sockets.adopt(descriptors, backlog)
    for sock in adopted:
        closing.callback(sock.close)
    return adopted


def _listeners(
    config: Config,
    listening: Sequence[Sequence[socket.socket]],
    serving: Serving,
    entrance: Entrance,
    certificates: Certificates | None,
    connections: int,
) -> Iterator[Listener]:
    """Make the listeners: for the service, and for plain HTTP that is sent on to https."""
    service, redirecting = listening
    yield _listener(config, serving, entrance, service, certificates, connections)
    if certificates is not None and config.tls.redirect_from:
        tls = config.tls
        redirect = Redirect(serving.replies, serving.metrics, tls.redirect_port, tls.acme, certificates.covers)
        yield _redirect_listener(config, serving, entrance, redirecting, redirect, connections)


def _listener(
    config: Config,
    serving: Serving,
    entrance: Entrance,
    listening: Sequence[socket.socket],
    certificates: Certificates | None,
    connections: int,
) -> Listener:
    gate = config.listen.gate

    def connect(ends: Ends | None, program: Program, http2: bool) -> ClientConnection | Http2Connection:
        made = Http2Connection if http2 else GateConnection if gate else ClientConnection
        return made(serving, ends, program, None)

    handshakes = prelude = None
    if certificates is not None:
        handshakes = Handshakes(entrance, config.tls, certificates, connect)
    if certificates is not None or config.listen.proxy_protocol:
        prelude = Prelude(entrance, config.tls.handshake_timeout, config.listen.proxy_protocol, handshakes)
    if gate:
        return Listener(entrance, listening, connections, connect, prelude, None)
    most = config.http.max_head_bytes
    first_read = FirstRead(
        entrance,
        serving.engine,
        serving.heads,
        most,
        serving.recognition,
        serving.replies,
        serving.shut_out,
        serving.forwarder.request_ids,
        serving.hosting,
    )
    return Listener(entrance, listening, connections, connect, prelude, first_read)


def _redirect_listener(
    config: Config,
    serving: Serving,
    entrance: Entrance,
    listening: Sequence[socket.socket],
    redirect: Redirect,
    connections: int,
) -> Listener:
    def connect(ends: Ends | None, program: Program, http2: bool) -> ClientConnection:
        return ClientConnection(serving, ends, program, redirect)

    prelude = None
    if config.listen.proxy_protocol:
        prelude = Prelude(entrance, config.tls.handshake_timeout, config.listen.proxy_protocol, None)
    return Listener(entrance, listening, connections, connect, prelude, None)


def request_ids(prefix: str) -> Callable[[], bytes]:
    """A source of request ids. They are unique in this process; the random `prefix` makes them unique beyond it.

    A flood is given one with each page, so no function of ours is called for it."""
    return map((prefix.encode("ascii") + b"-%x").__mod__, itertools.count(1)).__next__
