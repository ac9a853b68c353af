"""What can be set of challenges and passes: the table [challenge]."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from annotated_types import Ge, Gt, Le
from typing_extensions import Doc

from shield.complaints import Complaint, is_field_name, wrong_network
from shield.marks import Unit, Why

DAY: Final = 86_400.0  # seconds


ChallengeMode = Literal["auto", "always", "off"]
PresetName = Literal[
    "robots",
    "well-known",
    "feeds",
    "health-checks",
    "git",
    "package-managers",
    "activitypub",
    "webhooks",
    "link-previews",
]
"""Each is described in policy/presets.py."""


@dataclass(frozen=True, slots=True)
class ChallengeSettings:
    """When to challenge, at what price, and what a pass is."""

    mode: Annotated[
        ChallengeMode,
        Doc(
            '"auto": challenge those without history, under pressure. "always": every request without a '
            'pass. "off": nobody.'
        ),
    ] = "auto"
    dry_run: Annotated[
        bool,
        Doc(
            "Try it: who would be challenged is counted and logged, and let through as a newcomer without a challenge."
        ),
    ] = False
    never: Annotated[
        tuple[str, ...],
        Doc('Networks, and path prefixes like "/feed", that are limited but never challenged: for programs.'),
    ] = ()
    presets: Annotated[
        tuple[PresetName, ...],
        Doc(
            "Programs that are limited but never challenged, by what they ask for (docs/good-bots.md). The default has "
            "those that every site has; the others are for sites of their kind."
        ),
        Why("Chosen", "what is asked of every site by programs that cannot answer, and is cheap to serve"),
    ] = ("robots", "well-known", "feeds", "health-checks")
    cookie: Annotated[str, Doc("Cookie that carries a pass.")] = "shield_pass"
    header: Annotated[str, Doc("Field in which programs may send their pass.")] = "Shield-Pass"
    algorithm: Annotated[
        Literal["sha256", "hashwx"],
        Doc(
            'Which hashes a challenge asks for. "sha256": any client can. "hashwx": those that a graphics card does '
            "hardly faster than a processor (`pip install 'shield-proxy[hashwx]'`); one answer in twenty may be "
            "SHA-256."
        ),
        Why("Measured", "to check an answer in HashWX takes 0.45 ms, one in SHA-256 0.016"),
    ] = "sha256"
    sub_puzzles: Annotated[
        int,
        Ge(1),
        Le(64),
        Unit("puzzles"),
        Doc("Parts of a challenge; more of them make the time to solve it more even. A quarter in HashWX."),
        Why("Computed", "the p99 of solving is 1.67 times the mean; with one it is 4.6"),
    ] = 16
    least_hashes: Annotated[
        int,
        Ge(64),
        Le(2**40),
        Unit("hashes"),
        Doc("Lowest price."),
        Why("Computed", "0.25 s on a phone that does 4 million hashes a second"),
    ] = 2**20
    most_hashes: Annotated[
        int, Ge(64), Le(2**40), Unit("hashes"), Doc("Highest price."), Why("Computed", "8 s on that phone")
    ] = 2**25
    known_discount: Annotated[
        float,
        Ge(1),
        Unit("times"),
        Doc("Factor by which a challenge is cheaper in a known network; never below the lowest price."),
        Why("Chosen", "three doublings cheaper"),
    ] = 8.0
    doubling: Annotated[
        float,
        Gt(0),
        Unit("points"),
        Doc("Score that doubles the price for its holder."),
        Why("Chosen", "as `reputation.halving`"),
    ] = 4.0
    lifetime: Annotated[
        float,
        Gt(0),
        Le(3600),
        Unit("s"),
        Doc("Time within which a challenge may be answered."),
        Why(
            "Chosen",
            "fifteen times the 8 s of `challenge.most_hashes`",
        ),
    ] = 120.0
    verify_share: Annotated[
        float,
        Gt(0),
        Le(1),
        Unit("share"),
        Doc("Part of a core that verifying answers may take."),
        Why("Simulated", "`junk-answers`: 10,000 bad answers a second take no more"),
    ] = 0.25
    earned_anywhere: Annotated[
        bool,
        Doc(
            "Whether silent passes are given with any HTML page, made `Cache-Control: private`. false: "
            "only with pages that the site itself keeps from shared caches, or sets a cookie with."
        ),
    ] = False
    earned_per_hour: Annotated[
        float,
        Ge(1),
        Unit("passes"),
        Doc("Silent passes for newcomers of one network in an hour."),
        Why(
            "Chosen",
            "one for each program of an office in an hour. More lets a farm save passes for an attack",
        ),
    ] = 60.0
    earned_known: Annotated[
        float,
        Ge(0),
        Unit("s"),
        Doc("Time for which a network must have been known to have no such bound."),
        Why(
            "Simulated",
            "a network is known from its first client with a history, which a farm has after a minute; so "
            "it must have been for a day",
        ),
    ] = DAY
    earned_every: Annotated[
        float,
        Gt(0),
        Unit("s"),
        Doc("Time between two silent passes for a client that does not keep them."),
        Why("Chosen", "each pass takes an entry of a table, for somebody who will not bring it back"),
    ] = 600.0
    pass_networks: Annotated[
        int,
        Ge(1),
        Le(64),
        Unit("networks"),
        Doc("Networks (IPv4 /16, IPv6 /32) from which a pass may be used; from more it is revoked."),
        Why(
            "Chosen",
            "somebody on the way uses two or three, and a carrier one for all its ways out. More lets a pass be shared "
            "more widely",
        ),
    ] = 8
    pass_networks_window: Annotated[
        float,
        Gt(0),
        Unit("s"),
        Doc("Time within which they are counted."),
        Why("Chosen", "somebody on the way comes through few networks in it"),
    ] = 600.0
    pass_lifetime: Annotated[
        float,
        Gt(0),
        Unit("s"),
        Doc("Life of a pass, after which it must be earned or bought anew."),
        Why(
            "Chosen",
            "who comes once a month stays known",
        ),
    ] = 30 * DAY
    bought_idle: Annotated[
        float,
        Gt(0),
        Unit("s"),
        Doc("Time after its last good use when a bought pass lapses during an attack."),
        Why(
            "Chosen",
            "time to read a page. Less makes readers pay again; more keeps unused passes",
        ),
    ] = 120.0
    bought_life: Annotated[
        float,
        Gt(0),
        Unit("s"),
        Doc("Life of a bought pass under pressure in any case, after which the price is due anew."),
        Why("Simulated", "`farm`: passes of the first seconds, at the least price, would live for ever"),
    ] = 600.0
    stand_in: Annotated[
        float,
        Ge(0),
        Unit("s"),
        Doc(
            "Time for which a pass just bought also pays for its client's requests without it: a form "
            "that another site sends carries no cookie."
        ),
        Why(
            "Chosen",
            "as `challenge.lifetime`. The way back from a payment page carries no SameSite cookie",
        ),
    ] = 120.0
    greed: Annotated[
        float,
        Ge(0),
        Unit("s"),
        Doc("Time for which a bought pass is not renewed after a request above its budget."),
        Why("Simulated", "`farm`: who asks for more than it has pays again; a page may, at times"),
    ] = 10.0
    bought_burst: Annotated[
        float,
        Gt(0),
        Unit("units"),
        Doc("Least bucket of a bought pass during an attack."),
        Why("Chosen", "one page of sixty parts of 10 ms"),
    ] = 60.0
    bought_ahead: Annotated[
        float,
        Ge(0),
        Unit("s"),
        Doc(
            "Time whose share of what is left for bought passes is their bucket where that is more, up to "
            "the burst of limits.pass: slow pages load where there is plenty."
        ),
        Why(
            "Simulated", "of a page of 61 parts of 20 ms a ninth was refused before an idle service, and of 80 a fifth"
        ),
    ] = 10.0
    bought_rate: Annotated[
        float,
        Gt(0),
        Unit("units/s"),
        Doc("Most that a bought pass gets during an attack."),
        Why("Chosen", "as a client in calm weather"),
    ] = 10.0
    least_bought_rate: Annotated[
        float,
        Gt(0),
        Unit("units/s"),
        Doc("Least that a bought pass gets, however many there are."),
        Why(
            "Chosen",
            "a cheap page every few seconds",
        ),
    ] = 0.5

    def complaints(self) -> Iterator[Complaint]:
        if self.most_hashes < self.least_hashes:
            yield ("most_hashes",), f"at least challenge.least_hashes, which is {self.least_hashes}"
        if self.least_hashes < self.sub_puzzles:
            yield ("least_hashes",), f"at least one hash per sub-puzzle: {self.sub_puzzles}"
        if self.bought_rate < self.least_bought_rate:
            yield ("bought_rate",), f"at least challenge.least_bought_rate, which is {self.least_bought_rate}"
        for number, text in enumerate(self.never):
            if not text.startswith("/") and (wrong := wrong_network(text)):
                yield ("never", number), f'{wrong}, or a path prefix that begins with "/"'
        if self.bought_life < self.bought_idle:
            yield ("bought_life",), f"at least challenge.bought_idle, which is {self.bought_idle}"
        for name, value in (("cookie", self.cookie), ("header", self.header)):
            if not is_field_name(value):
                yield (name,), "allowed: letters, digits and -_.~!#$%&'*+^`|"
