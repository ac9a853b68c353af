"""Connection attempts of dropped addresses, with the kernel dropping them and without."""

from __future__ import annotations

from typing import Any

import pytest

from bench.load.attempts import attempt
from bench.suites.kernel import CALM, ELSEWHERE, HERE, KINDS, full_listener, markdown, missed, problems, summary


def turn(kernel: bool, kind: str, p95: float, cpu: float, **more: Any) -> dict[str, Any]:
    return {
        "kernel": kernel, "kind": kind, "p95": p95, "cpu": cpu, "refused": 0, "failed": 0,
        "attempts": 0.0 if kind == CALM else 50_000.0, "established": 0.0, **more,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("p95", "elsewhere", "cpu", "told"),
    [
        (0.0021, 0.001, 0.0205, []),
        (0.0023, 0.002, 0.0205, ["users' p95 is 1.15 of that without attempts at Shield, wanted 1.1"]),
        (0.0043, 0.004, 0.0205, []),  # what it costs is the sender's doing
        (0.0020, 0.002, 0.0300, ["Shield's processor time is 1.50 of calm, wanted 1.05"]),
    ],
)
def test_what_is_not_as_wanted_counts_by_round(p95: float, elsewhere: float, cpu: float, told: list[str]) -> None:
    turns = [
        turn(True, kind, busy * figure, busy * used)
        for busy in (1, 10)  # the second round is of a busy machine
        for kind, figure, used in ((CALM, 0.002, 0.02), (HERE, p95, cpu), (ELSEWHERE, elsewhere, 0.02))
    ]
    row = summary(True, turns)
    assert missed([row]) == told
    assert missed([{**row, "kernel": False}]) == [], "what Shield does itself is for comparison"


def test_what_makes_the_figures_worthless() -> None:
    assert problems([turn(True, HERE, 1.0, 1.0), turn(False, HERE, 1.0, 1.0, established=9000.0)]) == []
    assert problems([turn(True, HERE, 1.0, 1.0, established=9000.0)]) == ["the kernel let attempts through"]
    assert problems([turn(True, CALM, 1.0, 1.0, failed=1)]) == ["users were refused, or got no answer"]


def test_a_full_listener_takes_nobody() -> None:
    with full_listener() as where:
        made = attempt(where, ["127.77.0.7"], 0.0, 0.05)
    assert made.attempts > 0
    assert made.established == 0


def test_the_table_has_a_row_for_each_shield() -> None:
    turns = [turn(kernel, kind, 0.002, 0.02) for kernel in (True, False) for kind in KINDS]
    results = {
        "rows": [summary(kernel, turns) for kernel in (True, False)], "rate": 1000.0, "addresses": 20, "rounds": 1,
        "wanted": 50_000.0, "seconds": 1.0, "workers": 1, "cores": "none", "machine": {"load_average": 0.5},
        "problems": [], "missed": [],
    }  # fmt: skip
    assert "| the kernel |     50,000 |             0 |         2.00 |    2.00 |          2.00 |    1.00 |" in markdown(
        results
    )
