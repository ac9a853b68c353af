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
import contextlib
import functools
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import orjson
import uvloop

from shield.accept import sockets
from shield.accept import steering as kernel
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
from shield.process.state import load_keys
from shield.process.words import warn_of_forgetting, welcome
from shield.process.worker import hand_over
from shield.upstream.settings import DEMO

FIRST_PAUSE: Final = 0.1
"""Seconds between a worker's death and its replacement; twice as long after each further death, up to LONGEST_PAUSE."""
LONGEST_PAUSE: Final = 5.0
MOST_DEATHS: Final = 5
DEATHS_SECONDS: Final = 60.0
CLOSE_SECONDS: Final = 5.0
"""Beyond timeouts.drain, for a worker to save its history; then it is killed."""


def count(configured: int) -> int:
    """How many workers `listen.workers` asks for: 0 is one for each core that this process may use."""
    if configured:
        return configured
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(config: Config, config_path: str, number: int) -> int:
    """Serve with `number` workers until SIGTERM or SIGINT. Returns the exit status; raises StartError."""
    return uvloop.run(_run(config, config_path, number))


async def _run(config: Config, config_path: str, number: int) -> int:
    sink = LogWriter(2, write_whole_lines)
    log = AccessLog(config.log, sink, time.monotonic, time.time() - time.monotonic())
    bridge = LoggingBridge(log)
    bridge.install()
    supervisor = Supervisor(config, number, log, time.monotonic)
    try:
        log.attach(asyncio.get_running_loop())
        for name in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(name, supervisor.stop)
        await supervisor.start()
        if not supervisor.stopping():
            welcome(config, supervisor.addresses[0], config_path)
            systemd.notify("READY=1")
        await supervisor.wait()
        systemd.notify("STOPPING=1")
    finally:
        await supervisor.close()
        bridge.remove()
        sink.close()
    return 0


class Worker:
    """What the supervisor knows of one worker. It has one process, or none while it pauses after a death."""

    __slots__ = ("control", "deaths", "number", "process", "restarts", "share")

    def __init__(self, number: int, share: Share) -> None:
        self.number = number
        self.share = share
        self.process: asyncio.subprocess.Process | None = None
        self.control: socket.socket | None = None  # its other end is the process's standard input
        self.restarts = 0
        self.deaths: deque[float] = deque(maxlen=MOST_DEATHS)  # when; monotonic seconds

    def signal(self, number: signal.Signals) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)

    def pause(self, now: float) -> float | None:
        """Note a death at `now`: seconds to wait, or None when there were too many."""
        self.deaths.append(now)
        lately = sum(now - at < DEATHS_SECONDS for at in self.deaths)
        return min(FIRST_PAUSE * 2 ** (lately - 1), LONGEST_PAUSE) if lately < MOST_DEATHS else None


class Supervisor:
    """`start`, `wait` until `stop` was called or a worker keeps dying, `close`. `clock` gives monotonic seconds."""

    def __init__(self, config: Config, number: int, log: AccessLog, clock: Callable[[], float]) -> None:
        self.config = config
        self.addresses: list[str] = []
        self._number = number
        self._log = log
        self._clock = clock
        self._workers: list[Worker] = []
        self._groups: list[list[socket.socket]] = []
        self._redirects: list[list[socket.socket]] = []
        self._keepers: list[asyncio.Task[None]] = []
        self._stop = asyncio.Event()
        self._failure = ""
        self._directory = ""
        self._demo: Any = None
        self._view: WorkersView | None = None
        self._admin: AdminServer | None = None

    async def start(self) -> None:
        """Everything, in the order of a single process; returns when all workers listen. Raises StartError."""
        config = self.config
        keys = load_keys(config.state, self._log)
        self._directory = tempfile.mkdtemp(prefix="shield-workers-")  # mode 0700
        servers = config.upstream.servers
        if DEMO in servers:
            address, self._demo = await start_demo()
            servers = tuple(address if server == DEMO else server for server in servers)
        self._groups = sockets.bind_groups(config.listen.addresses, config.listen.backlog, self._number)
        self.addresses = sockets.names([group[0] for group in self._groups])
        self._redirects = sockets.bind_groups(config.tls.redirect_from, config.listen.backlog, self._number)
        steered = self._steer()
        self._config = share_out(replace(config, upstream=replace(config.upstream, servers=servers)), self._number)
        for number in range(self._number):
            share = Share(number, keys, _descriptors(self._groups, number), _descriptors(self._redirects, number))
            self._workers.append(Worker(number, share))
        self._view = WorkersView([self._socket(worker) for worker in self._workers], self._facts, self.stopping)
        self._admin = AdminServer(config.admin, self._view, self._view.refresh)
        await self._admin.start()
        results = await asyncio.gather(*map(self._launch, self._workers), return_exceptions=True)
        for error in results:
            if error is not None and not self.stopping():
                raise error
        self._keepers = [asyncio.create_task(self._keep(worker)) for worker in self._workers]
        self._log.event(
            "started",
            listen=self.addresses,
            redirect_from=sockets.names([group[0] for group in self._redirects]),
            admin=self._admin.address,
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
        """Until it is time to end; drains. Raises StartError when a worker keeps dying."""
        await self._stop.wait()
        self._log.event("stopping", workers=self._number)
        await self._drain()
        if self._failure:
            raise StartError(self._failure)

    async def close(self) -> None:
        """Free everything. Safe to call after a failed start: whoever runs is killed."""
        self._stop.set()
        for worker in self._workers:
            worker.signal(signal.SIGKILL)
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        for worker in self._workers:
            if worker.process is not None:
                await worker.process.wait()  # no zombies
            if worker.control is not None:
                worker.control.close()
        self._leave()
        if self._admin is not None:
            await self._admin.close()
        if self._view is not None:
            await self._view.close()
        if self._demo is not None:
            await self._demo.cleanup()
        if self._directory:
            shutil.rmtree(self._directory, ignore_errors=True)
        await asyncio.sleep(0)
        self._log.close()

    def _steer(self) -> bool:
        """Whether the kernel brings each network to one worker."""
        if self.config.listen.trusted_proxies:
            # All connections come from the proxies' few networks: steered, they would meet one worker.
            return False
        program = kernel.steering(self._number, int.from_bytes(os.urandom(4), "big"))
        try:
            for group in (*self._groups, *self._redirects):
                kernel.attach(group[0], program)
        except OSError as error:
            self._log.event("not_steered", error=str(error), effect="limits count per worker")
            return False
        return True

    def _socket(self, worker: Worker) -> str:
        return f"{self._directory}/worker-{worker.number}.sock"

    def _facts(self) -> list[dict[str, Any]]:
        return [
            {"worker": w.number, "pid": None if w.process is None else w.process.pid, "restarts": w.restarts}
            for w in self._workers
        ]

    async def _launch(self, worker: Worker) -> None:
        """Start its process; returns when it listens. Raises StartError with what it says, or OSError."""
        if worker.control is not None:
            worker.control.close()
        worker.control, theirs = socket.socketpair()
        worker.control.setblocking(False)
        with theirs:
            worker.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "shield.process.worker", str(worker.number)),
                stdin=theirs.fileno(),
                pass_fds=(*worker.share.listeners, *worker.share.redirects),
                env=_environment(),
            )
        loop = asyncio.get_running_loop()
        config = replace(self._config, admin=replace(self.config.admin, address=f"unix:{self._socket(worker)}"))
        answer = b""
        with contextlib.suppress(ConnectionError):
            await loop.sock_sendall(worker.control, hand_over(config, worker.share))
            while not answer.endswith(b"\n") and (data := await loop.sock_recv(worker.control, 4096)):
                answer += data
        if not answer.endswith(b"\n"):
            raise StartError(f"worker {worker.number} ended before it listened")
        error = orjson.loads(answer).get("error", "")
        if error:
            raise StartError(error)

    async def _keep(self, worker: Worker) -> None:
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
                await self._launch(worker)
            except (StartError, OSError) as error:  # if there is a process, it ends, too
                self._log.event("worker_not_started", worker=worker.number, error=str(error))

    async def _drain(self) -> None:
        """Let every worker end by itself, within its time."""
        self._leave()  # a socket that we kept open would still be given connections
        for worker in self._workers:
            worker.signal(signal.SIGTERM)
        running = [worker.process.wait() for worker in self._workers if worker.process is not None]
        try:
            async with asyncio.timeout(self.config.timeouts.drain + CLOSE_SECONDS):
                await asyncio.gather(*running)
        except TimeoutError:
            self._log.event("workers_killed")

    def _leave(self) -> None:
        for group in (*self._groups, *self._redirects):
            for sock in group:
                sock.close()


def _descriptors(groups: list[list[socket.socket]], number: int) -> tuple[int, ...]:
    """Those of one worker, one of each group."""
    return tuple(group[number].fileno() for group in groups)


@functools.cache
def _environment() -> dict[str, str]:
    """Ours, with this very package first; the service manager hears of one process only."""
    package = str(Path(__file__).parents[2])
    path = os.environ.get("PYTHONPATH", "")
    environment = {**os.environ, "PYTHONPATH": f"{package}{os.pathsep}{path}" if path else package}
    environment.pop("NOTIFY_SOCKET", None)
    return environment
