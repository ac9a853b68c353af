"""The journal's file, with every way in which a disk, a clock or somebody else can spoil it."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from shield.config.state import StateSettings
from shield.process import journal
from shield.process.journal import HEADER, append, encode, load, replace
from tests.process.test_state import KINDS, hostile

WALL = 1_700_000_000.0
ROWS = [["client", "ab", "192.0.2.1", 16.5], ["address", "2001:db8::"], ["pardon", "ab", ""]]


def written(folder: Path, rows: list[Any] = ROWS, name: str = "journal.log") -> Path:
    """A journal with these rows, each in a batch of its own."""
    path = folder / name
    for number, row in enumerate(rows):
        assert append(path, encode([row], WALL + number)) == ""
    return path


def rows_in(folder: Path, events: Any, wall: float = WALL + 10.0, mine: bool = True) -> list[Any]:
    return [row for _, row in load(StateSettings(directory=str(folder)), events, wall, lambda worker: mine)]


def test_it_comes_back_in_the_order_of_time(tmp_path: Path, events: Any) -> None:
    folder = tmp_path / "a" / "state"
    path = written(folder, ROWS[:2])
    append(path.with_name("journal-0.log"), encode([ROWS[2]], WALL + 0.5))
    append(path.with_name("journal-12.log"), encode([["spent", "cd", 1]], WALL - 1.0))
    (folder / "journal-old.log").write_text("not ours")
    assert rows_in(folder, events) == [["spent", "cd", 1], ROWS[0], ROWS[2], ROWS[1]]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert load(StateSettings(), events, WALL) == []
    assert events == []


def test_one_that_is_cut_at_any_byte_keeps_what_is_whole_and_goes_on(tmp_path: Path, events: Any) -> None:
    """A process that is killed while it writes loses the line that it was at, and nothing else."""
    path = written(tmp_path)
    whole = path.read_bytes()
    ends = [at + 1 for at, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        rows = ROWS[: sum(end <= cut for end in ends[1:])]
        assert rows_in(tmp_path, events) == rows, cut
        assert append(path, encode([["spent", "cd", 1]], WALL + 5.0)) == ""
        assert rows_in(tmp_path, events) == [*rows, ["spent", "cd", 1]], cut
    assert events == []


def test_a_line_that_is_damaged_is_left_out_and_the_others_are_taken(tmp_path: Path, events: Any) -> None:
    path = written(tmp_path)
    whole = path.read_bytes()
    for at in range(len(HEADER), len(whole)):
        spoilt = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
        path.write_bytes(spoilt)
        found = rows_in(tmp_path, events)
        assert len(found) in (1, 2), at
        assert all(row in ROWS for row in found)
        if not events:
            assert at == len(whole) - 1, "that is an end which was cut off"
            continue
        ((name, fields),) = events
        assert name == "journal_unusable"
        assert "damaged" in fields["error"]
        assert Path(fields["kept_as"]).read_bytes() == spoilt
        assert rows_in(tmp_path, events) == found, "it was repaired"
        Path(fields["kept_as"]).unlink()
        events.clear()


def test_the_journal_of_another_worker_is_not_touched(tmp_path: Path, events: Any) -> None:
    """It may be writing there."""
    path = written(tmp_path)
    spoilt = path.read_bytes().replace(b"2001", b"2002")
    path.write_bytes(spoilt)
    assert rows_in(tmp_path, events, mine=False) == [ROWS[0], ROWS[2]]
    ((_, fields),) = events
    assert fields["kept_as"] == str(path)
    assert path.read_bytes() == spoilt


def test_lines_of_a_clock_that_has_gone_back_are_left_out(tmp_path: Path, events: Any) -> None:
    path = written(tmp_path)
    append(path, encode([["spent", "cd", 1]], WALL + 1000.0))
    assert rows_in(tmp_path, events) == ROWS
    ((_, fields),) = events
    assert fields["error"] == "1 of 4 lines were written later than now: the clock has gone back"
    assert "1700001000" in Path(fields["kept_as"]).read_text()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"hello\n", "no journal of Shield's"),
        (b"\x00" * 100, "no journal of Shield's"),
        (b"shield-journal 2\nsomething else\n", "of version 2: another Shield wrote it"),
        (HEADER * 50, "more than 400 bytes"),
    ],
)
def test_a_file_that_is_none_is_put_aside(
    tmp_path: Path, events: Any, monkeypatch: pytest.MonkeyPatch, data: bytes, why: str
) -> None:
    monkeypatch.setattr(journal, "MOST_BYTES", 200)
    path = tmp_path / "journal.log"
    path.write_bytes(data)
    path.chmod(0o600)
    assert rows_in(tmp_path, events) == []
    ((name, fields),) = events
    assert (name, fields["error"]) == ("journal_unusable", why)
    assert (tmp_path / "journal.unusable").read_bytes() == data
    written(tmp_path)
    assert rows_in(tmp_path, events) == ROWS


def test_lines_with_the_right_digest_that_are_no_rows(tmp_path: Path, events: Any) -> None:
    path = tmp_path / "journal.log"
    lines = [b"{", b"[]", b"3", b'["x", "client"]', b"[1.5, 7]", b'[1.5, "spent"]']
    digest = journal._digest
    path.write_bytes(HEADER + b"".join(digest(line) + b" " + line + b"\n" for line in lines))
    path.chmod(0o600)
    assert rows_in(tmp_path, events) == [["spent"]]
    assert events[0][1]["error"] == "5 of 6 lines are damaged"


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_to_be_believed_is_neither_read_nor_written(
    tmp_path: Path, events: Any, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path = tmp_path / "journal.log"
    with monkeypatch.context() as patch:
        hostile(kind, path, HEADER, patch)
        assert {**KINDS, "directory": "Is a directory"}[kind] in append(path, encode(ROWS, WALL))
        assert rows_in(tmp_path, events) == []
    ((name, fields),) = events
    assert name == "journal_unusable"
    assert KINDS[kind] in fields["error"]
    assert os.path.lexists(tmp_path / "journal.unusable")
    assert append(path, encode(ROWS, WALL)) == ""
    assert rows_in(tmp_path, events) == ROWS


def test_a_file_of_one_endless_line_is_not_written_to(tmp_path: Path) -> None:
    path = tmp_path / "journal.log"
    path.write_bytes(b"x" * 100_000)
    path.chmod(0o600)
    assert append(path, encode(ROWS, WALL)) == "it is no journal of Shield's"
    assert path.stat().st_size == 100_000


def test_a_disk_that_is_full_in_the_middle_of_a_batch(
    tmp_path: Path, events: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing half-written is left, and what was there stays."""
    path = written(tmp_path)
    size, real = path.stat().st_size, os.write

    def write(descriptor: int, data: bytes) -> int:
        if os.fstat(descriptor).st_size > size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, data[:20])

    with monkeypatch.context() as patch:
        patch.setattr(journal.os, "write", write)
        assert append(path, encode(ROWS, WALL)) == "No space left on device"
    assert path.stat().st_size == size
    assert rows_in(tmp_path, events) == ROWS


def test_a_directory_that_takes_nothing(tmp_path: Path, events: Any) -> None:
    (tmp_path / "file").touch()
    assert append(tmp_path / "file" / "journal.log", encode(ROWS, WALL)) == "File exists"
    assert replace(tmp_path / "file" / "journal.log", [b"x"]) == "Not a directory"
    assert rows_in(tmp_path / "file", events) == []
    assert events == []


def test_what_cannot_be_repaired_is_said(tmp_path: Path, events: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"2001", b"2002"))

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(journal, "write_whole", refuse)
    assert rows_in(tmp_path, events) == [ROWS[0], ROWS[2]]
    ((_, fields),) = events
    assert fields["error"] == "1 of 3 lines are damaged; it cannot be put aside: Read-only file system"
    assert fields["kept_as"] == str(path)
