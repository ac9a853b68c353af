"""Every case times what its title says."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from bench.__main__ import main
from bench.suites import micro


class TestMicro:
    @pytest.mark.parametrize("name", list(micro.CASES))
    async def test_a_case_times_what_its_title_says(self, name: str) -> None:
        # The cases check that themselves: an engine that decides otherwise fails here.
        batch = micro.CASES[name].make()
        assert batch(5) >= 0.0
        assert batch(5) >= 0.0

    def test_the_table_has_every_case_and_all_is_one_file(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        pytest.importorskip("pyperf", reason="it comes with the bench extra")
        few = ["--processes", "1", "--repeats", "2", "--cases", "gcra", "refusal"]
        assert main(["micro", *few, "--json", str(tmp_path / "m.json")]) == 0
        table = capsys.readouterr().out
        assert "one GCRA check" in table
        assert (tmp_path / "m.md").read_text() in table + "\n"
        results = json.loads((tmp_path / "m.json").read_text())
        assert [len(case["repeats"]) for case in results["cases"].values()] == [2, 2]
        assert all(0 < case["least"] <= case["median"] for case in results["cases"].values())

    def test_what_costs_too_much_is_told(self) -> None:
        case = {"title": "decide()", "median": 6.1, "wanted": 6.0}
        assert micro.judge({"a": case, "b": case | {"median": 5.9}, "c": case | {"wanted": None}}) == [
            "decide(): 6.10 µs, at most 6 are wanted"
        ]

    def test_without_pyperf_it_says_so(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        assert main(["micro"]) == 1
        assert "pyperf is not installed" in capsys.readouterr().err
