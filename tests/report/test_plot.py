"""Plots as SVG."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.report.plot import HEIGHT, MOST_POINTS, WIDTH, Curve, lines, stacked, thinned, top_of


@pytest.mark.parametrize(
    ("highest", "top", "step"),
    [(0, 1, 0.5), (1, 1, 0.25), (7, 8, 2), (92, 100, 25), (768, 800, 200), (0.184, 0.2, 0.05), (10_001, 12_500, 2500)],
)
def test_the_lines_are_at_round_numbers(highest: float, top: float, step: float) -> None:
    assert top_of(highest) == (pytest.approx(top), pytest.approx(step))


def test_areas_stand_on_each_other() -> None:
    svg, top, _ = stacked([Curve("a", "forward", [1, 2, 1]), Curve("b", "limit", [1, 2, 0])])
    assert top == 4
    first, second = re.findall(r'points="([^"]*)"', svg)
    assert first.split()[:3] == ["0.0,225.0", "500.0,150.0", "1000.0,225.0"]
    assert second.split()[:3] == ["0.0,150.0", "500.0,0.0", "1000.0,225.0"]


def test_a_line_has_a_gap_where_nobody_was_served() -> None:
    svg, _, _ = lines([Curve("p95", "known", [1.0, 1.0, None, 2.0, 2.0, None, 1.0])])
    assert (svg.count("<polyline"), svg.count("<circle")) == (2, 1)


def test_a_peak_is_not_thinned_out() -> None:
    values = [0.0] * 5000
    values[1234] = 7.0
    found = thinned(values)
    assert len(found) == MOST_POINTS
    assert max(value or 0.0 for value in found) == 7.0
    assert thinned([None] * 5000) == [None] * MOST_POINTS


VALUES = st.lists(st.none() | st.floats(0, 1e9), max_size=900)


@given(VALUES, st.lists(st.tuples(st.floats(-1, 2), st.floats(-1, 2)), max_size=3))
def test_whatever_is_plotted_is_well_formed_and_within_its_box(
    values: list[float | None], shades: list[tuple[float, float]]
) -> None:
    curves = [Curve("a", "forward", values), Curve("b", "limit", values)]
    for svg, top, step in (stacked(curves, shades), lines(curves, shades), lines(curves, shades, 1.0)):
        assert 0 < step <= top
        root = ET.fromstring(f"<svg>{svg}</svg>")  # noqa: S314 - our own
        for part in root:
            for point in part.get("points", "").split():
                x, y = map(float, point.split(","))
                assert 0 <= x <= WIDTH
                assert 0 <= y <= HEIGHT
