"""One Shield for a state directory."""

from __future__ import annotations

import asyncio
import errno
import fcntl
from pathlib import Path

import pytest

from shield.config.state import StateSettings
from shield.errors import StartError
from shield.process import state_lock
from shield.process.state_lock import StateLock


def at(directory: Path | str) -> StateSettings:
    return StateSettings(str(directory))


def free(directory: Path) -> bool:
    lock = StateLock()
    try:
        lock.take(at(directory))
    except StartError:
        return False
    lock.close()
    return True


def test_a_second_shield_is_told_who_has_it_and_what_to_do(tmp_path: Path) -> None:
    lock, second = StateLock(), StateLock()
    lock.take(at(tmp_path / "state"))
    with pytest.raises(StartError, match=r"another Shield keeps its state .*: stop that one first"):
        second.take(at(tmp_path / "state"))
    lock.close()
    lock.close()
    second.take(at(tmp_path / "state"))
    second.close()
    assert list((tmp_path / "state").iterdir()) == []


async def test_an_heir_gets_it_when_the_other_one_has_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_lock, "AGAIN_SECONDS", 0.01)
    lock, heir = StateLock(), StateLock()
    lock.take(at(tmp_path))
    heir.take(at(tmp_path), heir=True)
    await asyncio.sleep(0.03)
    lock.close()
    async with asyncio.timeout(5):
        while free(tmp_path):
            await asyncio.sleep(0.005)
    heir.close()
    assert free(tmp_path)


async def test_an_heir_that_ends_before_asks_no_more(tmp_path: Path) -> None:
    lock, heir = StateLock(), StateLock()
    lock.take(at(tmp_path))
    heir.take(at(tmp_path), heir=True)
    heir.close()
    lock.close()
    assert free(tmp_path)


async def test_another_directory_is_taken_by_a_config_that_was_read_again(tmp_path: Path) -> None:
    lock, other = StateLock(), StateLock()
    lock.take(at(tmp_path / "a"))
    other.take(at(tmp_path / "b"))
    with pytest.raises(StartError):
        lock.check(at(tmp_path / "b"))
    lock.check(at(tmp_path / "a"))
    lock.check(at(tmp_path / "c"))
    lock.change(at(tmp_path / "a"))
    assert not free(tmp_path / "a")
    lock.change(at(tmp_path / "c"))
    assert free(tmp_path / "a")
    assert not free(tmp_path / "c")
    for each in (lock, other):
        each.close()


def test_where_there_are_no_locks_shield_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    for directory in ("", tmp_path / "file" / "below"):
        lock = StateLock()
        lock.take(at(directory))
        lock.close()

    def none(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    assert free(tmp_path)
