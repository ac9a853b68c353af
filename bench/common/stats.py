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
    """`seconds` from the start until the users were back, None for never. `later` is the share of windows above the
    bound after that: people click in bunches, so some are above it in calm weather too."""

    seconds: float | None
    later: float


def recovery(
    points: Sequence[tuple[float, float]],
    samples: Sequence[Sample],
    start: float,
    end: float,
    bound: float,
    patience: float,
    effect: float = 5.0,
) -> Recovery:
    """When the p95 was back below `bound`, from the points of `sliding_p95` and the samples they were made of.

    Back is the end of the first run of windows above the bound, if it begins within `effect` seconds of the start (a
    later one is no onset), provided that the p95 of everything meant from then until `end` is below the bound as well;
    otherwise the end of the next run for which that holds. 0 when the start did not show at all.
    """
    ends = [t for (t, p95), (_, last) in zip(points[1:], points, strict=False) if p95 < bound <= last]
    first = next((t for t, p95 in points if p95 >= bound), None)
    candidates = [t for t in ends if first is not None and t > first]
    if first is None or first > start + effect:
        candidates.insert(0, start)
    for t in candidates:
        rest = [charged(sample, patience) for sample in samples if t <= sample.meant < end]
        if not rest or quantile(rest, 0.95) < bound:
            after = [p95 for when, p95 in points if when > t]
            return Recovery(t - start, sum(p95 >= bound for p95 in after) / max(1, len(after)))
    return Recovery(None, 1.0)
