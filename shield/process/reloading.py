"""Reading the config again when SIGHUP asks for it: all or nothing, one at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from shield.config.load import ConfigError
from shield.config.settings import Config
from shield.errors import StartError
from shield.process import systemd
from shield.process.share import count
from shield.process.signals import Tell

MOST_MISTAKES: Final = 10
"""Of a config that is refused, in its line of the log; `shield check` shows all."""


class Reloading:
    """`ask` as often as wanted, or `now` for who wants to know what came of it. `again` reads the config, in a thread;
    `apply` goes by it, or raises StartError and changes nothing. `began` is the config that Shield was started with.
    `changing` is held meanwhile."""

    __slots__ = ("_again", "_apply", "_asked", "_began", "_changing", "_task", "_tell")

    def __init__(
        self,
        began: Config,
        again: Callable[[], Config],
        apply: Callable[[Config], Awaitable[None]],
        tell: Tell,
        changing: asyncio.Lock,
    ) -> None:
        self._changing = changing
        self._began = began
        self._again = again
        self._apply = apply
        self._tell = tell
        self._asked = False  # once more since the config was read
        self._task: asyncio.Task[None] | None = None

    def ask(self) -> None:
        """Read the config, and go by it. While that is being done, it is done once more afterwards."""
        self._asked = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    def leave(self) -> bool:
        """Another process has come in the place of this one, which begins nothing more. Whether that is to read the
        config once more, since it may have read it before somebody asked for it."""
        asked, self._asked = self._asked, False
        return asked

    async def now(self) -> tuple[str, list[str]]:
        """Read the config and go by it; what stood in the way, or nothing, and the mistakes in it."""
        async with self._changing:
            return await self._once()

    async def close(self) -> None:
        """Begin no more, and let go of what has begun."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while self._asked:
            async with self._changing:
                if self._asked:
                    self._asked = False
                    await self._once()

    async def _once(self) -> tuple[str, list[str]]:
        systemd.reloading()
        try:
            return await self._reload()
        finally:
            systemd.notify("READY=1")

    async def _reload(self) -> tuple[str, list[str]]:
        try:
            config = await asyncio.get_running_loop().run_in_executor(None, self._again)
            await self._apply(config)
            if keys := needing_restart(self._began, config):
                self._tell("restart_needed", settings=keys, effect="all other settings hold")
        except ConfigError as error:
            mistakes = [str(mistake) for mistake in error.mistakes[:MOST_MISTAKES]]
            return self._refuse(
                f"{error.path}: {len(error.mistakes)} mistake{'s' if len(error.mistakes) > 1 else ''}", mistakes
            )
        except (StartError, OSError) as error:
            return self._refuse(str(error), [])
        except Exception as error:
            self._refuse(f"a bug in Shield: {error!r}", [])
            raise
        return "", []

    def _refuse(self, error: str, mistakes: list[str]) -> tuple[str, list[str]]:
        self._tell("reload_refused", error=error, mistakes=mistakes, effect="the config from before stays")
        return error, mistakes


def needing_restart(began: Config, now: Config) -> list[str]:
    """The settings that differ, and cannot change while the processes stay."""
    workers = count(began.listen.workers)
    keys = ["listen.workers"] if count(now.listen.workers) != workers else []
    if workers > 1 and bool(now.listen.trusted_proxies) != bool(began.listen.trusted_proxies):
        keys.append("listen.trusted_proxies")  # whether the kernel steers
    if now.admin.address == began.admin.address and bool(now.admin.certificate) != bool(began.admin.certificate):
        keys.append("admin.certificate")  # whether TLS is spoken at that address
    return keys
