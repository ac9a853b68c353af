"""The order of the questions: named by the operator, banned, in a trap, its tier, its limits.

    calm weather          the limits of section "always" in limits.py, and nothing else
    under pressure   T0   pass with history, API key, crawler: the same limits
                     T1   client with history, or earned pass: the same; challenged only below the cutoff, when T0 and
                          T1 alone ask for more than there is
                     T2   bought pass: its own small budget, and the network's
                     T3   no pass, no history: challenged; with challenges off, and where the operator wants none
                          (exempt.py), slowed to 1 - 0.9 p. With a fingerprint that only strangers have (standouts.py):
                          limited together with all who have it
                     T4   a score above 8: the same, slowed to 0.1 (1 - p), in calm weather too

A request's tier is the better of what its pass and its client deserve. Whatever is said here is said with a reason.
"""

from __future__ import annotations

from hashlib import sha256
from math import log2
from typing import Final

from shield.model import Reason, Tier, Verdict
from shield.policy.challenge import ChallengeSettings
from shield.policy.entries import ClientEntry, Pass, PassKind
from shield.policy.exempt import Exempt
from shield.policy.history import History
from shield.policy.identity import Client
from shield.policy.keys import order_tag
from shield.policy.limits import CLIENT_RATE, PASS_RATE, Limits, LimitsSettings
from shield.policy.pressure.weather import Weather
from shield.policy.pressure.window import Tally
from shield.policy.queue.settings import QueueSettings
from shield.policy.refusals import TimedRefusals, banned
from shield.policy.reputation import Reputation
from shield.policy.request import Request
from shield.policy.squeeze import Squeeze
from shield.policy.standouts import Standouts

T0, T1, T2, T3, T4 = Tier  # names of their own: looking up a member of an Enum costs 70 ns

FORWARD: Final = Verdict(Reason.OK)
ALLOWLISTED: Final = Verdict(Reason.ALLOWLISTED)
API_KEY: Final = Verdict(Reason.API_KEY)
CRAWLER: Final = Verdict(Reason.CRAWLER)
QUEUED: Final = Verdict(Reason.AT_CAPACITY)
DENIED: Final = Verdict(Reason.DENYLISTED)


class Judge:
    """Says what to do with a request; the engine carries it out. Charges buckets, counts demand, keeps no request."""

    def __init__(
        self,
        *,
        limits: Limits,
        rates: LimitsSettings,
        reputation: Reputation,
        history: History,
        tally: Tally,
        weather: Weather,
        standouts: Standouts,
        challenge: ChallengeSettings,
        queue: QueueSettings,
        api_key_header: str,
        api_keys: dict[bytes, Pass],
        honeypots: frozenset[str],
        key: bytes,
        grants: bool,
    ) -> None:
        self._limits = limits
        self._squeeze = Squeeze(rates, reputation)
        self._rates = rates
        self._bad_score = reputation.settings.bad_score
        self._reputation = reputation
        self._history = history
        self._tally = tally
        self._standouts = standouts
        self._mode = challenge.mode
        self._exempt = Exempt(challenge.never)
        self._earned_every = challenge.earned_every
        self._order_seconds = queue.order_seconds
        self._refusals = TimedRefusals(queue)
        self._api_key_header = api_key_header
        self._api_keys = api_keys  # by SHA-256
        self._honeypots = honeypots
        self._key = key
        self._grants = grants
        self.uneasy = self._mode == "always"
        # changed with each window
        self._weather = weather
        self.pressed = False
        self.bought_factor = 1.0  # on the rate of bought passes
        self.bought_units = 0.0  # that bought passes took in the window that is open

    def close_window(self, weather: Weather, bought_factor: float) -> float:
        """Go by this weather, and by this factor on the rate of bought passes; the units that those took meanwhile."""
        self._weather = weather
        self.pressed = weather.pressed
        self.uneasy = weather.pressed or self._mode == "always"
        self.bought_factor = bought_factor
        taken, self.bought_units = self.bought_units, 0.0
        return taken

    def judge(self, request: Request, now: float) -> Verdict:
        """Forward, challenge, limit or ban; forwarded requests are charged."""
        client = request.client
        token = request.charged_pass
        entry = client.entry
        request.tier = T0
        if client.named is not None:
            if client.named is Reason.DENYLISTED:
                return DENIED
            self._tally.admitted(request.tier, request.cost)
            return ALLOWLISTED
        welcome = FORWARD
        if self._api_key_header or client.crawler is not None:
            welcome = self._welcome(request, client)
        record = entry.record
        known = record is not None and record.live
        if entry.rare.banned_until > now or client.source.rare.banned_until > now:
            ban = _ban_of(client, known or token is not None or welcome is not FORWARD, now)
            if ban is not None:
                return ban
        if request.path in self._honeypots and meant(request):
            self._reputation.hard(client.source, entry, self._reputation.settings.honeypot, "honeypot", now)
            return Verdict(Reason.HONEYPOT, max(1, int(entry.banned_until - now)))
        if welcome is FORWARD:
            bad = entry.score > self._bad_score and self._reputation.of_client(entry, now) > self._bad_score
            tier = T4 if bad else T1 if known else T3
            if token is not None:
                tier = min(tier, _tier_of(token))
                if token.scarce and tier < T2:
                    request.charged_pass = None  # it deserves better than what it bought
            request.tier = tier
            if self.uneasy or tier is T4:
                return self._judge_uneasy(request, tier, now)
            if known and token is None and not self._weather.attack.on and self._grants:
                rare = entry.rare
                request.grant = rare.granted_at + self._earned_every <= now or (
                    rare.overflow and rare.granted_to != client.key
                )
        return self._admit(request, welcome, now)

    def toll(self, request: Request, now: float) -> Verdict:
        """Forward, limit or ban a request that Shield answers itself."""
        client = request.client
        if client.named is not None:
            return ALLOWLISTED if client.named is Reason.ALLOWLISTED else DENIED
        record = client.entry.record
        ban = _ban_of(client, request.shown_pass is not None or (record is not None and record.live), now)
        if ban is not None:
            return ban
        refusal = self._squeeze.attempt(request, now)
        if refusal is not None:
            self._hit(request, refusal, now)
            return refusal
        return FORWARD

    def _judge_uneasy(self, request: Request, tier: Tier, now: float) -> Verdict:
        """Under pressure, when everybody is challenged, and for bad scores: what p and the tier make of a request."""
        token = request.shown_pass
        if self.pressed:
            self._standouts.count(request, tier <= T1)
        spared = self._mode == "off" or request in self._exempt
        if self._mode == "always" and token is None and not spared:
            return self._challenge_it(request, Reason.CHALLENGE_ALWAYS, self._ask(request, now), now)
        if tier is T0:
            verdict = self._admit(request, FORWARD, now)
            if verdict is FORWARD and self._weather.merged:
                self._tally.ranked(self.rank(request, now), request.cost)
                request.tier = T1  # by rank: there is not enough for T0 alone
            return verdict
        if tier is T1:
            rank = self.rank(request, now)
            if spared or rank >= self._weather.cutoff:
                verdict = self._admit(request, FORWARD, now)
                if verdict is FORWARD:
                    self._tally.ranked(rank, request.cost)
                return verdict
            asked = self._ask(request, now)
            self._tally.ranked(rank, asked)
            if token is None or token.kind is not PassKind.BOUGHT:
                return self._challenge_it(request, Reason.OVERSUBSCRIBED, asked, now)
            request.charged_pass, request.tier = token, T2
        else:
            asked = self._ask(request, now)
            if tier is not T2 and self._standouts.armed and self._standouts.refuses(request, now):
                return self.refusal(Reason.FINGERPRINT_RATE, request, now)
            if tier is not T2 and self.pressed and not spared:
                reason = Reason.BAD_REPUTATION if tier is T4 else Reason.NEWCOMER
                return self._challenge_it(request, reason, asked, now)
        refusal = self._squeeze.squeeze(request, self._factor(request), self.pressed, now)
        if tier is not T3 and tier is not T4:
            self._buy(request, refusal, now)
        if refusal is None:
            return FORWARD
        if not asked:  # else it is the pressure that refuses, and no fault of the client's
            self._hit(request, refusal, now)
        return refusal

    def _admit(self, request: Request, welcome: Verdict, now: float) -> Verdict:
        """Charge a request that no measure of pressure applies to."""
        refusal = self._limits.admit(request, now)
        if refusal is not None:
            self._hit(request, refusal, now)
            return refusal
        self._tally.admitted(request.tier, request.cost)
        return welcome

    def _ask(self, request: Request, now: float) -> float:
        """Count the demand of a request that measures of pressure apply to; the units counted."""
        asked = self._squeeze.demand(request, now)
        self._tally.asked(asked)
        return asked

    def _challenge_it(self, request: Request, reason: Reason, asked: float, now: float) -> Verdict:
        """Challenge, unless even asking is more than the client's limit. `asked`: what its nominal buckets admit."""
        client = request.client
        refusal = self._squeeze.attempt(request, now)
        if refusal is not None:
            if not asked:
                self._hit(request, refusal, now)
            return refusal
        entry = client.entry
        if entry.rare.offered_until > now:
            self._reputation.ignored(client.source, entry, now)
        if not entry.rare.refused_since:
            entry.refused_since = now  # goes first, should it be the service that is ill
        return self.refusal(reason, request, now)

    def refusal(self, reason: Reason, request: Request, now: float) -> Verdict:
        """The verdict for one of the `TIMED` reasons."""
        return self._refusals.of(reason, request.client.key, now)

    def _buy(self, request: Request, refusal: Verdict | None, now: float) -> None:
        """Note what a bought pass got, or that it asked for more than it has."""
        token = request.shown_pass
        if token is not None and refusal is None:
            self.bought_units += request.cost
            token.taken += request.cost
        elif token is not None and refusal is not None and refusal.reason is PASS_RATE:
            token.limited_at = now

    def _welcome(self, request: Request, client: Client) -> Verdict:
        """FORWARD, or a better one for an API key or a confirmed crawler. A false claim is nothing at all."""
        if self._api_key_header:
            value = request.headers.get(self._api_key_header)
            if value is not None:
                known = self._api_keys.get(sha256(value.encode("utf-8", "surrogatepass")).digest())
                if known is not None:
                    request.charged_pass = known
                    return API_KEY
        return CRAWLER if client.crawler is not None and client.source.vouched else FORWARD

    def _factor(self, request: Request) -> float:
        """The factor on the rate that a tier has under the present pressure."""
        p = self._weather.strictness if self.pressed else 0.0
        if request.tier is T4:
            return self._rates.bad_rate * (1.0 - p)
        if request.tier is T3:
            return 1.0 - self._rates.newcomer_slowing * p
        token = request.shown_pass
        return self.bought_factor if token is not None and token.scarce else 1.0

    def _hit(self, request: Request, refusal: Verdict, now: float) -> None:
        """A limit was hit: held against the client if it is its own, not its neighbours'."""
        if refusal.reason is CLIENT_RATE or refusal.reason is PASS_RATE:
            client = request.client
            self._reputation.soft(client.source, client.entry, self._reputation.settings.limit_hit, now)
            self._history.limited(client.entry, now)
            if request.charged_pass is not None:
                self._history.limited(request.charged_pass, now)

    def rank(self, request: Request, now: float) -> float:
        """log2 of the units served before the onset, and a fraction that orders equals anew every ten minutes.

        In T2 the less a pass has taken, the higher: minus log2 of its units. A page that was just bought goes before
        the thousandth request of one that a botnet keeps.
        """
        subject: Pass | ClientEntry = request.client.entry
        token = request.shown_pass
        if token is not None and request.tier is T2:
            order = order_tag(self._key, token.key, int(now // self._order_seconds))
            return order / 65536 - int(log2(token.taken + 1.0))
        if token is not None and token.record is not None:
            subject = token
        record = subject.record
        served = log2(record.units + 1.0) if record is not None and record.live else 0.0
        return int(served) + order_tag(self._key, subject.key, int(now // self._order_seconds)) / 65536


def _ban_of(client: Client, known: bool, now: float) -> Verdict | None:
    """The ban that holds for a client, if any. The ban of an address spares those behind it who are known."""
    until = client.entry.rare.banned_until
    if until > now:
        return banned(Reason.CLIENT_BANNED, int(until - now) + 1)
    until = client.source.rare.banned_until
    if until > now and not known:
        return banned(Reason.ADDRESS_BANNED, int(until - now) + 1)
    return None


def meant(request: Request) -> bool:
    """Whether a request for a honeypot was its client's own idea, as far as can be told.

    Anybody can put an image, a frame or a link to it on a page elsewhere, and in a comment here; readers of that must
    not be banned for it. So a browser's request counts only when it says that it was typed in or follows a link here:

        Sec-Fetch-Site    none or same-origin, and not for a part of a page (a sibling site may not be ours: no hit)
        without it        (plain HTTP, old browsers) a Referer of this host, and a page that is asked for
        without both      no browser: one always sends Accept-Language, most scanners do not

    Honestly: a scanner that sends what a browser sends on a link from elsewhere is not caught by this, and somebody
    who is talked into clicking such a link in a mail is. That one is banned for a minute.
    """
    headers = request.headers
    site = headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in ("none", "same-origin") and headers.get("Sec-Fetch-Dest", "document") in ("document", "empty")
    browser = "Accept-Language" in headers
    referer = headers.get("Referer")
    if referer is None:
        return not browser
    host = referer.partition("://")[2].partition("/")[0]
    here = host.lower() == headers.get("Host", "").lower()
    return here and (not browser or "text/html" in headers.get("Accept", ""))


def _tier_of(token: Pass) -> Tier:
    if token.record is not None and token.record.live:
        return T0
    return T1 if token.kind is PassKind.EARNED else T2
