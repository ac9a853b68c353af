"""The settings of the queue."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt, Le, Len
from typing_extensions import Doc

from shield.complaints import Complaint
from shield.marks import Unit, Why


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """How long the queue is, and for how long one waits in it."""

    dry_run: Annotated[
        bool,
        Doc("Try it: nobody waits or is turned away; who would have had to wait for a slot is counted."),
    ] = False
    length: Annotated[
        float,
        Ge(0),
        Unit("times the limit"),
        Doc("Requests that may wait, as a multiple of the concurrency limit."),
        Why(
            "Chosen",
            "the last of them waits for two service times",
        ),
    ] = 2.0
    least_length: Annotated[
        int,
        Ge(0),
        Unit("requests"),
        Doc("Requests that may wait however small the limit is."),
        Why(
            "Measured",
            "with the multiple alone and four slots, 1.2 % of first visits were refused; forty browsers "
            "are 240 connections",
        ),
    ] = 256
    ahead: Annotated[
        float,
        Ge(0),
        Le(60),
        Unit("s"),
        Doc(
            "The queue is longer where all that wait are served within this time, by the limit and the time that the "
            "service takes. Up to 4,096 wait for that reason."
        ),
        Why(
            "Chosen",
            "half of the calm patience. Thousands of connections may be too many for Shield's own core and still be "
            "none too many for a quick service",
        ),
    ] = 1.0
    interval: Annotated[
        float,
        Gt(0),
        Unit("s"),
        Doc("Time over which the shortest wait is taken."),
        Why("RFC", "8289 (CoDel), INTERVAL"),
    ] = 0.1
    target: Annotated[
        float,
        Gt(0),
        Unit("s"),
        Doc("Shortest wait above which the queue is a standing one."),
        Why("Chosen", "the timer that looks at the queue has 20 ms; CoDel's 5 ms are for packets"),
    ] = 0.02
    patience: Annotated[
        float,
        Gt(0),
        Unit("s"),
        Doc("Least patience of T2 to T4 in a standing queue under pressure."),
        Why("Chosen", "twice the target"),
    ] = 0.04
    known_patience: Annotated[
        float,
        Gt(0),
        Unit("s"),
        Doc("Least patience of T0 and T1 in a standing queue under pressure."),
        Why(
            "Chosen",
            "half a second. More lets known people wait longer before they are told to come again",
        ),
    ] = 0.5
    calm_patience: Annotated[
        float,
        Gt(0),
        Unit("s"),
        Doc("Least patience of everybody in calm weather, or in a queue that moves."),
        Why("Measured", "a burst of pages drains in it; waiting is a smaller evil than an error"),
    ] = 2.0
    patience_medians: Annotated[
        float,
        Ge(0),
        Unit("times"),
        Doc("Each patience, as a multiple of the median upstream time, where that is more."),
        Why(
            "Chosen",
            "where an answer takes long, a wait of twice that is taken for slowness, and not for an outage",
        ),
    ] = 2.0
    promoted_after: Annotated[
        float,
        Gt(0),
        Le(1),
        Unit("share"),
        Doc("Part of the patience in calm weather after which a request goes before all tiers."),
        Why(
            "Chosen",
            "after half of the patience nobody is passed any more",
        ),
    ] = 0.5
    order_seconds: Annotated[
        float,
        Gt(0),
        Unit("s"),
        Doc("Time after which equals change their order: some are served well, and not always the same ones."),
        Why(
            "Chosen",
            "long enough to finish something, short enough to wait for",
        ),
    ] = 600.0
    least_retry: Annotated[
        int,
        Ge(1),
        Le(600),
        Unit("s"),
        Doc("Least Retry-After of who is challenged or turned away by the queue."),
        Why(
            "Chosen",
            "sooner the pressure is what it was",
        ),
    ] = 2
    most_retry: Annotated[
        int,
        Ge(1),
        Le(600),
        Unit("s"),
        Doc("Greatest Retry-After. It differs by client, or all come back at once."),
        Why(
            "Chosen",
            "more spreads those who come back over a longer time, and keeps them waiting as long",
        ),
    ] = 6
    turns: Annotated[
        tuple[Annotated[int, Ge(1), Le(100)], ...],
        Len(5, 5),
        Unit("turns"),
        Doc(
            "Turns of T0 to T4 in a brownout: who uses the site most still gets most of it, and all get "
            "some. Under attack the better tier goes first, but for `market.kept_share`."
        ),
        Why(
            "Simulated",
            "better tiers first served returning users 100 % under attack; weights hold in a brownout, "
            "where nobody attacks",
        ),
    ] = (8, 4, 2, 1, 1)

    def complaints(self) -> Iterator[Complaint]:
        if self.most_retry < self.least_retry:
            yield ("most_retry",), f"at least queue.least_retry, which is {self.least_retry}"
