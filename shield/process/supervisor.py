"""Several processes on one address: the supervisor.

    supervisor    binds the sockets and steers connections to them (accept/steering.py), holds the signing keys, starts
                  the workers and starts them again, runs the demo site, answers on the admin listener for all
    worker 0...   an ordinary Service each (worker.py), with its own engine, on sockets that it inherits; over memory
                  that they share (policy/board) these are one

Workers are forked by a process that has neither a loop nor threads, which a fork would copy in any state (nursery.py);
where there is none, they are new interpreters. The supervisor keeps the listening sockets open, so while a worker is
dead its connections wait in the backlog for the next one, and the others notice nothing.

A worker that dies is replaced after a pause, longer each time. MOST_DEATHS of one within DEATHS_SECONDS are no
accident: all are drained and the supervisor ends with a StartError. SIGTERM or SIGINT drains all workers; a second one
kills them. A worker that does nothing any more is killed, and replaced like one that has died. A supervisor that is
killed leaves no orphans for long: its workers see it, drain and end, at once or, where a service manager holds the
sockets, when the next supervisor's workers listen (orphans.py).

SIGHUP reads the config again: every worker prepares a service by it (generations.py), and when all have, all let it
begin. When one cannot, none does. SIGUSR2 starts another supervisor in the place of this one (upgrade.py), with workers
of its own, each of which is told by one of ours what that has learned.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from itertools import zip_longest
from typing import Any

import uvloop

from shield.config.settings import Config
from shield.demo.site import start_demo
from shield.errors import StartError
from shield.operator.access import Access
from shield.operator.log import AccessLog, LogSettings
from shield.operator.log_places import LogPlaces
from shield.operator.logging_bridge import LoggingBridge
from shield.operator.merge import WorkersView
from shield.operator.server import AdminServer
from shield.operator.timeline import Timeline
from shield.policy.explain.refusing import Pardoned
from shield.policy.rules.rule import Rule, read
from shield.process import signals, systemd
from shield.process.board import attach, make, numbered
from shield.process.control import BEAT_SECONDS, Order
from shield.process.dropper import Dropped
from shield.process.exports import Exports
from shield.process.inherited import CLOSE_SECONDS, Legacy, Predecessor, Predecessors
from shield.process.notifier import Notifier
from shield.process.nursery import Nursery
from shield.process.reloading import Reloading
from shield.process.rulebook import Rulebook
from shield.process.share import Share, check_workers, share_out
from shield.process.shared_sockets import SharedSockets
from shield.process.state import load_keys
from shield.process.state_lock import StateLock
from shield.process.upgrade import Upgrading, own_pidfd
from shield.process.words import Welcome, greet, named, warn_of_forgetting
from shield.process.worker_handle import DEATHS_SECONDS, MOST_DEATHS, WorkerHandle
from shield.upstream.settings import DEMO


def run(
    config: Config,
    welcome: Welcome,
    number: int,
    again: Callable[[], Config],
    legacy: Legacy | None = None,
    predecessor: Predecessor | None = None,
    nursery: Nursery | None = None,
) -> int:
    """Serve with `number` workers until SIGTERM, SIGINT or SIGQUIT. Returns the exit status; raises StartError.

    `again` reads the config again, for SIGHUP; it may block, and raises ConfigError. `legacy` has sockets that somebody
    else has bound; with a `predecessor`, it is from there, and this process comes in its place. The workers come from
    the `nursery`.
    """
    return uvloop.run(_run(config, welcome, number, again, legacy, predecessor, nursery))


async def _run(
    config: Config,
    welcome: Welcome,
    number: int,
    again: Callable[[], Config],
    legacy: Legacy | None,
    predecessor: Predecessor | None,
    nursery: Nursery | None,
) -> int:
    places = LogPlaces(True, lambda path, error: log.event("log_not_reopened", path=path, error=error))

    def make_log(settings: LogSettings) -> AccessLog:
        writer, access = places.writers(settings)
        log = AccessLog(settings, writer, time.monotonic, wall_offset, timeline=timeline, access=access)
        log.attach(asyncio.get_running_loop())
        return log

    wall_offset = time.time() - time.monotonic()
    timeline = Timeline(wall_offset)
    log = make_log(config.log)
    bridge = LoggingBridge(log)
    bridge.install()

    def use(settings: LogSettings) -> AccessLog:
        log = make_log(settings)
        bridge.use(log)
        return log

    supervisor = Supervisor(config, number, log, use, time.monotonic, legacy, predecessor, nursery)
    changing = asyncio.Lock()
    reloading = Reloading(config, again, supervisor.reload, supervisor.event, changing)
    upgrading = Upgrading(supervisor, changing, supervisor.event, reloading.leave)
    rulebook = Rulebook(lambda: time.monotonic() + wall_offset, changing)
    rulebook.serve(supervisor.follow, reloading.now, supervisor.event)
    supervisor.use_rules(rulebook)

    def end() -> None:
        signals.handle(end, None, None, supervisor.event, places.reopen)
        upgrading.cancel()
        supervisor.stop()

    try:
        async with changing:  # what signals ask for is done after the start
            signals.handle(end, reloading.ask, upgrading.ask, supervisor.event, places.reopen)
            await supervisor.start()
        if not supervisor.stopping():
            if predecessor is None:
                greet(config, supervisor.addresses[0], welcome)
            systemd.notify("READY=1")
            systemd.keep_alive()
        await supervisor.wait()
        systemd.notify("STOPPING=1")
    finally:
        rulebook.close()
        await reloading.close()
        await upgrading.close()
        await supervisor.close()
        bridge.remove()
        places.close()
    return 0


class Supervisor:
    """`start`, `wait` until `stop` was called or a worker keeps dying, `close`. `clock` gives monotonic seconds.

    `use` makes another log, for a config that was read again. `predecessor` goes on until all workers listen. It has
    more than 15 attributes because it holds what is for all workers.
    """

    __slots__ = (
        "_access", "_admin", "_adopting", "_board_memory", "_boards", "_changing", "_clock", "_closing", "_config",
        "_demo", "_directory", "_dropped", "_exports", "_failure", "_keys", "_left", "_legacy", "_lock", "_log",
        "_notifier", "_number", "_nursery", "_others", "_predecessor", "_rulebook", "_served", "_sockets", "_stop",
        "_use", "_view", "_workers", "addresses",
    )  # fmt: skip

    def __init__(
        self,
        config: Config,
        number: int,
        log: AccessLog,
        use: Callable[[LogSettings], AccessLog],
        clock: Callable[[], float],
        legacy: Legacy | None = None,
        predecessor: Predecessor | None = None,
        nursery: Nursery | None = None,
    ) -> None:
        self.addresses: list[str] = []
        """Where clients are served, once it has started."""
        self._config = config
        self._number = number
        self._log = log
        self._use = use
        self._clock = clock
        self._closing = AsyncExitStack()
        self._sockets: SharedSockets | None = None
        self._workers: list[WorkerHandle] = []
        self._stop = asyncio.Event()
        self._changing = asyncio.Lock()  # while workers are launched, or told to go by another config
        self._served = config  # the config of each worker
        self._dropped: dict[int, list[Dropped]] = {}  # by worker
        self._exports: Exports | None = None
        self._notifier: Notifier | None = None
        self._demo = ""  # the address of the demo site
        self._admin: AdminServer | None = None
        self._access: Access | None = None
        self._lock = StateLock()
        self._rulebook: Rulebook | None = None
        self._view: WorkersView | None = None
        self._failure = ""
        self._directory = ""
        self._legacy = legacy
        self._nursery = nursery
        self._predecessor = predecessor
        self._others = Predecessors() if predecessor is None else predecessor.others
        self._keys = None if legacy is None else legacy.keys
        self._left = asyncio.Event()  # for another process
        self._adopting: set[asyncio.Task[None]] = set()
        self._boards: dict[str, int] = {}  # by site, also of those that are no more
        self._board_memory = -1  # descriptor

    async def start(self) -> None:
        """Everything, in the order of a single process; returns when all workers listen. Raises StartError."""
        config, closing, predecessor = self._config, self._closing, self._predecessor
        legacy, self._legacy = self._legacy, None
        if legacy is not None:
            check_workers(legacy.workers, self._number)
        closing.callback(self._close_log)
        closing.push_async_callback(asyncio.sleep, 0)  # let transports that were aborted go
        if self._nursery is not None:
            self._nursery.open()
            closing.push_async_callback(self._nursery.close)
        access = self._access = Access(config.admin.token_file)
        self._lock.take(config.state, predecessor is not None)
        closing.callback(self._lock.close)
        keys = self._keys = load_keys(config.state, self._log, former=self._keys)
        self._directory = tempfile.mkdtemp(prefix="shield-workers-")  # mode 0700
        closing.callback(shutil.rmtree, self._directory, ignore_errors=True)
        served = await self._with_demo(config)
        given = None if legacy is None else legacy.sockets()
        listening = self._sockets = SharedSockets(config, self._number, given)
        closing.callback(self._close_sockets)
        self.addresses = listening.addresses
        self._make_board()
        self._boards = numbered([site.name for site in config.sites], {})
        steered = listening.steers or self._steer(listening)
        if predecessor is None:
            self._dig(listening, steered)
        for number in range(self._number):
            share = self._share(number, keys, listening)
            if predecessor is not None:
                share = replace(share, estate=predecessor.legacy.estates[number].fileno())
            self._workers.append(WorkerHandle(share, partial(self._drop, number), self._nursery, self._changed))
        sockets = [self._socket(each) for each in self._workers]
        view = self._view = WorkersView(sockets, self._facts, self.stopping, self._events)
        closing.push_async_callback(view.close)
        closing.push_async_callback(self._close_admin)
        self._admin = await self._start_admin(
            config, access, () if legacy is None else legacy.admin_at(config.admin.address)
        )
        closing.push_async_callback(self._end_workers)
        self._served = share_out(served, self._number)
        self._keep_running(self._watch())
        await self._launch_all()
        if predecessor is not None:
            await self._begin(predecessor, listening, keys)
            if given is not None:
                given.close(listening)
            self._dig(listening, steered)
            self._fill()
        closing.push_async_callback(self._close_exports)
        await self._export()
        closing.push_async_callback(self._close_notifier)
        await self._notify()
        for worker in self._workers:
            self._keep_running(self._keep(worker))
        self._keep_running(self._claim())
        self._tell("started", steered=steered)
        warn_of_forgetting(config, self._log)

    async def _begin(
        self, predecessor: Predecessor, listening: SharedSockets, keys: tuple[bytes, bytes | None]
    ) -> None:
        """Have the workers, which are ready, accept connections in the place of others."""
        for worker, estate in zip(self._workers, predecessor.legacy.estates, strict=True):
            estate.close()
            worker.share(self._share(worker.number, keys, listening))
        await predecessor.let_begin()
        for error in await asyncio.gather(
            *(worker.order(Order("commit")) for worker in self._workers), return_exceptions=True
        ):
            if isinstance(error, BaseException):
                raise error
        await predecessor.begun()

    # As the giver of upgrade.py

    @property
    def workers(self) -> int:
        """How many there are."""
        return self._number

    def legacy(self, estates: list[socket.socket]) -> Legacy:
        """What the supervisor that comes in the place of this one is given."""
        assert self._sockets is not None  # noqa: S101 - it has started
        assert self._admin is not None  # noqa: S101
        assert self._keys is not None  # noqa: S101
        admin = [socket.socket(fileno=os.dup(number)) for number in self._admin.descriptors()]
        before = [*self._others.living(), *own_pidfd()]
        given = Legacy.of(self._sockets, self._number, self._keys, (self._config.admin.address, admin), estates, before)
        given.rules = [] if self._rulebook is None else self._rulebook.rows()
        return given

    async def give(self, ends: list[socket.socket]) -> None:
        """Have each worker tell one of the other supervisor's what it remembers."""
        orders = [Order("give", share=Share(0, (b"", None), (end.fileno(),))) for end in ends]
        await asyncio.gather(
            *(worker.order(order) for worker, order in zip(self._workers, orders, strict=True)), return_exceptions=True
        )

    def let_go(self) -> None:
        """Have the kernel drop nobody any more."""
        if self._sockets is not None:
            self._sockets.fill_in()

    def go_on(self) -> None:
        """After `let_go`: have the kernel drop connections again."""
        if self._sockets is not None:
            self._dig(self._sockets, self._sockets.steers)
            self._fill()

    async def leave(self, _: list[socket.socket]) -> None:
        """Have the workers accept nothing more, and end with their last connections."""
        self._left.set()
        await self._close_exports()
        await self._close_notifier()
        if self._rulebook is not None:
            self._rulebook.leave()
        admin, self._admin = self._admin, None
        if admin is not None:
            await admin.close(keep=True)
        await asyncio.gather(*(worker.order(Order("leave")) for worker in self._workers), return_exceptions=True)
        self._lock.close()
        self._close_sockets()

    def _dig(self, listening: SharedSockets, steered: bool) -> None:
        """Have the kernel drop connections."""
        if self._config.drops.by_kernel and (error := listening.dig() if steered else "not steered"):
            self._log.event("not_dropped_by_kernel", error=error)

    def _drop(self, worker: int, dropped: list[Dropped]) -> None:
        """Have what one worker says dropped, and what the others have said. Each has put its worst first."""
        self._dropped[worker] = dropped
        self._fill()

    def _fill(self) -> None:
        if self._sockets is not None:
            in_turns = zip_longest(*self._dropped.values())
            dropped = [one for turn in in_turns for one in turn if one]
            self._sockets.drop([name for name, _ in dropped])
            if self._exports is not None:
                self._exports.show(dropped)

    async def _export(self) -> None:
        """Tell others whom the workers drop, by the config that holds now."""
        former, listening = self._exports, self._sockets
        assert listening is not None  # noqa: S101 - it has started
        if former is not None:
            await former.close(ended=False)
        self._exports = Exports(self._config.drops, listening.ports, time.time, self.event)
        if self._dropped:
            self._fill()

    async def _close_exports(self) -> None:
        if self._exports is not None:
            await self._exports.close(ended=not self._left.is_set())

    async def _notify(self) -> None:
        """Tell the operator of attacks, by the config that holds now."""
        former, view = self._notifier, self._view
        assert view is not None  # noqa: S101 - it was made
        await self._close_notifier()

        async def look() -> dict[str, Any]:
            await view.refresh("/api/status")
            return view.status()

        self._notifier = Notifier(self._config.notify, look, self.event)
        self._notifier.start(former)

    async def _close_notifier(self) -> None:
        if self._notifier is not None:
            await self._notifier.close()

    def _share(self, number: int, keys: tuple[bytes, bytes | None], listening: SharedSockets) -> Share:
        descriptors = listening.descriptors(number), listening.redirect_descriptors(number)
        board, steered, kept = self._board_memory, listening.steers, listening.kept
        return Share(
            number, keys, *descriptors, self._number, board=board, boards=self._boards, steered=steered, kept=kept
        )

    def _make_board(self) -> None:
        """Make what the workers have in common (policy/board). Raises StartError."""
        try:
            self._board_memory = make(self._number)
            self._closing.callback(os.close, self._board_memory)
        except OSError as error:
            raise StartError(f"no memory that {self._number} workers can share: {error.strerror}") from error

    async def _start_admin(self, config: Config, access: Access, given: Sequence[socket.socket] = ()) -> AdminServer:
        assert self._view is not None  # noqa: S101 - it was made
        admin = AdminServer(config.admin, self._view, self._view.refresh, self._rulebook, access)
        await admin.start(given)
        return admin

    async def _close_admin(self) -> None:
        admin, self._admin = self._admin, None
        if admin is not None:
            await admin.close()

    def _close_log(self) -> None:
        self._log.close()

    def _close_sockets(self) -> None:
        if self._sockets is not None:
            self._sockets.close()

    def _tell(self, event: str, **more: Any) -> None:
        config, listening, admin = self._config, self._sockets, self._admin
        assert listening is not None  # noqa: S101 - it has started
        self._log.event(
            event,
            listen=self.addresses,
            redirect_from=listening.redirect_addresses,
            admin="" if admin is None else admin.address,
            upstream=[server for site in config.sites for server in site.upstream.servers],
            dry_run=config.dry_run,
            state=config.state.directory,
            workers=self._number,
            **named(config),
            **more,
            pid=os.getpid(),
        )

    def event(self, name: str, **fields: Any) -> None:
        """Log an event."""
        self._log.event(name, **fields)

    def use_rules(self, rulebook: Rulebook) -> None:
        """Have every worker go by this book, before the start."""
        self._rulebook = rulebook
        rulebook.go_by(self._config)
        if self._predecessor is not None:
            rulebook.take(self._predecessor.legacy.rules)

    def _changed(self, said: dict[str, Any]) -> None:
        """Have the book hold what was changed at other machines, as a worker says."""
        if self._rulebook is not None:
            changes = [
                ((kind, subject), None if rule is None else read(rule)) for kind, subject, rule in said["changes"]
            ]
            task = asyncio.get_running_loop().create_task(self._rulebook.adopt(changes, said["pardons"]))
            self._adopting.add(task)
            task.add_done_callback(self._adopting.discard)

    async def follow(self, rules: Sequence[Rule], pardon: str) -> Pardoned:
        """Have every worker go by these rules. One that has ended meanwhile is followed by one that does."""
        async with self._changing:
            order = Order("rules", rules=tuple(rules), pardon=pardon)
            answers = await asyncio.gather(*(worker.order(order) for worker in self._workers), return_exceptions=True)
        told = (answer["pardoned"] for answer in answers if isinstance(answer, dict) and "pardoned" in answer)
        pardoned = (Pardoned(lifted, tuple(refusing)) for lifted, refusing in told)
        return max(pardoned, default=Pardoned())  # workers tell each other of bans, so each has most of them

    async def reload(self, config: Config) -> None:
        """Go by another config, with all workers or with none. Raises StartError or OSError; then nothing changed."""
        async with self._changing:
            former, admin = self._sockets, self._admin
            assert former is not None  # noqa: S101 - it has started
            assert admin is not None  # noqa: S101
            keys = load_keys(config.state, self._log, former=self._keys)
            access = Access(config.admin.token_file)
            self._lock.check(config.state)
            served = share_out(await self._with_demo(config), self._number)
            boards = self._boards
            self._boards = numbered([site.name for site in config.sites], boards)
            listening = SharedSockets(config, self._number, former)
            try:
                log = self._use(config.log)
                if config.admin.address != self._config.admin.address:
                    admin = await self._start_admin(config, access)
                try:
                    await self._order_all("prepare", served, keys, listening)
                except BaseException:
                    if admin is not self._admin:
                        await admin.close()
                    raise
            except BaseException:
                self._use(self._config.log)
                self._boards = boards
                listening.close(former)
                raise
            for worker in self._workers:
                worker.share(self._share(worker.number, keys, listening))
            self._config, self._served, self._sockets, self._keys = config, served, listening, keys
            self.addresses = listening.addresses
            self._access = access
            self._lock.change(config.state)
            if self._rulebook is not None:
                self._rulebook.go_by(config)
            former.fill_in()
            await asyncio.gather(*(worker.order(Order("commit")) for worker in self._workers), return_exceptions=True)
            former.close(listening)
            self._log = log
            self._dig(listening, listening.steers)
            await self._export()
            await self._notify()
            await self._use_admin(admin)
            self._tell("reloaded")

    async def _use_admin(self, admin: AdminServer) -> None:
        assert self._view is not None  # noqa: S101 - it has started
        if admin is self._admin:
            admin.show(self._config.admin, self._view, self._access)
        else:
            await self._close_admin()
            self._admin = admin

    async def _order_all(
        self, what: str, served: Config, keys: tuple[bytes, bytes | None], listening: SharedSockets
    ) -> None:
        """Have all workers prepare; when one cannot, none does, and its StartError is raised."""
        results = await asyncio.gather(
            *(
                worker.order(Order(what, self._config_of(worker, served), self._share(worker.number, keys, listening)))
                for worker in self._workers
            ),
            return_exceptions=True,
        )
        failed = [error for error in results if isinstance(error, BaseException)]
        if failed:
            await asyncio.gather(*(worker.order(Order("drop")) for worker in self._workers), return_exceptions=True)
            raise failed[0]

    async def _watch(self) -> None:
        """Kill workers that hang; they are replaced as any that dies."""
        while not self._stop.is_set():
            await asyncio.sleep(BEAT_SECONDS)
            for worker in self._workers:
                if worker.hangs() and worker.process is not None:
                    self._log.event("worker_hangs", worker=worker.number, pid=worker.process.pid)
                    worker.signal(signal.SIGKILL)

    async def _claim(self) -> None:
        """Have the workers of a supervisor that was killed leave the sockets to ours."""
        # The supervisor before this one, in an upgrade, is about to let them go.
        while self._sockets is not None and not self._sockets.claim():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(BEAT_SECONDS / 10)

    def stop(self) -> None:
        """The handler of SIGTERM, SIGINT and SIGQUIT: drain, and when it comes again, kill."""
        self._others.stop()
        if self._stop.is_set():
            for worker in self._workers:
                worker.signal(signal.SIGKILL)
        self._stop.set()

    def stopping(self) -> bool:
        """Whether the end has begun."""
        return self._stop.is_set() or self._left.is_set()

    async def wait(self) -> None:
        """Wait until Shield is told to stop, then drain. Raises StartError when a worker keeps dying."""
        await signals.first(self._stop, self._left)
        if not self._stop.is_set():
            signals.handle(self.stop, None, None, self.event)
            running = [worker.process.wait() for worker in self._workers if worker.process is not None]
            ended = asyncio.gather(*running)
            await signals.first(self._stop, ended)
            if ended.done():
                return
        self._log.event("stopping", workers=self._number)
        end = self._clock() + self._config.timeouts.drain + CLOSE_SECONDS
        await self._drain()
        await self._others.gone(end - self._clock())
        if self._failure:
            raise StartError(self._failure)

    async def close(self) -> None:
        """Free everything. Safe to call after a failed start: whoever runs is killed."""
        self._stop.set()
        await self._closing.aclose()

    async def _with_demo(self, config: Config) -> Config:
        """The config, with the address of the demo site in its place, which runs here for all workers."""
        upstream = config.upstream
        if not any(DEMO in site.upstream.servers for site in config.sites):
            return config
        if not self._demo:
            self._demo, demo = await start_demo()
            self._closing.push_async_callback(demo.cleanup)
        servers = tuple(self._demo if server == DEMO else server for server in upstream.servers)
        return replace(config, upstream=replace(upstream, servers=servers))

    def _steer(self, listening: SharedSockets) -> bool:
        """Whether the kernel brings each network to one worker."""
        try:
            return listening.steer()
        except OSError as error:
            self._log.event("not_steered", error=str(error), effect="a client is ahead of its limits by a moment")
            return False

    def _socket(self, worker: WorkerHandle) -> str:
        """The path of its admin listener."""
        return f"{self._directory}/worker-{worker.number}.sock"

    def _facts(self) -> list[dict[str, Any]]:
        return [
            {"worker": w.number, "pid": None if w.process is None else w.process.pid, "restarts": w.restarts}
            for w in self._workers
        ]

    def _events(self) -> list[dict[str, Any]]:
        """What has happened here, beside the workers."""
        return [] if self._log.timeline is None else self._log.timeline.plain()

    def _config_of(self, worker: WorkerHandle, served: Config) -> Config:
        address = f"unix:{self._socket(worker)}"
        admin = replace(served.admin, address=address, token_file="", group="", certificate="", key="")
        return replace(served, admin=admin)

    async def _launch(self, worker: WorkerHandle) -> None:
        rules = () if self._rulebook is None else self._rulebook.followed()
        await worker.launch(self._config_of(worker, self._served), rules)

    async def _launch_all(self) -> None:
        """Start all at once; StartError or OSError of the first that could not."""
        results = await asyncio.gather(*(self._launch(worker) for worker in self._workers), return_exceptions=True)
        for error in results:
            if error is not None and not self.stopping():
                raise error

    def _keep_running(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)

        async def end() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        self._closing.push_async_callback(end)

    async def _keep(self, worker: WorkerHandle) -> None:
        """Wait for the end of a worker and start the next one, until it is time to end."""
        while not self.stopping():
            if worker.process is not None:
                status = await worker.process.wait()
                if self.stopping():
                    return
                self._log.event("worker_ended", worker=worker.number, pid=worker.process.pid, status=status)
                worker.process = None
                for board in set(self._boards.values()):
                    attach(self._board_memory, self._number, board).leave(worker.number)
            pause = worker.pause(self._clock())
            if pause is None:
                self._failure = f"worker {worker.number} died {MOST_DEATHS} times within {DEATHS_SECONDS:.0f} seconds"
                self._stop.set()
                return
            await asyncio.sleep(pause)
            worker.restarts += 1
            try:
                async with self._changing:
                    await self._launch(worker)
            except (StartError, OSError) as error:  # if there is a process, it ends, too
                self._log.event("worker_not_started", worker=worker.number, error=str(error))

    async def _drain(self) -> None:
        """Let every worker end by itself, within its time."""
        self._close_sockets()  # those that we kept open would still be given connections
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
