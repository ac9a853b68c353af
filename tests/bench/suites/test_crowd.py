"""What is wanted of users' waits beside a crowd."""

from __future__ import annotations

from typing import Any

import pytest

from bench.suites.crowd import markdown, missed


def row(calm: float, beside: float, success: float = 1.0, mode: str = "served", peer: str = "shield") -> Any:
    return {
        "mode": mode, "peer": peer, "calm": {"p95": calm}, "attack": {"p95": beside, "p50": beside / 2,
        "success": success}, "answers": 1234.0, "core": 0.98,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([row(0.010, 0.030)], []),
        ([row(0.010, 0.031)], ["an idle service: users' p95 is 3.1 times that of calm weather"]),
        ([row(0.010, 0.010, 0.999, "refused")], ["refused: users' success is 99.90%"]),
        ([row(0.010, 0.900, 0.5, peer="nginx")], []),
    ],
)
def test_what_is_not_as_wanted(rows: list[Any], told: list[str]) -> None:
    assert missed(rows) == told


def test_the_table_has_a_row_for_each_peer_and_mode() -> None:
    results = {
        "rows": [row(0.010, 0.020), row(0.010, 0.050, mode="anew", peer="nginx")],
        "titles": {"shield": "Shield", "nginx": "nginx"}, "cores": "none", "connections": 1000, "addresses": 500,
        "machine": {"load_average": 0.5}, "problems": [], "missed": [],
    }  # fmt: skip
    lines = [line for line in markdown(results).splitlines() if line.startswith(("| Shield", "| nginx"))]
    assert [[cell.strip() for cell in line.strip("|").split("|")] for line in lines] == [
        ["Shield", "an idle service", "10.0", "10.0", "20.0", "2.0", "100.0%", "1,234", "98%"],
        ["nginx", "refused, new connections", "10.0", "25.0", "50.0", "5.0", "100.0%", "1,234", "98%"],
    ]
