"""The life of one process: start, serve, drain, close.

Start: the parts are built (build.py), the admin listener and the client listeners begin to listen, the timers to run.
Stop (SIGTERM, SIGINT): nothing more is accepted, requests in flight may end within `timeouts.drain`, the history is
saved, and everything is closed in the reverse order.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

import uvloop

from shield.config.settings import Config
from shield.errors import out_of_files
from shield.operator.log import AccessLog
from shield.operator.log_writer import LogWriter, write_whole_lines
from shield.operator.logging_bridge import LoggingBridge
from shield.operator.server import AdminServer
from shield.process import systemd
from shield.process.build import Parts, Setting, build
from shield.process.dropper import Dropper
from shield.process.history_keeper import HistoryKeeper
from shield.process.share import Share
from shield.process.timers import Timers
from shield.process.view import ProcessView
from shield.process.words import Welcome, greet, warn_of_forgetting, warn_of_known_hashes
from shield.upstream import health
from shield.upstream.server import Server

GC_THRESHOLDS: Final = (20_000, 20, 100)
"""Of the garbage collector. Requests leave no cycles behind, so nearly all that it finds are the policy's tables, at
their full size each time; the rare cycle (a failed connection's traceback) can wait."""
DRAIN_LOOKS_SECONDS: Final = 0.020
"""How often it is looked whether all connections have ended."""


class Service:
    """One process's worth of Shield. Call `start`, then `drain` and `close`."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._closing = AsyncExitStack()
        self._draining = False
        self._parts: Parts | None = None
        self.addresses: list[str] = []
        """Where clients are served, once it has started."""

    async def start(self) -> None:
        """Listen. Raises StartError; what was opened by then is closed again."""
        try:
            await self._start()
        except BaseException:
            await self.close()
            raise

    async def _start(self) -> None:
        setting, closing = self._setting, self._closing
        loop = asyncio.get_running_loop()
        setting.log.attach(loop)
        closing.callback(setting.log.close)
        closing.push_async_callback(asyncio.sleep, 0)  # let transports that were aborted go
        parts = self._parts = await build(setting, closing)
        loop.set_exception_handler(self._on_loop_error)
        history = HistoryKeeper(setting, parts.engine)
        closing.push_async_callback(history.save)
        admin = AdminServer(setting.config.admin, ProcessView(setting, parts, lambda: self._draining))
        closing.push_async_callback(admin.close)
        await admin.start()
        for listener in parts.listeners:
            listener.start()
        self._keep_running(loop, health.watch(parts.pool, self._probe, setting.clock, asyncio.sleep))
        self._keep_running(loop, history.run())
        timers = Timers(setting, parts, self._dropper(parts))
        closing.callback(timers.stop)
        timers.start()
        self.addresses = parts.listeners[0].addresses
        self._tell(parts, admin.address)

    def _dropper(self, parts: Parts) -> Dropper:
        """What carries out drops: by the kernel, by way of the supervisor if there is one."""
        setting, shared = self._setting, parts.shared
        if shared is None:
            assert setting.tell_dropped is not None  # noqa: S101 - one of several workers has it
            fill = setting.tell_dropped
        else:
            error = shared.dig() if setting.config.drops.by_kernel else ""
            if error:
                setting.log.event("not_dropped_by_kernel", error=error)
            fill = shared.drop
        return Dropper(parts.engine.drops, parts.serving.connections.crowding, fill)

    def _keep_running(self, loop: asyncio.AbstractEventLoop, work: Any) -> None:
        task = loop.create_task(work)

        async def end() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        self._closing.push_async_callback(end)

    def _tell(self, parts: Parts, admin: str) -> None:
        """The first lines of the log."""
        setting = self._setting
        config, log, crowd = setting.config, setting.log, parts.serving.connections.crowding
        log.event(
            "started" if setting.share is None else "worker_started",
            listen=self.addresses,
            redirect_from=[address for listener in parts.listeners[1:] for address in listener.addresses],
            admin=admin,
            upstream=list(config.upstream.servers),
            dry_run=config.dry_run,
            state=config.state.directory,
            known=parts.known,
            connections=parts.connections,
            connections_per_address=crowd.per_address,
            connections_per_network=crowd.per_network,
            streams=parts.serving.forwarder.streams.places.most,
            pid=os.getpid(),
        )
        if setting.share is None:
            warn_of_forgetting(config, log)
        warn_of_known_hashes(log)

    async def _probe(self, server: Server) -> bool | None:
        assert self._parts is not None  # noqa: S101 - it is asked while the parts run
        return await health.probe(self._parts.pool, server)

    def _on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Last resort. A failed accept() for want of descriptors pauses accepting; anything else is a bug, and is
        logged."""
        error, parts = context.get("exception"), self._parts
        if parts is not None:
            if isinstance(error, OSError) and out_of_files(error):
                for listener in parts.listeners:
                    listener.pause_for_files()
                return
            parts.metrics.faults["internal"] += 1
        loop.default_exception_handler(context)  # says it through logging, which the bridge brings into the log

    async def drain(self) -> None:
        """Stop accepting; wait until nothing is in flight, at most `timeouts.drain` seconds."""
        setting, parts = self._setting, self._parts
        assert parts is not None  # noqa: S101 - it has started
        self._draining = True
        if parts.shared is not None:
            parts.shared.fill_in()
        for listener in parts.listeners:
            listener.stop()
        setting.log.event("draining", connections=parts.metrics.connections_open)
        connections = parts.serving.connections
        now = setting.clock()
        connections.drain(now)
        end = now + setting.config.timeouts.drain
        while len(connections) and setting.clock() < end:  # noqa: ASYNC110 - an event would have to be set per connection
            await asyncio.sleep(DRAIN_LOOKS_SECONDS)
        setting.log.event("drained", cut=connections.cut())

    async def close(self) -> None:
        """Free everything. Safe to call after a failed start."""
        await self._closing.aclose()


def run(config: Config, welcome: Welcome) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit status; raises StartError when it cannot start."""
    return uvloop.run(_run(config, welcome))


async def _run(config: Config, welcome: Welcome) -> int:
    def tell(service: Service) -> None:
        greet(config, service.addresses[0], welcome)
        systemd.notify("READY=1")

    await serve(config, asyncio.Event(), tell)
    return 0


async def serve(
    config: Config,
    stop: asyncio.Event,
    started: Callable[[Service], None],
    share: Share | None = None,
    tell_dropped: Callable[[Sequence[str]], bool] | None = None,
) -> None:
    """Serve until `stop`, which SIGTERM and SIGINT set, too. Raises StartError."""
    wall_offset = time.time() - time.monotonic()  # the one reading of the wall clock
    writer = LogWriter(2) if share is None else LogWriter(2, write_whole_lines)
    log = AccessLog(config.log, writer, time.monotonic, wall_offset, worker=None if share is None else share.worker)
    bridge = LoggingBridge(log)
    bridge.install()
    try:
        service = Service(Setting(config, log, time.monotonic, wall_offset, share, tell_dropped))
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
        writer.close()
