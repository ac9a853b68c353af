"""Takes pictures of what the policy knows. Changes nothing.

To find the clients at an address all clients are looked at, which takes 10 ms with 200,000: at most MOST_CLIENTS are
shown, the worst first.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Final

from shield.model import Reason, Tier, Verdict
from shield.policy.drops import Drops
from shield.policy.entries import AddressEntry, ClientEntry, Pass, PassKind
from shield.policy.explain.picture import Budget, HistoryPicture, PassPicture, Picture, RoutePicture
from shield.policy.explain.refusing import refusing
from shield.policy.identity import Identity
from shield.policy.locations import locate
from shield.policy.passes import Passes
from shield.policy.per_route.judge import RouteJudge
from shield.policy.per_route.terms import NEVER
from shield.policy.reputation import Reputation
from shield.policy.request import Request
from shield.policy.rules.effects import Effects
from shield.policy.rules.matching import Held
from shield.policy.rules.rule import who
from shield.policy.rules.trial import TriedRule
from shield.policy.settings import EngineSettings
from shield.policy.tiers import Tiers, tier_of
from shield.policy.whereabouts import NOWHERE
from shield.policy.windows import Windows

ROUTE_RATE: Final = Reason.ROUTE_RATE
NO_RULES: Final = Held()
MOST_CLIENTS: Final = 20
PATH_CHARS: Final = 256


class Explainer:
    """One engine's."""

    __slots__ = (
        "_drops",
        "_effects",
        "_identity",
        "_passes",
        "_reputation",
        "_routes",
        "_settings",
        "_tiers",
        "_windows",
    )

    def __init__(
        self,
        settings: EngineSettings,
        *,
        identity: Identity,
        reputation: Reputation,
        passes: Passes,
        drops: Drops,
        tiers: Tiers,
        windows: Windows,
        effects: Effects,
        routes: RouteJudge | None,
    ) -> None:
        self._routes = routes
        self._settings = settings
        self._identity = identity
        self._reputation = reputation
        self._passes = passes
        self._drops = drops
        self._tiers = tiers
        self._windows = windows
        self._effects = effects

    def of_request(self, request: Request, now: float) -> Picture:
        """A request that was judged just now."""
        client = request.client
        crawler = "" if client.crawler is None else client.crawler.agent
        matching = self._effects.matching
        rules = NO_RULES
        if matching is not None:
            rules = Held(matching.access(request), matching.limiting(request), matching.challenge(request))
        return self._picture(
            client.source,
            client.entry,
            request.shown_pass,
            now,
            named=client.named,
            rules=rules,
            tried=self._effects.trial.naming(request),
            where=client.home,
            request=request,
            crawler=crawler,
        )

    def of_address(self, address: str, now: float) -> list[tuple[str, Picture]]:
        """The clients that are known at an address, each by its key in hex; "" for one who is not known there yet.
        ValueError when it is no address."""
        address, home, _, _ = locate(address)
        matching = self._effects.matching
        rules = NO_RULES if matching is None else matching.of_address(address)
        source = self._identity.addresses.get(home)
        named = self._identity.named(address)
        pictures = []
        for entry in () if source is None else self._clients_at(source, now):
            own = NO_RULES if matching is None else matching.of_client(entry.key)
            held = Held(own.access or rules.access, own.limit or rules.limit, own.challenge or rules.challenge)
            tried = self._effects.trial.about(address, entry.key)
            picture = self._picture(source, entry, None, now, named=named, rules=held, tried=tried, where=home)
            pictures.append((entry.key.hex(), picture))
        return [*pictures, ("", self._stranger(address, home, None, now))]

    def refusing(self, subject: str) -> list[str]:
        """What refuses a subject as rules name it (rule.who), besides what Shield does by itself."""
        return refusing(subject, self._effects, self._identity)

    def of_unread(self, address: str, verdict: Verdict, now: float) -> Picture:
        """A request from a textual address that was refused before anything of it was read."""
        address, home, _, _ = locate(address)
        return self._stranger(address, home, verdict, now)

    def _stranger(self, address: str, home: str, verdict: Verdict | None, now: float) -> Picture:
        matching, named = self._effects.matching, self._identity.named(address)
        rules = NO_RULES if matching is None else matching.of_address(address)
        tried = self._effects.trial.about(address)
        source = self._identity.addresses.get(home)
        return self._picture(
            source, None, None, now, named=named, rules=rules, tried=tried, where=home, verdict=verdict
        )

    def of_pass(self, text: str, now: float) -> Picture | None:
        """A pass by its token or its id, if it is in use, or its token was signed here. ValueError for another text."""
        subject = who(text)
        key = bytes.fromhex(subject.removeprefix("pass:"))
        token = text.removeprefix("pass:")
        shown = self._passes.look(key, None if subject == text else token, now)
        if shown is None:
            return None
        matching = self._effects.matching
        rules = NO_RULES if matching is None else matching.of_pass(key)
        return self._picture(None, None, shown, now, named=None, rules=rules, tried=self._effects.trial.about_pass(key))

    def _clients_at(self, source: AddressEntry, now: float) -> list[ClientEntry]:
        here = (entry for entry in self._identity.clients.values() if entry.source is source)
        return heapq.nlargest(
            MOST_CLIENTS, here, key=lambda entry: (entry.rare.banned_until, self._reputation.of_client(entry, now))
        )

    def _picture(
        self,
        source: AddressEntry | None,
        entry: ClientEntry | None,
        shown: Pass | None,
        now: float,
        *,
        named: Reason | None,
        rules: Held,
        tried: Sequence[TriedRule],
        where: str = "",
        request: Request | None = None,
        verdict: Verdict | None = None,
        crawler: str = "",
    ) -> Picture:
        reputation, weather, limits = self._reputation, self._windows.weather, self._effects.limits
        record = None if entry is None or entry.record is None or not entry.record.live else entry.record
        score = 0.0 if entry is None else reputation.of_client(entry, now)
        tier = request.tier if request is not None else self._tier(score, record is not None, shown)
        route = None if request is None or self._routes is None else self._route(self._routes, request, now)
        spared = request is not None and self._tiers.spares(request)
        verdict = verdict if request is None else request.verdict
        return Picture(
            now=now,
            where=where,
            there=self._identity.where(where.removesuffix("/64")) if where else NOWHERE,
            verdict=verdict,
            tier=int(tier),
            path="" if request is None else request.path[:PATH_CHARS],
            route=route,
            braked_by=request.braked_by if request is not None and verdict and verdict.reason is ROUTE_RATE else "",
            rule=rules.access,
            limit=rules.limit,
            challenge=rules.challenge,
            rules_tried=tried,
            named=named,
            crawler=crawler,
            vouched=None if source is None else source.rare.vouched,
            client_banned=0.0 if entry is None else entry.rare.banned_until,
            address_banned=0.0 if source is None else source.rare.banned_until,
            relapses=0 if entry is None else entry.rare.relapses,
            dropped=0.0 if source is None else self._drops.active.get(source.name, 0.0),
            history=None if record is None else HistoryPicture(record.first, record.last, record.windows, record.units),
            shown=None if shown is None else _of_pass(shown, now),
            score=score,
            address_score=0.0 if source is None else reputation.of_source(source, now),
            p=weather.p,
            pressed=weather.pressed,
            attack_since=weather.attack.since if weather.attack.on else 0.0,
            attack_cause=weather.attack.cause,
            tried=self._effects.tried.measures,
            dry_run=self._effects.dry_run,
            spared=spared or (route is not None and route.challenge == NEVER),
            unanswered=0 if entry is None else entry.rare.unanswered,
            challenged_since=0.0 if entry is None else entry.rare.refused_since,
            client=_budget(0.0 if entry is None else entry.tat, limits.client.rate, limits.client.burst, now),
            address=_budget(0.0 if source is None else source.tat, limits.address.rate, limits.address.burst, now),
        )

    def _route(self, routes: RouteJudge, request: Request, now: float) -> RoutePicture | None:
        terms = routes.routing.of(request)
        if terms is None:
            return None
        settings, keys = terms.route.settings, routes.keys(request)
        limits = [
            (brake.label, name, Budget(level.left(keys[name], now), level.rate, level.burst))
            for brake in terms.brakes
            for name, level in brake.levels.items()
            if name in keys
        ]
        return RoutePicture(
            settings.label, terms.mode or "", request.cost, terms.plain, settings.dry_run, tuple(limits)
        )

    def _tier(self, score: float, known: bool, shown: Pass | None) -> Tier:
        tier = Tier.T4 if score > self._settings.reputation.bad_score else Tier.T1 if known else Tier.T3
        return tier if shown is None else min(tier, tier_of(shown))


def _budget(tat: float, rate: float, burst: float, now: float) -> Budget:
    return Budget(burst - max(tat - now, 0.0) * rate, rate, burst)


def _of_pass(shown: Pass, now: float) -> PassPicture:
    known = shown.record is not None and shown.record.live
    kind = PassKind(shown.kind).name.lower()
    budget = _budget(shown.tat, shown.rate, shown.burst, now)
    return PassPicture(
        shown.key, kind, shown.issued, shown.expires, shown.revoked, shown.scarce, known, len(shown.seen), budget
    )
