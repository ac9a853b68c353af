"""More and more connections before an idle service."""

from __future__ import annotations

from typing import Any

import pytest

from bench.suites.saturation import markdown, missed


def row(connections: int, goodput: float, addresses: int = 1, refused: float = 0.0, peer: str = "shield") -> Any:
    return {
        "peer": peer, "connections": connections, "addresses": addresses, "goodput": goodput, "refused": refused,
        "failed": 0, "p95": 0.0123, "cpu_per_1000": 0.05, "limit": 45.0 if peer == "shield" else None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([row(64, 1000), row(1500, 851)], []),
        ([row(64, 1000), row(1500, 840)], ["goodput with 1500 connections of 1 addresses is 0.84 of that with 64"]),
        ([row(16, 100), row(64, 1000)], []),  # fewer connections ask for less
        ([row(64, 1000), row(1500, 100, 375)], []),  # from many addresses there is nothing to hold it to
        (
            [row(64, 1000, 16), row(1500, 900, 375, refused=3.0)],
            ["3 refusals/s with 1500 connections of 375 addresses"],
        ),
        ([row(64, 1000, peer="nginx"), row(1500, 10, refused=5.0, peer="nginx")], []),
    ],
)
def test_what_is_not_as_wanted(rows: list[Any], told: list[str]) -> None:
    assert missed(rows) == told


def test_the_table_has_a_row_for_each_turn() -> None:
    rows = [row(64, 1234.0), row(64, 5678.0, peer="nginx")]
    results = {
        "rows": rows, "titles": {"shield": "Shield", "nginx": "nginx"}, "seconds": 1.0, "cores": "none",
        "machine": {"load_average": 0.5}, "problems": [], "missed": [],
    }  # fmt: skip
    text = markdown(results)
    assert (
        "| Shield |          64 |         1 |     1,234 |         0 |    12.3 |           0.050 |          45 |" in text
    )
    assert (
        "| nginx  |          64 |         1 |     5,678 |         0 |    12.3 |           0.050 |           - |" in text
    )
