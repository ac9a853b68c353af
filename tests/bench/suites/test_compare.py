"""Two checkouts held against each other: whose code runs, what a ratio says, and when the exit status is 1."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest

from bench.__main__ import main
from bench.common.processes import ROOT, ask, free_ports, running
from bench.peers.plan import Limits, Setup
from bench.suites import compare
from bench.suites.compare import micro, throughput
from bench.suites.compare.checkouts import Checkout, Row, checkout, commit, order

MICRO = """\
CASES = {{"step": {step}, "leap": {leap}{more}}}

class Timer:
    def value(self, operations, microseconds):
        return 1e-6 * microseconds * operations
"""
SHIELD = """\
import http.server, sys, tomllib
config = tomllib.load(open(sys.argv[-1], "rb"))
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{name}")
    def log_message(self, *_):
        pass
port = int(config["listen"]["address"].rpartition(":")[2])
http.server.HTTPServer(("127.0.0.1", port), Answer).serve_forever()
"""


def made(folder: Path, name: str, step: float = 1.0, leap: float = 5.0, more: str = "", at: str = "micro") -> Checkout:
    """A checkout whose cases take as long as is said here, and whose Shield says its name."""
    for part, code in (("bench", ""), ("shield", SHIELD.format(name=name))):
        (folder / name / part).mkdir(parents=True)
        (folder / name / part / "__init__.py").touch()
        (folder / name / part / "__main__.py").write_text(code)
    path = folder / name / "bench" / f"{at}.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(MICRO.format(step=step, leap=leap, more=more))
    return Checkout(name, folder / name, "")


def wanted(**changes: Any) -> argparse.Namespace:
    return argparse.Namespace(**{"rounds": 2, "repeats": 3, "cases": None, **changes})


class TestMicro:
    def test_each_runs_its_own_code(self, tmp_path: Path) -> None:
        both = [made(tmp_path, "base", step=1.0), made(tmp_path, "here", step=2.0, at="suites/micro")]
        rows, raw, wrong = micro.measure(both, wanted())
        assert [(row.name, row.unit) for row in rows] == [("step", "µs"), ("leap", "µs")]
        assert [round(row.told()["ratio"], 6) for row in rows] == [2.0, 1.0]
        assert [len(values) for values in raw["step"]["here"]] == [3, 3]
        assert wrong == []

    def test_only_cases_of_both_are_held_against_each_other(self, tmp_path: Path) -> None:
        both = [made(tmp_path, "base"), made(tmp_path, "here", more=', "new": 3.0')]
        assert [row.name for row in micro.measure(both, wanted(rounds=1))[0]] == ["step", "leap"]
        assert [row.name for row in micro.measure(both, wanted(rounds=1, cases=["leap"]))[0]] == ["leap"]
        with pytest.raises(RuntimeError, match="base has no case new"):
            micro.measure(both, wanted(rounds=1, cases=["new"]))

    def test_a_checkout_that_cannot_be_timed_says_why(self, tmp_path: Path) -> None:
        both = [made(tmp_path, "base"), made(tmp_path, "here", more=', "broken": None')]
        (both[0].folder / "bench" / "micro.py").write_text("raise ValueError('not today')")
        with pytest.raises(RuntimeError, match=r"worker of base has ended(.|\n)*not today"):
            micro.measure(both, wanted())

    def test_this_checkout_can_be_timed(self) -> None:
        both = [Checkout(name, ROOT, "") for name in ("base", "here")]
        ((row,), _, _) = micro.measure(both, wanted(rounds=1, repeats=1, cases=["gcra"]))
        assert 0.05 < row.base[0] < 500  # µs
        assert 0.05 < row.here[0] < 500


class TestThroughput:
    def test_both_shields_are_started_from_their_own_checkout(self, tmp_path: Path) -> None:
        (origin_port,) = free_ports(1)
        template = Setup(tmp_path, 0, origin_port, 0, Limits.OUT_OF_REACH, 10)
        both = [made(tmp_path / "checkouts", name) for name in ("base", "here")]
        with running([]) as started:
            contenders = throughput.start_both(both, frozenset({0}), template, started)
            assert [each.name for each in contenders] == ["base", "here"]
            assert [ask(each.port)[1] for each in contenders] == [b"base", b"here"]

    def found(self, transfer: bool = False, busy: float = 1.0) -> dict[str, Any]:
        def peer(cost: float) -> dict[str, Any]:
            turn = {"cpu_per_1000": cost, "rate": 1 / cost, "cpu_per_gigabyte": cost, "bytes_per_second": 1e6 / cost}
            return {"busy": busy, "turns": [turn, turn]}

        return {"transfer": transfer, "unit": "requests", "peers": {"base": peer(0.5), "here": peer(0.6)}}

    @pytest.mark.parametrize("transfer", [False, True])
    def test_time_and_rate_are_a_row_each_and_both_are_costs(self, transfer: bool) -> None:
        time, rate = throughput.rows_of("proxied", self.found(transfer))
        assert (time.name, rate.name) == ("proxied: processor time", "proxied: rate")
        assert time.ratios == pytest.approx([1.2, 1.2])
        assert rate.ratios == pytest.approx([1.2, 1.2])
        assert time.judged
        assert rate.judged

    def test_processor_time_is_that_of_one_request(self) -> None:
        time, _ = throughput.rows_of("proxied", self.found())
        assert (time.unit, time.base[0]) == ("µs per request", 500.0)  # 0.5 s for 1,000

    def test_a_rate_that_something_else_limited_is_not_judged(self) -> None:
        time, rate = throughput.rows_of("proxied", self.found(busy=0.5))
        assert (time.judged, rate.judged) == (True, False)


class TestVerdict:
    def test_a_ratio_is_the_median_of_the_rounds_and_the_spread_is_told(self) -> None:
        told = Row("a", "µs", [1.0, 2.0, 4.0], [1.1, 2.0, 8.0]).told()
        assert (told["ratio"], told["least"], told["most"]) == (1.1, 1.0, 2.0)
        assert (told["base_median"], told["here_median"]) == (2.0, 2.0)

    def test_what_is_worse(self) -> None:
        rows = [{"name": "a", "judged": True, "ratio": ratio} for ratio in (0.9, 1.03, 1.031, math.nan)]
        assert len(compare.worse(rows, 1.03)) == 2
        assert compare.worse([{**row, "judged": False} for row in rows], 1.03) == []

    def test_who_is_first_changes(self, tmp_path: Path) -> None:
        both = [Checkout(name, tmp_path, "") for name in ("base", "here")]
        assert [each.name for number in range(3) for each in order(both, number)] == [
            "base", "here", "here", "base", "base", "here",
        ]  # fmt: skip

    @pytest.mark.parametrize(("step", "bound", "status"), [(1.02, "1.03", 0), (1.05, "1.03", 1), (1.05, "1.1", 0)])
    def test_the_exit_status_tells(
        self,
        step: float,
        bound: str,
        status: int,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        row = Row("step", "µs", [1.0, 1.0], [step, step])
        monkeypatch.setattr(micro, "measure", lambda both, arguments: ([row], {"raw": [1.0]}, []))
        kept = tmp_path / "raw.json"
        argv = ["compare", "--base", str(ROOT), "--suite", "micro", "--bound", bound, "--json", str(kept)]
        assert main(argv) == status
        assert ("**Worse**" in capsys.readouterr().out) == bool(status)
        results = json.loads(kept.read_text())
        assert results["rows"][0]["here"] == [step, step]
        assert results["detail"] == {"raw": [1.0]}

    def test_wrong_answers_are_worse_than_slow_ones(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        row = Row("proxied: rate", "requests/s", [1.0], [1.0], rate=True, judged=False)
        monkeypatch.setattr(throughput, "measure", lambda both, arguments: ([row], {}, ["3 requests failed"]))
        argv = ["compare", "--base", str(ROOT), "--suite", "throughput", "--json", str(tmp_path / "raw.json")]
        assert main(argv) == 1
        said = capsys.readouterr().out
        assert "**Problem**: 3 requests failed." in said
        assert "not judged" in said

    def test_only_a_checkout_will_do(self, tmp_path: Path) -> None:
        assert checkout(str(ROOT)) == ROOT
        with pytest.raises(argparse.ArgumentTypeError, match="no checkout"):
            checkout(str(tmp_path))

    def test_the_commit_of_no_repository_is_not_known(self, tmp_path: Path) -> None:
        assert commit(tmp_path) == ""
        assert dataclasses.replace(Checkout("base", tmp_path, commit(tmp_path))).environment == {
            "PYTHONPATH": str(tmp_path)
        }
