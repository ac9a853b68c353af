"""The services of one process: the one that accepts connections, and those before it that have not ended yet.

When the config is read again (SIGHUP), the next service is prepared beside the present one, in the same process: the
listening sockets whose addresses stay are used by both for a moment, so no connection is lost, and those that wait in
the kernel stay. What the policy remembers is handed over. Then, between two turns of the loop, the next one begins and
the present one retires; its requests, streams and WebSockets end when they end. If anything stands in the way, the next
one is closed again, and nothing has changed.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from shield.config.settings import Config
from shield.operator.desk import Desk
from shield.operator.log import AccessLog
from shield.operator.log_places import LogPlaces
from shield.operator.logging_bridge import LoggingBridge
from shield.operator.refusals import Refusals
from shield.operator.timeline import Timeline
from shield.policy.explain.refusing import Pardoned
from shield.policy.rules.rule import Rule
from shield.process.board import Seats
from shield.process.build import Setting
from shield.process.dropper import Dropped
from shield.process.estate import Inheritance
from shield.process.exports import Exports
from shield.process.inherited import Legacy
from shield.process.notifier import Notifier
from shield.process.rules_desk import Adopt, RulesDesk
from shield.process.service import Service
from shield.process.share import Share
from shield.process.shared_sockets import SharedSockets
from shield.process.state import load_keys

GC_THRESHOLDS: Final = (20_000, 20, 100)
"""Of the garbage collector. Requests leave no cycles behind, so nearly all that it finds are the policy's tables, at
their full size each time; the rare cycle (a failed connection's traceback) can wait."""
MOST_RETIRED: Final = 16
"""Services that have retired and still serve somebody. Beyond it the oldest is cut: each may keep its tables."""


class Generations:
    """`start`, `reload` as often as wanted, `drain`, `close`.

    One of several workers has a `share`, and `drop` to tell its supervisor whose connections are to be dropped. Who
    serves alone holds the sockets here, and may have those of `legacy`. `rules` of the operator's hold from the start;
    `desk` is what the admin listener can change; `adopt` takes what was changed at other machines. It has more than 15
    attributes because it holds what is for all services of the process.
    """

    def __init__(
        self,
        share: Share | None = None,
        drop: Callable[[Sequence[Dropped]], bool] | None = None,
        legacy: Legacy | None = None,
        desk: Desk | None = None,
        rules: Sequence[Rule] = (),
        adopt: Adopt | None = None,
    ) -> None:
        self._share = share
        self._desk = desk
        self._rules = tuple(rules)
        self._rules_desk = None if adopt is None else RulesDesk(adopt)
        if self._rules_desk is not None:
            self._rules_desk.follow(rules)
        self._keys = None if legacy is None else legacy.keys
        self._legacy = legacy
        self._inheritance: Inheritance | None = None
        if share is not None and share.estate >= 0:
            self._inheritance = Inheritance(socket.socket(fileno=share.estate))
        elif legacy is not None and legacy.estates:
            self._inheritance = Inheritance(legacy.estates[0])
        self._seats: Seats | None = None  # at the boards; of one of several workers
        self._drop = drop or self._have_dropped
        self._sockets: SharedSockets | None = None if legacy is None else legacy.sockets()
        self._exports: Exports | None = None
        self._notifier: Notifier | None = None
        self._next_sockets: SharedSockets | None = None
        self._wall_offset = time.time() - time.monotonic()  # the one reading of the wall clock
        self._refusals = Refusals()
        self._timeline = Timeline(self._wall_offset)
        self._places = LogPlaces(share is not None, self._not_reopened)
        self._log: AccessLog | None = None
        self._bridge: LoggingBridge | None = None
        self._present: Service | None = None
        self._next: Service | None = None
        self._retired: dict[asyncio.Task[None], Service] = {}  # the oldest first
        self._leaving: asyncio.Task[None] | None = None

    async def start(self, config: Config) -> Service:
        """The first service. Raises StartError."""
        if self._share is not None:
            self._seats = Seats(self._share.board, self._share.workers, self._share.worker)
        await self.prepare(config, self._share)
        return await self.commit()

    async def prepare(self, config: Config, share: Share | None = None) -> None:
        """Get the next service ready, or the first. Raises StartError; then nothing has changed."""
        self._next = await self._prepare(config, share, self._present)

    async def commit(self) -> Service:
        """Let the service that was prepared begin."""
        service, first = self._next, self._present is None
        assert service is not None  # noqa: S101 - it was prepared
        if self._present is not None:
            await self._present.hand_over(service)
        self._next = None
        former, self._sockets, self._next_sockets = self._sockets, self._next_sockets, None
        await self._export(service)
        await self._notify(service)
        if former is not None:
            former.fill_in()
        self._dig(service)  # before it begins, and says at once who is dropped
        self._switch(service)
        if former is not None:
            former.close(self._sockets)
        if first:
            gc.collect()
            gc.freeze()  # modules, settings, templates: nothing of it will ever be garbage
            gc.set_threshold(*GC_THRESHOLDS)
        return service

    async def drop(self) -> None:
        """Let go of the service that was prepared; the present one goes on."""
        service, self._next = self._next, None
        if service is not None:
            await service.close()
        listening, self._next_sockets = self._next_sockets, None
        if listening is not None:
            listening.close(self._sockets)

    async def reload(self, config: Config) -> None:
        """`prepare` and `commit`. Raises StartError; then nothing has changed."""
        await self.prepare(config)
        await self.commit()

    async def follow(self, rules: Sequence[Rule], pardon: str = "") -> Pardoned:
        """Have every service go by these rules, and forget what was done by itself to `pardon`, unless that is ""."""
        self._rules = tuple(rules)
        if self._rules_desk is not None:
            self._rules_desk.follow(rules, pardon)
        services = [each for each in (self._present, self._next, *self._retired.values()) if each is not None]
        for service in services:
            service.follow(rules)
        return max([await service.pardon(pardon) for service in services], default=Pardoned()) if pardon else Pardoned()

    def event(self, name: str, **fields: Any) -> None:
        """Log an event, once there is a log."""
        if self._log is not None:
            self._log.event(name, **fields)

    def legacy(self, estates: list[socket.socket], before: list[int]) -> Legacy:
        """What another process is given that comes in the place of this one, which serves alone."""
        present = self._serving()
        assert self._sockets is not None  # noqa: S101 - it serves alone
        assert self._keys is not None  # noqa: S101
        admin = [socket.socket(fileno=os.dup(number)) for number in present.admin_descriptors()]
        return Legacy.of(self._sockets, 1, self._keys, (present.config.admin.address, admin), estates, before)

    async def give(self, to: socket.socket) -> None:
        """Tell another process what is remembered. An heir that is gone is no error."""
        with contextlib.suppress(OSError):
            await self._serving().give(to)

    def let_go(self) -> None:
        """Have the kernel drop nobody any more."""
        if self._sockets is not None:
            self._sockets.fill_in()

    def go_on(self) -> None:
        """After `let_go`: have the kernel drop connections again."""
        self._dig(self._serving())

    async def leave(self, to: socket.socket) -> None:
        """Retire for another process, which accepts connections from now on, and tell it the rest."""
        service = self._serving()
        self._present = None
        if self._exports is not None:
            await self._exports.close(ended=False)
        if self._notifier is not None:
            await self._notifier.close()
        if self._sockets is not None:
            self._sockets.close()
        await service.leave_admin()
        self._retire(service)
        with contextlib.suppress(OSError):
            await service.give_rest(to)

    async def left(self) -> None:
        """After `leave`: wait until the last connection has ended, however long that takes."""
        while self._retired:
            await asyncio.wait(self._retired)

    def outlive(self, outlives: bool) -> None:
        """Whether there is no supervisor any more, and another one is waited for, whose workers keep the files."""
        if self._present is not None:
            self._present.outlive(outlives)

    def step_aside(self, done: Callable[[], None]) -> float:
        """Retire for workers of another supervisor, which accept connections already; `done` is called when the last
        connection has ended. The seconds that these may take (`timeouts.drain`)."""
        service, self._present = self._serving(), None
        self.event("draining", connections=service.metrics.connections_open)
        self._retire(service)
        self.when_left(done)
        return service.config.timeouts.drain

    def when_left(self, done: Callable[[], None]) -> None:
        """As `left`; `done` is called then."""
        self._leaving = asyncio.create_task(self.left())
        self._leaving.add_done_callback(lambda _: done())

    async def drain(self) -> None:
        """Stop accepting; wait until nothing is in flight, at most `timeouts.drain` seconds, and cut what is left."""
        services = ([] if self._present is None else [self._present]) + list(self._retired.values())
        if not services:
            return
        present = services[0]
        self.event("draining", connections=present.metrics.connections_open)
        if self._sockets is not None:
            self._sockets.close()  # else new connections would come to the pit, or to nobody
        end = time.monotonic() + present.config.timeouts.drain
        await asyncio.gather(*(service.drain(end) for service in services))
        self.event("drained", cut=sum(service.cut() for service in services))

    async def close(self) -> None:
        """Free everything. Safe to call after a failed start."""
        await self.drop()
        for task, service in list(self._retired.items()):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await service.close()
        present, self._present = self._present, None
        if self._exports is not None:
            await self._exports.close()
        if self._notifier is not None:
            await self._notifier.close()
        if self._sockets is not None:
            self._sockets.close()
        if present is not None:
            await present.close()
        if self._bridge is not None:
            self._bridge.remove()
        self._places.close()

    def reopen(self) -> list[str]:
        """Have the files of the log opened again; their paths."""
        return self._places.reopen()

    def _not_reopened(self, path: str, error: str) -> None:
        self.event("log_not_reopened", path=path, error=error)

    def _serving(self) -> Service:
        assert self._present is not None  # noqa: S101 - it has started
        return self._present

    async def _prepare(self, config: Config, share: Share | None, former: Service | None) -> Service:
        worker = None if self._share is None else self._share.worker
        writer, access = self._places.writers(config.log)
        log = AccessLog(
            config.log,
            writer,
            time.monotonic,
            self._wall_offset,
            worker=worker,
            refusals=self._refusals,
            timeline=self._timeline,
            access=access,
        )
        if self._log is None:
            self._use(log)
        metrics, known = (None, None) if former is None else (former.metrics, former.known)
        try:
            given = self._listen(config) if share is None else (share.listeners, share.redirects)
            clock, wall_offset = time.monotonic, self._wall_offset
            admin = () if self._legacy is None else self._legacy.admin_at(config.admin.address)
            keys = None
            if share is None:
                keys = self._keys = load_keys(config.state, log, former=self._keys)
            drop, seats, desk = self._drop, self._seats, self._desk
            setting = Setting(
                config, log, clock, wall_offset, given, drop, share, metrics, keys, admin, seats, desk, self._refusals,
                known, self._rules_desk,
            )  # fmt: skip
            service = Service(setting)
            await service.prepare(former, self._inheritance)
        except BaseException:
            await self.drop()
            raise
        return service

    def _listen(self, config: Config) -> tuple[Sequence[int], Sequence[int]]:
        """Bind what this process has not bound yet; copies of the descriptors of all. Raises StartError."""
        listening = self._next_sockets = SharedSockets(config, 1, self._sockets)
        service, redirects = listening.descriptors(0), listening.redirect_descriptors(0)
        return [os.dup(number) for number in service], [os.dup(number) for number in redirects]

    def _dig(self, service: Service) -> None:
        """Have the kernel drop connections, where nobody else sees to it."""
        if self._sockets is not None and service.config.drops.by_kernel and (error := self._sockets.dig()):
            self.event("not_dropped_by_kernel", error=error)

    def _have_dropped(self, dropped: Sequence[Dropped]) -> bool:
        if self._exports is not None:
            self._exports.show(dropped)
        return self._sockets is None or self._sockets.drop([name for name, _ in dropped])

    async def _export(self, service: Service) -> None:
        """Tell others who is dropped, where nobody else sees to it."""
        if self._sockets is not None:
            if self._exports is not None:
                await self._exports.close(ended=False)
            self._exports = Exports(service.config.drops, self._sockets.ports, time.time, self.event)

    async def _notify(self, service: Service) -> None:
        """Tell the operator of attacks, where nobody else sees to it."""
        if self._sockets is None:
            return
        former = self._notifier
        if former is not None:
            await former.close()

        async def look() -> dict[str, Any]:
            return service.status()

        self._notifier = Notifier(service.config.notify, look, self.event)
        self._notifier.start(former)

    def _switch(self, service: Service) -> None:
        """Let `service` begin; the one before it retires. Nothing happens in between."""
        former, self._present = self._present, service
        service.follow(self._rules)
        self._use(service.log)
        inheritance, self._inheritance = self._inheritance, None
        service.begin(former, inheritance)
        if former is not None:
            self._retire(former)

    def _retire(self, former: Service) -> None:
        former.retire()
        task = asyncio.create_task(former.finish())
        self._retired[task] = former
        task.add_done_callback(self._retired.pop)
        for oldest in list(self._retired.values())[:-MOST_RETIRED]:
            self.event("retired_cut", connections=oldest.cut())

    def _use(self, log: AccessLog) -> None:
        self._log = log
        if self._bridge is None:
            self._bridge = LoggingBridge(log)
            self._bridge.install()
        self._bridge.use(log)
