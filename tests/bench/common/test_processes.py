"""Processes that the bench starts: on which cores, what they use, and that nothing is left of them."""

from __future__ import annotations

import asyncio
import ssl
import sys
import time
from pathlib import Path

import pytest

from bench.common import processes
from bench.common.processes import (
    ask,
    free_ports,
    group_resident_bytes,
    launch,
    own_cores,
    pinned,
    running,
    share_out,
    unverified,
)
from bench.peers.plan import Certificate
from tests.bench.serving import listening, server_context


class TestCores:
    @pytest.mark.parametrize("number", [2, 3, 4, 8])
    def test_the_proxy_has_a_core_to_itself(self, number: int) -> None:
        cores = share_out(range(number))
        assert len(cores.proxy) == 1
        assert cores.load
        assert cores.origin
        assert not cores.proxy & (cores.load | cores.origin)
        assert (cores.load == cores.origin) == (number == 2)


class TestProcesses:
    def state(self, pid: int) -> str:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return ""

    def test_processes_are_counted_and_ended_with_their_children(self, tmp_path: Path) -> None:
        code = (
            "import subprocess, sys, time\n"
            "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
            "end = time.process_time() + 0.1\n"
            "while time.process_time() < end: pass\n"
            "print(child.pid, flush=True); time.sleep(60)\n"
        )
        with running([]) as started:
            process = launch("spin", [sys.executable, "-c", code], tmp_path, frozenset(own_cores()))
            started.append(process)
            deadline = time.monotonic() + 10
            while not process.wrote().strip() and time.monotonic() < deadline:
                time.sleep(0.01)
            assert process.cpu_seconds() >= 0.05
            child = int(process.wrote())
        assert process.popen.returncode is not None
        deadline = time.monotonic() + 10  # the kernel needs a moment; what is left may be a zombie until init looks
        while time.monotonic() < deadline and (left := self.state(child)) not in {"", "Z"}:
            time.sleep(0.01)
        assert left in {"", "Z"}

    @pytest.mark.parametrize("share", ["", "/autogroup-7 nice 0\n", "/autogroup-7 nice -3\n"])
    def test_a_process_starts_whatever_the_kernel_says_of_its_share(
        self, share: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # An init that never made a session of its own is in the kernel's first one, where the file is empty.
        monkeypatch.setattr(processes, "OWN_SHARE", tmp_path / "autogroup")
        processes.OWN_SHARE.write_text(share)
        with running([]) as started:
            started.append(launch("true", ["true"], tmp_path, frozenset(own_cores())))
            assert started[0].popen.wait(10) == 0

    def test_ports_differ(self) -> None:
        assert len(set(free_ports(20))) == 20

    def test_pinning_replaces_itself_by_the_command(self) -> None:
        assert pinned(["wrk", "-t1"], frozenset({1, 0}))[-2:] == ["wrk", "-t1"]


class TestResident:
    def test_resident_bytes_are_those_of_the_session(self, tmp_path: Path) -> None:
        code = "import time; held = b'x' * 50_000_000; print('there', flush=True); time.sleep(60)"
        with running([]) as started:
            started.append(launch("holder", [sys.executable, "-c", code], tmp_path, frozenset(own_cores())))
            deadline = time.monotonic() + 10
            while not started[0].wrote().strip() and time.monotonic() < deadline:
                time.sleep(0.01)
            assert 50_000_000 < group_resident_bytes(started[0].pid) < 100_000_000


class TestTls:
    async def test_one_question_over_tls(self, made: Certificate) -> None:
        async with listening(context=server_context(made)) as port:
            assert await asyncio.to_thread(ask, port, tls=True) == (200, b"hello")

    def test_clients_take_tls_1_3_only(self) -> None:
        assert unverified().minimum_version is ssl.TLSVersion.TLSv1_3
