"""The buckets that a request touches when measures of pressure apply to it, and what its client would get without.

    squeeze     under pressure: the buckets of limits.py, and those of the network (IPv6: /56 and /48). Slower for T3
                and T4, by a factor that depends on the tier and the pressure
    attempt     a request that will be challenged: it pays for a refused attempt
    demand      what the nominal buckets would have admitted

`demand()` asks the shadow buckets, to which neither the tier's factor nor the network's bucket applies. It is asked for
whoever is subject to a measure of pressure, admitted or not. So a challenged client counts as long and as much as it
asks, and never for more than its nominal rate.
"""

# ruff: noqa: FURB136 - max() and min() cost 60 ns each, a conditional expression 15, and a flood is challenged here

from __future__ import annotations

from math import inf
from typing import Final

from shield.model import Reason, Verdict
from shield.policy.bucket import SLACK, refused
from shield.policy.entries import AddressEntry, ClientEntry, NetworkEntry, Pass
from shield.policy.limits.limits import ADDRESS_RATE, CLIENT_RATE, PASS_RATE
from shield.policy.limits.settings import LimitsSettings
from shield.policy.pressure.window import Tally
from shield.policy.refusals import limited
from shield.policy.reputation import Reputation
from shield.policy.request import Request

Holder = Pass | ClientEntry | AddressEntry | NetworkEntry
"""Whoever has a bucket."""

NETWORK_RATE: Final = Reason.NETWORK_RATE


class Squeeze:
    """Charges requests that measures of pressure apply to, and counts what they ask for in the open window's tally."""

    __slots__ = (
        "_address_burst",
        "_address_rate",
        "_address_span",
        "_client_burst",
        "_client_rate",
        "_client_span",
        "_least_factor",
        "_refused_cost",
        "_reputation",
        "_tally",
    )

    def __init__(self, settings: LimitsSettings, reputation: Reputation, tally: Tally) -> None:
        self._reputation = reputation
        self._tally = tally
        self._refused_cost = settings.refused_cost
        self._least_factor = settings.least_factor
        self._client_rate, self._client_burst = settings.client.rate, settings.client.burst
        self._client_span = self._client_burst / self._client_rate + SLACK
        self._address_rate, self._address_burst = settings.address.rate, settings.address.burst
        self._address_span = self._address_burst / self._address_rate + SLACK

    def demand(self, request: Request, now: float) -> float:
        """Count what the nominal buckets admit of a request as demand; the units, 0 when they refuse it."""
        cost = request.cost
        client = request.client
        entry, source, charged = client.entry, client.source, request.charged_pass
        least = self._least_factor
        slowed = self._reputation.slowing_of_client(entry, now)
        units = cost / (slowed if slowed > least else least)
        if charged is not None:
            at = max(charged.shadow, now) + min(units, charged.burst) / charged.rate
            if at - now > charged.span + SLACK:
                return 0.0
            charged.shadow = at
            self._tally.asked(cost)
            return cost
        at = max(entry.shadow, now) + min(units, self._client_burst) / self._client_rate
        slowed = self._reputation.slowing_of_source(source, now)
        units = cost / (slowed if slowed > least else least)
        address_at = max(source.shadow, now) + min(units, self._address_burst) / self._address_rate
        if at - now > self._client_span or address_at - now > self._address_span:
            return 0.0
        entry.shadow = at
        source.shadow = address_at
        self._tally.asked(cost)
        return cost

    def squeeze(self, request: Request, factor: float, networks: bool, now: float) -> Verdict | None:
        """Charge a request; None when it is admitted.

        `factor` is that of its tier; `networks` says whether the network's buckets bind. `demand` has counted it. A
        client's units count for more the smaller the factor is. A pass's bucket has been filled more slowly instead
        (Pass.fill), so that whoever has bought a page gets it at once.
        """
        charged_pass, pace = request.charged_pass, 1.0
        if charged_pass is not None:
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
                return limited(reason, rate, burst, wait / pace if entry is charged_pass else wait)
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
                return limited(reason, rate, burst, max(wait, 0.0) + fine)
        for _, entry, rate, burst in buckets:
            entry.tat = refused(entry.tat, now, self._refused_cost / rate, burst / rate)
        return None

    def _buckets(self, request: Request) -> list[tuple[Reason, Holder, float, float]]:
        """The buckets that a request touches whatever the pressure: reason, holder, rate, burst."""
        charged = request.charged_pass
        if charged is not None:
            return [(PASS_RATE, charged, charged.rate, charged.burst)]
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
            reputation.slowing_of_source(source, now),
        )
        levels = [(*bucket, by) for bucket, by in zip(self._buckets(request), slowed, strict=False)]
        if networks:
            levels += [
                (
                    NETWORK_RATE,
                    network,
                    network.rate,
                    network.span * network.rate,
                    reputation.slowing_of_source(network, now),
                )
                for network in (source.site, source.network)
                if network is not None
            ]
        return levels
