"""What can be set of the buckets: the table [limits]."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Final

from annotated_types import Ge, Gt, Le
from typing_extensions import Doc

from shield.complaints import Complaint
from shield.marks import Unit, Why
from shield.policy.bucket import Rate
from shield.policy.entries import NetworkRates
from shield.policy.routes import template

_NO_PATH: Final = re.compile(r"[^!-~]|[?#]")
_NOT_OURS: Final = re.compile(r"\*\*|(?<=/)(?:\{[^/]*\}|<[^/]*>)(?=/|$)")
"""How other programs write what differs between the paths of a route: {id}, <int:id>, **."""


@dataclass(frozen=True, slots=True)
class LimitsSettings:
    """Rates in units/s and bursts in units; a unit is 10 ms of undisturbed upstream time."""

    dry_run: Annotated[
        bool, Doc("Try them: what these buckets would refuse is counted and logged, and let through.")
    ] = False
    pass_: Annotated[Rate, Doc("Bucket of a pass."), Why("Chosen", "twice the rate of a client without a pass")] = Rate(
        20, 300
    )
    client: Annotated[
        Rate,
        Doc("Bucket of a client without a pass."),
        Why("Measured", "a page of eighty parts loads at once (`tests/integration/test_calm.py`)"),
    ] = Rate(10, 200)
    address: Annotated[
        Rate,
        Doc("Bucket of all clients without a pass behind an address."),
        Why("Chosen", "five of these clients at once, two at full burst"),
    ] = Rate(50, 400)
    network: Annotated[
        Rate,
        Doc("Bucket of an IPv4 /24, under pressure, for those without a history."),
        Why(
            "Chosen",
            "1.6 times the rate of one address, of 256. It binds strangers alone, and only under pressure",
        ),
    ] = Rate(80, 320)
    network_v6_56: Annotated[
        Rate,
        Doc("Bucket of an IPv6 /56 likewise."),
        Why("Chosen", "half of a /24, since a /56 is usually one customer (RFC 6177)"),
    ] = Rate(40, 160)
    network_v6_48: Annotated[
        Rate,
        Doc("Bucket of an IPv6 /48 likewise."),
        Why("Chosen", "twice a /24, since a /48 may be one large site (RFC 6177)"),
    ] = Rate(160, 640)
    calm_cost: Annotated[
        float,
        Gt(0),
        Unit("units"),
        Doc(
            "Most that a request counts for while no measure of pressure applies to it, unless `costs` names its route."
        ),
        Why(
            "Measured",
            "with its full cost 40 of the 81 parts of a page were refused on a site that takes 50 ms for each",
        ),
    ] = 1.0
    wide: Annotated[
        float,
        Ge(1),
        Unit("times"),
        Doc("Size of the bucket for what requests really cost in calm weather, as a multiple of the burst."),
        Why(
            "Measured",
            "81 parts of 200 ms are 1,620 units, eight times a client's burst; without this bucket four "
            "clients took most of a small service",
        ),
    ] = 10.0
    newcomer_slowing: Annotated[
        float,
        Ge(0),
        Le(1),
        Unit("share"),
        Doc(
            "Part of their rate that those without pass and history lose at full pressure, where nobody is challenged."
        ),
        Why(
            "Chosen",
            "a tenth is left at full pressure, as for bad scores",
        ),
    ] = 0.9
    bad_rate: Annotated[
        float,
        Gt(0),
        Le(1),
        Unit("share"),
        Doc("Part of their rate that bad scores keep, times what is missing to full pressure."),
        Why(
            "Chosen",
            "a tenth in calm weather, and nothing at full pressure",
        ),
    ] = 0.1
    unanswered: Annotated[
        int,
        Ge(1),
        Unit("challenges"),
        Doc(
            "Challenges, a second apart, that a client may leave unanswered before it keeps `bad_rate` of its rate "
            "for a minute after an attack, and counts for no more as demand. An address may leave so many times more "
            "as its rate is larger."
        ),
        Why(
            "Chosen",
            "two pages, each asked for four times",
        ),
    ] = 8
    refused_cost: Annotated[
        float,
        Ge(0),
        Unit("units"),
        Doc("Cost of an attempt that is refused or challenged."),
        Why(
            "Chosen",
            "as the cheapest request, so hammering keeps a bucket empty and digs no hole; refusing costs "
            "Shield as much",
        ),
    ] = 0.2
    least_factor: Annotated[
        float,
        Gt(0),
        Le(1),
        Unit("share"),
        Doc(
            "Least part of its rate that a bucket keeps, whatever score and pressure say. It also bounds "
            "what one request counts for, so that debts end."
        ),
        Why(
            "Chosen",
            "a twentieth. Less would shut out who has paid once; more would let bad scores ask sooner",
        ),
    ] = 0.05
    costs: Annotated[
        dict[str, Annotated[float, Gt(0)]],
        Unit("units"),
        Doc(
            'Costs by path template, in place of what is measured: { "/search" = 5, "/users/*" = 2 }. In a template, '
            "* stands for a number, or for an identifier of eight or more hexadecimal digits or twenty or more letters "
            "and digits. It stands for nothing else, so no template names all paths below one."
        ),
    ] = field(default_factory=dict)
    honeypots: Annotated[
        tuple[str, ...],
        Doc("Paths that no link leads to. A program that asks for one is banned; a browser may have been sent there."),
    ] = ()

    def _wrong_costs(self) -> Iterator[Complaint]:
        """Complaints about templates that are none, that no path has, or that are another one written otherwise."""
        seen: dict[str, str] = {}
        for path in self.costs:
            if not path.startswith("/"):
                yield ("costs", path), 'a path template must begin with "/"'
            elif _NO_PATH.search(path):
                yield ("costs", path), "no path has these characters: they end a path, or are sent percent-encoded"
            elif _NOT_OURS.search(path):
                yield ("costs", path), 'no path fits: write * where paths have a number or an identifier: "/users/*"'
            elif template(path) in seen:
                yield ("costs", path), f"this is the same route as {seen[template(path)]}: {template(path)}"
            else:
                seen[template(path)] = path

    def of_networks(self) -> NetworkRates:
        """The rates of the three kinds of network, as their entries keep them."""
        return NetworkRates(
            *((rate.rate, rate.burst / rate.rate) for rate in (self.network, self.network_v6_48, self.network_v6_56))
        )

    def complaints(self) -> Iterator[Complaint]:
        yield from self._wrong_costs()
        for number, path in enumerate(self.honeypots):
            if not path.startswith("/") or path == "/":
                yield ("honeypots", number), 'a path that begins with "/", and not the front page'
        for name, bucket in (("pass", self.pass_), ("client", self.client), ("address", self.address)):
            if self.refused_cost >= bucket.burst:
                which = f"limits.{name}, which is {bucket.burst}"
                yield ("refused_cost",), f"less than the burst of {which}, or who is challenged once is refused"
                break
