"""The settings of the concurrency limit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt
from typing_extensions import Doc

from shield.complaints import Complaint
from shield.marks import Unit, Why


@dataclass(frozen=True, slots=True)
class ConcurrencySettings:
    """How many requests the service gets at once, and how Shield finds that out."""

    adaptive: Annotated[
        bool,
        Doc("Whether Shield looks for the limit. false: it is upstream.max_concurrency, or `start` where that is 0."),
    ] = True
    start: Annotated[
        int,
        Ge(1),
        Le(10000),
        Unit("requests"),
        Doc("Limit before anything is known."),
        Why("Precedent", "Gradient2 of Netflix's concurrency-limits"),
    ] = 20
    least: Annotated[
        int,
        Ge(1),
        Le(10000),
        Unit("requests"),
        Doc("Limit that is never gone below."),
        Why(
            "Chosen",
            "a probe takes half of them. More may be too many for a service with one slow resource",
        ),
    ] = 4
    most: Annotated[
        int,
        Ge(1),
        Le(10000),
        Unit("requests"),
        Doc("Limit that is never gone above; upstream.max_concurrency may set it lower."),
        Why("Precedent", "Vegas of concurrency-limits"),
    ] = 1000
    tolerance: Annotated[
        float,
        Gt(1.1),
        Le(10),
        Unit("times"),
        Doc(
            "Upstream time, as a multiple of the undisturbed one, above which there are too many requests "
            "at the service."
        ),
        Why(
            "Simulated",
            "a service that loses as 1/n beyond its optimum does 85 % of its peak with 1.4 and 89 % with "
            "1.3; with 1.3 one of eight seeds kept a limit too low. 1.5 is Gradient2's",
        ),
    ] = 1.4
    samples: Annotated[
        int,
        Ge(2),
        Le(1000),
        Unit("responses"),
        Doc("Responses in a window without which it says nothing."),
        Why(
            "Chosen",
            "the median of fewer is often chance. More waits longer for a window that says something",
        ),
    ] = 8
    clients: Annotated[
        int,
        Ge(1),
        Le(1000),
        Unit("clients"),
        Doc("Clients that those responses must be of, at least."),
        Why(
            "Chosen",
            "fewer let some clients steer the limit; more leave quiet sites without one",
        ),
    ] = 4
    probe_every: Annotated[
        float,
        Gt(0),
        Le(3600),
        Unit("s"),
        Doc("Time between two probes while the limit is reached."),
        Why(
            "Simulated",
            "without probes Gradient2 ends at 724 where 16 to 24 are right, with them this one at 22; a "
            "probe takes a second",
        ),
    ] = 20.0
    probe_samples: Annotated[
        int,
        Ge(2),
        Le(1000),
        Unit("responses"),
        Doc(
            "Responses of requests that began inside a probe, which end it; more are taken where they come within 2 s."
        ),
        Why("Chosen", "as `concurrency.samples`"),
    ] = 8
    grow_above: Annotated[
        float,
        Ge(1),
        Le(2),
        Unit("times"),
        Doc("Ratio of tolerance to slowness above which the limit rises."),
        Why(
            "Chosen",
            "without a gap between falling and rising the limit swings",
        ),
    ] = 1.1
    growth: Annotated[
        float,
        Gt(0),
        Le(10),
        Unit("times √limit"),
        Doc("Step by which the limit rises at a time."),
        Why("Precedent", "half of the square root that Gradient of concurrency-limits adds"),
    ] = 0.5
    shrink: Annotated[
        float,
        Gt(0),
        Lt(1),
        Unit("times"),
        Doc("Factor by which the limit falls at a time, at most. Between windows it may fall further."),
        Why(
            "Chosen",
            "one bad window takes three tenths at most",
        ),
    ] = 0.7
    error_share: Annotated[
        float,
        Gt(0),
        Lt(1),
        Unit("share"),
        Doc("Part of responses that are 502, 503, 504 or timeouts above which, beyond chance, they are overload."),
        Why(
            "Chosen",
            "what fails in a deployment should be less. It must also be beyond chance, or two of 20 would act",
        ),
    ] = 0.05
    error_shrink: Annotated[
        float,
        Gt(0),
        Lt(1),
        Unit("times"),
        Doc("Factor by which the limit falls for errors, at least."),
        Why(
            "Chosen",
            "gentler than for slowness, since errors may have another cause",
        ),
    ] = 0.8
    drift: Annotated[
        float,
        Gt(0),
        Lt(1),
        Unit("share per window"),
        Doc("Part of the way to what is measured that the undisturbed time moves in calm weather."),
        Why("Chosen", "half of the way in 17 s of calm"),
    ] = 0.02

    def complaints(self) -> Iterator[Complaint]:
        if self.most < self.least:
            yield ("most",), f"at least concurrency.least, which is {self.least}"
        elif not self.least <= self.start <= self.most:
            yield ("start",), f"from concurrency.least to most: {self.least} to {self.most}"
