"""What a window said of the service, as values that others may keep."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Times:
    """What a window said of upstream times. Where it said nothing, `acted` is false and the service looks well."""

    acted: bool = False  # there was enough to go by
    low: float = 1.0  # the lower confidence bound of x
    ratio: float = 1.0  # x
    excess: float = 0.0  # seconds that the median request took longer than its baseline
    errors_act: bool = False  # more 502, 503, 504 and timeouts than `error_share`, beyond chance
    congestion: float = 1.0  # max(1, x / b) where it acts: what a request's time is divided by, to know its cost


@dataclass(frozen=True, slots=True)
class Reading:
    """What a window said of the service. The pressure goes by nothing else of the concurrency."""

    limit: int = 1
    found: bool = True  # the limit was reached and it held; else it is a lower bound
    saturated: bool = False  # all slots were taken at some moment
    baseline: float = 1.0  # b
    slowness: float = 1.0  # what the capacity is divided by: x; without probes x / max(1, b)
    times: Times = Times()
