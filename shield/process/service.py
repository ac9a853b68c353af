"""The composition root of one process: the one place that builds every piece and hands each its settings.

start order: keys and history, policy, pool, listening sockets, admin, ticks. stop order (SIGTERM, SIGINT): stop
accepting, let
requests in flight end within `timeouts.drain`, save the history, close.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import uvloop
from prometheus_client.core import Metric

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
from shield.client.edge import Edge
from shield.client.sweep import SWEEP_SECONDS, Sweep
from shield.config.settings import Config
from shield.demo.site import notice, start_demo
from shield.errors import StartError, out_of_files
from shield.http.forwarded import Forwarding
from shield.http.head import Examiner
from shield.model import Fault
from shield.operator.attack_report import AttackReport
from shield.operator.exposition import families
from shield.operator.log import AccessLog
from shield.operator.log_writer import LogWriter, write_whole_lines
from shield.operator.logging_bridge import LoggingBridge
from shield.operator.metrics import Metrics
from shield.operator.server import AdminServer
from shield.operator.status import ServerStatus, Status, plain
from shield.policy.engine import Engine
from shield.policy.keys import Keys
from shield.process import systemd
from shield.process.load_meter import LoadMeter, busy_clock
from shield.process.state import load_history, load_keys, save_history
from shield.replies.redirect import Redirect
from shield.replies.rendering import Replies
from shield.upstream import health
from shield.upstream.connection import UpstreamConnection
from shield.upstream.crawlers import Crawlers
from shield.upstream.pool import Pool
from shield.upstream.resolve import Resolver
from shield.upstream.settings import DEMO
from shield.wire.client_hello import Program
from shield.wire.proxy_protocol import Ends

GC_THRESHOLDS: Final = (20_000, 20, 100)
"""Of the garbage collector. Requests leave no cycles behind, so nearly all that it finds are the policy's tables, at
their full size each time; the rare cycle (a failed connection's traceback) can wait."""
QUEUE_TICK_SECONDS: Final = 0.020
"""How often queued requests are looked at: half of the shortest time that one is kept (section 6 of the design)."""
HISTORY_SAVE_SECONDS: Final = 300.0
"""What a crash may forget; a stop forgets nothing."""


@dataclass(frozen=True, slots=True)
class Share:
    """What one of several workers is given by their supervisor (workers.py), besides a config cut to its share."""

    worker: int  # from 0
    keys: tuple[bytes, bytes | None]
    listeners: tuple[int, ...]  # descriptors of listening sockets
    redirects: tuple[int, ...] = ()  # likewise, for tls.redirect_from


class Service:
    """One process's worth of Shield. `clock` gives monotonic seconds; `share` is for one of several workers."""

    def __init__(
        self,
        config: Config,
        log: AccessLog,
        clock: Callable[[], float],
        wall_offset: float,
        share: Share | None = None,
    ) -> None:
        """Build everything that needs no event loop. Raises StartError."""
        self.config = config
        self.share = share
        self.log = log
        self.clock = clock
        self.wall_offset = wall_offset
        self.metrics = Metrics()
        self.metrics.log = log
        # A counter that appears late loses its first step.
        self.metrics.faults.update((fault.value, 0) for fault in Fault)
        current, previous = load_keys(config.state, log) if share is None else share.keys
        self.engine = Engine(
            config.policy(), Keys(current, previous), os.urandom, wall_offset, config.upstream.max_concurrency
        )
        self._known = self.engine.import_history(load_history(config.state, log), clock())
        self.replies = Replies(config.challenge.cookie, config.challenge.header)
        self.deadlines: Sweep[ClientConnection] = Sweep()
        self.draining = False
        self.listeners: list[Listener] = []  # for the service, and for tls.redirect_from
        self.certificates: Certificates | None = None
        self._attack = False
        self._attack_report: AttackReport | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._demo: Any = None
        self._window = config.pressure.window
        self._next_tick = self._next_second = self._next_sweep = 0.0
        self._busy = busy_clock()
        self._due = clock()  # when the timer ought to run
        self._own = LoadMeter(self._due, self._busy())

    async def start(self) -> None:
        """Listen. Raises StartError; what was opened by then is closed again."""
        try:
            await self._start()
        except BaseException:
            await self.close()
            raise

    async def _start(self) -> None:
        config = self.config
        loop = asyncio.get_running_loop()
        self.log.attach(loop)
        loop.set_exception_handler(self._on_loop_error)
        certificates = Certificates(config.tls.certificates, self._on_certificate) if config.tls.certificates else None
        upstream = config.upstream
        files = file_limit.raise_file_limit()
        idle = file_limit.idle_limit(upstream.keep_alive_connections, files, len(upstream.servers))
        limit = file_limit.connection_limit(config.listen.max_connections, files, idle * len(upstream.servers))
        upstream = replace(upstream, keep_alive_connections=idle)
        servers = list(upstream.servers)
        if DEMO in servers:
            address, self._demo = await start_demo()
            servers = [address if server == DEMO else server for server in servers]
        self.resolver = Resolver(upstream.resolver, self.clock)
        self.crawlers = Crawlers(self.resolver, lambda address, ok: self.engine.vouch(address, ok, self.clock()))
        try:
            preserve_host, shared = config.http.preserve_host, upstream.proxy_protocol == "off"
            self.pool = Pool(
                upstream,
                servers,
                self.metrics,
                self.resolver,
                lambda server: UpstreamConnection(server, preserve_host, shared),
                self._on_upstream,
            )
        except (OSError, ValueError) as error:
            raise StartError(f"upstream: {error}") from error
        self.edge = Edge(
            engine=self.engine,
            pool=self.pool,
            replies=self.replies,
            metrics=self.metrics,
            log=self.log,
            forwarding=Forwarding(config.listen.trusted_proxies, config.listen.forwarded_from),
            examiner=Examiner(config.http, config.challenge.header),
            deadlines=self.deadlines,
            crawlers=self.crawlers,
            http=config.http,
            timeouts=config.timeouts,
            upstream=upstream,
            cookie=config.challenge.cookie.encode("ascii"),
            cookie_anywhere=config.challenge.earned_anywhere,
            pass_lifetime=int(config.challenge.pass_lifetime),
            clock=self.clock,
            loop=loop,
            request_ids=_request_ids(os.urandom(4).hex()),
            max_streams=file_limit.stream_limit(upstream.max_streams, limit),
            hsts=hsts_field(config.tls),
        )
        connections = self.edge.connections
        connections.per_address = share_of(config.listen.max_connections_per_address, limit, 4, MOST_PER_ADDRESS)
        connections.per_network = share_of(config.listen.max_connections_per_network, limit, 2, MOST_PER_NETWORK)
        if certificates is not None:
            self.metrics.handshakes.update((outcome, 0) for outcome in OUTCOMES)
        self.certificates = certificates
        self._limit = limit
        self._entrance = Entrance(
            loop, self.clock, self.metrics, self.log, connections, self.edge.forwarding.trusts, self._accept_again
        )
        self.listeners = [self._listener(config.listen.addresses, certificates, None)]
        if certificates is not None and config.tls.redirect_from:
            redirect = Redirect(
                self.replies, self.metrics, config.tls.redirect_port, config.tls.acme, certificates.covers
            )
            self.listeners.append(self._listener(config.tls.redirect_from, None, redirect))
        self.edge.on_close = self._accept_again
        self.admin = AdminServer(config.admin, _View(self))
        await self.admin.start()
        for one in self.listeners:
            one.start()
        self._tasks.append(loop.create_task(health.watch(self.pool, self._probe, self.clock, asyncio.sleep)))
        if config.state.directory:
            self._tasks.append(loop.create_task(self._save_for_ever()))
        self._on_timer()
        self.log.event(
            "started" if self.share is None else "worker_started",
            listen=self.listeners[0].addresses,
            redirect_from=[address for one in self.listeners[1:] for address in one.addresses],
            admin=self.admin.address,
            upstream=list(upstream.servers),
            dry_run=config.dry_run,
            state=config.state.directory,
            known=self._known,
            connections=limit,
            connections_per_address=connections.per_address,
            connections_per_network=connections.per_network,
            streams=self.edge.forwarder.streams.most,
            pid=os.getpid(),
        )
        if self.share is None:
            warn_of_forgetting(config, self.log)
        warn_of_known_hashes(self.log)

    def _listener(
        self,
        addresses: Sequence[str],
        certificates: Certificates | None,
        redirect: Redirect | None,
    ) -> Listener:
        """Listen on `addresses`, or on the sockets that this worker was given for them. Raises StartError."""
        config, share = self.config, self.share
        if share is None:
            listening = sockets.bind(addresses, config.listen.backlog, reuse_port=False)
        else:
            listening = [
                socket.socket(fileno=number) for number in (share.listeners if redirect is None else share.redirects)
            ]

        def make_connection(ends: Ends | None, program: Program) -> ClientConnection:
            return ClientConnection(self.edge, ends, program, redirect)

        edge, entrance = self.edge, self._entrance
        prelude = None
        if certificates is not None or config.listen.proxy_protocol:
            handshakes = None
            if certificates is not None:
                handshakes = Handshakes(entrance, config.tls, certificates, make_connection)
            prelude = Prelude(entrance, config.tls.handshake_timeout, config.listen.proxy_protocol, handshakes)
        first_read = None
        if redirect is None:
            most = config.http.max_head_bytes
            first_read = FirstRead(entrance, self.engine, edge.plain, most, edge.recognition, self.replies)
        return Listener(entrance, listening, self._limit, make_connection, prelude, first_read)

    def _accept_again(self) -> None:
        for one in self.listeners:
            one.check()

    # what goes on by itself

    def _on_timer(self) -> None:
        """Everything periodic, from one timer and one reading of the clock."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(QUEUE_TICK_SECONDS, self._on_timer)
        now = self.clock()
        if self._own.turn(now, self._due):
            self._own.read(now, self._busy())
        self._due = now + QUEUE_TICK_SECONDS
        if self.engine.waiting or now >= self._next_tick:
            if now >= self._next_tick:
                self._next_tick = now + self._window
            self.edge.forwarder.resume(self.engine.tick(now, self._own.load), now)
            self._report(now)
        if now >= self._next_sweep:
            self._next_sweep = now + SWEEP_SECONDS
            self.deadlines.sweep(now)
            self.edge.forwarder.streams.sweep(now)
            for one in self.listeners:
                one.retry()
        if now >= self._next_second:
            wall = now + self.wall_offset
            self._next_second = now + 1.0 - wall % 1.0
            self.replies.set_date(wall)
            self.pool.sweep(now)
            self._accept_again()
            for one in self.listeners:
                one.expire(now)
            if self.certificates is not None:
                self.certificates.check(now)

    def _report(self, now: float) -> None:
        """Log the policy's decisions of note."""
        attack = self.engine.attack
        if attack != self._attack:
            self._attack = attack
            status = self.engine.status(now)
            self._attack_report = AttackReport(now, status, self.metrics.verdicts) if attack else None
        elif self._attack_report is not None and self._attack_report.due(now):
            status = self.engine.status(now)
            self.log.event("attack", **self._attack_report.take(now, status, self.metrics.verdicts))
        for name, details in self.engine.events():
            self.log.event(name, **details)

    def _on_certificate(self, event: str, **fields: Any) -> None:
        self.log.event(event, **fields)

    def _on_upstream(self, event: str, server: str) -> None:
        self.log.event(event, server=server)

    async def _probe(self, server: Any) -> bool | None:
        return await health.probe(self.pool, server)

    def _on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Last resort. A failed accept() for want of descriptors pauses accepting; anything else is a bug, and is
        logged."""
        error = context.get("exception")
        if isinstance(error, OSError) and out_of_files(error):
            for one in self.listeners:
                one.pause_for_files()
            return
        self.metrics.faults["internal"] += 1
        loop.default_exception_handler(context)  # says it through logging, which the bridge brings into the log

    async def _save_for_ever(self) -> None:
        while True:
            await asyncio.sleep(HISTORY_SAVE_SECONDS)
            await self._save_history()

    async def _save_history(self) -> None:
        """Collect the rows in slices, so that no request waits for it, and write them in a thread."""
        rows = []
        export = iter(self.engine.export_history(self.clock()))
        while chunk := list(itertools.islice(export, 1000)):
            rows += chunk
            await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        worker = None if self.share is None else self.share.worker
        await loop.run_in_executor(None, save_history, self.config.state, rows, self.log, worker)

    # View, for the admin listener

    def ready(self) -> tuple[bool, str]:
        """Whether requests are welcome."""
        if self.draining:
            return False, "draining"
        if not self.pool.available(self.clock()):
            return False, "no upstream server is healthy"
        return True, "ready"

    def status(self) -> Status:
        now = self.clock()
        return Status(
            ready=self.ready()[0],
            dry_run=self.config.dry_run,
            policy=self.engine.status(now),
            counters=self.metrics.counters(),
            tasks=len(asyncio.all_tasks()),
            upstream=[
                ServerStatus(
                    server=server.name,
                    healthy=server.healthy,
                    ejected=server.ejected_until > now,
                    outstanding=server.outstanding,
                    idle=len(server.idle),
                )
                for server in self.pool.servers
            ],
        )

    def metrics_families(self) -> Iterable[Metric]:
        """For /metrics."""
        yield from self.metrics.families()
        yield from families(self.status())

    # the end

    async def drain(self) -> None:
        """Stop accepting; wait until nothing is in flight, at most `timeouts.drain` seconds."""
        self.draining = self.edge.draining = True
        for one in self.listeners:
            one.stop()
        self.log.event("draining", connections=self.metrics.connections_open)
        now = self.clock()
        for gate in self.deadlines:
            gate.drain(now)
        end = now + self.config.timeouts.drain
        while len(self.deadlines) and self.clock() < end:  # noqa: ASYNC110 - an event would have to be set per connection
            await asyncio.sleep(0.02)
        cut = len(self.deadlines)
        for gate in self.deadlines:
            gate.transport.abort()
        self.log.event("drained", cut=cut)

    async def close(self) -> None:
        """Free everything. Safe to call after a failed start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if hasattr(self, "_timer"):
            self._timer.cancel()
        for one in self.listeners:
            one.stop()
        if self.listeners and self.config.state.directory:
            await self._save_history()
        if hasattr(self, "admin"):
            await self.admin.close()
        if hasattr(self, "pool"):
            self.pool.close()
        if hasattr(self, "resolver"):
            await self.crawlers.close()
            await self.resolver.close()
        if self._demo is not None:
            await self._demo.cleanup()
        await asyncio.sleep(0)  # let transports that were aborted go
        self.log.close()


class _View:
    """The admin listener's view: three verbs of the service under the names it knows."""

    def __init__(self, service: Service) -> None:
        self.ready = service.ready
        self.status = lambda: plain(service.status())
        self.metrics = service.metrics_families


def _request_ids(prefix: str) -> Callable[[], bytes]:
    """Unique within this process; the prefix, random per process, makes them unique beyond."""
    count = itertools.count(1)
    text = prefix.encode("ascii") + b"-%x"
    return lambda: text % next(count)


def run(config: Config, config_path: str) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit status; raises StartError when it cannot start."""
    return uvloop.run(_run(config, config_path))


async def _run(config: Config, config_path: str) -> int:
    def tell(service: Service) -> None:
        welcome(config, service.listeners[0].addresses[0], config_path)
        systemd.notify("READY=1")

    await serve(config, asyncio.Event(), tell)
    return 0


async def serve(
    config: Config, stop: asyncio.Event, started: Callable[[Service], None], share: Share | None = None
) -> None:
    """Serve until `stop`, which SIGTERM and SIGINT set, too. Raises StartError."""
    wall_offset = time.time() - time.monotonic()  # the one reading of the wall clock
    sink = LogWriter(2) if share is None else LogWriter(2, write_whole_lines)
    log = AccessLog(config.log, sink, time.monotonic, wall_offset, worker=None if share is None else share.worker)
    bridge = LoggingBridge(log)
    bridge.install()
    try:
        service = Service(config, log, time.monotonic, wall_offset, share)
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, stop.set)
        await service.start()
        gc.collect()
        gc.freeze()  # modules, settings, templates: nothing of it will ever be garbage
        gc.set_threshold(*GC_THRESHOLDS)
        started(service)
        await stop.wait()
        if share is None:
            systemd.notify("STOPPING=1")
        await service.drain()
        await service.close()
    finally:
        bridge.remove()
        sink.close()


def warn_of_forgetting(config: Config, log: AccessLog) -> None:
    """Say once what a restart will cost, unless this is a trial."""
    if not config.state.directory and not config.dry_run:
        what = "history ends" if config.state.secret_file else "history and keys end"
        log.event("state_not_kept", effect=f"{what} with this process", setting="state.directory")


def warn_of_known_hashes(log: AccessLog) -> None:
    """Say so when clients can choose keys that collide: tables and heads are dicts of what they send."""
    if not sys.flags.hash_randomization:
        log.event("hash_randomization_off", effect="clients can make look-ups slow", unset="PYTHONHASHSEED")


def welcome(config: Config, address: str, config_path: str) -> None:
    """Tell whoever started it at a terminal where to look; `address` is one that is listened on."""
    address = address.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]")
    scheme = "https" if config.tls.certificates else "http"
    url = f"{scheme}://{address}/"
    lines = [notice(url, config_path) if DEMO in config.upstream.servers else f"Shield is up: {url}"]
    if config.dry_run:
        lines.append("dry_run = true: nothing is refused; the log says what would have been.")
    text = "".join(f"{line}\n" for line in lines)  # in one write(2): an `end` of its own is another, amid log lines
    print(text, end="", file=sys.stderr, flush=True)
