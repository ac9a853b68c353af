"""Keys and history over a restart, with every way in which a disk can let one down."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any

import orjson
import pytest

from shield import state
from shield.errors import StartError
from shield.state import StateSettings, load_history, load_keys, save_history

OLD, NEW = b"\x01" * 32, b"\x02" * 32


def entropy(size: int) -> bytes:
    return NEW[:size]


def key_file(path: Path, *keys: bytes, mode: int = 0o600) -> StateSettings:
    path.write_text("".join(f"{key.hex()}\n" for key in keys))
    path.chmod(mode)
    return StateSettings(secret_file=str(path))


def test_in_memory_only(events: Any) -> None:
    assert load_keys(StateSettings(), events, entropy) == (NEW, None)
    assert not save_history(StateSettings(), [1], events)
    assert load_history(StateSettings(), events) == []


def test_keys_are_created_once(tmp_path: Path, events: Any) -> None:
    settings = StateSettings(directory=str(tmp_path / "a" / "state"))
    assert load_keys(settings, events, entropy) == (NEW, None)
    assert load_keys(settings, events, lambda size: OLD) == (NEW, None)
    path = tmp_path / "a" / "state" / "keys"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == ["keys"]
    assert events == []


def test_two_keys(tmp_path: Path, events: Any) -> None:
    assert load_keys(key_file(tmp_path / "k", NEW, OLD), events) == (NEW, OLD)


def test_two_processes_create_one_key(tmp_path: Path, events: Any) -> None:
    """The second one finds the file made between its look and its write."""
    settings = StateSettings(directory=str(tmp_path))

    def slow(size: int) -> bytes:
        key_file(tmp_path / "keys", OLD)
        return NEW

    assert load_keys(settings, events, slow) == (OLD, None)
    assert [entry.name for entry in tmp_path.iterdir()] == ["keys"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o622])
def test_keys_that_others_can_reach_are_refused(tmp_path: Path, events: Any, mode: int) -> None:
    with pytest.raises(StartError, match=rf"mode {mode:04o}.*chmod 600"):
        load_keys(key_file(tmp_path / "k", NEW, mode=mode), events)


@pytest.mark.parametrize(
    "text", ["", "\n", "abc", "zz" * 32, "01" * 31, "01" * 33, f"{'01' * 32}\n" * 3, "01" * 32 + "\nnonsense", "\x00"]
)
def test_a_file_without_keys_is_refused(tmp_path: Path, events: Any, text: str) -> None:
    settings = key_file(tmp_path / "k")
    (tmp_path / "k").write_text(text)
    with pytest.raises(StartError, match="one or two lines of 64 hex digits"):
        load_keys(settings, events)


def test_a_directory_in_place_of_the_key_file(tmp_path: Path, events: Any) -> None:
    with pytest.raises(StartError, match=r"cannot read .*: Is a directory"):
        load_keys(StateSettings(secret_file=str(tmp_path)), events)


def test_keys_below_a_file(tmp_path: Path, events: Any) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartError, match=r"cannot (read|create)"):
        load_keys(StateSettings(secret_file=str(tmp_path / "file" / "keys")), events)


def fail_fsync(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def full(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(state.os, "fsync", full)


def test_a_full_disk_does_not_keep_shield_from_starting(
    tmp_path: Path, events: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_fsync(monkeypatch, errno.ENOSPC)
    assert load_keys(StateSettings(directory=str(tmp_path)), events, entropy) == (NEW, None)
    assert events.names() == ["keys_not_saved"]
    assert list(tmp_path.iterdir()) == []


def test_a_forbidden_directory_does(tmp_path: Path, events: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_fsync(monkeypatch, errno.EACCES)
    with pytest.raises(StartError, match=r"cannot create .*keys: Permission denied"):
        load_keys(StateSettings(directory=str(tmp_path)), events, entropy)


def test_history_comes_back(tmp_path: Path, events: Any) -> None:
    settings = StateSettings(directory=str(tmp_path / "state"))
    rows = [["client", "00ff", 1.5, 2], ["pass", "ab", 3.0, 4]]
    assert load_history(settings, events) == []
    assert save_history(settings, rows, events)
    assert save_history(settings, rows[:1], events)
    assert load_history(settings, events) == rows[:1]
    assert stat.S_IMODE((tmp_path / "state" / "history.json").stat().st_mode) == 0o600
    assert [entry.name for entry in (tmp_path / "state").iterdir()] == ["history.json"]
    assert events == []


def test_every_worker_saves_its_own_history_and_reads_all(tmp_path: Path, events: Any) -> None:
    """So that neither more nor fewer workers forget anybody."""
    settings = StateSettings(directory=str(tmp_path))
    for worker in (0, 1, 10):
        assert save_history(settings, [f"worker {worker}"], events, worker)
    save_history(settings, ["alone"], events)
    (tmp_path / "history-0.json.bak").write_text("not ours")
    (tmp_path / "history-old.json").write_text("not ours")
    assert load_history(settings, events) == ["alone", "worker 0", "worker 1", "worker 10"]
    (tmp_path / "history-1.json").write_text("torn")
    assert load_history(settings, events) == ["alone", "worker 0", "worker 10"]
    assert (tmp_path / "history-1.unusable").read_text() == "torn"
    assert events.names() == ["history_unusable"]


def test_a_full_disk_keeps_the_old_history(tmp_path: Path, events: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = StateSettings(directory=str(tmp_path))
    save_history(settings, [1], events)
    with monkeypatch.context() as patch:
        fail_fsync(patch, errno.ENOSPC)
        assert not save_history(settings, [1, 2], events)
    assert events == [
        (
            "history_not_saved",
            {"level": "error", "path": f"{tmp_path}/history.json", "error": "No space left on device", "rows": 2},
        )
    ]
    assert load_history(settings, events) == [1]
    assert [entry.name for entry in tmp_path.iterdir()] == ["history.json"]


@pytest.mark.parametrize(
    "data", [b"", b"{", b"\xff\x00", b"[]", b"3", b'{"version": 2, "rows": []}', b'{"version": 1, "rows": {}}']
)
def test_an_unusable_history_is_put_aside(tmp_path: Path, events: Any, data: bytes) -> None:
    path = tmp_path / "history.json"
    path.write_bytes(data)
    settings = StateSettings(directory=str(tmp_path))
    assert load_history(settings, events) == []
    assert events.names() == ["history_unusable"]
    assert (tmp_path / "history.unusable").read_bytes() == data
    assert save_history(settings, [1], events)
    assert load_history(settings, events) == [1]


def test_a_history_too_large_to_be_ours(tmp_path: Path, events: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "HISTORY_MAX_BYTES", 50)
    settings = StateSettings(directory=str(tmp_path))
    (tmp_path / "history.json").write_bytes(orjson.dumps({"version": 1, "rows": list(range(50))}))
    assert load_history(settings, events) == []
    assert events.names() == ["history_unusable"]


def test_an_unreadable_history_is_left_alone(tmp_path: Path, events: Any) -> None:
    (tmp_path / "history.json").mkdir()
    assert load_history(StateSettings(directory=str(tmp_path)), events) == []
    assert events.names() == ["history_not_read"]
    assert (tmp_path / "history.json").is_dir()
