"""Keeps the history of one process on disk while it runs, and at its end."""

from __future__ import annotations

import asyncio
import itertools
from typing import Final

from shield.policy.engine import Engine
from shield.process.build import Setting
from shield.process.state import save_history

SAVE_SECONDS: Final = 300.0
"""Seconds between two savings. A crash forgets at most so much, a stop nothing."""
SLICE_ROWS: Final = 1000
"""Rows that are collected at a time: a millisecond, in which no request is served."""


class HistoryKeeper:
    """Saves into `state.directory`; does nothing where that is empty."""

    __slots__ = ("_engine", "_keeps", "_setting")

    def __init__(self, setting: Setting, engine: Engine) -> None:
        self._setting = setting
        self._engine = engine
        self._keeps = False

    async def run(self) -> None:
        """Save now and then, until cancelled."""
        while self._setting.config.state.directory:
            await asyncio.sleep(SAVE_SECONDS)
            await self.save()

    def keep(self, keeps: bool) -> None:
        """Whether the file is this process's and engine's to write."""
        self._keeps = keeps

    async def save(self) -> None:
        """Collect the rows in slices, so that no request waits for it, and write them in a thread."""
        config, log, share = self._setting.config, self._setting.log, self._setting.share
        if not config.state.directory or not self._keeps:
            return
        rows = []
        export = iter(self._engine.export_history(self._setting.clock()))
        while chunk := list(itertools.islice(export, SLICE_ROWS)):
            rows += chunk
            await asyncio.sleep(0)
        worker = None if share is None else share.worker
        await asyncio.get_running_loop().run_in_executor(None, save_history, config.state, rows, log, worker)
