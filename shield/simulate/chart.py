"""The picture of a scene: who was served, what Shield thought, how the service fared. Needs matplotlib (an extra)."""

from __future__ import annotations

import importlib
from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from shield.simulate.result import Result, Tally

WANTED: Final = "a chart needs matplotlib: pip install matplotlib"
COLOURS: Final = ("#1f77b4", "#2ca02c", "#9467bd", "#17becf", "#8c564b", "#7f7f7f", "#bcbd22", "#e377c2")
ATTACK: Final = ("#d62728", "#ff7f0e", "#a50f15", "#fdae6b")
POINTS: Final = 300  # of a curve


class ChartError(Exception):
    """There is no chart; str() says why, in a line."""


def draw(result: Result, path: str) -> None:
    """Draw into a file; its ending says whether it is a PNG or an SVG. Raises ChartError."""
    if Path(path).suffix.lower() not in (".png", ".svg"):
        raise ChartError(f"{path}: the name of a chart ends in .png or .svg")
    try:
        importlib.import_module("matplotlib").use("Agg")
        pyplot = importlib.import_module("matplotlib.pyplot")
    except ImportError as error:
        raise ChartError(WANTED) from error
    figure, panels = pyplot.subplots(4, 1, figsize=(10, 12), sharex=True, layout="constrained")
    figure.suptitle(f"{result.scene.title} (seed {result.seed})")
    _shares(panels[0], result)
    _loads(panels[1], result)
    _defence(panels[2], result)
    _service(panels[3], result)
    for panel, height in zip(panels, (0.3, 0.3, 0.7, 0.7), strict=True):
        panel.axvline(0.0, color="black", linewidth=0.5)
        panel.grid(alpha=0.3)
        _legend(panel, height)
    panels[-1].set_xlabel("seconds of the story")
    try:
        figure.savefig(path, dpi=110)
    except OSError as error:
        raise ChartError(f"{path}: {error.strerror}") from error
    finally:
        pyplot.close(figure)


def _legend(panel: Any, height: float) -> None:
    """Beside the panel, clear of a second axis."""
    panel.legend(loc="lower left", bbox_to_anchor=(1.08, height), fontsize="small", frameon=False)


def _colours(result: Result) -> dict[str, str]:
    kinds = {name: tally.kind == "attackers" for name, tally in result.populations.items()}
    ours = [name for name, attacks in kinds.items() if not attacks]
    theirs = [name for name, attacks in kinds.items() if attacks]
    return {
        **{name: COLOURS[i % len(COLOURS)] for i, name in enumerate(ours)},
        **{name: ATTACK[i % len(ATTACK)] for i, name in enumerate(theirs)},
    }


def _width(result: Result) -> int:
    """Seconds that are one point of a curve."""
    return max(2, int(result.scene.seconds + result.scene.calm) // POINTS)


def _curve(result: Result, tally: Tally, what: str) -> tuple[list[float], list[float]]:
    width = _width(result)
    xs, ys = [], []
    for second in range(tally.first_second, int(result.scene.seconds), width):
        asked, served = tally.asked(second, second + width), tally.served(second, second + width)
        value = {"share": 100.0 * served / asked if asked else float("nan"), "asked": asked / width}[what]
        if isfinite(value):
            xs.append(second + width / 2)
            ys.append(value)
    return xs, ys


def _shares(panel: Any, result: Result) -> None:
    colours = _colours(result)
    for name, tally in result.populations.items():
        panel.plot(*_curve(result, tally, "share"), label=f"{name} {100 * tally.share:.1f} %", color=colours[name])
    panel.set_ylabel("served, % of what was asked")
    panel.set_ylim(-2, 102)


def _loads(panel: Any, result: Result) -> None:
    colours = _colours(result)
    for name, tally in result.populations.items():
        panel.plot(*_curve(result, tally, "asked"), label=name, color=colours[name])
    panel.set_yscale("symlog", linthresh=10)
    panel.set_ylabel("asked for, per second")


def _defence(panel: Any, result: Result) -> None:
    panel.plot(result.times, result.series["pressure"], label="pressure", color="#d62728")
    panel.set_ylim(-0.02, 1.02)
    panel.set_ylabel("pressure")
    for at, event, _ in result.events:
        if event.startswith("attack_"):
            panel.axvline(at, color="#d62728", linestyle=":", linewidth=1.0)
    other = panel.twinx()
    other.plot(result.times, result.series["price"], label="price, hashes", color="#9467bd", linewidth=1.0)
    other.plot(
        result.times,
        [max(value, 1.0) for value in result.series["bought_passes"]],
        label="bought passes",
        color="#2ca02c",
    )
    other.set_yscale("log")
    _legend(other, 0.0)


def _service(panel: Any, result: Result) -> None:
    good, times = result.series["good"], result.times
    rate = [0.0, *(b - a for a, b in pairwise(good))]
    panel.plot(times, rate, label="good answers/s", color="#2ca02c", linewidth=1.0)
    panel.plot(times, result.series["capacity"], label="capacity, units/s", color="#7f7f7f", linewidth=1.0)
    panel.set_ylabel("per second")
    other = panel.twinx()
    other.plot(times, result.series["concurrency"], label="limit", color="#1f77b4")
    other.plot(times, result.series["inside"], label="inside the service", color="#ff7f0e", linewidth=0.7)
    other.plot(times, result.series["waiting"], label="waiting in Shield", color="#8c564b", linewidth=0.7)
    other.set_ylabel("requests")
    _legend(other, 0.0)
