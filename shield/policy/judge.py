"""The order of the questions: named by the operator, banned, in a trap, its tier, its limits.

    calm weather      the limits of limits.py; for newcomers who insisted under pressure those of squeeze.py
    under pressure    what the tier makes of it (tiers.py)

A request's tier is the better of what its pass and its client deserve. Every verdict has a reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from shield.model import Reason, Tier, Verdict
from shield.policy.api_keys import ApiKeys
from shield.policy.identity import Client
from shield.policy.limits.charges import Charges
from shield.policy.limits.squeeze import Squeeze
from shield.policy.pressure.weather import Weather
from shield.policy.provoked import means_honeypot
from shield.policy.refusals import banned
from shield.policy.reputation import Reputation
from shield.policy.request import Request
from shield.policy.settings import EngineSettings
from shield.policy.signed_bots import SignedBots
from shield.policy.tiers import FORWARD, Tiers, tier_of

T0, T1, T2, T3, T4 = Tier  # names of their own: looking up a member of an Enum costs 70 ns

ALLOWLISTED: Final = Verdict(Reason.ALLOWLISTED)
API_KEY: Final = Verdict(Reason.API_KEY)
CRAWLER: Final = Verdict(Reason.CRAWLER)
ANEW: Final = 60.0  # seconds without a request, after which a newcomer comes again
CLIENT_BANNED: Final = Reason.CLIENT_BANNED
DENIED: Final = Verdict(Reason.DENYLISTED)


class Judge:
    """Says what to do with a request; the engine carries it out. Has buckets charged, keeps no request."""

    __slots__ = (
        "_always",
        "_api_keys",
        "_bad_score",
        "_bots",
        "_charges",
        "_earned_every",
        "_grants",
        "_honeypots",
        "_reputation",
        "_squeeze",
        "_tiers",
        "_wary",
        "_wary_for",
        "uneasy",
    )

    def __init__(
        self,
        settings: EngineSettings,
        charges: Charges,
        squeeze: Squeeze,
        tiers: Tiers,
        reputation: Reputation,
        api_keys: ApiKeys,
        bots: SignedBots,
    ) -> None:
        self._charges = charges
        self._squeeze = squeeze
        self._tiers = tiers
        self._reputation = reputation
        self._api_keys = api_keys
        self._bots = bots if bots.enabled else None
        self._honeypots = frozenset(settings.limits.honeypots)
        self._bad_score = settings.reputation.bad_score
        self._earned_every = settings.challenge.earned_every
        self._grants = not settings.dry_run
        self._always = settings.challenge.mode == "always"
        self._wary_for = settings.pressure.calm_after
        # changed with each window
        self.uneasy = self._always
        self._wary = False  # there is an attack, or somebody has insisted

    def close_window(self, weather: Weather, bought_factor: float, now: float) -> None:
        """Go by this weather, and by this factor on the rate of bought passes."""
        self._squeeze.close_window(weather.pressed, now)
        self.uneasy = weather.pressed or self._always
        self._wary = weather.attack.on or self._squeeze.insisted_at + self._wary_for > now
        self._tiers.close_window(weather, bought_factor, now)

    def take_bought(self) -> float:
        """Units that bought passes took since the last call."""
        return self._tiers.take_bought()

    def enforce(self, enforced: bool) -> None:
        """Whether verdicts are carried out from now on."""
        self._grants = enforced

    def spare(self, paths: Sequence[str]) -> None:
        """Challenge nobody below these paths either, in place of those that were said before."""
        self._tiers.spare(paths)

    def judge(self, request: Request, now: float) -> Verdict:
        """Forward, challenge, limit or ban; forwarded requests are charged."""
        client = request.client
        shown = request.shown_pass
        entry = client.entry
        request.tier = T0
        if client.named is not None:
            if client.named is Reason.DENYLISTED:
                return DENIED
            self._charges.count(request)
            return ALLOWLISTED
        welcome = FORWARD
        if self._api_keys.header or self._bots is not None or client.crawler is not None:
            welcome = self._welcome(request, client, now)
        record = entry.record
        known = record is not None and record.live
        if entry.rare.banned_until > now or client.source.rare.banned_until > now:
            ban = _ban_of(client, known or shown is not None or welcome is not FORWARD, now)
            if ban is not None:
                if ban.reason is CLIENT_BANNED:
                    return ban
                request.tier = T3
                return self._tiers.let_pay(request, ban, now)
        if request.path in self._honeypots and means_honeypot(request):
            self._reputation.hard(client.source, entry, self._reputation.settings.honeypot, "honeypot", now)
            return Verdict(Reason.HONEYPOT, max(1, int(entry.banned_until - now)))
        if welcome is FORWARD:
            bad = entry.score > self._bad_score and self._reputation.of_client(entry, now) > self._bad_score
            tier = T4 if bad else T1 if known else T3
            if shown is not None:
                tier = min(tier, tier_of(shown))
                if shown.scarce and tier < T2 and request.charged_pass is shown:
                    request.charged_pass = None  # it deserves better than what it bought
            request.tier = tier
            if tier is T3 and (entry.tat + ANEW < now or entry.rare.overflow):
                self._charges.newcomer()
            if self.uneasy or tier is T4:
                return self._tiers.judge(request, tier, now)
            if self._wary:
                if tier is T3 and self._squeeze.insists(client, now):
                    return self._tiers.judge_insistent(request, now)
            elif known and shown is None and self._grants:
                rare = entry.rare
                request.grant = rare.granted_at + self._earned_every <= now or (
                    rare.overflow and rare.granted_to != client.key
                )
        return self._charges.admit(request, welcome, now)

    def toll(self, request: Request, now: float) -> Verdict:
        """Forward, limit or ban a request that Shield answers itself."""
        client = request.client
        if client.named is not None:
            return ALLOWLISTED if client.named is Reason.ALLOWLISTED else DENIED
        ban = _ban_of(client, True, now)  # a newcomer at a banned address may pay its way out, and does it here
        if ban is not None:
            return ban
        refusal = self._squeeze.attempt(request, now)
        if refusal is None:
            return FORWARD
        self._charges.hit(request, refusal, now)
        return refusal

    def _welcome(self, request: Request, client: Client, now: float) -> Verdict:
        """FORWARD, or a better one for an API key or a confirmed crawler. A false claim is nothing at all."""
        if self._api_keys.header:
            budget = self._api_keys.of(request)
            if budget is not None:
                request.charged_pass = budget
                return API_KEY
        if self._bots is not None:
            budget = self._bots.of(request, now)
            if budget is not None:
                request.charged_pass = budget
                return CRAWLER
        return CRAWLER if client.crawler is not None and client.source.vouched else FORWARD


def _ban_of(client: Client, known: bool, now: float) -> Verdict | None:
    """The ban that holds for a client, if any. The ban of an address spares those behind it who are known."""
    until = client.entry.rare.banned_until
    if until > now:
        return banned(CLIENT_BANNED, int(until - now) + 1)
    until = client.source.rare.banned_until
    if until > now and not known:
        return banned(Reason.ADDRESS_BANNED, int(until - now) + 1)
    return None
