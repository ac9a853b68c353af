"""What waits for those who do not read, in a file."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.wire import spill as spills
from shield.wire.spill import BLOCK_BYTES, READ_BYTES, RETRY_SECONDS, Spill, Spilled


class Disk:
    """A spill, its clock, and what it said."""

    def __init__(self, directory: str = "") -> None:
        self.now = 0.0
        self.told: list[OSError] = []
        self.spill = Spill(0, directory, lambda: self.now, self.told.append)


@given(
    steps=st.lists(
        st.tuples(st.integers(0, 2), st.one_of(st.integers(1, 3 * BLOCK_BYTES), st.integers(-2 * BLOCK_BYTES, 0))),
        max_size=40,
    )
)
def test_each_gets_back_what_it_wrote_in_order_whoever_writes_and_reads(steps: list[tuple[int, int]]) -> None:
    """Blocks go from one to the other. A negative step reads."""
    disk = Disk()
    has = [Spilled(disk.spill) for _ in range(3)]
    wanted = [b"", b"", b""]
    for number, (who, size) in enumerate(steps):
        if size > 0:
            data = (b"%d of %d;" % (number, who) * size)[:size]
            assert has[who].append(data)
            wanted[who] += data
        elif wanted[who]:
            data = has[who].peek()
            assert data == wanted[who][:READ_BYTES]
            sent = min(-size, len(data))
            has[who].sent(sent)
            wanted[who] = wanted[who][sent:]
        assert [one.size for one in has] == [len(data) for data in wanted]
        assert disk.spill.used <= sum(len(data) // BLOCK_BYTES + 2 for data in wanted if data)
    for one in has:
        one.drop()
    assert disk.spill.used == 0
    assert repr(disk.spill) == "<Spill 0 of 0 blocks>"


def test_a_file_is_no_longer_than_what_waits_in_it_and_is_closed_when_nothing_does(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    disk = Disk(str(tmp_path))
    for _ in range(50):
        one = Spilled(disk.spill)
        assert one.append(bytes(3 * BLOCK_BYTES))
        assert repr(one) == f"<Spilled {3 * BLOCK_BYTES} bytes in 3 blocks>"
        assert len(os.listdir("/proc/self/fd")) == before + 1  # noqa: PTH208
        one.sent(one.size)
    assert not list(tmp_path.iterdir()), "it has no name"
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_a_disk_that_takes_nothing_is_left_alone_for_a_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(str(tmp_path / "none"))
    assert not Spilled(disk.spill).append(b"x")
    assert not disk.spill.works()
    assert not Spilled(disk.spill).append(b"x"), "whoever asks all the same is told again"
    assert len(disk.told) == 1
    disk.now += RETRY_SECONDS
    assert disk.spill.works()
    disk = Disk()
    one = Spilled(disk.spill)
    assert one.append(bytes(100))
    real, room = os.pwrite, [BLOCK_BYTES]

    def pwrite(descriptor: int, data: Any, at: int) -> int:
        if room[0] <= 0:
            raise OSError(errno.ENOSPC, "full")
        written = real(descriptor, data[: room[0]], at)
        room[0] -= written
        return written

    monkeypatch.setattr(os, "pwrite", pwrite)
    assert not one.append(b"y" * 3 * BLOCK_BYTES)
    assert disk.spill.used == 1
    room[0] = 50
    assert one.append(b"z" * 50)
    assert one.peek() == bytes(100) + b"z" * 50
    one.drop()


def test_a_file_that_has_become_shorter_is_an_error() -> None:
    disk = Disk()
    one = Spilled(disk.spill)
    assert one.append(bytes(100))
    assert disk.spill._file is not None
    os.ftruncate(disk.spill._file.fileno(), 10)
    with pytest.raises(OSError, match="shorter"):
        one.peek()
    one.drop()


def test_a_read_is_of_several_blocks() -> None:
    assert READ_BYTES % BLOCK_BYTES == 0
    assert spills.LEAST_BYTES < BLOCK_BYTES
