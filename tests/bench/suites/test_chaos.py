"""What may break when processes are killed, and what must not; and a short run of the real thing."""

from __future__ import annotations

import re
import subprocess
import sys
import time

import pytest

from bench.common.processes import ROOT
from bench.suites import chaos
from bench.suites.chaos import ChaosLedger


def test_only_what_was_under_way_is_excused() -> None:
    ledger = ChaosLedger()
    with ledger.breaking():
        began = time.monotonic()
        assert ledger.under_way(began - 1.0, began)
        assert ledger.under_way(began, began)
    over = time.monotonic()
    assert ledger.under_way(began - 1.0, over + 5.0), "it took long to notice"
    assert not ledger.under_way(over + 0.1, over + 1.0)
    assert not ledger.under_way(began - 2.0, began - 1.0)


def test_the_ledger_tells_of_every_other_failure() -> None:
    ledger = ChaosLedger()
    for name, what in (("a", "ok"), ("b", "503")):
        ledger.began[name] = time.monotonic()
        ledger.write("get", name, what, "127.2.0.1")
    with ledger.breaking():
        ledger.began["c"] = time.monotonic()
    ledger.write("post", "c", "cut", "127.2.0.1")
    (problem,) = ledger.problems
    assert problem.startswith("get b of 127.2.0.1: 503")
    assert ledger.excused == {"cut": 1}
    assert ledger.outcomes == {"ok": 1, "503": 1, "cut": 1}


def test_what_shield_must_not_have_logged() -> None:
    log = '{"event":"reload_refused","level":"error"}\n{"event":"exception","level":"error"}\nTraceback (most recent\n'
    assert len(chaos.errors(log)) == 2
    assert len(chaos.errors(log * 20, most=3)) == 3


@pytest.mark.skipif(sys.platform != "linux", reason="its manager is Linux's")
def test_nobody_notices_a_short_run() -> None:
    argv = [sys.executable, "-m", "bench", "chaos", "--short", "--seconds", "1", "--seed", "1"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for what in chaos.SHORT:
        assert re.search(rf"\| {what} +\| +1 \|", done.stdout)
