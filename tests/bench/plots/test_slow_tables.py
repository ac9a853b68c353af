"""The table of the slow connections."""

from __future__ import annotations

from bench.suites import slow
from tests.bench.outcomes import slow_mode


def test_the_table_has_a_row_for_each_mode() -> None:
    results = {
        "machine": {"cpu": "c", "kernel": "k", "python": "p"},
        "cores": "",
        "missing": "",
        "connections": 1000,
        "seconds": 25,
        "modes": {"calm": slow_mode(), "read": slow_mode(0.2)},
        "problems": ["read: slow"],
    }
    text = slow.markdown(results)
    assert text.count("| x ") == 2
    assert "+100%" in text
    assert "**Not as wanted**: read: slow." in text
