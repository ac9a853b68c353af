"""What one process has learned, saved and taken by another."""

from __future__ import annotations

import asyncio
import os
import shutil
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
from shield.process import journal, keeper
from shield.process.build import Setting
from shield.process.dropper import Dropped, Dropper
from shield.process.keeper import FRESH_SECONDS, LATE_LOOKS, Keeper, recall
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
        self,
        directory: Path,
        events: Any,
        now: float,
        worker: int | None = None,
        server: str = "http://127.0.0.1:1",
        keys: tuple[bytes, None] | None = None,
    ) -> None:
        config = Config(state=StateSettings(directory=str(directory)))
        config = replace(config, upstream=replace(config.upstream, servers=(server,)))
        share = None if worker is None else Share(worker, (KEYS.current, None), (), (), 2)
        self.now = now
        self.setting = Setting(config, events, lambda: self.now, WALL, ((), ()), lambda _: True, share, keys=keys)
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


async def test_a_state_directory_that_vanishes_is_made_again_with_its_keys(tmp_path: Path, events: Any) -> None:
    """With other keys at the next start, nobody would be known by what was saved."""
    state = tmp_path / "state"
    process = Process(state, events, 50.0, keys=(KEYS.current, None))
    await process.keeper.save()
    assert (state / "keys").read_text() == KEYS.current.hex() + "\n"
    shutil.rmtree(state)
    await process.keeper.save()
    assert sorted(path.name for path in state.iterdir()) == ["history.json", "keys", "learned.json"]
    shutil.rmtree(state)
    state.touch()
    await process.keeper.save()
    await process.keeper.save()
    assert events.names().count("keys_not_saved") == 1


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
    """Soon after the start, and when the journal could not be written, else every 30 s; every 10 s under attack, and
    then no history."""
    process = Process(tmp_path, events, 0.0)
    saved: list[tuple[float, str]] = []

    async def save(kind: str) -> float:
        saved.append((process.now, kind))
        if kind == "learned":
            process.keeper.journal.behind = False
        return 0.0

    async def sleep(seconds: float) -> None:
        process.now += seconds
        if process.now == 5.0:
            process.keeper.journal.behind = True
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


async def killed(process: Process) -> None:
    """A tenth of a second later the process is killed: no further snapshot is made."""
    await process.keeper.journal.write()


async def test_a_ban_of_the_last_moment_is_not_forgotten(tmp_path: Path, events: Any) -> None:
    """All processes were killed before the next snapshot: who had been banned since the last one came back at once."""
    processes = [Process(tmp_path, events, 50.0, worker) for worker in (0, 1)]
    for process in processes:
        process.ban(f"192.0.{process.setting.share.worker if process.setting.share else 9}.1")
        await process.keeper.save()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "history-0.json", "history-1.json", "keys", "learned-0.json", "learned-1.json",
    ], "a snapshot has all of a journal"  # fmt: skip
    processes[1].ban("192.0.3.1")
    for _ in range(6):
        processes[0].engine.report("192.0.4.1", Signal.MALFORMED, 50.0)
    for process in processes:
        await killed(process)
    for worker in (0, None):
        new = Process(tmp_path, events, 55.0, worker)
        recall(new.setting, new.engine)
        assert all(new.bans(address) for address in ("192.0.0.1", "192.0.1.1", "192.0.3.1"))
        assert new.engine.status(55.0).active_bans == {"clients": 3, "addresses": 1}
    assert events == []


async def test_a_pardon_of_the_last_moment_is_not_forgotten(tmp_path: Path, events: Any) -> None:
    """Whichever process has the ban in its snapshot still; and a ban after the pardon holds."""
    old = Process(tmp_path, events, 50.0)
    for address in ("192.0.2.1", "192.0.3.1"):
        old.ban(address)
    await old.keeper.save()
    old.now = 51.0
    assert sum(old.engine.pardon("192.0.2.0/23", 51.0)) == 2
    await old.keeper.journal.write()
    old.now = 52.0
    old.ban("192.0.3.1")
    await killed(old)
    new = Process(tmp_path, events, 55.0)
    recall(new.setting, new.engine)
    assert not new.bans("192.0.2.1")
    assert new.bans("192.0.3.1")
    (client,) = [each for each in new.engine.bans(55.0) if each is not None]
    assert client.relapses == 1, "what was pardoned is no relapse"


async def test_what_comes_while_a_snapshot_is_made_is_in_the_journal_after_it(
    tmp_path: Path, events: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = Process(tmp_path, events, 50.0)
    process.ban("192.0.2.1")
    await process.keeper.journal.write()
    real = keeper.save

    def save(*values: Any) -> str:
        async def meanwhile() -> None:
            process.ban("192.0.3.1")
            await process.keeper.journal.write()

        asyncio.run_coroutine_threadsafe(meanwhile(), loop).result()
        return real(*values)

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(keeper, "save", save)
    await process.keeper._save("learned")
    text = (tmp_path / "journal.log").read_text()
    assert "192.0.3.1" in text
    assert "192.0.2.1" not in text
    (tmp_path / "learned.json").unlink()
    new = Process(tmp_path, events, 55.0)
    recall(new.setting, new.engine)
    assert new.bans("192.0.3.1")


async def test_what_the_disk_did_not_take_of_a_journal_is_in_the_next_snapshot(tmp_path: Path, events: Any) -> None:
    process = Process(tmp_path, events, 50.0)
    await process.keeper.save()
    assert not process.keeper.journal.behind
    (tmp_path / "journal.log").mkdir()
    for address in ("192.0.2.1", "192.0.3.1"):
        process.ban(address)
        await process.keeper.journal.write()
    ((name, fields),) = events
    assert (name, fields["error"]) == ("journal_not_saved", "Is a directory")
    assert process.keeper.journal.behind
    (tmp_path / "journal.log").rmdir()
    await process.keeper.save()
    assert not process.keeper.journal.behind
    new = Process(tmp_path, events, 55.0)
    recall(new.setting, new.engine)
    assert new.bans("192.0.3.1")


async def test_more_bans_than_a_journal_takes_are_in_the_next_snapshot(
    tmp_path: Path, events: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flood of bans makes neither the memory nor the file grow without end."""
    process = Process(tmp_path, events, 50.0)
    await process.keeper.save()
    monkeypatch.setattr(process.engine.journal, "_most", 10)
    for number in range(30):
        process.ban(f"192.0.{number}.1")
    await process.keeper.journal.write()
    assert len((tmp_path / "journal.log").read_bytes().splitlines()) == 11
    assert process.keeper.journal.behind
    await process.keeper.save()
    monkeypatch.setattr(journal, "MOST_BYTES", 2000)
    for number in range(30):
        process.ban(f"198.51.{number}.1")
        await process.keeper.journal.write()
    size = (tmp_path / "journal.log").stat().st_size
    assert 2000 <= size < 2500
    assert events.pop()[1]["error"] == "it is full until the next snapshot"
    await process.keeper.save()
    new = Process(tmp_path, events, 55.0)
    recall(new.setting, new.engine)
    assert new.engine.status(55.0).active_bans["clients"] == 60
    assert events == []


async def test_who_has_retired_writes_what_it_had_noted_and_no_more(tmp_path: Path, events: Any) -> None:
    process = Process(tmp_path, events, 50.0)
    process.ban("192.0.2.1")
    process.keeper.keep(False)
    process.ban("192.0.3.1")
    await process.keeper.save()
    assert [row[2] for _, row in journal.load(process.setting.config.state, events, WALL + 50.0)] == ["192.0.2.1"]


async def test_files_of_workers_that_there_are_no_more_of_are_removed(tmp_path: Path, events: Any) -> None:
    """A pardon did not reach the ban that stood in one of them, and the next start took it from there."""
    for worker in (0, 1, 2):
        process = Process(tmp_path, events, 50.0, worker)
        process.ban(f"192.0.{worker}.1")
        await process.keeper.save()
        process.ban(f"198.51.{worker}.1")
        await killed(process)
    two = [Process(tmp_path, events, 60.0, worker) for worker in (0, 1)]
    for each in two:
        recall(each.setting, each.engine)
    await two[0].keeper.save()
    assert (tmp_path / "learned-2.json").exists(), "the other one may not have started"
    for _ in range(2):
        await two[1].keeper.save()
    assert (tmp_path / "learned-2.json").exists(), "one of them sees to it"
    await two[0].keeper.save()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "history-0.json", "history-1.json", "keys", "learned-0.json", "learned-1.json",
    ]  # fmt: skip
    alone = Process(tmp_path, events, 61.0)
    recall(alone.setting, alone.engine)
    for _ in range(2):
        await alone.keeper.save()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["history.json", "keys", "learned.json"]
    again = Process(tmp_path, events, 62.0, 0)
    recall(again.setting, again.engine)
    assert all(again.bans(f"{net}.{worker}.1") for net in ("192.0", "198.51") for worker in (0, 1, 2))
    for _ in range(2):
        await again.keeper.save()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["history-0.json", "keys", "learned-0.json"]
    assert events == []


async def test_without_a_directory_there_is_no_journal(tmp_path: Path, events: Any) -> None:
    process = Process(tmp_path, events, 50.0)
    config = replace(process.setting.config, state=StateSettings())
    nowhere = Keeper(replace(process.setting, config=config), process.engine)
    nowhere.keep(True)
    assert not process.engine.journal.on
    process.ban("192.0.2.1")
    await asyncio.wait_for(nowhere.journal.run(), 5.0)
    await nowhere.save()
    assert list(tmp_path.iterdir()) == []


async def test_what_orphans_ban_while_others_begin_is_not_forgotten(tmp_path: Path, events: Any) -> None:
    """Workers whose supervisor was killed go on until others serve, which have read the journals by then."""
    orphan = Process(tmp_path, events, 50.0, 0)
    orphan.ban("192.0.2.1")
    await orphan.keeper.save()
    orphan.keeper.only_note(True)
    heir = Process(tmp_path, events, 51.0, 0)
    recall(heir.setting, heir.engine)
    for process, address in ((orphan, "192.0.3.1"), (heir, "192.0.4.1")):
        process.ban(address)
        await process.keeper.journal.write()
    await orphan.keeper.save()
    await heir.keeper._take_late()
    await heir.keeper.save()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("journal")] == []
    new = Process(tmp_path, events, 55.0)
    recall(new.setting, new.engine)
    for process in (heir, new):
        assert all(process.bans(f"192.0.{number}.1") for number in (2, 3, 4))
    assert events == []


async def test_what_orphans_ban_is_known_within_a_second(
    tmp_path: Path, events: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was known before the first save only, 30 s later."""
    orphan = Process(tmp_path, events, 50.0, 0)
    orphan.keeper.only_note(True)
    heir = Process(tmp_path, events, 51.0, 1)
    recall(heir.setting, heir.engine)
    orphan.ban("192.0.3.1")
    await orphan.keeper.journal.write()
    looked = []

    async def sleep(seconds: float) -> None:
        if seconds < 0.5:
            return
        heir.now += seconds
        looked.append(heir.bans("192.0.3.1"))
        if len(looked) == 3:
            orphan.now = heir.now
            orphan.ban("192.0.5.1")
            await orphan.keeper.journal.write()
        if len(looked) > LATE_LOOKS + 1:
            raise asyncio.CancelledError

    monkeypatch.setattr(keeper.asyncio, "sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await heir.keeper.run()
    monkeypatch.undo()
    assert looked[:2] == [False, True]
    assert heir.bans("192.0.5.1")
    assert events == []


async def test_orphans_that_nobody_follows_save_in_the_end(tmp_path: Path, events: Any) -> None:
    orphan = Process(tmp_path, events, 50.0, 0)
    orphan.keeper.only_note(True)
    orphan.ban("192.0.2.1")
    await orphan.keeper.save()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["journal-0.log"]
    orphan.keeper.only_note(False)
    await orphan.keeper.save()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["history-0.json", "keys", "learned-0.json"]
