"""One process that serves alone: from its start to its end, by the signals of signals.py."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable

import uvloop

from shield.config.settings import Config
from shield.process import signals, systemd
from shield.process.generations import Generations
from shield.process.inherited import CLOSE_SECONDS, Legacy, Predecessor, Predecessors
from shield.process.reloading import Reloading
from shield.process.rulebook import Rulebook
from shield.process.share import check_workers
from shield.process.state_lock import StateLock
from shield.process.upgrade import Upgrading, own_pidfd
from shield.process.words import Welcome, greet


def run(
    config: Config,
    welcome: Welcome,
    again: Callable[[], Config],
    legacy: Legacy | None = None,
    predecessor: Predecessor | None = None,
) -> int:
    """Serve until SIGTERM, SIGINT or SIGQUIT. Returns the exit status; raises StartError when it cannot start.

    `again` reads the config again, for SIGHUP; it may block, and raises ConfigError. `legacy` has sockets that somebody
    else has bound; with a `predecessor`, it is from there, and this process comes in its place.
    """
    return uvloop.run(_run(config, welcome, again, legacy, predecessor))


class Alone:
    """What is given to a process that comes in the place of this one. `left` is set when it has begun."""

    workers = 1

    def __init__(self, generations: Generations, rulebook: Rulebook, others: Predecessors, lock: StateLock) -> None:
        self._lock = lock
        self._generations = generations
        self._rulebook = rulebook
        self._others = others
        self.left = asyncio.Event()

    def legacy(self, estates: list[socket.socket]) -> Legacy:
        legacy = self._generations.legacy(estates, [*self._others.living(), *own_pidfd()])
        legacy.rules = self._rulebook.rows()
        return legacy

    async def give(self, ends: list[socket.socket]) -> None:
        await self._generations.give(ends[0])

    def let_go(self) -> None:
        self._generations.let_go()

    def go_on(self) -> None:
        self._generations.go_on()

    async def leave(self, ends: list[socket.socket]) -> None:
        self._rulebook.leave()
        await self._generations.leave(ends[0])
        self._lock.close()
        self.left.set()


async def _run(
    config: Config,
    welcome: Welcome,
    again: Callable[[], Config],
    legacy: Legacy | None,
    predecessor: Predecessor | None,
) -> int:
    stop, changing, lock = asyncio.Event(), asyncio.Lock(), StateLock()
    lock.take(config.state, predecessor is not None)
    others = Predecessors() if predecessor is None else predecessor.others
    wall_offset = time.time() - time.monotonic()
    rulebook = Rulebook(lambda: time.monotonic() + wall_offset, changing)
    rulebook.go_by(config)
    if predecessor is not None:
        rulebook.take(predecessor.legacy.rules)
    generations = Generations(legacy=legacy, desk=rulebook, rules=rulebook.holding(), adopt=rulebook.adopt)
    giver = Alone(generations, rulebook, others, lock)

    async def apply(config: Config) -> None:
        lock.check(config.state)
        await generations.reload(config)
        lock.change(config.state)
        rulebook.go_by(config)

    reloading = Reloading(config, again, apply, generations.event, changing)
    upgrading = Upgrading(giver, changing, generations.event, reloading.leave)

    def end() -> None:
        signals.handle(end, None, None, generations.event, generations.reopen)
        others.stop()
        stop.set()

    try:
        async with changing:  # what signals ask for is done after the start
            signals.handle(end, reloading.ask, upgrading.ask, generations.event, generations.reopen)
            if predecessor is None:
                service = await generations.start(config)
                greet(config, service.addresses[0], welcome)
            else:
                check_workers(predecessor.legacy.workers, 1)
                await generations.prepare(config)
                await predecessor.let_begin()
                await generations.commit()
                await predecessor.begun()
            rulebook.serve(generations.follow, reloading.now, generations.event)
        systemd.notify("READY=1")
        systemd.keep_alive()
        await signals.first(stop, giver.left)
        if not stop.is_set():
            signals.handle(end, None, None, generations.event)
            await reloading.close()
            left = asyncio.create_task(generations.left())
            await signals.first(stop, left)
            left.cancel()
        if stop.is_set():
            systemd.notify("STOPPING=1")
            await reloading.close()
            await upgrading.close()
            until = time.monotonic() + config.timeouts.drain + CLOSE_SECONDS
            await generations.drain()
            await others.gone(until - time.monotonic())
    finally:
        rulebook.close()
        await reloading.close()
        await upgrading.close()
        await generations.close()
        lock.close()
    return 0
