"""The life of one service: prepare, begin, drain or retire, close.

Prepare: the parts are built (build.py). Begin: the client listeners accept, the timers run. Drain, when the process
ends: nothing more is accepted, and requests in flight may end within `timeouts.drain`. Retire, when the next service
has begun (generations.py): connections end with their next response. Close: the history is saved, and everything is
closed in the reverse order.
"""

from __future__ import annotations

import asyncio
import importlib
import itertools
import os
import socket
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from shield.config.settings import Config
from shield.errors import out_of_files
from shield.lookup.known import Known
from shield.operator.access import Access
from shield.operator.log import AccessLog
from shield.operator.metrics import Metrics
from shield.operator.server import AdminServer
from shield.policy.explain.refusing import Pardoned
from shield.policy.rules.rule import Rule
from shield.process import estate
from shield.process.build import Parts, Setting, build
from shield.process.dropper import Dropper
from shield.process.estate import Inheritance
from shield.process.explaining import explainer_of
from shield.process.keeper import Keeper, about, recall, same_service
from shield.process.timers import Timers
from shield.process.view import ProcessView
from shield.process.words import named, warn_of_forgetting, warn_of_known_hashes
from shield.upstream import health

if TYPE_CHECKING:
    from shield.cluster.node import Node

DRAIN_LOOKS_SECONDS: Final = 0.020
"""How often it is looked whether all connections have ended."""
RETIRED_LOOKS_SECONDS: Final = 0.25
"""The same, where nobody waits for it."""
RETIRED_IDLE_SECONDS: Final = 5.0
"""How long idle connections are left open once another service has begun."""


TAKEN_ROWS: Final = 250
"""Rows that are handed over at a time, which takes 2.5 ms, in which no request is served."""
MOST_PASSES: Final = 3
"""How often what was learned is handed over while further clients are banned."""


def _node(setting: Setting, parts: Parts) -> Node | None:
    """This process's part in what several machines do together; nothing of that is imported where there is one."""
    config = setting.config
    if not config.cluster.store or setting.rules_desk is None:
        return None
    module = importlib.import_module("shield.cluster.node")
    node: Node = module.Node(
        config.cluster, parts.sites, parts.keys, setting.rules_desk, setting.log, setting.clock, setting.wall_offset
    )
    return node


class Service:
    """One config's worth of Shield in a process. Call `prepare`, `begin`, then `drain` and `close`.

    Where a config is read again, the next service is prepared beside this one; then it begins, and this one retires.
    """

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._closing = AsyncExitStack()
        self._draining = False
        self._known = 0
        self._parts: Parts | None = None
        self._keeper: Keeper | None = None
        self._dropper: Dropper | None = None
        self._view: ProcessView | None = None
        self._access: Access | None = None
        self._admin: AdminServer | None = None
        self._node: Node | None = None
        self._member: asyncio.Task[None] | None = None
        self._replaced = False
        self.addresses: list[str] = []
        """Where clients are served, once it has begun."""

    async def prepare(self, former: Service | None = None, inheritance: Inheritance | None = None) -> None:
        """Get everything ready, and accept nothing yet. Raises StartError; what was opened by then is closed again.

        `former` serves meanwhile, and goes on if this one does not begin. The admin listener is its, if the address
        stays. `inheritance` is from a process that does so.
        """
        try:
            await self._prepare(former, inheritance)
        except BaseException:
            await self.close()
            raise

    async def _prepare(self, former: Service | None, inheritance: Inheritance | None) -> None:
        setting, closing = self._setting, self._closing
        setting.log.attach(asyncio.get_running_loop())
        closing.callback(setting.log.close)
        closing.push_async_callback(asyncio.sleep, 0)  # let transports that were aborted go
        parts = self._parts = await build(setting, closing)
        if inheritance is not None and await inheritance.take(parts.sites, setting.clock, about(setting)):
            self._known = inheritance.known
        elif former is None:
            self._known = recall(setting, parts.sites)
        self._keeper = Keeper(setting, parts.sites)
        closing.push_async_callback(self._keeper.save)
        self._node = _node(setting, parts)
        self._view = ProcessView(setting, parts, lambda: self._draining, self._node)
        self._access = Access(setting.config.admin.token_file)
        closing.push_async_callback(self._close_admin)
        if former is None or former.config.admin.address != setting.config.admin.address:
            self._admin = AdminServer(setting.config.admin, self._view, desk=setting.desk, access=self._access)
            await self._admin.start(setting.admin)

    def status(self) -> dict[str, Any]:
        """What /api/status says of this process."""
        assert self._view is not None  # noqa: S101 - it was prepared
        return self._view.status()

    def begin(self, former: Service | None = None, inheritance: Inheritance | None = None) -> None:
        """Accept connections, in the place of `former` if there is one, or of the process that `inheritance` is
        from."""
        setting, parts = self._setting, self._parts
        assert parts is not None  # noqa: S101 - it was prepared
        assert self._keeper is not None  # noqa: S101
        assert self._view is not None  # noqa: S101
        if self._admin is None and former is not None:
            self._admin, former._admin = former._admin, None
            if self._admin is not None:
                self._admin.show(setting.config.admin, self._view, self._access)
        self._keeper.keep(True)
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._on_loop_error)
        parts.metrics.log = setting.log
        setting.refusals.taker = explainer_of(parts)
        for listener in parts.listeners:
            listener.start()
        for place in parts.places:
            probe = partial(health.probe, place.pool)
            self._keep_running(loop, health.watch(place.pool, probe, setting.clock, asyncio.sleep))
        if parts.bots is not None:
            self._keep_running(loop, parts.bots.keys.run())
        self._keep_running(loop, parts.known.run(lambda standing: parts.sites.know(standing, setting.clock())))
        self._keep_running(loop, self._keeper.run())
        self._keep_running(loop, self._keeper.journal.run())
        if inheritance is not None:
            self._keep_running(loop, inheritance.take_rest(parts.sites, setting.clock, about(setting)))
        self._dropper = Dropper(
            parts.sites.first.drops, parts.serving.connections.crowding, setting.drop, setting.wall_offset
        )
        timers = Timers(setting, parts, self._dropper)
        for engine in parts.sites:
            self._closing.callback(engine.end)
        self._closing.callback(timers.stop)
        timers.start()
        self._join()
        self.addresses = parts.listeners[0].addresses
        self._tell(parts, "" if self._admin is None else self._admin.address, former is not None)

    def _join(self) -> None:
        """Be one with other machines, where there are any."""
        if self._node is not None:
            self._member = asyncio.get_running_loop().create_task(self._node.run())
            self._closing.push_async_callback(self._part)

    async def _part(self) -> None:
        member, self._member = self._member, None
        if member is not None and self._node is not None:
            member.cancel()
            await asyncio.gather(member, return_exceptions=True)
            await self._node.leave(not self._replaced)

    @property
    def config(self) -> Config:
        """What it goes by."""
        return self._setting.config

    @property
    def log(self) -> AccessLog:
        """Where it says so."""
        return self._setting.log

    @property
    def known(self) -> Known:
        """What it has read of files that tell of addresses."""
        assert self._parts is not None  # noqa: S101 - it was prepared
        return self._parts.known

    @property
    def metrics(self) -> Metrics:
        """What it counts."""
        assert self._parts is not None  # noqa: S101 - it was prepared
        return self._parts.metrics

    def follow(self, rules: Sequence[Rule]) -> None:
        """Go by these rules of the operator's, once it is prepared."""
        if self._parts is not None:
            self._parts.sites.follow(rules, self._setting.clock())

    async def pardon(self, subject: str) -> Pardoned:
        """Forget what was done by itself to a network or a client, in parts, so that no request waits."""
        if self._parts is None:
            return Pardoned()
        lifted, rest = 0, self._parts.sites.pardon(subject, self._setting.clock())
        while part := list(itertools.islice(rest, TAKEN_ROWS)):
            lifted += sum(part)
            await asyncio.sleep(0)
        return Pardoned(lifted, tuple(self._parts.sites.first.explainer.refusing(subject)))

    async def hand_over(self, heir: Service) -> None:
        """Give what is remembered to a service that was prepared, in parts, so that no request waits."""
        assert self._parts is not None  # noqa: S101 - both were prepared
        assert heir._parts is not None  # noqa: S101
        old, new, clock = self._parts.sites, heir._parts.sites, self._setting.clock
        homes: dict[str, str] = {}
        export = iter(old.export_history(clock()))
        while rows := list(itertools.islice(export, TAKEN_ROWS)):
            heir._known += new.import_history(rows, clock(), homes)
            await asyncio.sleep(0)
        same = same_service(about(self._setting), about(heir._setting))
        for _ in range(MOST_PASSES):
            bans = old.bans_made
            learned = old.export_learned(clock(), heir=True)
            while chunk := list(itertools.islice(learned, TAKEN_ROWS)):
                new.import_learned((row for row in chunk if row is not None), clock(), same)
                await asyncio.sleep(0)
            if old.bans_made == bans:
                break

    async def give(self, to: socket.socket) -> None:
        """Tell a process that comes in the place of this one what is remembered. Raises OSError when it is gone."""
        assert self._parts is not None  # noqa: S101 - it has begun
        await estate.give(to, self._parts.sites, self._setting.clock, about(self._setting))

    async def give_rest(self, to: socket.socket) -> None:
        """Tell it the rest, once this service has retired. Raises OSError when it is gone."""
        assert self._parts is not None  # noqa: S101 - it has begun
        await estate.give_rest(to, self._parts.sites, self._setting.clock)

    def admin_descriptors(self) -> list[int]:
        """Of the sockets of the admin listener."""
        return [] if self._admin is None else self._admin.descriptors()

    async def leave_admin(self) -> None:
        """Leave the admin listener's sockets to the process that has them, too."""
        admin, self._admin = self._admin, None
        if admin is not None:
            await admin.close(keep=True)

    def retire(self) -> None:
        """Somebody else accepts and keeps the history from now on. Each connection ends with its next response."""
        parts = self._parts
        assert parts is not None  # noqa: S101 - it has begun
        assert self._keeper is not None  # noqa: S101
        self._draining = self._replaced = True
        if self._member is not None:
            self._member.cancel()
        assert self._dropper is not None  # noqa: S101
        self._keeper.keep(False)
        parts.known.rested = True
        if parts.bots is not None:
            parts.bots.keys.rested = True
        self._dropper.retire()
        for listener in parts.listeners:
            listener.retire()
        parts.serving.connections.draining = True

    def outlive(self, outlives: bool) -> None:
        """Whether another process is about to come in the place of this one, without a word from it."""
        assert self._keeper is not None  # noqa: S101 - it has begun
        self._keeper.only_note(outlives)

    async def finish(self) -> None:
        """After it has retired: wait until the last connection has ended, however long that takes, and free everything.

        A client may be about to send a request on an idle connection, so these are left open for a moment, unless
        newcomers need the room.
        """
        setting, parts = self._setting, self._parts
        assert parts is not None  # noqa: S101 - it has retired
        await self._close_admin()
        connections = parts.serving.connections
        until = setting.clock() + RETIRED_IDLE_SECONDS
        while len(connections) or any(listener.arriving for listener in parts.listeners):
            now = setting.clock()
            if now >= until or parts.metrics.connections_open > parts.connections / 2:
                connections.drain(now)
            await asyncio.sleep(RETIRED_LOOKS_SECONDS)
        await self.close()
        while parts.sites.let_go(TAKEN_ROWS):  # noqa: ASYNC110 - it is this that is waited for
            await asyncio.sleep(0)

    def cut(self) -> int:
        """Close the connections that are left; how many these are."""
        return 0 if self._parts is None else self._parts.serving.connections.cut()

    async def _close_admin(self) -> None:
        admin, self._admin = self._admin, None
        if admin is not None:
            await admin.close()

    def _keep_running(self, loop: asyncio.AbstractEventLoop, work: Any) -> None:
        task = loop.create_task(work)

        async def end() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        self._closing.push_async_callback(end)

    def _tell(self, parts: Parts, admin: str, again: bool) -> None:
        """The first lines of the log; `again`: of a config that was read again."""
        setting = self._setting
        config, log, crowd = setting.config, setting.log, parts.serving.connections.crowding
        log.event(
            "reloaded" if again else "started" if setting.share is None else "worker_started",
            listen=self.addresses,
            redirect_from=[address for listener in parts.listeners[1:] for address in listener.addresses],
            admin=admin,
            upstream=[server for site in config.sites for server in site.upstream.servers],
            dry_run=config.dry_run,
            state=config.state.directory,
            known=self._known,
            connections=parts.connections,
            connections_per_address=crowd.per_address,
            connections_per_network=crowd.per_network,
            streams=parts.serving.forwarder.streams.places.most,
            **named(config),
            pid=os.getpid(),
        )
        if setting.share is None:
            warn_of_forgetting(config, log)
        if not again:
            warn_of_known_hashes(log)

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

    async def drain(self, end: float) -> None:
        """Stop accepting; wait until nothing is in flight, at most until `end` (monotonic seconds)."""
        setting, parts = self._setting, self._parts
        assert parts is not None  # noqa: S101 - it has begun
        self._draining = True
        for listener in parts.listeners:
            listener.stop()
        connections = parts.serving.connections
        connections.drain(setting.clock())
        while len(connections) and setting.clock() < end:  # noqa: ASYNC110 - an event would have to be set per connection
            await asyncio.sleep(DRAIN_LOOKS_SECONDS)

    async def close(self) -> None:
        """Free everything. Safe to call after a failed start."""
        await self._closing.aclose()
