"""Searching nonces in other processes: found, shared, stopped, given up, and never left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from shield.policy.challenge.challenge import solved
from shield.solving import search
from shield.solving.challenge import Budget, Challenge, StoppedError, TooExpensiveError
from shield.solving.search import Progress, solve

TOKEN = "AQEQABAAAAAAAABrSgq4AAECAwQFBgcQERITFBUWFxgZGhscHR4f"


def challenge(bits: int, k: int = 16) -> Challenge:
    return Challenge(TOKEN, k, (k << 64) // (1 << bits) if bits else (1 << 64) - 1, "http://site.example/answer")


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Any:
    before = children()
    yield
    assert children() == before


def children() -> set[str]:
    found = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found |= set((task / "children").read_text().split())
    return found


def test_processes_find_the_nonces_and_tell_how_far_they_are() -> None:
    told: list[Progress] = []
    asked = challenge(19)
    nonces = solve(asked, Budget(60, processes=2), tell=told.append)
    assert solved(TOKEN, asked.target, nonces) == 16
    assert told[-1].solved == told[-1].k == 16
    assert told[-1].left == 0
    assert [each.solved for each in told] == sorted(each.solved for each in told)


def test_several_processes_share_the_last_sub_puzzle() -> None:
    found = search._Search(challenge(30, 2), Budget(), threading.Event(), None)
    found.unsolved = {1}

    class Hand:
        def give(self, part: int, start: int) -> int:
            self.job = (part, start)
            return 100

    first, second = Hand(), Hand()
    found._assign(first)  # type: ignore[arg-type]
    found._assign(second)  # type: ignore[arg-type]
    assert (first.job, second.job) == ((1, 0), (1, 100))


def test_an_easy_challenge_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", None)
    assert solved(TOKEN, challenge(14).target, solve(challenge(14), Budget(60))) == 16


@pytest.mark.parametrize("executable", ["", "/nowhere/python", "/bin/true"])
def test_where_no_process_can_be_had_it_searches_here(monkeypatch: pytest.MonkeyPatch, executable: str) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    monkeypatch.setattr(search, "FEW_HASHES", 1 << 10)
    assert solved(TOKEN, challenge(14).target, solve(challenge(14), Budget(60))) == 16


def test_the_job_of_a_process_that_dies_is_done_by_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first hand is killed once it has a job; the nonces are the smallest all the same, so nothing was skipped."""
    given: list[search._Hand] = []
    give = search._Hand.give

    def kill_the_first(self: search._Hand, part: int, start: int) -> int:
        if not given:
            os.kill(self._process.pid, signal.SIGSTOP)  # it takes the job, and does nothing of it
        count = give(self, part, start)
        if not given:
            self._process.kill()
        given.append(self)
        return count

    monkeypatch.setattr(search._Hand, "give", kill_the_first)
    monkeypatch.setattr(search, "FEW_HASHES", 1 << 10)
    asked = challenge(16, 8)
    nonces = solve(asked, Budget(60, processes=2))
    assert solved(TOKEN, asked.target, nonces) == 8
    assert given[0] not in given[2:]


def test_it_stops_when_it_is_told_to() -> None:
    stop = threading.Event()
    with pytest.raises(StoppedError):
        solve(challenge(40), Budget(60), stop, lambda progress: stop.set())


@pytest.mark.parametrize("processes", [1, 0])
def test_it_gives_up_at_once_what_it_cannot_pay(monkeypatch: pytest.MonkeyPatch, processes: int) -> None:
    monkeypatch.setattr(search, "JUDGED_AFTER", 0.02)
    if not processes:
        monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(TooExpensiveError, match="million hashes a second"):
        solve(challenge(44), Budget(30, processes=1))


def test_it_gives_up_when_the_time_is_over() -> None:
    with pytest.raises(TooExpensiveError, match=r"not solved within 0\.05 s"):
        solve(challenge(40), Budget(0.05, processes=1))


def test_it_does_not_begin_what_has_too_many_bits() -> None:
    with pytest.raises(TooExpensiveError, match=r"2\^22\.0 hashes, and the budget is 2\^21"):
        solve(challenge(22), Budget(bits=21))


def test_a_script_without_a_guard_survives(tmp_path: Path) -> None:
    """multiprocessing would run such a script once more in each process."""
    script = tmp_path / "script.py"
    script.write_text(
        "from shield.solving.challenge import Budget, Challenge\n"
        "from shield.solving.search import solve\n"
        f"print(len(solve(Challenge({TOKEN!r}, 16, (16 << 64) >> 18, ''), Budget(60, processes=2))))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(search.__file__).parents[2])}
    said = subprocess.run([sys.executable, script], env=environment, capture_output=True, check=True, text=True)
    assert said.stdout == "16\n"
    assert said.stderr == ""


def test_a_program_that_searches_imports_no_client_and_no_proxy() -> None:
    code = "import sys, shield.solving.drive\nprint(*(name for name in sys.modules if name.startswith('shield')))\n"
    code += "assert not {'httpx', 'anyio', 'aiohttp', 'asyncio', 'multiprocessing'} & set(sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert {name for name in said.stdout.split() if not name.startswith("shield.solving")} == {"shield"}
