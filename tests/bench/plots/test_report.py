"""Tables and figures on paper."""

from __future__ import annotations

import math

from bench.plots import report


class TestTables:
    def test_a_table_is_aligned_and_json_has_no_nan(self) -> None:
        assert report.table(["", "rate"], [["a", "1"], ["long", "10,000"]]).splitlines() == [
            "|      |   rate |",
            "| ---- | -----: |",
            "| a    |      1 |",
            "| long | 10,000 |",
        ]
        assert report.clean({"a": [math.nan, math.inf, 1.5]}) == {"a": [None, None, 1.5]}
        assert report.figure(math.nan) == "-"
