"""The buckets that a request touches when measures of pressure apply to it, and what its client would get without.

    squeeze     under pressure: the buckets of limits.py, and those of the network (IPv6: /56 and /48). Slower for T3
                and T4, by a factor that depends on the tier and the pressure
    attempt     a request that will be challenged: it pays for a refused attempt
    demand      what the nominal buckets would have admitted

Demand is what would reach the service if the pressure's measures were lifted, and no more. Success at shedding does
not lift the defence, since whoever is challenged counts as long as it asks. But it counts for no more than what it
would get afterwards, and gets no more afterwards than it counted for:

    who asks within its rates              is held to them in calm weather too, so it counts in full
    who asks for more than the bucket of   *insists*: the rest is no demand. For `calm_after` from the last time on it
    its client, address or network         pays in full in calm weather, too, and from the network's bucket (T3 only);
                                           beyond that it is challenged. Its bucket begins as empty as its shadow is
    whose client, or whose whole address,  is *deaf*: it counts for `bad_rate` of its rate, until somebody there answers
    leaves many challenges unanswered      one. It keeps as much until there was no pressure for RECOVERY, and then has
                                           its rate again, paid in full, until it has stopped for `calm_after`

So a few addresses, or one rented network, that go on against challenges hold no pressure up, and let in they do no
harm. Many addresses that each ask for little are a flood that goes on, and count in full.

`demand()` asks the shadow buckets, to which the pressure's factors do not apply, for whoever is subject to a measure of
pressure, admitted or not. It notes who insists.
"""

# ruff: noqa: FURB136 - max() and min() cost 60 ns each, a conditional expression 15, and a flood is challenged here

from __future__ import annotations

from math import inf
from typing import Final

from shield.model import Reason, Tier, Verdict
from shield.policy.bucket import SLACK, Rate, refused
from shield.policy.entries import AddressEntry, ClientEntry, NetworkEntry, Pass
from shield.policy.identity import Client
from shield.policy.limits.limits import ADDRESS_RATE, CLIENT_RATE, PASS_RATE
from shield.policy.limits.settings import LimitsSettings
from shield.policy.limits.sums import NetworkSums
from shield.policy.pressure.window import Tally
from shield.policy.refusals import limited
from shield.policy.reputation import Reputation
from shield.policy.request import Request

RECOVERY: Final = 60.0
"""Seconds without pressure after which who left challenges unanswered has its rate again: an office of programs, which
cannot answer, is not to pay for long for a flood of seconds."""

Holder = Pass | ClientEntry | AddressEntry | NetworkEntry
"""Whoever has a bucket."""

# Names of their own: looking up a member of an Enum costs 70 ns.
NETWORK_RATE: Final = Reason.NETWORK_RATE
T3, T4 = Tier.T3, Tier.T4


class Squeeze:
    """Charges requests that measures of pressure apply to, and counts what they ask for in the open window's tally.

    It has more than 15 attributes because each request reads them, as settings taken apart and multiplied out.
    """

    __slots__ = (
        "_address_burst",
        "_address_rate",
        "_address_span",
        "_bad_rate",
        "_client_burst",
        "_client_rate",
        "_client_span",
        "_least_factor",
        "_most_unanswered",
        "_most_unanswered_there",
        "_recovered_at",
        "_refused_cost",
        "_remembered",
        "_reputation",
        "_sums",
        "_tally",
        "insisted_at",
    )

    def __init__(
        self,
        settings: LimitsSettings,
        remembered: float,
        reputation: Reputation,
        tally: Tally,
        sums: NetworkSums | None = None,
    ) -> None:
        """`remembered`: seconds for which somebody has insisted. `sums`: where others serve the same networks."""
        self.insisted_at = -inf  # when somebody last did
        self._recovered_at = -inf  # when those who are deaf have, or had, their rate again
        self._remembered = remembered
        self._bad_rate = settings.bad_rate
        self._most_unanswered = settings.unanswered
        self._reputation = reputation
        self._tally = tally
        self._sums = sums
        self._refused_cost = settings.refused_cost
        self._least_factor = settings.least_factor
        self.go_by(settings.client, settings.address)

    def go_by(self, client: Rate, address: Rate) -> None:
        """As that of Limits."""
        self._most_unanswered_there = self._most_unanswered * address.rate / client.rate
        self._client_rate, self._client_burst = client.rate, client.burst
        self._client_span = self._client_burst / self._client_rate + SLACK
        self._address_rate, self._address_burst = address.rate, address.burst
        self._address_span = self._address_burst / self._address_rate + SLACK

    def close_window(self, pressed: bool, now: float) -> None:
        """Take note of whether there is pressure that acts on people."""
        if pressed:
            self._recovered_at = now + RECOVERY

    def demand(self, request: Request, now: float, counts: bool = True) -> float:
        """Count what the nominal buckets admit of a request as demand; the units, 0 when they refuse it.

        `counts`: it would reach the service without the pressure. Where everybody is challenged always it would not.
        """
        cost = request.cost
        client = request.client
        entry, source, charged = client.entry, client.source, request.charged_pass
        least = self._least_factor
        slowed = self._reputation.slowing_of_client(entry, now)
        newcomer = request.tier >= T3
        if newcomer:
            slowed *= self.calm_factor(request, now)
        units = cost / (slowed if slowed > least else least)
        if charged is not None:
            at = max(charged.shadow, now) + min(units, charged.burst) / charged.rate
            if at - now > charged.span + SLACK:
                return 0.0
            charged.shadow = at
            self._tally.asked(cost)
            return cost
        at = max(entry.shadow, now) + min(units, self._client_burst) / self._client_rate
        slowed = self._slowing_of_source(request, now)
        units = cost / (slowed if slowed > least else least)
        address_at = max(source.shadow, now) + min(units, self._address_burst) / self._address_rate
        if at - now > self._client_span:
            self._insists(entry, now)
            return 0.0
        if address_at - now > self._address_span:
            self._insists(source, now)
            return 0.0
        if newcomer and not self._network_admits(source, cost, now):
            return 0.0
        entry.shadow = at
        source.shadow = address_at
        if counts:
            self._tally.asked(cost)
        return cost

    def calm_factor(self, request: Request, now: float) -> float:
        """The factor on a newcomer's rate when the pressure is over: small for bad scores and unanswered challenges."""
        deaf = now < self._recovered_at and self._is_deaf(request.client.entry, self._most_unanswered, now)
        return self._bad_rate if deaf or request.tier is T4 else 1.0

    def challenged(self, client: Client, now: float) -> None:
        """Count that a client is challenged, until it answers; of its requests one a second counts.

        Unlike a score this costs nobody more than to be challenged for longer, and an answer undoes it. So what a page
        elsewhere had a browser send counts, too, and what claims to be that.
        """
        entry = client.entry
        if entry.rare.unanswered_at + 1.0 > now:
            return
        for holder in (entry, client.source):
            if not holder.overflow:
                recent = holder.unanswered_at + self._remembered > now
                holder.unanswered = holder.unanswered + 1 if recent else 1
                holder.unanswered_at = now

    def answered(self, client: Client) -> None:
        """Forget the challenges that a client, and others at its address, left unanswered."""
        client.entry.unanswered = client.source.unanswered = 0

    def listens(self, client: Client, open_: int, now: float) -> bool:
        """Whether a client has left no more than `open_` challenges unanswered of late."""
        return not self._is_deaf(client.entry, open_ + 1, now)

    def _is_deaf(self, holder: ClientEntry | AddressEntry, most: float, now: float) -> bool:
        """Whether a client, or all at an address, left so many challenges unanswered that no answer is expected."""
        rare = holder.rare
        return rare.unanswered >= most and rare.unanswered_at + self._remembered > now

    def _slowing_of_source(self, request: Request, now: float) -> float:
        """The factor on the address's rate when the pressure is over; on newcomers there, where all are deaf."""
        source = request.client.source
        slowed = self._reputation.slowing_of_source(source, now)
        if request.tier >= T3 and now < self._recovered_at and self._is_deaf(source, self._most_unanswered_there, now):
            slowed *= self._bad_rate
        return slowed

    def insists(self, client: Client, now: float) -> bool:
        """Whether a client, its address or its network has insisted, or it ignored many challenges."""
        since = now - self._remembered
        source = client.source
        site = source.site
        return (
            source.network.insisted_at > since
            or source.rare.insisted_at > since
            or client.entry.rare.insisted_at > since
            or (site is not None and site.insisted_at > since)
            or self._is_deaf(client.entry, self._most_unanswered, now)
            or self._is_deaf(source, self._most_unanswered_there, now)
        )

    def insists_still(self, client: Client, now: float) -> None:
        """Remember for longer who has insisted, or was deaf, since a client there was refused again."""
        since = now - self._remembered
        source = client.source
        for holder in (client.entry, source, source.network, source.site):
            if holder is not None and holder.insisted_at > since:
                self._insists(holder, now)
        for deaf, most in ((client.entry, self._most_unanswered), (source, self._most_unanswered_there)):
            if self._is_deaf(deaf, most, now):
                self._insists(deaf, now)

    def carry_over(self, client: Client, now: float) -> None:
        """Let the buckets begin where the shadows are: who insisted under pressure has nothing saved up after it."""
        source = client.source
        self._carry_over(client.entry, now + self._client_span - SLACK)
        self._carry_over(source, now + self._address_span - SLACK)
        for network in (source.network, source.site):
            if network is not None:
                self._carry_over(network, now + network.span)

    def _carry_over(self, holder: ClientEntry | AddressEntry | NetworkEntry, empty: float) -> None:
        """`empty`: the `tat` of its bucket that is empty now."""
        holder.tat = max(holder.tat, min(holder.shadow, empty))
        holder.shadow = max(holder.shadow, holder.tat)

    def _insists(self, holder: ClientEntry | AddressEntry | NetworkEntry, now: float) -> None:
        """Note that somebody insists; of strangers that share an entry that says nothing."""
        if not holder.overflow:
            holder.insisted_at = self.insisted_at = now

    def _network_admits(self, source: AddressEntry, cost: float, now: float) -> bool:
        """Charge a newcomer's demand to its network's shadow buckets; whether they admit it.

        A /48 is charged what one of its /56 refuses: somebody who goes from one to the next insists in all of them.
        """
        admitted = True
        for network in (source.network, source.site):
            if network is None or network.overflow:
                continue
            slowed = max(self._reputation.slowing_of_source(network, now), self._least_factor)
            seconds = min(cost / slowed / network.rate, network.span)
            at = max(network.shadow, now) + seconds
            if at - now > network.span + SLACK:
                self._insists(network, now)
                admitted = False
            else:
                network.shadow = at
                if self._sums is not None:
                    self._sums.add(network, 0.0, seconds * network.rate)
        return admitted

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
        if self._sums is not None and networks:
            self._note_networks(request, now)
        request.most_charged = inf
        request.charged_factor = levels[0][4]
        return None

    def _note_networks(self, request: Request, now: float) -> None:
        """A request was charged to its networks, too."""
        source, sums = request.client.source, self._sums
        for network in (source.site, source.network):
            if network is not None and not network.overflow and sums is not None:
                slowed = max(self._reputation.slowing_of_source(network, now), self._least_factor)
                sums.add(network, min(request.cost / slowed, network.span * network.rate), 0.0)

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
            self._slowing_of_source(request, now),
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
