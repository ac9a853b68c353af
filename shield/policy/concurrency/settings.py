"""The settings of the concurrency limit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt
from typing_extensions import Doc


@dataclass(frozen=True, slots=True)
class ConcurrencySettings:
    """How many requests the service gets at once, and how Shield finds that out."""

    adaptive: Annotated[
        bool,
        Doc("Find the limit. false: it is upstream.max_concurrency, or `start` where that is 0."),
    ] = True
    start: Annotated[int, Ge(1), Le(10000), Doc("requests. The limit before anything is known.")] = 20
    least: Annotated[
        int, Ge(1), Le(10000), Doc("requests. The limit never falls below: with fewer there is nothing to measure.")
    ] = 4
    most: Annotated[
        int, Ge(1), Le(10000), Doc("requests. It never rises above; upstream.max_concurrency may set it lower.")
    ] = 1000
    tolerance: Annotated[
        float,
        Gt(1.1),
        Le(10),
        Doc("times the undisturbed upstream time. Slower, and there are too many requests at the service."),
    ] = 1.4
    samples: Annotated[
        int, Ge(2), Le(1000), Doc("responses. Fewer in a window say nothing; the median of two or three is chance.")
    ] = 8
    clients: Annotated[
        int, Ge(1), Le(1000), Doc("clients. Of at least so many must they be: one must not steer the limit.")
    ] = 4
    probe_every: Annotated[
        float, Gt(0), Le(3600), Doc("seconds. While the limit is reached. A probe takes about a second.")
    ] = 20.0
    probe_samples: Annotated[
        int, Ge(2), Le(1000), Doc("responses. That began inside the probe; more where they come within 2 s.")
    ] = 8
    grow_above: Annotated[
        float, Ge(1), Le(2), Doc("times. The limit rises while the tolerance exceeds the slowness by so much.")
    ] = 1.1
    growth: Annotated[
        float,
        Gt(0),
        Le(10),
        Doc("times the root of the limit. It rises by so much at a time. Gradient2: 1."),
    ] = 0.5
    shrink: Annotated[
        float, Gt(0), Lt(1), Doc("times. The most that the limit falls at a time: one bad window is not the end.")
    ] = 0.7
    error_share: Annotated[
        float, Gt(0), Lt(1), Doc("share of 502, 503, 504 and timeouts. More, beyond chance, are overload.")
    ] = 0.05
    error_shrink: Annotated[float, Gt(0), Lt(1), Doc("times. What the limit falls by, at least, for errors.")] = 0.8
    drift: Annotated[
        float, Gt(0), Lt(1), Doc("share, per window. Of the way to what is measured that b moves in calm weather.")
    ] = 0.02
