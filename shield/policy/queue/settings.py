"""The settings of the queue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt, Le, Len
from typing_extensions import Doc


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """How long the queue is, and for how long one waits in it."""

    length: Annotated[float, Ge(0), Doc("slots. Requests that may wait, as a multiple of the concurrency limit.")] = 2.0
    least_length: Annotated[
        int, Ge(0), Doc("requests. That may wait however small the limit is: forty browsers open 240 connections.")
    ] = 256
    interval: Annotated[float, Gt(0), Doc("seconds. Over which the shortest wait is taken (CoDel's default).")] = 0.1
    target: Annotated[float, Gt(0), Doc("seconds. A shortest wait above it makes the queue a standing one.")] = 0.02
    patience: Annotated[float, Gt(0), Doc("seconds. Of T2 to T4 in a standing queue under pressure, at least.")] = 0.04
    known_patience: Annotated[
        float, Gt(0), Doc("seconds. Of T0 and T1 in a standing queue under pressure, at least.")
    ] = 0.5
    calm_patience: Annotated[
        float, Gt(0), Doc("seconds. Of everybody in calm weather, or in a queue that moves, at least.")
    ] = 2.0
    patience_medians: Annotated[
        float, Ge(0), Doc("times the median upstream time. Each patience, where that is more: slow sites take as long.")
    ] = 2.0
    promoted_after: Annotated[
        float,
        Gt(0),
        Le(1),
        Doc("of 1. Of the patience in calm weather, after which one goes before all tiers: nobody starves."),
    ] = 0.5
    order_seconds: Annotated[
        float, Gt(0), Doc("seconds. After which equals change their order: some are served well, and not always they.")
    ] = 600.0
    least_retry: Annotated[
        int, Ge(1), Le(600), Doc("seconds. The least Retry-After of who is challenged or turned away by the queue.")
    ] = 2
    most_retry: Annotated[
        int, Ge(1), Le(600), Doc("seconds. The most; it differs by client, or all come back at once.")
    ] = 6
    turns: Annotated[
        tuple[Annotated[int, Ge(1), Le(100)], ...],
        Len(5, 5),
        Doc("turns. Of T0 to T4 in a brownout: who uses the site most still gets most of it, and all get some."),
    ] = (8, 4, 2, 1, 1)
