"""What its tier makes of a request under pressure, where everybody is challenged, and for bad scores.

T0   a pass with history, an API key, a crawler: the limits of calm weather
T1   a client with history, or an earned pass: the same. Challenged only below the cutoff, when T0 and T1 alone ask
     for more than there is
T2   a bought pass: its own small budget, and the network's
T3   no pass, no history: challenged, unless it is part of a visit that has begun (visits.py): then it goes on as T2,
     under the limits of calm weather. With challenges off, where the operator wants none (exempt.py), and where a
     browser asks for permission first (provoked.py), slowed by `limits.newcomer_slowing` times the strictness. With a
     fingerprint that only strangers have (standouts.py): limited together with all who have it, but for the first
     challenges of each, so that one who comes with the same browser as a flood may pay. With a pass that was waited
     for, it is slowed instead of challenged
T4   a score above `reputation.bad_score`: as T3, and slowed to `limits.bad_rate` times (1 - strictness), in calm
     weather too
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from shield.model import Reason, Tier, Verdict
from shield.policy.entries import Pass, PassKind
from shield.policy.exempt import Exempt
from shield.policy.limits.charges import Charges
from shield.policy.limits.limits import PASS_RATE
from shield.policy.limits.squeeze import Squeeze
from shield.policy.limits.together import Together
from shield.policy.pressure.weather import Weather
from shield.policy.provoked import asks_permission, could_answer
from shield.policy.ranks import Ranks
from shield.policy.refusals import TimedRefusals
from shield.policy.reputation import Reputation
from shield.policy.request import Request
from shield.policy.settings import EngineSettings
from shield.policy.standouts import Standouts
from shield.policy.visits import VISIT, goes_on

# Names of their own: looking up a member of an Enum costs 70 ns.
T0, T1, T2, T3, T4 = Tier
CHALLENGE_ALWAYS: Final = Reason.CHALLENGE_ALWAYS
NEWCOMER: Final = Reason.NEWCOMER
BAD_REPUTATION: Final = Reason.BAD_REPUTATION
FINGERPRINT_RATE: Final = Reason.FINGERPRINT_RATE

FORWARD: Final = Verdict(Reason.OK)
OPEN: Final = 8
"""Challenges, of one a second, that a client may leave open before it ignores them. Behind one address many people with
the same browser are one client: some of them are always about to answer."""


def tier_of(shown: Pass) -> Tier:
    """The tier that a pass is worth."""
    if shown.record is not None and shown.record.live:
        return T0
    if shown.kind is PassKind.WAITED:
        return T3
    return T1 if shown.kind is PassKind.EARNED else T2


class Tiers:
    """Judges requests by their tier. Goes by the weather of the last window.

    It has more than 15 attributes because each part that a tier is judged by is one.
    """

    __slots__ = (
        "_bought_factor",
        "_bought_units",
        "_challenges",
        "_charges",
        "_exempt",
        "_hasty",
        "_limits",
        "_mode",
        "_ranks",
        "_refusals",
        "_reputation",
        "_squeeze",
        "_standouts",
        "_together",
        "_weather",
        "pressed",
    )

    def __init__(
        self,
        settings: EngineSettings,
        weather: Weather,
        charges: Charges,
        squeeze: Squeeze,
        ranks: Ranks,
        refusals: TimedRefusals,
        reputation: Reputation,
        standouts: Standouts,
        together: Together,
    ) -> None:
        self._mode = settings.challenge.mode
        self._challenges = settings.challenges
        self._limits = settings.limits
        self._exempt = Exempt(settings.challenge.never, settings.challenge.presets)
        # How long a challenge is still good for when its client may come again, as it was told at most.
        self._hasty = settings.challenge.lifetime - settings.queue.most_retry
        self._charges = charges
        self._squeeze = squeeze
        self._ranks = ranks
        self._refusals = refusals
        self._reputation = reputation
        self._standouts = standouts
        self._together = together
        # changed with each window
        self._weather = weather
        self.pressed = False
        self._bought_factor = 1.0  # on the rate of bought passes
        self._bought_units = 0.0  # that bought passes took since they were asked for

    def close_window(self, weather: Weather, bought_factor: float, now: float) -> None:
        """Go by this weather, and by this factor on the rate of bought passes."""
        self._together.close_window(weather.brownout, now)
        self._exempt.close_window(weather.capacity * self._together.part)
        self._weather = weather
        self.pressed = weather.pressed
        self._bought_factor = bought_factor

    def take_bought(self) -> float:
        """Units that bought passes took since the last call."""
        taken, self._bought_units = self._bought_units, 0.0
        return taken

    def spare(self, paths: Sequence[str]) -> None:
        """Challenge nobody below these paths either, in place of those that were said before."""
        self._exempt.spare(paths)

    def spares(self, request: Request) -> bool:
        """Whether a request is one that the operator never wants challenged."""
        return request in self._exempt

    def judge(self, request: Request, tier: Tier, now: float) -> Verdict:
        """Forward, challenge or limit a request of this tier."""
        if self.pressed:
            self._standouts.count(request, tier <= T1)
        spared = self._mode == "off" or self.unchallenged(request)
        if self._mode == "always" and request.shown_pass is None and not spared:
            asked = self._squeeze.demand(request, now, counts=False)
            return self._challenge(request, CHALLENGE_ALWAYS, asked, now)
        if tier is T0:
            return self._judge_best(request, now)
        if tier is T1:
            return self._judge_known(request, spared, now)
        if tier is T3 and self.pressed and now < request.client.entry.begun + VISIT and goes_on(request, now):
            request.tier = T2
            return self._charges.admit(request, FORWARD, now)
        asked = self._squeeze.demand(request, now)
        if tier is not T2:
            armed = self._standouts.armed
            if armed and self._standouts.refuses(request, now) and (spared or not self._may_pay(request, now)):
                return self._refusals.of(FINGERPRINT_RATE, request.client.key, now)
            waited = tier is T3 and request.shown_pass is not None
            if self.pressed and not spared and not waited:
                reason = BAD_REPUTATION if tier is T4 else NEWCOMER
                return self._challenge(request, reason, asked, now)
            if self.pressed and spared and not waited:
                return self._judge_spared(request, asked, now)
        return self._judge_squeezed(request, asked, now)

    def _judge_spared(self, request: Request, asked: float, now: float) -> Verdict:
        """Forward a stranger's request that nobody is challenged for, as far as its preset has room for all of them."""
        budget = self._exempt.budget(request) if self._mode != "off" else None
        refusal = None if budget is None else budget.refusal(request, now)
        if refusal is not None:
            return refusal
        verdict = self._judge_squeezed(request, asked, now)
        if budget is not None and verdict is FORWARD:
            budget.spend(request, now)
        return verdict

    def let_pay(self, request: Request, ban: Verdict, now: float) -> Verdict:
        """Challenge a newcomer at a banned address, so that one bad neighbour locks nobody out; `ban` where nobody is
        challenged, and once its buckets are empty. The price is dear, as it goes by the address's score (Sales)."""
        if self._mode == "off" or self.unchallenged(request) or self._squeeze.attempt(request, now) is not None:
            return ban
        return self._refusals.of(Reason.BAD_NEIGHBOUR, request.client.key, now)

    def _may_pay(self, request: Request, now: float) -> bool:
        """Whether a stranger whose fingerprint is armed is challenged: it may be a person with the browser that a flood
        claims to be. Who leaves more challenges open than people do is none, nor what cannot answer one."""
        listens = request.tier is not T4 and self._squeeze.listens(request.client, OPEN, now)
        return listens and could_answer(request)

    def judge_insistent(self, request: Request, now: float) -> Verdict:
        """Forward or challenge a newcomer's request in calm weather whose sender insisted under pressure.

        It pays in full, as far as demand has counted it before, and from its network's bucket too. And all of them
        together may not have more than together.py says.
        """
        client = request.client
        self._squeeze.carry_over(client, now)
        if self._together.has_room(request, now):
            refusal = self._squeeze.squeeze(request, self._squeeze.calm_factor(request, now), True, now)
            if refusal is None:
                self._together.let_in(request, now)
                self._charges.count(request)
                return FORWARD
        else:
            refusal = self._refusals.of(Reason.QUEUE_FULL, client.key, now)
        self._squeeze.insists_still(client, now)
        self._charges.went_beyond(client.entry, now)
        if self._challenges and not self.unchallenged(request):
            return self._challenge(request, NEWCOMER, 0.0, now)
        self._charges.hit(request, refusal, now)
        return refusal

    def _judge_best(self, request: Request, now: float) -> Verdict:
        """Judge a request of T0, which goes by rank among T1 where there is not enough for T0 alone."""
        verdict = self._charges.admit(request, FORWARD, now)
        if verdict is FORWARD and self._weather.merged:
            self._charges.ranked(self._ranks.of(request, now), request.cost)
            request.tier = T1
        return verdict

    def _judge_known(self, request: Request, spared: bool, now: float) -> Verdict:
        """Judge a request of T1: below the cutoff it is challenged, or counts as T2 with a pass that was bought."""
        rank = self._ranks.of(request, now)
        if spared or rank >= self._weather.cutoff:
            verdict = self._charges.admit(request, FORWARD, now)
            if verdict is FORWARD:
                self._charges.ranked(rank, request.cost)
            return verdict
        asked = self._squeeze.demand(request, now)
        self._charges.ranked(rank, asked)
        shown = request.shown_pass
        if shown is None or shown.kind is not PassKind.BOUGHT:
            return self._challenge(request, Reason.OVERSUBSCRIBED, asked, now)
        request.charged_pass, request.tier = shown, T2
        return self._judge_squeezed(request, asked, now)

    def _judge_squeezed(self, request: Request, asked: float, now: float) -> Verdict:
        """Forward a request as far as the pressure lets its buckets."""
        networks = self.pressed or request.tier is T4
        refusal = self._squeeze.squeeze(request, self._factor(request), networks, now)
        shown = request.shown_pass
        if shown is not None and request.tier >= T2:
            self._note_use(shown, request.cost, refusal, now)
        if refusal is None:
            return FORWARD
        if not asked:  # else it is the pressure that refuses, and no fault of the client's
            self._charges.hit(request, refusal, now)
        return refusal

    def _challenge(self, request: Request, reason: Reason, asked: float, now: float) -> Verdict:
        """Challenge, unless even asking is more than the client's limit. `asked`: what its nominal buckets admit."""
        refusal = self._squeeze.attempt(request, now)
        if refusal is not None:
            if not asked:
                self._charges.hit(request, refusal, now)
            return refusal
        client = request.client
        entry = client.entry
        rare = entry.rare
        if rare.offered_until - self._hasty > now and rare.unanswered > OPEN and could_answer(request):
            self._reputation.ignored(client.source, entry, now)
        if self.pressed:  # in calm weather it is challenged since it was before
            self._squeeze.challenged(client, now)
        if not entry.rare.refused_since:
            entry.refused_since = now  # goes first, should it be the service that is ill
        return self._refusals.of(reason, client.key, now)

    def unchallenged(self, request: Request) -> bool:
        """Whether a request is one that the operator, or the browser that sends it, cannot have challenged."""
        return request in self._exempt or asks_permission(request)

    def _note_use(self, bought: Pass, cost: float, refusal: Verdict | None, now: float) -> None:
        """Note what a bought pass got, or that it asked for more than it has."""
        if refusal is None:
            self._bought_units += cost
            if not bought.taken:
                bought.begun = now
            bought.taken += cost
        elif refusal.reason is PASS_RATE:
            bought.limited_at = now

    def _factor(self, request: Request) -> float:
        """The factor on the rate that a tier has under the present pressure."""
        strictness = self._weather.strictness if self.pressed else 0.0
        if request.tier is T4:
            return self._limits.bad_rate * (1.0 - strictness)
        if request.tier is T3:
            return 1.0 - self._limits.newcomer_slowing * strictness
        shown = request.shown_pass
        return self._bought_factor if shown is not None and shown.scarce else 1.0
