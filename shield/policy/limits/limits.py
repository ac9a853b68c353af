"""The buckets that a request touches when no measure of pressure applies to it.

    with a pass       the pass's bucket
    without           the client's and the address's: both are looked up, then both are charged, or none

Each bucket's rate is slowed by its holder's score. The charge is the estimated cost of the route; when the response is
there, it is corrected to what the request really took, congestion taken out (`settle`). A refused attempt pays a little
to the bucket that refused it and to those before it (see bucket.py), and nothing to those behind it: a client that asks
for too much takes nothing from its neighbours.

Each holder has a shadow bucket besides. A request counts for little in the first bucket, and for what it costs in the
shadow, which is wide: pages of slow sites load, and a client that asks for dear things again and again is held to the
nominal rate all the same.

What holds under pressure is in squeeze.py.
"""

# ruff: noqa: FURB136 - max() and min() cost 60 ns each, a conditional expression 15, and admit() runs for every request

from __future__ import annotations

from math import ceil
from typing import Final, NamedTuple

from shield.model import Reason, Verdict
from shield.policy.bucket import SLACK, Rate, refused
from shield.policy.entries import AddressEntry, ClientEntry, Pass
from shield.policy.limits.settings import LimitsSettings
from shield.policy.refusals import EARLY, LimitVerdicts, limited
from shield.policy.reputation import Reputation
from shield.policy.request import Request

# Names of their own: looking up a member of an Enum costs 70 ns.
PASS_RATE: Final = Reason.PASS_RATE
CLIENT_RATE: Final = Reason.CLIENT_RATE
ADDRESS_RATE: Final = Reason.ADDRESS_RATE

NOT_CHARGED: Final = -1.0
"""`Request.charged_factor` of a request that was not charged its cost."""


class Left(NamedTuple):
    """What is left of a bucket, in whole numbers: units and seconds. `name` is that of the limit; `window` the time in
    which an empty one is full again, `reset` that until this one is."""

    name: str
    quota: int
    window: int
    remaining: int
    reset: int


class Limits:
    """Charges requests to the buckets of their pass, or of their client and address.

    It has more than 15 attributes because the hot path reads the rates, and what follows from them, in the form that it
    needs.
    """

    __slots__ = (
        "_address_burst",
        "_address_fine",
        "_address_rate",
        "_address_span",
        "_address_verdicts",
        "_address_wide_span",
        "_calm_cost",
        "_client_burst",
        "_client_fine",
        "_client_rate",
        "_client_span",
        "_client_verdicts",
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
        self.go_by(settings.client, settings.address)

    def go_by(self, client: Rate, address: Rate) -> None:
        """Have clients and addresses have these buckets from now on. What they owe, they owe as many seconds of."""
        self._client_rate, self._client_burst = client.rate, client.burst
        self._client_fine = self._refused_cost / client.rate
        self._client_span = self._client_burst / self._client_rate + SLACK
        self._client_wide_span = self._client_span * self._wide
        self._address_rate, self._address_burst = address.rate, address.burst
        self._address_fine = self._refused_cost / address.rate
        self._address_span = self._address_burst / self._address_rate + SLACK
        self._address_wide_span = self._address_span * self._wide
        self._client_verdicts = LimitVerdicts(CLIENT_RATE, client.rate, client.burst)
        self._address_verdicts = LimitVerdicts(ADDRESS_RATE, address.rate, address.burst)

    def admit(self, request: Request, now: float) -> Verdict | None:
        """Charge a request that no measure of pressure applies to: T0, T1, and everybody in calm weather.

        It counts for `calm_cost` at most, or whoever opens a page of a slow site would be refused half of its parts
        (measured at 50 ms each: 40 of 81). What it really costs is charged to the shadow bucket, which is `wide` times
        as large: a page or two fit into it, and in the long run nobody takes more of the service than the rate says.

        None when it is admitted. The method is long, because each call in it would cost 60 ns for every request.
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
        charged = request.charged_pass
        if charged is not None:
            at = (charged.tat if charged.tat > now else now) + min(cost / factor, charged.burst) / charged.rate
            start_really = charged.shadow if charged.shadow > now else now
            really = start_really + min(full / factor, charged.burst) / charged.rate
            wait = max(at - charged.span, really - charged.span * self._wide) - now
            if wait > SLACK:
                charged.tat = refused(charged.tat, now, self._refused_cost / charged.rate, charged.span)
                charged.shadow = max(charged.shadow, charged.tat)
                return limited(PASS_RATE, charged.rate, charged.burst, wait)
            charged.tat = at
            charged.shadow = really
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
            return self._client_verdicts[int(admits_at - now - EARLY) + 1]
        if source.score > 0.0:
            slowed = self._reputation.slowing_of_source(source, now)
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
            return self._address_verdicts[int(admits_at - now - EARLY) + 1]
        entry.tat = at
        entry.shadow = really
        source.tat = address_at
        source.shadow = address_really
        request.charged_factor = factor
        return None

    def left(self, charged: Pass, now: float) -> Left:
        """What is left of the bucket of a pass or a key; of the narrow one and the wide one, what binds first."""
        owed = max(charged.tat - now, 0.0)
        spare = min(charged.span - owed, charged.span * self._wide - max(charged.shadow - now, 0.0))
        remaining = max(int(spare * charged.rate + SLACK), 0)
        return Left(PASS_RATE.value, int(charged.burst), max(ceil(charged.span), 1), remaining, ceil(owed))

    def settle(self, request: Request, units: float, now: float) -> None:
        """Correct the charge of a request that really cost `units`.

        The factors that it was charged at apply again: that of its score and tier, and that of its address's score.
        (With the client's for both, a client with a bad score that left before its turn gave its address more back
        than it had taken.)
        """
        if request.charged_factor == NOT_CHARGED:
            return
        most, estimated, real = request.most_charged, request.cost, units
        if estimated > most:
            estimated = most
        if units > most:
            units = most
        factor = max(request.charged_factor, self._least_factor)
        extra = (units - estimated) / factor
        really = (real - request.cost) / factor
        charged = request.charged_pass
        if charged is not None:
            charged.tat += extra / charged.rate
            charged.shadow += really / charged.rate
            return
        client = request.client
        entry, source = client.entry, client.source
        entry.tat += extra / self._client_rate
        entry.shadow += really / self._client_rate
        if source.score > 0.0:
            slowed = max(self._reputation.slowing_of_source(source, now), self._least_factor)
            extra, really = (units - estimated) / slowed, (real - request.cost) / slowed
        else:
            extra, really = units - estimated, real - request.cost
        source.tat += extra / self._address_rate
        source.shadow += really / self._address_rate

    def can_pay(self, entry: ClientEntry, now: float) -> bool:
        """Whether a client's bucket has anything left for an answer to a challenge."""
        return entry.tat - now < self._client_span - SLACK

    def address_can_pay(self, source: AddressEntry, now: float) -> bool:
        """Whether an address's bucket has anything left for a refused attempt."""
        return source.tat - now <= self._address_span - SLACK - self._address_fine

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
