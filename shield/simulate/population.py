"""Who takes part in a scene: some who are alike, where they are, how often they ask, and what they do with answers.

All times are seconds of the story, which begins at 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

from annotated_types import Ge, Gt, MinLen
from typing_extensions import Doc

ALWAYS: Final = 1e9
"""Seconds. Longer than any scene."""

PopulationKind = Literal["people", "programs", "attackers"]

USUAL: Final[Mapping[str, Mapping[str, Any]]] = {
    "people": {
        "retries": 2,
        "patience": 30.0,
        "waits": 120.0,
        "hash_rate": 4e6,
        "agents": 30,
        "agent": "Browser",
        "language": "en",
    },
    "programs": {"retries": 3, "patience": 60.0, "waits": 120.0, "agent": "Program"},
    "attackers": {"agent": "Bot"},
}
"""What is usual for each kind, where a scene does not say."""


@dataclass(frozen=True, slots=True)
class Past:
    """What a population did before the scene, that Shield remembers."""

    windows: Annotated[int, Ge(0), Doc("windows. In which each was seen; 0: nobody was ever here.")] = 0
    units: Annotated[
        float, Ge(0), Doc("units. Served to each before, about: from a quarter of it to four times as much.")
    ] = 100.0
    days: Annotated[float, Gt(1), Doc("days. Since the first visit.")] = 14.0


@dataclass(frozen=True, slots=True)
class Pulse:
    """On and off in turn, beginning with on."""

    on: Annotated[float, Ge(0), Doc("seconds. On; 0: always on.")] = 0.0
    off: Annotated[float, Ge(0), Doc("seconds. Off.")] = 0.0


@dataclass(frozen=True, slots=True)
class Population:
    """Some who are alike: how many, where, how often they ask for what, and what they do with the answers.

    It has more than 15 attributes because it is a table of a scene's file, with one for each key.
    """

    kind: Annotated[PopulationKind, Doc("What is usual for them.")]
    rate: Annotated[float, Gt(0), Doc("visits/s. Of all of them together; a visit is a page, or one request.")]
    members: Annotated[int, Ge(1), Doc("How many there are.")] = 1000
    fresh: Annotated[bool, Doc("Each visit is by the next of them, who has not been here before.")] = False

    # when
    from_: Annotated[float, Doc("seconds. From when on; else from the beginning of the calm.")] = -ALWAYS
    until: Annotated[float, Doc("seconds. Until when; else until the end.")] = ALWAYS
    ramp: Annotated[float, Ge(0), Doc("seconds. In which the rate rises from nothing to `rate`.")] = 0.0
    growth: Annotated[float, Gt(-1), Doc("share. By which the rate grows each minute, from `from` or 0 on.")] = 0.0
    pulse: Annotated[Pulse, Doc("On and off in turn.")] = Pulse()

    # where
    networks: Annotated[int, Ge(0), Doc("networks. They live in; 0: each in one of their own.")] = 0
    beside: Annotated[str, Doc("population. In whose networks they live, at addresses of their own.")] = ""
    behind: Annotated[str, Doc("population. Whose addresses they share.")] = ""
    per_address: Annotated[int, Ge(1), Doc("How many share an address.")] = 1
    ip: Annotated[Literal[4, 6], Doc("IPv4, or IPv6 with a /64 as the address and a /48 as the network.")] = 4

    # who
    agent: Annotated[str, Doc("text. What their User-Agents begin with.")] = ""
    agents: Annotated[int, Ge(0), Doc("How many User-Agents they have; 0: each one of its own.")] = 1
    language: Annotated[str, Doc("text. Accept-Language.")] = ""
    headers: Annotated[dict[str, str], Doc("Further request fields, as far as Shield reads them.")] = field(
        default_factory=dict
    )
    past: Annotated[Past, Doc("What Shield remembers of them.")] = Past()
    passes: Annotated[
        Literal["none", "earned", "shared", "forged"],
        Doc("earned: each has one since the past. shared: all use that of the first, who alone has a past. forged."),
    ] = "none"

    # what
    paths: Annotated[
        dict[str, float], MinLen(1), Doc("weights by path. In a path, * is replaced by a number each time.")
    ] = field(default_factory=lambda: {"/": 1.0})
    method: Annotated[str, Doc("method.")] = "GET"
    parts: Annotated[int, Ge(0), Doc("requests. That follow when the page is there: styles, pictures.")] = 0
    part_path: Annotated[str, Doc("path. Of those; * as in `paths`.")] = "/part/*"
    connections: Annotated[int, Ge(1), Doc("requests. For parts, at the same time.")] = 6
    browser: Annotated[
        bool,
        Doc(
            "A real one: it says of each request what it is for, and a part that is refused or challenged is lost. "
            "`retries` holds for visits alone, as the page that a refusal shows asks again by itself."
        ),
    ] = False

    # what they make of a refusal
    retries: Annotated[int, Ge(0), Doc("How often they try again, when they are told to.")] = 0
    patience: Annotated[float, Gt(0), Doc("seconds. From asking to having it; later is of no use to them.")] = 30.0
    waits: Annotated[
        float,
        Gt(0),
        Doc("seconds. The same when there is a challenge to solve, and a waiting room behind it."),
    ] = 600.0
    leaves: Annotated[float, Ge(0), Doc("seconds. After which they close the connection; 0: they do not.")] = 0.0
    hash_rate: Annotated[float, Ge(0), Doc("hashes/s. Of each of them; 0: challenges are ignored.")] = 0.0
    waits_out: Annotated[
        bool, Doc("They run no scripts: challenged, they keep the ticket and come again after the wait.")
    ] = False
    one_solver: Annotated[bool, Doc("One machine of `hash_rate` solves for all of them.")] = False
    answers: Annotated[
        Literal["right", "almost", "wrong", "forged", "replayed"],
        Doc("To challenges. almost: all but the last part is right; the further ones cost them no hashes."),
    ] = "right"
    pass_rate: Annotated[
        float, Ge(0), Doc("requests/s. Each who has bought a pass makes by itself; 0: only visits as before.")
    ] = 0.0

    def requests(self, start: float, end: float) -> float:
        """How many requests it asks for between `start` and `end`. Further tries and the ramp are left out."""
        begins = max(self.from_, start)
        seconds = min(self.until, end) - begins
        grows = math.log1p(self.growth) / 60.0
        since = 0.0 if self.from_ > -ALWAYS else min(begins, 0.0)  # growth begins with `from`, or the story
        try:
            grown = math.expm1(grows * (since + seconds)) / grows if grows else since + seconds
        except OverflowError:
            return math.inf
        pulse = self.pulse
        share = pulse.on / (pulse.on + pulse.off) if pulse.on else 1.0
        return self.rate * (grown - since) * share * (1 + self.parts)
