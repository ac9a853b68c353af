"""Pictures of what the suites write."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.load import open_loop
from bench.suites import memory


class TestPlots:
    """Each plot takes what its suite writes."""

    def test_all_suites_are_drawn_beside_one_file(self, tmp_path: Path) -> None:
        plot = pytest.importorskip("bench.plots.plot", reason="matplotlib is not installed", exc_type=ImportError)
        turns = [{"rate": rate, "bytes_per_second": 1e6 * rate} for rate in (9.0, 11.0)]
        peer = {"title": "Shield", "rate": 10.0, "bytes_per_second": 1e7, "turns": turns}
        peers = {"direct": peer, "shield": peer}
        workload = {"title": "Proxied", "unit": "requests", "transfer": False, "peers": peers}
        case = {"title": "one GCRA check", "median": 0.5, "wanted": 1.0}
        added = {"added": dict.fromkeys(open_loop.QUANTILES, 0.001)}
        rates = [{"rate": rate, "peers": {"direct": added, "shield": added}} for rate in (100, 200)]
        suites = {
            "throughput": {
                "suite": "throughput",
                "workloads": {"proxied": workload, "download": {**workload, "transfer": True}},
            },
            "latency": {"suite": "latency", "rates": rates, "titles": {"direct": "origin alone", "shield": "Shield"}},
            "memory": {
                "suite": "memory",
                "clients": [{"clients": 1000, "bytes": 700.0}],
                "connections": {"connections": 10, "silent": 3000.0, "used": 5000.0},
                "wanted": memory.WANTED,
            },
            "micro": {"suite": "micro", "cases": {"gcra": case, "parse": {**case, "title": "parse", "wanted": None}}},
        }
        turns = [
            {"peer": "shield", "connections": count, "addresses": many, "goodput": 9.0, "refused": 0.0, "p95": p95}
            for count, many, p95 in ((16, 1, 0.1), (64, 1, None), (64, 16, 0.2))  # None: nothing was answered
        ]
        suites["saturation"] = {"suite": "saturation", "rows": turns, "titles": {"shield": "Shield"}}
        names = plot.draw({"suite": "all", "suites": suites}, tmp_path / "day.json")
        assert {Path(name).name for name in names} == {
            f"day-{suite}.{kind}" for suite in suites for kind in ("png", "svg")
        }
        assert all(Path(name).stat().st_size > 1000 for name in names)

    def test_a_suite_without_a_picture_has_none(self, tmp_path: Path) -> None:
        plot = pytest.importorskip("bench.plots.plot", reason="matplotlib is not installed", exc_type=ImportError)
        assert plot.draw({"suite": "kernel"}, tmp_path / "kernel.json") == []
