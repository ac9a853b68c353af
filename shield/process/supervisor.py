"""Several processes on one address: the supervisor.

    supervisor    binds the sockets and steers connections to them (accept/steering.py), holds the signing keys, starts
                  the workers and starts them again, runs the demo site, answers on the admin listener for all
    worker 0...   an ordinary Service each (worker.py), with its own engine, on sockets that it inherits

Workers are new interpreters, not forks: one is started again while this process has a loop and threads, which a fork
would copy in any state. The supervisor keeps the listening sockets open, so while a worker is dead its connections
wait in the backlog for the next one, and the others notice nothing.

A worker that dies is replaced after a pause, longer each time. MOST_DEATHS of one within DEATHS_SECONDS are no
accident: all are drained and the supervisor ends with a StartError. SIGTERM or SIGINT drains all workers; a second one
kills them. A supervisor that is killed leaves no orphans: its workers see it, drain and end.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from itertools import zip_longest
from typing import Any, Final

import uvloop

from shield.config.settings import Config
from shield.demo.site import start_demo
from shield.errors import StartError
from shield.operator.log import AccessLog
from shield.operator.log_writer import LogWriter, write_whole_lines
from shield.operator.logging_bridge import LoggingBridge
from shield.operator.merge import WorkersView
from shield.operator.server import AdminServer
from shield.process import systemd
from shield.process.share import Share, share_out
from shield.process.shared_sockets import SharedSockets
from shield.process.state import load_keys
from shield.process.words import Welcome, greet, warn_of_forgetting
from shield.process.worker_handle import DEATHS_SECONDS, MOST_DEATHS, WorkerHandle
from shield.upstream.settings import DEMO

CLOSE_SECONDS: Final = 5.0
"""Beyond timeouts.drain, for a worker to save its history; then it is killed."""


def count(configured: int) -> int:
    """How many workers `listen.workers` asks for: 0 is one for each core that this process may use."""
    if configured:
        return configured
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(config: Config, welcome: Welcome, number: int) -> int:
    """Serve with `number` workers until SIGTERM or SIGINT. Returns the exit status; raises StartError."""
    return uvloop.run(_run(config, welcome, number))


async def _run(config: Config, welcome: Welcome, number: int) -> int:
    writer = LogWriter(2, write_whole_lines)
    log = AccessLog(config.log, writer, time.monotonic, time.time() - time.monotonic())
    bridge = LoggingBridge(log)
    bridge.install()
    supervisor = Supervisor(config, number, log, time.monotonic)
    try:
        log.attach(asyncio.get_running_loop())
        for name in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(name, supervisor.stop)
        await supervisor.start()
        if not supervisor.stopping():
            greet(config, supervisor.addresses[0], welcome)
            systemd.notify("READY=1")
        await supervisor.wait()
        systemd.notify("STOPPING=1")
    finally:
        await supervisor.close()
        bridge.remove()
        writer.close()
    return 0


class Supervisor:
    """`start`, `wait` until `stop` was called or a worker keeps dying, `close`. `clock` gives monotonic seconds."""

    __slots__ = (
        "_clock", "_closing", "_config", "_directory", "_dropped", "_failure", "_hearing", "_log", "_number",
        "_sockets", "_stop", "_workers", "addresses",
    )  # fmt: skip

    def __init__(self, config: Config, number: int, log: AccessLog, clock: Callable[[], float]) -> None:
        self.addresses: list[str] = []
        """Where clients are served, once it has started."""
        self._config = config
        self._number = number
        self._log = log
        self._clock = clock
        self._closing = AsyncExitStack()
        self._sockets: SharedSockets | None = None
        self._workers: list[WorkerHandle] = []
        self._stop = asyncio.Event()
        self._failure = ""
        self._dropped: dict[int, list[str]] = {}  # by worker
        self._hearing: dict[int, asyncio.Task[None]] = {}
        self._directory = ""

    async def start(self) -> None:
        """Everything, in the order of a single process; returns when all workers listen. Raises StartError."""
        config, closing = self._config, self._closing
        closing.callback(self._log.close)
        closing.push_async_callback(asyncio.sleep, 0)  # let transports that were aborted go
        keys = load_keys(config.state, self._log)
        self._directory = tempfile.mkdtemp(prefix="shield-workers-")  # mode 0700
        closing.callback(shutil.rmtree, self._directory, ignore_errors=True)
        served = await self._with_demo()
        listening = self._sockets = SharedSockets(config, self._number)
        closing.callback(listening.close)
        self.addresses = listening.addresses
        steered = self._steer(listening)
        if config.drops.by_kernel and (error := listening.dig() if steered else "not steered"):
            self._log.event("not_dropped_by_kernel", error=error)
        for number in range(self._number):
            share = Share(number, keys, listening.descriptors(number), listening.redirect_descriptors(number))
            self._workers.append(WorkerHandle(share))
        view = WorkersView([self._socket(worker) for worker in self._workers], self._facts, self.stopping)
        closing.push_async_callback(view.close)
        admin = AdminServer(config.admin, view, view.refresh)
        closing.push_async_callback(admin.close)
        await admin.start()
        closing.push_async_callback(self._end_workers)
        share_of_each = share_out(served, self._number)
        await self._launch_all(share_of_each)
        for worker in self._workers:
            self._keep_running(self._keep(worker, share_of_each))
        self._log.event(
            "started",
            listen=self.addresses,
            redirect_from=listening.redirect_addresses,
            admin=admin.address,
            upstream=list(config.upstream.servers),
            dry_run=config.dry_run,
            state=config.state.directory,
            workers=self._number,
            steered=steered,
            pid=os.getpid(),
        )
        warn_of_forgetting(config, self._log)

    def stop(self) -> None:
        """The handler of SIGTERM and SIGINT: drain, and when it comes again, kill."""
        if self._stop.is_set():
            for worker in self._workers:
                worker.signal(signal.SIGKILL)
        self._stop.set()

    def stopping(self) -> bool:
        """Whether the end has begun."""
        return self._stop.is_set()

    async def wait(self) -> None:
        """Wait until Shield is told to stop, then drain. Raises StartError when a worker keeps dying."""
        await self._stop.wait()
        self._log.event("stopping", workers=self._number)
        await self._drain()
        if self._failure:
            raise StartError(self._failure)

    async def close(self) -> None:
        """Free everything. Safe to call after a failed start: whoever runs is killed."""
        self._stop.set()
        await self._closing.aclose()

    async def _with_demo(self) -> Config:
        """The config, with the address of the demo site in its place, which runs here for all workers."""
        upstream = self._config.upstream
        if DEMO not in upstream.servers:
            return self._config
        address, demo = await start_demo()
        self._closing.push_async_callback(demo.cleanup)
        servers = tuple(address if server == DEMO else server for server in upstream.servers)
        return replace(self._config, upstream=replace(upstream, servers=servers))

    def _steer(self, listening: SharedSockets) -> bool:
        """Whether the kernel brings each network to one worker."""
        try:
            return listening.steer()
        except OSError as error:
            self._log.event("not_steered", error=str(error), effect="limits count per worker")
            return False

    def _socket(self, worker: WorkerHandle) -> str:
        """The path of its admin listener."""
        return f"{self._directory}/worker-{worker.number}.sock"

    def _facts(self) -> list[dict[str, Any]]:
        return [
            {"worker": w.number, "pid": None if w.process is None else w.process.pid, "restarts": w.restarts}
            for w in self._workers
        ]

    async def _launch(self, worker: WorkerHandle, config: Config) -> None:
        admin = replace(config.admin, address=f"unix:{self._socket(worker)}")
        await worker.launch(replace(config, admin=admin))
        self._hearing[worker.number] = asyncio.create_task(worker.hear(partial(self._drop, worker.number)))

    def _drop(self, worker: int, addresses: list[str]) -> None:
        """Have the kernel drop what one worker says, and what the others have said. Each has put its worst first."""
        self._dropped[worker] = addresses
        if self._sockets is not None:
            in_turns = zip_longest(*self._dropped.values())
            self._sockets.drop([address for turn in in_turns for address in turn if address])

    async def _launch_all(self, config: Config) -> None:
        """Start all at once; StartError or OSError of the first that could not."""
        results = await asyncio.gather(
            *(self._launch(worker, config) for worker in self._workers), return_exceptions=True
        )
        for error in results:
            if error is not None and not self.stopping():
                raise error

    def _keep_running(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)

        async def end() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        self._closing.push_async_callback(end)

    async def _keep(self, worker: WorkerHandle, config: Config) -> None:
        """Wait for the end of a worker and start the next one, until it is time to end."""
        while not self.stopping():
            if worker.process is not None:
                status = await worker.process.wait()
                if self.stopping():
                    return
                self._log.event("worker_ended", worker=worker.number, pid=worker.process.pid, status=status)
                worker.process = None
            pause = worker.pause(self._clock())
            if pause is None:
                self._failure = f"worker {worker.number} died {MOST_DEATHS} times within {DEATHS_SECONDS:.0f} seconds"
                self._stop.set()
                return
            await asyncio.sleep(pause)
            worker.restarts += 1
            try:
                await self._launch(worker, config)
            except (StartError, OSError) as error:  # if there is a process, it ends, too
                self._log.event("worker_not_started", worker=worker.number, error=str(error))

    async def _drain(self) -> None:
        """Let every worker end by itself, within its time."""
        if self._sockets is not None:
            self._sockets.close()  # one that we kept open would still be given connections
        for worker in self._workers:
            worker.signal(signal.SIGTERM)
        running = [worker.process.wait() for worker in self._workers if worker.process is not None]
        try:
            async with asyncio.timeout(self._config.timeouts.drain + CLOSE_SECONDS):
                await asyncio.gather(*running)
        except TimeoutError:
            self._log.event("workers_killed")

    async def _end_workers(self) -> None:
        """Kill whoever is left."""
        for worker in self._workers:
            worker.signal(signal.SIGKILL)
        for worker in self._workers:
            await worker.close()
        for hearing in self._hearing.values():
            hearing.cancel()
        await asyncio.gather(*self._hearing.values(), return_exceptions=True)
