"""Logs as files: plain, compressed, cut off, damaged, endless."""

from __future__ import annotations

import gzip
import importlib
import sys
from pathlib import Path
from random import Random
from typing import Any

import pytest

from shield.replay import files
from shield.replay.files import LogError, Skipped, check, lines

LINE = b'192.0.2.1 - - [30/Nov/2026:10:19:38 +0000] "GET /%d HTTP/1.1" 200 2 "-" "curl/8"\n'
LOG = b"".join(LINE % Random(number).randrange(10**12) for number in range(1000))


def read(path: Path) -> tuple[int, Skipped]:
    skipped = Skipped()
    return len(list(lines(str(path), skipped))), skipped


def test_gzip_and_zstd_are_known_by_their_first_bytes_whatever_the_name(tmp_path: Path) -> None:
    zstd = pytest.importorskip("backports.zstd" if sys.version_info < (3, 14) else "compression.zstd")
    (tmp_path / "plain").write_bytes(LOG)
    (tmp_path / "one").write_bytes(gzip.compress(LOG))
    (tmp_path / "two").write_bytes(gzip.compress(LOG) + gzip.compress(LOG))  # as logs are appended to
    (tmp_path / "three").write_bytes(zstd.compress(LOG))
    names = [str(tmp_path / name) for name in ("plain", "one", "two", "three")]
    assert check(names) == sum(Path(name).stat().st_size for name in names)
    assert [read(Path(name))[0] for name in names] == [1000, 1000, 2000, 1000]


def test_without_a_library_for_zstd_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(name: str) -> Any:
        raise ImportError(name)

    (tmp_path / "access.log.zst").write_bytes(files.ZSTD + b"rest")
    monkeypatch.setattr(importlib, "import_module", nowhere)
    with pytest.raises(LogError, match=r"access\.log\.zst: .*pip install backports\.zstd.*zstd -d"):
        check([str(tmp_path / "access.log.zst")])


@pytest.mark.parametrize("cut", [30, 2000])
def test_of_a_log_that_ends_in_the_middle_what_is_there_is_read(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "access.log.gz"
    path.write_bytes(gzip.compress(LOG)[:cut])
    found, skipped = read(path)
    assert found < 1000
    assert skipped.named == [f"{path}:{found + 1}: it ends too early; the rest is left out"]


def test_of_a_damaged_log_what_comes_before_the_damage_is_read(tmp_path: Path) -> None:
    path = tmp_path / "access.log.gz"
    data = bytearray(gzip.compress(LOG))
    data[-2600:-2500] = bytes(100)
    path.write_bytes(data)
    found, skipped = read(path)
    assert 500 < found < 1000
    assert skipped.foreign


def test_a_damaged_zstd_log_is_no_crash(tmp_path: Path) -> None:
    zstd = pytest.importorskip("backports.zstd" if sys.version_info < (3, 14) else "compression.zstd")
    path = tmp_path / "access.log.zst"
    data = bytearray(zstd.compress(LOG, options={zstd.CompressionParameter.checksum_flag: 1}))
    data[-9] ^= 1
    path.write_bytes(data)
    assert "it is damaged" in read(path)[1].named[-1]
    path.write_bytes(zstd.compress(LOG)[:-40])
    assert "too early" in read(path)[1].named[-1]


def test_a_broken_line_is_counted_and_the_first_few_are_named(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_bytes(b"\n" + LINE % 1 + b"nonsense\n" * 12 + LINE % 2 + b'{"a": \n' + LINE % 3)
    found, skipped = read(path)
    assert (found, skipped.foreign, len(skipped.named)) == (3, 13, files.NAMED)
    assert skipped.named[0] == f"{path}:3: it is in no format that is known"


def test_a_file_without_a_line_end_costs_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "access.log.gz"
    path.write_bytes(gzip.compress(bytes(20_000_000) + b"\n" + LINE % 1))
    import tracemalloc

    tracemalloc.start()
    found, skipped = read(path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (found, skipped.foreign) == (1, 1)
    assert "longer than" in skipped.named[0]
    assert most < 3_000_000


def test_what_is_no_log_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="there is no such file"):
        check([str(tmp_path / "missing.log")])
    with pytest.raises(LogError, match="this is a directory"):
        check([str(tmp_path)])
    with pytest.raises(LogError, match="read twice"):
        check(["/dev/null"])
