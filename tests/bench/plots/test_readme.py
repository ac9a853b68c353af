"""The figures in README.md are those of the results files that it names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.__main__ import main
from bench.common.processes import ROOT
from bench.plots import readme, report

BLOCK = "# Shield\n\n<!-- bench: old.json; by hand -->\nold\n<!-- bench: end -->\n\nMore.\n"


def throughput(busy: float = 1.0) -> dict[str, Any]:
    peers: dict[str, Any] = {name: {"busy": busy if name == "nginx" else 1.0} for name in ("nginx", "envoy", "shield")}
    peers["shield"]["says"] = "upstream.max_concurrency = 1000, log level warning"
    ratios = {"nginx": {"shield": 0.5, "nginx": 1.0}, "envoy": {"shield": 2.0, "envoy": 1.0}}
    workload = {"peers": peers, "ratios": ratios}
    return {
        "suite": "throughput",
        "machine": {"cpu": "A Processor", "date": "2026-01-02"},
        "workloads": {"proxied": workload},
    }


def everything() -> dict[str, Any]:
    added = {"added": {"p99": 0.0015}}
    shield = {"title": "Shield", "attack": {"success": 0.995, "p95": 0.049}}
    direct = {"title": "no proxy", "attack": {"success": 0.013, "p95": 10.0}}
    machine = {"machine": {"date": "2026-01-02", "cores": 2, "load_average": 1.2}}
    later = {"machine": {"date": "2026-01-03", "cores": 2, "load_average": 9.8}}
    return {
        "throughput": throughput(),
        "latency": machine
        | {"rates": [{"share": 0.5, "rate": 5000, "peers": {"direct": added, "shield": added, "envoy": added}}]},
        "memory": machine
        | {"clients": [{"clients": 1000, "bytes": 712.0}], "connections": {"connections": 10, "used": 6100.0}},
        "micro": machine | {"cases": {"decide-known": {"median": 5.5}}},
        "attack": {
            "size": {"users": 20},
            "scenes": {
                "many": {"title": "Many", "measured": machine, "contenders": {"shield": shield, "direct": direct}},
                "slow": {
                    "title": "Slow",
                    "cheap": True,
                    "measured": machine,
                    "contenders": {"shield": shield},
                },
                "slower": {"title": "Slower", "cheap": True, "measured": later, "contenders": {"shield": shield}},
            },
        },
    }


def write(folder: Path, name: str, results: dict[str, Any]) -> Path:
    path = folder / name
    path.write_text(json.dumps(results))
    return path


def test_the_readme_shows_what_its_results_files_say() -> None:
    text = readme.README.read_text()
    files = [report.RESULTS / name for name in readme.shown(text)]
    assert readme.replaced(text, readme.block(readme.sources(files))) == text, "run: python -m bench readme"
    for source in readme.sources(files).values():
        assert (ROOT / source.page).is_file()


def test_every_suite_has_its_sentence(tmp_path: Path) -> None:
    path = write(tmp_path, "all.json", {"suite": "all", "quick": False, "suites": everything()})
    text = readme.block(readme.sources([path]))
    assert text.startswith("<!-- bench: all.json; ")
    flat = " ".join(text.split())
    for part in (
        "(A Processor, 2026-01-02)",
        "Shield was told what the service takes at once (`upstream.max_concurrency = 1000`);",
        "| small GET, proxied | 0.50 | 2.00 | | |",
        "Shield adds 1.50 ms at p99",
        "the others 1.50 ms (Envoy)",
        "712 bytes at 1,000 of them, an idle connection 6,100 bytes at 10",
        "deciding about a known client 5.50 µs",
        "how many requests of 20 users with a history were answered",
        "at 10 ([table](bench/results/all.md), 2026-01-02)",
        "Shield finds out. Measured 2026-01-02 on 2 cores at a load of 1.",
        "From “Slow” on the attacks cost next to nothing; measured 2026-01-02 and 2026-01-03 on 2 cores at a load of",
        "at a load of 1 to 10, as much else used the machine",
        "| Many | 99.5 %, 49 ms | 1.3 % | | Slow | 99.5 %, 49 ms | - |",
    ):
        assert part in flat
    assert max(len(line) for line in text.splitlines() if not line.startswith("<!--")) <= readme.WIDTH


def test_a_ratio_to_a_peer_with_time_to_spare_is_a_bound(tmp_path: Path) -> None:
    path = write(tmp_path, "throughput.json", throughput(busy=0.5))
    text = readme.block(readme.sources([path]))
    assert "| ≤ 0.50 | 2.00 |" in text
    assert "time to spare" in text
    assert "≤" not in readme.block(readme.sources([write(tmp_path, "throughput.json", throughput())]))


def test_each_suite_has_its_file_and_quick_ones_are_left_out(tmp_path: Path) -> None:
    one = everything()["micro"] | {"suite": "micro"}
    write(tmp_path, "attack.json", everything()["attack"] | {"suite": "attack"})
    write(tmp_path, "micro.json", one)
    write(tmp_path, "quick.json", {"suite": "all", "quick": True, "suites": {"throughput": throughput()}})
    found = readme.sources(readme.committed(tmp_path))
    assert {suite: source.file for suite, source in found.items()} == {"micro": "micro.json", "attack": "attack.json"}


def test_only_one_set_of_results_is_kept() -> None:
    suites = [json.loads(path.read_text())["suite"] for path in readme.committed()]
    assert [f"{suite}.json" for suite in suites] == [path.name for path in readme.committed()]
    others = {path.name.partition(".")[0] for path in report.RESULTS.iterdir() if path.suffix != ".json"}
    assert {name.partition("-")[0] for name in others} == set(suites)


def test_the_command_replaces_the_block_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, "throughput.json", throughput())
    page = tmp_path / "README.md"
    page.write_text(BLOCK)
    monkeypatch.setattr(readme, "README", page)
    assert main(["readme", str(path)]) == 0
    text = page.read_text()
    assert text.startswith("# Shield\n\n<!-- bench: throughput.json; ")
    assert text.endswith("<!-- bench: end -->\n\nMore.\n")
    assert "\nold\n" not in text
    assert "shows:" in capsys.readouterr().out
    assert main(["readme", str(path)]) == 0
    assert "showed already" in capsys.readouterr().out
    assert page.read_text() == text
    monkeypatch.setattr(readme, "committed", list)
    assert main(["readme"]) == 1


def test_a_readme_without_the_block_is_an_error() -> None:
    with pytest.raises(ValueError, match="no block"):
        readme.replaced("# Shield\n", "")


def test_what_is_not_to_be_quoted_takes_no_place_of_what_is(tmp_path: Path) -> None:
    assert report.place({"suite": "micro"}) == report.RESULTS / "micro.json"
    assert report.place({"suite": "all", "quick": True}).parent == report.LOOKS
    plot = pytest.importorskip("bench.plots.plot", reason="matplotlib is not installed", exc_type=ImportError)
    micro = {"suite": "micro", "cases": {"gcra": {"title": "one", "median": 1.0, "wanted": None}}}
    alone = plot.draw(micro, tmp_path / "micro.json")
    among = plot.draw({"suite": "all", "suites": {"micro": micro}}, tmp_path / "all.json")
    assert len({*alone, *among}) == 4
