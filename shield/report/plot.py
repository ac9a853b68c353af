"""Plots as SVG: areas and lines over time, made by hand. Text beside them is HTML, so that it is read on a phone, too.

A plot is a box of WIDTH by HEIGHT that is stretched to its place; lines keep their width (`non-scaling-stroke`).
Colours are classes of the page's style. At most MOST_POINTS are drawn: of more, those that share a place become their
greatest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Final

WIDTH: Final = 1000
HEIGHT: Final = 300
MOST_POINTS: Final = 400
LINES: Final = 4
"""Horizontal lines, at most."""

Values = Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Curve:
    """One line or area of a plot: its name in the legend, its class in the style, and its values."""

    name: str
    style: str
    values: Values


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot, as the page places it: `marks` are (share of the height from below, text), `ticks` texts from left to
    right, in places as shares of the width."""

    title: str
    about: str
    svg: str
    legend: tuple[tuple[str, str], ...]  # style and name
    marks: tuple[tuple[float, str], ...]
    ticks: tuple[tuple[float, str], ...]


def thinned(values: Values, most: int = MOST_POINTS) -> list[float | None]:
    """At most so many values: of those that share a place the greatest."""
    count = len(values)
    if count <= most:
        return list(values)
    found: list[float | None] = []
    for place in range(most):
        some = [v for v in values[place * count // most : (place + 1) * count // most] if v is not None]
        found.append(max(some) if some else None)
    return found


def top_of(highest: float) -> tuple[float, float]:
    """The value at the upper edge of a plot, and the step from line to line: a round number."""
    if highest <= 0:
        return 1.0, 0.5
    rough = highest / LINES
    power = 10.0 ** floor(log10(rough))
    step = next(power * factor for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if power * factor >= rough * 0.999)
    return step * ceil(highest / step - 1e-9), step


def stacked(curves: Sequence[Curve], shades: Sequence[tuple[float, float]] = ()) -> tuple[str, float, float]:
    """SVG of areas on top of each other, the value at the upper edge, and the step of its lines. `shades` are stretches
    of time to be marked, from and to as shares of the width."""
    rows = [[value or 0.0 for value in thinned(curve.values)] for curve in curves]
    length = max((len(row) for row in rows), default=0)
    sums = [0.0] * length
    layers: list[tuple[Curve, list[float], list[float]]] = []
    for curve, row in zip(curves, rows, strict=True):
        below = sums
        sums = [low + value for low, value in zip(below, row, strict=True)]
        layers.append((curve, below, sums))
    top, step = top_of(max(sums, default=0.0))
    parts = [_shade(*each) for each in shades]
    for curve, below, above in layers:
        if above != below:
            points = [*_points(above, top), *reversed(_points(below, top))]
            parts.append(f'<polygon class="area {curve.style}" points="{" ".join(points)}"/>')
    return _svg(parts, top, step), top, step


def lines(
    curves: Sequence[Curve], shades: Sequence[tuple[float, float]] = (), top: float = 0.0
) -> tuple[str, float, float]:
    """The same of lines, which have gaps where there is no value. `top`: the upper edge, where that is fixed."""
    rows = [thinned(curve.values) for curve in curves]
    highest = max((value for row in rows for value in row if value is not None), default=0.0)
    edge, step = (top, top / LINES) if top else top_of(highest)
    parts = [_shade(*each) for each in shades]
    for curve, row in zip(curves, rows, strict=True):
        for piece in _pieces(row, edge):
            if len(piece) == 1:
                x, y = piece[0].split(",")
                parts.append(f'<circle class="dot {curve.style}" cx="{x}" cy="{y}" r="3"/>')
            else:
                parts.append(f'<polyline class="line {curve.style}" points="{" ".join(piece)}"/>')
    return _svg(parts, edge, step), edge, step


def _pieces(row: Values, top: float) -> list[list[str]]:
    pieces: list[list[str]] = [[]]
    for place, value in enumerate(row):
        if value is None:
            pieces.append([])
        else:
            pieces[-1].append(_point(place, len(row), value, top))
    return [piece for piece in pieces if piece]


def _points(row: Sequence[float], top: float) -> list[str]:
    return [_point(place, len(row), value, top) for place, value in enumerate(row)]


def _point(place: int, length: int, value: float, top: float) -> str:
    x = WIDTH * place / max(length - 1, 1)
    y = HEIGHT * (1.0 - min(value / top, 1.0))
    return f"{x:.1f},{y:.1f}"


def _shade(begin: float, end: float) -> str:
    x = WIDTH * min(max(begin, 0.0), 1.0)
    width = max(WIDTH * min(max(end, 0.0), 1.0) - x, 2.0)
    return f'<rect class="shade" x="{x:.1f}" y="0" width="{width:.1f}" height="{HEIGHT}"/>'


def _svg(parts: Sequence[str], top: float, step: float) -> str:
    count = round(top / step)
    grid = [
        f'<line class="grid" x1="0" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>'
        for y in (HEIGHT * (1.0 - number * step / top) for number in range(count + 1))
    ]
    return "".join([*grid, *parts])
