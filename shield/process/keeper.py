"""Keeps on disk what one process has learned: while it runs, and at its end.

    history   clients that behaved well before an attack; not while it is frozen, and a large one less often
    learned   all else (policy/remembered.py): every ATTACK_SECONDS under attack, every CALM_SECONDS else
    journal   bans and the like since then, at once (journal.py); when it cannot be written, the rest is saved soon

Rows are collected and encoded in slices of a millisecond, in which no request is served, and written in a thread.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from shield.model import DEFAULT_SITE
from shield.policy.sites import Sites, kind_of
from shield.process.build import Setting
from shield.process.journal import Entry, Journal, written_since
from shield.process.journal import load as load_journals
from shield.process.state import (
    HISTORY,
    JOURNAL,
    KEYS,
    LEARNED,
    forget_others,
    keep_keys,
    load,
    path_of,
    save,
    tell_of_keys,
)

ATTACK_SECONDS: Final = 10.0
CALM_SECONDS: Final = 30.0
LOOK_SECONDS: Final = 1.0
"""How often it is looked whether there is a reason to save."""
MOST_SHARE: Final = 0.02
"""Of the time, that may be spent on saving: what takes longer is done less often, but for the sake of an attack."""
SLICE_ROWS: Final = 1000
"""Rows that are collected at a time."""
FRESH_SECONDS: Final = 600.0
"""After so long price and pressure are of another day."""
OF_THE_MOMENT: Final = frozenset({"weather", "price", "wait"})
PARDONED: Final = frozenset({"client", "address"})
"""Kinds of rows that a pardon makes void."""
LATE_SECONDS: Final = 30.0
"""More than it takes from the reading of the journals until there is a keeper."""
LATE_LOOKS: Final = 10
"""How often, once a second after the start, the journals of other processes are read again: workers of a supervisor
that was killed go on until these listen (orphans.py), and write down whom they ban. With one look, 30 s after the
start, whoever had been banned half a second before the supervisor was killed was served until then."""
LATE_MARGIN: Final = 5.0
"""s. By how much later than it happened a row may be written, on a machine that stands still now and then."""
LATE_ROWS: Final = 250
"""Rows that are taken at a time, in 2.5 ms, in which no request is served."""
FORGETS_AT: Final = 2
"""The save with which files of workers that there are no more of are removed: by then all others have started, too."""


def recall(setting: Setting, engine: Sites) -> int:
    """Have the engines take what was saved last by this and other processes; how many records of the history."""
    config, log, now = setting.config, setting.log, setting.clock()
    rows = [row for saved in load(config.state, HISTORY, log) for row in saved.rows]
    known = engine.import_history(rows, now)
    wall, mine = now + setting.wall_offset, None if setting.share is None else setting.share.worker
    journal = load_journals(config.state, log, wall, lambda worker: worker == mine or _sees_to_others(setting))
    pardons = _pardons(journal)
    for saved in sorted(load(config.state, LEARNED, log, wall), key=lambda each: (each.worker == mine, each.time)):
        left_out = frozenset() if wall - saved.time < FRESH_SECONDS else OF_THE_MOMENT
        taken = (row for row in saved.rows if _holds(row, saved.time, pardons) and kind_of(row) not in left_out)
        engine.import_learned(taken, now, same_service(saved.about, about(setting)))
    engine.import_learned((row for at, row in journal if _holds(row, at, pardons)), now, ())
    return known


def _pardons(journal: Iterable[Entry]) -> dict[str, float]:
    """Who was pardoned (the client's key, or the address), and when last."""
    found: dict[str, float] = {}
    for at, row in journal:
        match row:
            case ["pardon", str(client), str(address)]:
                found[client or address] = at
    return found


def _holds(row: Any, at: float, pardons: Mapping[str, float]) -> bool:
    """Whether a row that was saved then is no pardon, and nobody's who has been pardoned since."""
    match row:
        case [str(kind), str(who), *_] if kind in PARDONED:
            return pardons.get(who, at) <= at
    return kind_of(row) != "pardon"


def _sees_to_others(setting: Setting) -> bool:
    """Whether what workers have left that there are no more of is this process's."""
    return setting.share is None or setting.share.worker == 0


def about(setting: Setting) -> dict[str, Any]:
    """What is saved beside rows: when, and before which services, by the names of the sites."""
    sites = {site.name: list(site.upstream.servers) for site in setting.config.sites}
    return {"time": setting.clock() + setting.wall_offset, "sites": sites}


def same_service(one: Mapping[str, Any], other: Mapping[str, Any]) -> frozenset[str]:
    """The sites of which what was learned of the service there holds here."""
    before, now = (each.get("sites") or {DEFAULT_SITE: each.get("servers")} for each in (one, other))
    if not isinstance(before, dict) or not isinstance(now, dict):
        return frozenset()
    return frozenset(name for name, servers in now.items() if before.get(name) == servers)


class Keeper:
    """Saves into `state.directory`; does nothing where that is empty."""

    __slots__ = ("_engine", "_keeps", "_late_looks", "_late_since", "_saved", "_saving", "_setting", "_told", "journal")

    def __init__(self, setting: Setting, engine: Sites) -> None:
        self._setting = setting
        self._engine = engine
        self._keeps = False
        self._saving = asyncio.Lock()
        self._saved: dict[str, int] = {}  # by kind: how often
        self._told: dict[str, str] = {}  # by kind: what stands in the way, and was logged
        self._late_since: float | None = setting.clock() + setting.wall_offset - LATE_SECONDS
        self._late_looks = 0
        self.journal = Journal(setting, engine)

    def keep(self, keeps: bool) -> None:
        """Whether the files are this process's and engine's to write."""
        self._keeps = keeps
        self.journal.keep(keeps)

    def only_note(self, only: bool) -> None:
        """Make no snapshots any more, which are another process's to make, but go on with the journal."""
        self._keeps = not only

    async def run(self) -> None:
        """Save now and then, until cancelled."""
        clock, engine = self._setting.clock, self._engine
        last = {HISTORY: clock(), LEARNED: clock()}
        pause = {HISTORY: CALM_SECONDS, LEARNED: LOOK_SECONDS}
        while self._setting.config.state.directory:
            await asyncio.sleep(LOOK_SECONDS)
            if self._late_looks < LATE_LOOKS:
                await self._take_late()
                self._late_looks += 1
            now = clock()
            if now - last[HISTORY] >= pause[HISTORY] and not engine.attack:
                last[HISTORY] = now
                pause[HISTORY] = max(CALM_SECONDS, await self._save(HISTORY) / MOST_SHARE)
            due = ATTACK_SECONDS if engine.attack else max(CALM_SECONDS, pause[LEARNED])
            if now - last[LEARNED] >= (min(due, pause[LEARNED]) if self.journal.behind else due):
                last[LEARNED] = now
                await self._take_late()
                pause[LEARNED] = max(LOOK_SECONDS, await self._save(LEARNED) / MOST_SHARE)

    async def _take_late(self) -> None:
        """In the first seconds, and before the first save: take what others wrote into journals after they had been
        read here (orphans.py). The save would remove it."""
        since, wall = self._late_since, self._setting.clock() + self._setting.wall_offset
        if since is None or not self._keeps:
            return
        self._late_since = max(since, wall - LATE_MARGIN) if self._late_looks < LATE_LOOKS else None
        loop, state = asyncio.get_running_loop(), self._setting.config.state
        journal = await loop.run_in_executor(None, written_since, state, since)
        pardons = _pardons(journal)
        for begin in range(0, len(journal), LATE_ROWS):
            rows = (row for at, row in journal[begin : begin + LATE_ROWS] if _holds(row, at, pardons))
            self._engine.import_learned(rows, self._setting.clock(), ())
            await asyncio.sleep(0)

    async def save(self) -> None:
        """Save everything now."""
        if self._setting.config.state.directory:
            await self.journal.write()  # in case that the disk has no room for the rest
            await self._save(HISTORY)
            await self._save(LEARNED)

    async def _save(self, kind: str) -> float:
        """Save one kind; seconds that the loop was kept with it."""
        async with self._saving:
            if not self._keeps:
                return 0.0
            setting, engine, now = self._setting, self._engine, self._setting.clock()
            export: Iterable[Any] = engine.export_history(now) if kind == HISTORY else engine.export_learned(now)
            if kind == LEARNED:
                self.journal.begin_snapshot()
            rows, slices, kept = iter(export), [], 0.0
            described = about(setting)
            while chunk := list(itertools.islice(rows, SLICE_ROWS)):
                slices.append(orjson.dumps([row for row in chunk if row is not None]))
                kept += setting.clock() - now
                await asyncio.sleep(0)
                now = setting.clock()
            worker = None if setting.share is None else setting.share.worker
            loop, state = asyncio.get_running_loop(), setting.config.state
            await self._keep_keys()
            error = await loop.run_in_executor(None, save, state, kind, slices, described, worker)
            if kind == LEARNED:
                await self.journal.end_snapshot(error)
            if not error:
                await self._forget_others(kind)
            if error and error != self._told.get(kind):
                path = str(path_of(state, kind, worker))
                event = setting.log.event
                event("history_not_saved" if kind == HISTORY else "learned_not_saved", path=path, error=error)
            self._told[kind] = error
            return kept

    async def _keep_keys(self) -> None:
        """Write the signing keys down again where their file has gone."""
        setting = self._setting
        keys = setting.keys if setting.share is None else setting.share.keys
        if keys is None:
            return
        state = setting.config.state
        error = await asyncio.get_running_loop().run_in_executor(None, keep_keys, state, keys)
        if error and error != self._told.get(KEYS):
            tell_of_keys(Path(state.directory, KEYS), error, setting.log)
        self._told[KEYS] = error

    async def _forget_others(self, kind: str) -> None:
        """After a save: remove the files of workers that there are no more of, when it is time for it."""
        self._saved[kind] = self._saved.get(kind, 0) + 1
        setting = self._setting
        if self._saved[kind] != FORGETS_AT or not _sees_to_others(setting):
            return
        workers, loop = None if setting.share is None else setting.share.workers, asyncio.get_running_loop()
        for each in (kind, JOURNAL) if kind == LEARNED else (kind,):
            await loop.run_in_executor(None, forget_others, setting.config.state, each, workers)
