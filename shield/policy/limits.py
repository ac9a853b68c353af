"""The buckets that a request touches: look every one up, then charge all of them, or none.

    always            the pass's bucket; or, without a pass, the client's and the address's
    under pressure    also the network's (IPv6: /56 and /48), for those without history (T2 to T4)

Each bucket's rate is slowed by its holder's score, and for T3 and T4 by a factor that depends on their tier and the
pressure. The charge is the estimated cost of the route; when the response is there, it is corrected to what the
request really took, congestion taken out. A refused attempt pays a little to the bucket that refused it and to those
before it (see bucket.py), and nothing to those behind it: one who asks for too much takes nothing from the neighbours.

Each holder has a shadow bucket besides. Where no measure of pressure applies, a request counts for little in the first
and for what it costs in the shadow, which is wide: pages of slow sites load, and a client that asks for dear things
again and again is held to the nominal rate all the same.

`demand()` is the same question asked of the shadow buckets, to which neither the tier's factor nor the network's
bucket applies: what would have been admitted if there was no pressure. It is asked for whoever is subject to such
a measure, admitted or not, so that a challenged client counts as long and as much as it asks, and never for more than
its nominal rate.
"""

# ruff: noqa: FURB136 - max() and min() cost 60 ns each, a conditional expression 15, and admit() runs for every request

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from math import inf
from typing import Annotated, Final

from annotated_types import Ge, Gt, Le
from typing_extensions import Doc

from shield.complaints import Complaint
from shield.marks import Unit, Why
from shield.model import Reason, Verdict
from shield.policy.bucket import SLACK, Rate, refused
from shield.policy.entries import AddressEntry, ClientEntry, NetworkEntry, NetworkRates, Pass
from shield.policy.reputation import Reputation
from shield.policy.request import Request

Holder = Pass | ClientEntry | AddressEntry | NetworkEntry

# Names of their own: looking up a member of an Enum costs 70 ns.
PASS_RATE: Final = Reason.PASS_RATE
CLIENT_RATE: Final = Reason.CLIENT_RATE
ADDRESS_RATE: Final = Reason.ADDRESS_RATE
NETWORK_RATE: Final = Reason.NETWORK_RATE

VERDICTS: Final = 4096
"""Refusals kept, the latest: with the settings as shipped there are fewer, one for each second that one may wait."""

NOT_CHARGED: Final = -1.0
"""`Request.charged_factor` of a request that was not charged its cost."""


@dataclass(frozen=True, slots=True)
class LimitsSettings:
    """Rates in units/s and bursts in units; a unit is 10 ms of undisturbed upstream time."""

    pass_: Annotated[Rate, Doc("Bucket of a pass."), Why("Chosen", "somebody known, with several tabs")] = Rate(20, 300)
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
        Why("Chosen", "more than one address, far less than its 256"),
    ] = Rate(80, 320)
    network_v6_56: Annotated[
        Rate, Doc("Bucket of an IPv6 /56 likewise."), Why("Chosen", "half of a /24, as one customer's (RFC 6177)")
    ] = Rate(40, 160)
    network_v6_48: Annotated[
        Rate, Doc("Bucket of an IPv6 /48 likewise."), Why("Chosen", "twice a /24, as one site's (RFC 6177)")
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
        Why("Chosen", "a tenth is left, as for bad scores"),
    ] = 0.9
    bad_rate: Annotated[
        float,
        Gt(0),
        Le(1),
        Unit("share"),
        Doc("Part of their rate that bad scores keep, times what is missing to full pressure."),
        Why("Chosen", "a tenth, and that fades with p"),
    ] = 0.1
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
        Why("Chosen", "twenty times slower is a wait, more would be a lockout"),
    ] = 0.05
    costs: Annotated[
        dict[str, Annotated[float, Gt(0)]], Unit("units"), Doc("Costs by path template, in place of what is measured.")
    ] = field(default_factory=dict)
    honeypots: Annotated[
        tuple[str, ...],
        Doc("Paths that no link leads to. Whoever asks for one is a scanner and banned, unless another site sent it."),
    ] = ()

    def of_networks(self) -> NetworkRates:
        """The rates of the three kinds of network, as their entries keep them."""
        return NetworkRates(
            *((rate.rate, rate.burst / rate.rate) for rate in (self.network, self.network_v6_48, self.network_v6_56))
        )

    def complaints(self) -> Iterator[Complaint]:
        for template in self.costs:
            if not template.startswith("/"):
                yield ("costs", template), 'a path template must begin with "/"'
        for number, path in enumerate(self.honeypots):
            if not path.startswith("/") or path == "/":
                yield ("honeypots", number), 'a path that begins with "/", and not the front page'
        for name, bucket in (("pass", self.pass_), ("client", self.client), ("address", self.address)):
            if self.refused_cost >= bucket.burst:
                which = f"limits.{name}, which is {bucket.burst}"
                yield ("refused_cost",), f"less than the burst of {which}, or who is challenged once is refused"
                break


class Limits:
    """Charges requests to the buckets of their subjects.

    A request is charged either to `request.charged_pass`, a pass or API key, or to its client and address.
    """

    __slots__ = (
        "_address_burst",
        "_address_fine",
        "_address_rate",
        "_address_span",
        "_address_wide_span",
        "_calm_cost",
        "_client_burst",
        "_client_fine",
        "_client_rate",
        "_client_span",
        "_client_wide_span",
        "_least_factor",
        "_refused_cost",
        "_reputation",
        "_wide",
    )

    def __init__(self, settings: LimitsSettings, reputation: Reputation) -> None:
        self._reputation = reputation
        self._calm_cost = settings.calm_cost
        self._wide = settings.wide
        self._refused_cost = settings.refused_cost
        self._least_factor = settings.least_factor
        self._client_rate, self._client_burst = settings.client.rate, settings.client.burst
        self._client_fine = settings.refused_cost / settings.client.rate
        self._client_span = self._client_burst / self._client_rate + SLACK
        self._client_wide_span = self._client_span * settings.wide
        self._address_rate, self._address_burst = settings.address.rate, settings.address.burst
        self._address_fine = settings.refused_cost / settings.address.rate
        self._address_span = self._address_burst / self._address_rate + SLACK
        self._address_wide_span = self._address_span * settings.wide

    def admit(self, request: Request, now: float) -> Verdict | None:
        """Charge a request that no measure of pressure applies to: T0, T1, and everybody in calm weather.

        It counts for `calm_cost` at most, or whoever opens a page of a slow site would be refused half of its parts
        (measured at 50 ms each: 40 of 81). What it really costs is charged to the shadow bucket, which is `wide` times
        as large: a page or two fit into it, and in the long run nobody takes more of the service than the rate says.

        None when it is admitted.
        """
        full = cost = request.cost
        most = self._calm_cost
        if cost > most:
            if request.route.fixed:  # the operator's word
                most = cost
            else:
                cost = most
        request.most_charged = most
        client = request.client
        entry = client.entry
        factor = 1.0
        if entry.score > 0.0:
            factor = self._reputation.slowing_of_client(entry, now)
            if factor < self._least_factor:
                factor = self._least_factor
        token = request.charged_pass
        if token is not None:
            at = (token.tat if token.tat > now else now) + min(cost / factor, token.burst) / token.rate
            really = (token.shadow if token.shadow > now else now) + min(full / factor, token.burst) / token.rate
            wait = max(at - token.span, really - token.span * self._wide) - now
            if wait > SLACK:
                token.tat = refused(token.tat, now, self._refused_cost / token.rate, token.span)
                token.shadow = max(token.shadow, token.tat)
                return _limited(PASS_RATE, token.rate, token.burst, wait)
            token.tat = at
            token.shadow = really
            request.charged_factor = factor
            return None
        source = client.source
        rate, burst = self._client_rate, self._client_burst
        charge = cost / factor
        start = entry.tat if entry.tat > now else now
        at = start + (charge if charge < burst else burst) / rate
        start_really = entry.shadow if entry.shadow > now else now
        if full == cost and start_really == start:
            really = at  # one float for both, as mostly: 32 bytes less for each client
        else:
            charge = full / factor
            really = start_really + (charge if charge < burst else burst) / rate
        admits_at, also = at - self._client_span, really - self._client_wide_span
        if also > admits_at:
            admits_at = also
        if admits_at > now:
            self._refuse_client(entry, now)
            return _limited(CLIENT_RATE, rate, burst, admits_at - now)
        if source.score > 0.0:
            slowed = self._reputation.slowing_of_place(source, now)
            if slowed < self._least_factor:
                slowed = self._least_factor
            cost /= slowed
            full /= slowed
        rate, burst = self._address_rate, self._address_burst
        start = source.tat if source.tat > now else now
        address_at = start + (cost if cost < burst else burst) / rate
        start_really = source.shadow if source.shadow > now else now
        if full == cost and start_really == start:
            address_really = address_at
        else:
            address_really = start_really + (full if full < burst else burst) / rate
        admits_at, also = address_at - self._address_span, address_really - self._address_wide_span
        if also > admits_at:
            admits_at = also
        if admits_at > now:
            self._refuse(entry, source, now)
            return _limited(ADDRESS_RATE, rate, burst, admits_at - now)
        entry.tat = at
        entry.shadow = really
        source.tat = address_at
        source.shadow = address_really
        request.charged_factor = factor
        return None

    def demand(self, request: Request, now: float) -> float:
        """Units that the nominal buckets admit of a request to which measures of pressure apply; 0 when they refuse."""
        cost = request.cost
        client = request.client
        entry, source, token = client.entry, client.source, request.charged_pass
        least = self._least_factor
        slowed = self._reputation.slowing_of_client(entry, now)
        charge = cost / (slowed if slowed > least else least)
        if token is not None:
            at = max(token.shadow, now) + min(charge, token.burst) / token.rate
            if at - now > token.span + SLACK:
                return 0.0
            token.shadow = at
            return cost
        at = max(entry.shadow, now) + min(charge, self._client_burst) / self._client_rate
        slowed = self._reputation.slowing_of_place(source, now)
        charge = cost / (slowed if slowed > least else least)
        address_at = max(source.shadow, now) + min(charge, self._address_burst) / self._address_rate
        if at - now > self._client_span or address_at - now > self._address_span:
            return 0.0
        entry.shadow = at
        source.shadow = address_at
        return cost

    def squeeze(self, request: Request, factor: float, networks: bool, now: float) -> Verdict | None:
        """Charge a request that measures of pressure apply to; None when it is admitted.

        `factor` is that of its tier; `networks` says whether the network's buckets bind. `demand` counts it. A client's
        units count for more the smaller the factor is. A pass's bucket has been filled more slowly instead (Pass.fill):
        who has bought a page gets it at once.
        """
        token, pace = request.charged_pass, 1.0
        if token is not None:
            pace, factor = factor, 1.0
        levels = self._levels(request, factor, networks, now)
        charged: list[float] = []
        for reason, entry, rate, burst, slowed in levels:
            units = min(request.cost / max(slowed, self._least_factor), burst)
            at = max(entry.tat, now) + units / rate
            wait = at - now - burst / rate
            if wait > SLACK:
                for _, other, its_rate, its_burst, _ in levels[: len(charged) + 1]:
                    other.tat = refused(other.tat, now, self._refused_cost / its_rate, its_burst / its_rate)
                return _limited(reason, rate, burst, wait / pace if entry is token else wait)
            charged.append(at)
        for (_, entry, _, _, _), at in zip(levels, charged, strict=True):
            entry.tat = at
        request.most_charged = inf
        request.charged_factor = levels[0][4]
        return None

    def attempt(self, request: Request, now: float) -> Verdict | None:
        """Charge a request that will be challenged as a refused attempt; a limit when even that is too much."""
        buckets = self._buckets(request)
        for reason, entry, rate, burst in buckets:
            wait = entry.tat - now - burst / rate
            fine = self._refused_cost / rate
            if wait > -fine:
                return _limited(reason, rate, burst, max(wait, 0.0) + fine)
        for _, entry, rate, burst in buckets:
            entry.tat = refused(entry.tat, now, self._refused_cost / rate, burst / rate)
        return None

    def settle(self, request: Request, units: float, now: float) -> None:
        """Correct the charge of a request that really cost `units`. The factors that it was charged at apply again: of
        its score and tier, and of its address's score. (With the client's for both, one with a bad score that left
        before its turn gave its address more back than it had taken.)
        """
        if (
            units == request.cost or request.charged_factor == NOT_CHARGED
        ):  # most are: what is quick costs the least there is
            return
        most, charged, real = request.most_charged, request.cost, units
        if charged > most:
            charged = most
        if units > most:
            units = most
        factor = max(request.charged_factor, self._least_factor)
        extra = (units - charged) / factor
        really = (real - request.cost) / factor
        token = request.charged_pass
        if token is not None:
            token.tat += extra / token.rate
            token.shadow += really / token.rate
            return
        client = request.client
        entry, source = client.entry, client.source
        entry.tat += extra / self._client_rate
        entry.shadow += really / self._client_rate
        if source.score > 0.0:
            slowed = max(self._reputation.slowing_of_place(source, now), self._least_factor)
            extra, really = (units - charged) / slowed, (real - request.cost) / slowed
        else:
            extra, really = units - charged, real - request.cost
        source.tat += extra / self._address_rate
        source.shadow += really / self._address_rate

    def can_pay(self, entry: ClientEntry, now: float) -> bool:
        """Whether a client's bucket has anything left for an answer to a challenge."""
        return entry.tat - now < self._client_span - SLACK

    def fine(self, entry: ClientEntry, source: AddressEntry, now: float) -> None:
        """Charge an answer to a challenge that was no good."""
        self._refuse(entry, source, now)

    def _refuse_client(self, entry: ClientEntry, now: float) -> None:
        entry.tat = tat = refused(entry.tat, now, self._client_fine, self._client_span - SLACK)
        if entry.shadow < tat:
            entry.shadow = tat

    def _refuse(self, entry: ClientEntry, source: AddressEntry, now: float) -> None:
        self._refuse_client(entry, now)
        source.tat = tat = refused(source.tat, now, self._address_fine, self._address_span - SLACK)
        if source.shadow < tat:
            source.shadow = tat

    def _buckets(self, request: Request) -> list[tuple[Reason, Holder, float, float]]:
        """The buckets that a request touches whatever the pressure: reason, holder, rate, burst."""
        token = request.charged_pass
        if token is not None:
            return [(PASS_RATE, token, token.rate, token.burst)]
        client = request.client
        return [
            (CLIENT_RATE, client.entry, self._client_rate, self._client_burst),
            (ADDRESS_RATE, client.source, self._address_rate, self._address_burst),
        ]

    def _levels(
        self, request: Request, factor: float, networks: bool, now: float
    ) -> list[tuple[Reason, Holder, float, float, float]]:
        """The buckets that it touches under pressure, the networks' too if they bind, and the factor on each."""
        source, reputation = request.client.source, self._reputation
        slowed = (
            factor * reputation.slowing_of_client(request.client.entry, now),
            reputation.slowing_of_place(source, now),
        )
        levels = [(*bucket, by) for bucket, by in zip(self._buckets(request), slowed, strict=False)]
        if networks:
            levels += [
                (
                    NETWORK_RATE,
                    network,
                    network.rate,
                    network.span * network.rate,
                    reputation.slowing_of_place(network, now),
                )
                for network in (source.site, source.network)
                if network is not None
            ]
        return levels


@lru_cache(maxsize=VERDICTS)
def _refusal(reason: Reason, rate: float, burst: float, seconds: int) -> Verdict:
    return Verdict(reason, seconds, (rate, burst), 0.0)


def _limited(reason: Reason, rate: float, burst: float, wait: float) -> Verdict:
    """`wait` in seconds, until the bucket admits."""
    return _refusal(reason, rate, burst, int(wait - 2 * SLACK) + 1)
