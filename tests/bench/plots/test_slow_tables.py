"""The table of the slow connections."""

from __future__ import annotations

from typing import Any

from bench.suites import slow

HELD = {"open": 0, "files": 20, "kept": 3, "resident": 1}


def found(p95: float = 0.1, success: float = 1.0, **more: Any) -> dict[str, Any]:
    return {
        "title": "x",
        "attack": {"p95": p95, "p50": 0.01, "success": success},
        "challenges": 0,
        "tool": {"available": ["YES"]},
        "before": HELD,
        "after": HELD,
        "most": HELD,
        **more,
    }


def test_the_table_has_a_row_for_each_mode() -> None:
    results = {
        "machine": {"cpu": "c", "kernel": "k", "python": "p"},
        "cores": "",
        "missing": "",
        "connections": 1000,
        "seconds": 25,
        "modes": {"calm": found(), "read": found(0.2)},
        "problems": ["read: slow"],
    }
    text = slow.markdown(results)
    assert text.count("| x ") == 2
    assert "+100%" in text
    assert "**Not as wanted**: read: slow." in text
