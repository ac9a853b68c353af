"""What one process has learned, saved and taken by another."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Container, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shield.client.crowding import Crowding
from shield.config.settings import Config
from shield.config.state import StateSettings
from shield.model import Reason, Signal
from shield.policy.engine import Engine
from shield.policy.keys import Keys
from shield.policy.request import Request
from shield.process import keeper
from shield.process.build import Setting
from shield.process.dropper import Dropped, Dropper
from shield.process.keeper import FRESH_SECONDS, Keeper, recall
from shield.process.share import Share

KEYS = Keys(b"1" * 32)
WALL = 1_700_000_000.0


class Nobody(Crowding):
    """No connections."""

    def __init__(self) -> None:
        """There is nothing to count."""

    def drop(self, homes: Container[str]) -> None:
        """There is nobody to drop."""

    def unlimited(self, address: str) -> bool:
        return False


class Process:
    """An engine with its keeper; `now` is moved by hand."""

    def __init__(
        self, directory: Path, events: Any, now: float, worker: int | None = None, server: str = "http://127.0.0.1:1"
    ) -> None:
        config = Config(state=StateSettings(directory=str(directory)))
        config = replace(config, upstream=replace(config.upstream, servers=(server,)))
        share = None if worker is None else Share(worker, (KEYS.current, None), (), (), 2)
        self.now = now
        self.setting = Setting(config, events, lambda: self.now, WALL, ((), ()), lambda _: True, share)
        self.engine = Engine(config.policy(), KEYS, os.urandom, WALL, 0)
        self.engine.tick(now)
        self.keeper = Keeper(self.setting, self.engine)
        self.keeper.keep(True)

    def ban(self, address: str) -> None:
        client = self.engine.identify(address, "scanner", "", "", self.now)
        for _ in range(6):
            self.engine.report(client, Signal.MALFORMED, self.now)

    def bans(self, address: str) -> bool:
        client = self.engine.identify(address, "scanner", "", "", self.now)
        request = Request(client, "GET", "/", {}, None, False, None)
        return self.engine.decide(request, self.now).reason is Reason.CLIENT_BANNED


async def test_every_process_takes_what_all_have_saved(tmp_path: Path, events: Any) -> None:
    for worker, address in ((0, "192.0.2.1"), (1, "192.0.3.1")):
        process = Process(tmp_path, events, 50.0, worker)
        process.ban(address)
        await process.keeper.save()
    alone = Process(tmp_path, events, 60.0)
    recall(alone.setting, alone.engine)
    assert alone.bans("192.0.2.1")
    assert alone.bans("192.0.3.1")
    assert not alone.bans("192.0.4.1")
    assert events == []


@pytest.mark.parametrize(
    ("later", "server", "limit", "priced"),
    [
        (10.0, "http://127.0.0.1:1", 77, True),
        (10.0, "http://127.0.0.1:2", 20, True),
        (FRESH_SECONDS, "http://127.0.0.1:1", 77, False),
    ],
)
async def test_what_holds_for_another_service_or_another_day(
    tmp_path: Path, events: Any, later: float, server: str, limit: int, priced: bool
) -> None:
    old = Process(tmp_path, events, 50.0)
    usual = old.engine.status(50.0).price
    old.engine.import_learned([["limit", 77, True, 77.0, False, 1.0], ["price", 4_000_000.0, 0.5]], 50.0)
    asked = old.engine.status(50.0).price
    assert asked > usual
    await old.keeper.save()
    new = Process(tmp_path, events, 50.0 + later, server=server)
    recall(new.setting, new.engine)
    assert new.engine.concurrency_limit == limit
    assert new.engine.status(new.now).price == (asked if priced else usual)


async def test_who_has_retired_writes_no_more(tmp_path: Path, events: Any) -> None:
    process = Process(tmp_path, events, 50.0)
    process.keeper.keep(False)
    await process.keeper.save()
    assert list(tmp_path.iterdir()) == []


def test_who_has_retired_tells_the_kernel_nothing(tmp_path: Path, events: Any) -> None:
    """An address whose drop was over in the service from before was let in by the one that had taken its place."""
    process = Process(tmp_path, events, 50.0)
    told: list[Sequence[Dropped]] = []

    def fill(dropped: Sequence[Dropped]) -> bool:
        told.append(dropped)
        return True

    dropper = Dropper(process.engine.drops, Nobody(), fill, WALL)
    dropper.look()
    assert told.pop() == [], "whoever filters is told at first"
    process.engine.import_learned([["drop", "192.0.2.1", WALL + 100.0, 1]], 50.0)
    dropper.look()
    assert told == [[("192.0.2.1", WALL + 100.0)]]
    dropper.retire()
    process.engine.import_learned([["drop", "192.0.2.2", WALL + 100.0, 1]], 50.0)
    dropper.look()
    assert told == [[("192.0.2.1", WALL + 100.0)]]


async def test_a_disk_that_takes_nothing_is_told_of_once(tmp_path: Path, events: Any) -> None:
    (tmp_path / "file").touch()
    process = Process(tmp_path / "file" / "below", events, 50.0)
    for _ in range(3):
        await process.keeper.save()
    assert [(name, fields["error"]) for name, fields in events] == [
        ("history_not_saved", "Not a directory"),
        ("learned_not_saved", "Not a directory"),
    ]


async def test_a_ban_that_the_disk_did_not_take_is_saved_when_it_does(
    tmp_path: Path, events: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was tried again 30 s later only, and forgotten with a process that was killed before."""
    folder = tmp_path / "later" / "state"
    (tmp_path / "later").touch()
    process = Process(folder, events, 0.0)
    process.ban("192.0.2.1")
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        process.now += seconds
        if process.now == 10.0:
            (tmp_path / "later").unlink(missing_ok=True)
        if process.now == 12.0:
            raise asyncio.CancelledError
        await real(0)

    monkeypatch.setattr(keeper.asyncio, "sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await process.keeper.run()
    monkeypatch.undo()
    assert events.names() == ["learned_not_saved"]
    assert (folder / "learned.json").exists()


async def test_when_it_is_saved(tmp_path: Path, events: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Soon after the start and after a ban, else every 30 s; every 10 s under attack, and then no history."""
    process = Process(tmp_path, events, 0.0)
    saved: list[tuple[float, str]] = []

    async def save(kind: str) -> float:
        saved.append((process.now, kind))
        return 0.0

    async def sleep(seconds: float) -> None:
        process.now += seconds
        if process.now == 5.0:
            process.ban("192.0.2.1")
        if process.now == 40.0:
            attacks.append(True)
        if process.now > 75.0:
            raise asyncio.CancelledError

    attacks: list[bool] = []
    monkeypatch.setattr(process.keeper.__class__, "_save", lambda _, kind: save(kind))
    monkeypatch.setattr(Engine, "attack", property(lambda _: bool(attacks)))
    monkeypatch.setattr(keeper.asyncio, "sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await process.keeper.run()
    monkeypatch.undo()
    assert [now for now, kind in saved if kind == "learned"] == [1.0, 5.0, 35.0, 45.0, 55.0, 65.0, 75.0]
    assert [now for now, kind in saved if kind == "history"] == [30.0]
