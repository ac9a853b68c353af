"""The few statistics that the bench prints. Plain functions of sequences; nothing is estimated or smoothed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


def quantile(values: Sequence[float], q: float) -> float:
    """The smallest value that at least the share `q` of the values do not exceed (nearest rank). NaN of nothing."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)]


def median(values: Sequence[float]) -> float:
    return statistics.median(values) if values else math.nan


def spread(values: Sequence[float]) -> float:
    """(greatest - least) / median: how far the rounds of one machine disagree. 0 for one value."""
    middle = median(values)
    return (max(values) - min(values)) / middle if values and middle else math.nan


def ratio_of_rounds(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median over the rounds of ours/theirs. Paired, so that a machine that slows down for a while cancels out."""
    return median([a / b for a, b in zip(ours, theirs, strict=True) if b])


@dataclass(frozen=True, slots=True)
class Sample:
    """One request of a user: when it was meant to be sent (monotonic s), how long after that it ended (s), and how."""

    meant: float
    latency: float
    good: bool


def charged(sample: Sample, patience: float) -> float:
    """The latency that a percentile counts. A failed request counts as the whole of the user's patience, so that
    refusing users quickly does not look like serving them fast."""
    return sample.latency if sample.good else max(patience, sample.latency)


def sliding_p95(
    samples: Sequence[Sample], start: float, end: float, patience: float, width: float = 2.0, step: float = 0.25
) -> list[tuple[float, float]]:
    """`(t, p95 of the samples meant in (t - width, t])` for t from start + step to end; windows of fewer than 5 samples
    say nothing and are left out. The samples of a window may begin before `start`."""
    ordered = sorted(samples, key=lambda sample: sample.meant)
    points: list[tuple[float, float]] = []
    first = after = 0
    for number in range(1, math.floor((end - start) / step + 1e-9) + 1):
        t = start + number * step
        while after < len(ordered) and ordered[after].meant <= t:
            after += 1
        while first < after and ordered[first].meant <= t - width:
            first += 1
        if after - first >= 5:
            points.append((t, quantile([charged(sample, patience) for sample in ordered[first:after]], 0.95)))
    return points


@dataclass(frozen=True, slots=True)
class Recovery:
    """`seconds` from the start until the first window that is below the bound again; 0 when none ever exceeded it, None
    when it never came back. `later` is the share of the windows after that which exceeded it once more."""

    seconds: float | None
    later: float


def recovery(points: Sequence[tuple[float, float]], start: float, bound: float) -> Recovery:
    """When the p95 was back, from the points of `sliding_p95`."""
    over = next((index for index, (_, p95) in enumerate(points) if p95 >= bound), None)
    if over is None:
        return Recovery(0.0, 0.0)
    back = next((index for index in range(over, len(points)) if points[index][1] < bound), None)
    if back is None:
        return Recovery(None, 1.0)
    rest = points[back:]
    return Recovery(points[back][0] - start, sum(p95 >= bound for _, p95 in rest) / len(rest))
