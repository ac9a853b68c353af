"""All suites in one run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.__main__ import main
from bench.suites import micro, throughput


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
