"""Keys and history over a restart, with every way in which a disk can let one down."""

from __future__ import annotations

import errno
import os
import stat
import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from shield.config.state import StateSettings
from shield.errors import StartError
from shield.process import state
from shield.process.state import HISTORY, LEARNED, keep_keys, load, load_keys, save

OLD, NEW = b"\x01" * 32, b"\x02" * 32


def save_history(settings: StateSettings, rows: list[Any], worker: int | None = None) -> str:
    return save(settings, HISTORY, [orjson.dumps(rows[:1]), b"[]", orjson.dumps(rows[1:])], {}, worker)


def load_history(settings: StateSettings, events: Any) -> list[Any]:
    return [row for saved in load(settings, HISTORY, events) for row in saved.rows]


def entropy(size: int) -> bytes:
    return NEW[:size]


def key_file(path: Path, *keys: bytes, mode: int = 0o600) -> StateSettings:
    path.write_text("".join(f"{key.hex()}\n" for key in keys))
    path.chmod(mode)
    return StateSettings(secret_file=str(path))


def test_in_memory_only(events: Any) -> None:
    assert load_keys(StateSettings(), events, entropy) == (NEW, None)
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
    with pytest.raises(StartError, match=r"cannot read .*: not a regular file"):
        load_keys(StateSettings(secret_file=str(tmp_path)), events)


def test_keys_below_a_file(tmp_path: Path, events: Any) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartError, match=r"cannot (read|create)"):
        load_keys(StateSettings(secret_file=str(tmp_path / "file" / "keys")), events)


def test_keys_whose_file_has_gone_stay(tmp_path: Path, events: Any) -> None:
    """A reload after the state directory had been removed made other keys: all passes were void, and all bans and the
    history were somebody else's from the next start on."""
    settings = StateSettings(directory=str(tmp_path / "state"))
    assert load_keys(settings, events, entropy, former=(OLD, NEW)) == (OLD, NEW)
    assert load_keys(settings, events, entropy) == (OLD, NEW)
    (tmp_path / "state" / "keys").unlink()
    assert keep_keys(settings, (NEW, None)) == ""
    assert load_keys(settings, events) == (NEW, None)
    assert keep_keys(settings, (OLD, None)) == "", "a file that is there is the operator's"
    assert load_keys(settings, events) == (NEW, None)
    elsewhere = StateSettings(directory=str(tmp_path / "other"), secret_file=str(tmp_path / "secret"))
    assert keep_keys(elsewhere, (OLD, None)) == ""
    assert not (tmp_path / "other").exists()
    (tmp_path / "file").touch()
    assert keep_keys(StateSettings(directory=str(tmp_path / "file")), (OLD, None)) == "File exists"
    assert events == []


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
    assert save_history(settings, rows) == ""
    assert save_history(settings, rows[:1]) == ""
    assert load_history(settings, events) == rows[:1]
    assert stat.S_IMODE((tmp_path / "state" / "history.json").stat().st_mode) == 0o600
    assert [entry.name for entry in (tmp_path / "state").iterdir()] == ["history.json"]
    assert events == []


def test_every_worker_saves_its_own_history_and_reads_all(tmp_path: Path, events: Any) -> None:
    """So that neither more nor fewer workers forget anybody."""
    settings = StateSettings(directory=str(tmp_path))
    for worker in (0, 1, 10):
        assert save_history(settings, [f"worker {worker}"], worker) == ""
    save_history(settings, ["alone"])
    (tmp_path / "history-0.json.bak").write_text("not ours")
    (tmp_path / "history-old.json").write_text("not ours")
    assert load_history(settings, events) == ["worker 0", "worker 1", "worker 10", "alone"]
    (tmp_path / "history-1.json").write_text("torn")
    assert load_history(settings, events) == ["worker 0", "worker 10", "alone"]
    assert (tmp_path / "history-1.unusable").read_text() == "torn"
    assert events.names() == ["history_unusable"]


def test_a_full_disk_keeps_the_old_history(tmp_path: Path, events: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = StateSettings(directory=str(tmp_path))
    save_history(settings, [1])
    with monkeypatch.context() as patch:
        fail_fsync(patch, errno.ENOSPC)
        assert save_history(settings, [1, 2]) == "No space left on device"
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
    assert save_history(settings, [1]) == ""
    assert load_history(settings, events) == [1]


def test_a_history_too_large_to_be_ours(tmp_path: Path, events: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "MAX_BYTES", 50)
    settings = StateSettings(directory=str(tmp_path))
    (tmp_path / "history.json").write_bytes(orjson.dumps({"version": 1, "rows": list(range(50))}))
    assert load_history(settings, events) == []
    assert events.names() == ["history_unusable"]


OF_OLD = b'{"version": 1, "rows": [1]}'


def hostile(kind: str, path: Path, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put something at `path` that must not be believed."""
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path, 0o600)
    elif kind == "endless":
        path.symlink_to("/dev/zero")
    elif kind == "nowhere":
        path.symlink_to(path)
    else:
        path.write_bytes(data)
        path.chmod(0o620 if kind == "group" else 0o602 if kind == "world" else 0o600)
    if kind == "owner":
        monkeypatch.setattr(state.os, "geteuid", lambda: os.getuid() + 1)
        real = os.fstat
        monkeypatch.setattr(state.os, "fstat", lambda fd: os.stat_result((*real(fd)[:4], 12345, *real(fd)[5:10])))


KINDS = {
    "directory": "not a regular file",
    "fifo": "not a regular file",
    "endless": "a symbolic link",
    "nowhere": "a symbolic link",
    "group": "has mode 0620, so others can change it",
    "world": "has mode 0602, so others can change it",
    "owner": "belongs to user 12345, who could change it",
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_history_that_is_not_to_be_believed_is_put_aside(
    tmp_path: Path, events: Any, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Whoever can write it makes himself known. Nothing is lost: the next save would have replaced it."""
    path = tmp_path / "history.json"
    with monkeypatch.context() as patch:
        hostile(kind, path, OF_OLD, patch)
        assert load_history(StateSettings(directory=str(tmp_path)), events) == []
    ((name, fields),) = events
    assert name == "history_unusable"
    assert KINDS[kind] in fields["error"]
    assert fields["kept_as"] == str(tmp_path / "history.unusable")
    assert [entry.name for entry in tmp_path.iterdir()] == ["history.unusable"]
    assert save_history(StateSettings(directory=str(tmp_path)), [2]) == ""
    assert load_history(StateSettings(directory=str(tmp_path)), events) == [2]


@pytest.mark.parametrize("kind", KINDS)
def test_keys_that_are_not_to_be_believed(
    tmp_path: Path, events: Any, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path = tmp_path / "keys"
    hostile(kind, path, OLD.hex().encode(), monkeypatch)
    links = {"endless": "not a regular file", "nowhere": "Too many levels of symbolic links"}
    with pytest.raises(StartError, match=links.get(kind, KINDS[kind])):
        load_keys(StateSettings(directory=str(tmp_path)), events, entropy)
    assert os.path.lexists(path), "left as it is"


def test_keys_may_be_a_link_as_secrets_are_mounted(tmp_path: Path, events: Any) -> None:
    key_file(tmp_path / "real", OLD)
    (tmp_path / "keys").symlink_to("real")
    assert load_keys(StateSettings(directory=str(tmp_path)), events, entropy) == (OLD, None)


def test_keys_with_something_long_behind_them_are_none(tmp_path: Path, events: Any) -> None:
    settings = key_file(tmp_path / "k", NEW)
    with (tmp_path / "k").open("a") as file:
        file.write(" " * 5000 + "ff" * 32)
    with pytest.raises(StartError, match="one or two lines of 64 hex digits"):
        load_keys(settings, events)


def test_what_was_put_aside_before_is_kept(tmp_path: Path, events: Any) -> None:
    settings = StateSettings(directory=str(tmp_path))
    for number in range(12):
        (tmp_path / "history.json").write_text(f"torn {number}")
        (tmp_path / "history.json").chmod(0o600)
        assert load_history(settings, events) == []
    kept = {entry.name: entry.read_text() for entry in tmp_path.iterdir()}
    assert kept == {f"history.unusable{n + 1 if n else ''}": f"torn {n}" for n in range(8)} | {
        "history.unusable9": "torn 11"
    }


def test_what_cannot_be_put_aside_is_said(tmp_path: Path, events: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "history.json").write_text("torn")

    def refuse(*_: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "replace", refuse)
    assert load_history(StateSettings(directory=str(tmp_path)), events) == []
    ((_, fields),) = events
    assert fields["error"].endswith("it cannot be put aside: Read-only file system")
    assert (tmp_path / "history.json").read_text() == "torn"


def test_a_file_cut_at_any_byte_or_with_one_changed_is_put_aside(tmp_path: Path, events: Any) -> None:
    settings, path = StateSettings(directory=str(tmp_path)), tmp_path / "learned.json"
    rows = [["client", "ab", 1.5], ["limit", 7]]
    assert save(settings, LEARNED, [orjson.dumps(rows)], {"time": 5.0, "workers": 1}) == ""
    (saved,) = load(settings, LEARNED, events)
    assert (saved.rows, saved.time, saved.worker, saved.about["workers"]) == (rows, 5.0, None, 1)
    whole = path.read_bytes()
    broken = [whole[:n] for n in range(len(whole) - 1)]
    broken += [whole[:n] + b"0" + whole[n + 1 :] for n in range(len(whole) - 1) if whole[n : n + 1] != b"0"]
    for data in broken:
        path.write_bytes(data)
        assert load(settings, LEARNED, events) == [], data
        assert events.pop()[0] == "learned_unusable"
    path.write_bytes(whole[:-1])  # without the end of the line
    path.write_bytes(whole)
    assert load(settings, LEARNED, events) != []
    assert events == []


def test_files_of_another_version_or_another_time_are_put_aside(tmp_path: Path, events: Any) -> None:
    settings, path = StateSettings(directory=str(tmp_path)), tmp_path / "learned-3.json"
    for about, data, why in (
        ({"time": 1000.0}, b"", "the clock has gone back"),
        ({"time": "noon"}, b"", "does not say when"),
        ({}, b'{"version":2,"rows":[]}', "a newer Shield wrote it"),
    ):
        save(settings, LEARNED, [], about, 3)
        if data:
            path.write_bytes(data)
        assert load(settings, LEARNED, events, wall=600.0) == []
        name, fields = events.pop()
        assert name == "learned_unusable"
        assert why in fields["error"]
    save(settings, LEARNED, [b"[1]"], {"time": 899.0}, 3)
    (saved,) = load(settings, LEARNED, events, wall=600.0)
    assert (saved.worker, saved.rows) == (3, [1])


def test_what_a_killed_process_left_half_written_is_removed(tmp_path: Path, events: Any) -> None:
    for name, age in ((".learned.json.old", 100.0), (".learned.json.new", 1.0), (".keys.old", 100.0)):
        (tmp_path / name).touch()
        at = time.time() - age
        os.utime(tmp_path / name, (at, at))
    load(StateSettings(directory=str(tmp_path)), LEARNED, events)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".keys.old", ".learned.json.new"]
