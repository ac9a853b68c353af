"""One process that serves alone: from its start to its end, by the signals of signals.py."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import uvloop

from shield.config.settings import Config
from shield.process import signals, systemd
from shield.process.generations import Generations
from shield.process.reloading import Reloading
from shield.process.words import Welcome, greet


def run(config: Config, welcome: Welcome, again: Callable[[], Config]) -> int:
    """Serve until SIGTERM, SIGINT or SIGQUIT. Returns the exit status; raises StartError when it cannot start.

    `again` reads the config again, for SIGHUP; it may block, and raises ConfigError.
    """
    return uvloop.run(_run(config, welcome, again))


async def _run(config: Config, welcome: Welcome, again: Callable[[], Config]) -> int:
    stop = asyncio.Event()
    generations = Generations()
    reloading = Reloading(config, again, generations.reload, generations.event)
    signals.handle(stop.set, reloading.ask, generations.event)
    try:
        service = await generations.start(config)
        greet(config, service.addresses[0], welcome)
        systemd.notify("READY=1")
        systemd.keep_alive()
        await stop.wait()
        systemd.notify("STOPPING=1")
        await reloading.close()
        await generations.drain()
    finally:
        await reloading.close()
        await generations.close()
    return 0
