"""All suites in one run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.__main__ import main
from bench.plots import report
from bench.suites import micro, slow, throughput


class TestAll:
    def test_a_suite_that_fails_does_not_keep_the_others(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def broken(_: object) -> None:
            raise RuntimeError("no such core")

        monkeypatch.setattr(throughput, "play", broken)
        monkeypatch.setattr(micro, "play", lambda arguments: {"suite": "micro", "cases": {}, "problems": []})
        monkeypatch.setattr(micro, "markdown", lambda results: "# micro")
        json_file = tmp_path / "all.json"
        assert main(["all", "--suites", "throughput", "micro", "--json", str(json_file)]) == 1
        told = capsys.readouterr().out
        assert "throughput failed: no such core" in told
        assert "not to quote" not in told
        assert json.loads(json_file.read_text())["suites"]["micro"]["suite"] == "micro"
        assert main(["all", "--quick", "--suites", "micro", "--json", str(json_file)]) == 0
        assert "not to quote" in json_file.with_suffix(".md").read_text()

    def test_each_suite_has_files_of_its_own(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        results = {"suite": "slow", "modes": {}, "problems": ["it is slow"], "missing": "no tool", "machine": {}}
        monkeypatch.setattr(slow, "play", lambda arguments: results)
        monkeypatch.setattr(report, "RESULTS", tmp_path)
        assert main(["all", "--suites", "slow"]) == 1
        assert {path.name for path in tmp_path.iterdir()} == {"slow.json", "slow.md"}
        assert json.loads((tmp_path / "slow.json").read_text()) == results
