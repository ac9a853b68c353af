"""The judge where the operator has set something for single routes: it stands before the judge, and asks them first.

    named in identity.allow or deny, banned    as ever, whatever the route
    the route's limit                          refuses before anything else is charged: not the client's bucket, nor
                                               that of its pass or API key. Who is refused so counts as no demand
    the rest                                   is asked of a judge with the route's `challenge` as its challenge.mode

A dry run of a route reports what it would refuse, and lets the request through.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from shield.model import Action, Reason, Tier, Verdict
from shield.policy.api_keys import ApiKeys
from shield.policy.judges import Judges
from shield.policy.per_route.brake import Brake, Key
from shield.policy.per_route.selecting import Routing
from shield.policy.per_route.terms import Terms
from shield.policy.request import Request
from shield.policy.routes import Routes
from shield.policy.tiers import tier_of

OK: Final = Reason.OK
FORWARDED: Final = Action.FORWARD
_ALWAYS_DRY: Final = Verdict(Reason.CHALLENGE_ALWAYS).in_dry_run()


class RouteJudge:
    """As Judge, to the engine. All judges share the same buckets, scores and API keys."""

    __slots__ = ("_api_keys", "_judges", "_routes", "_usual", "routing")

    def __init__(self, routing: Routing, judges: Judges, routes: Routes, api_keys: ApiKeys) -> None:
        """`routes` knows what a request costs."""
        self.routing = routing
        self._usual = judges.usual
        self._judges = judges.by_word
        self._routes = routes
        self._api_keys = api_keys

    def judge(self, request: Request, now: float, said: str | None = None) -> Verdict:
        """Ask the routes, then a judge. `said`: the word for `challenge` that goes before that of the route."""
        terms = self.routing.of(request)
        if terms is None:
            return self._judges[said].judge(request, now)
        client = request.client
        judge = self._judges[said or terms.mode]
        if client.named is not None or client.entry.rare.banned_until > now:
            return judge.judge(request, now)
        self._price(request, terms)
        reported, charged = self._brake(request, terms, now) if terms.brakes else (None, None)
        if reported is not None and reported.action is Action.LIMIT:
            return reported
        verdict = judge.judge(request, now)
        if verdict.action is not FORWARDED:
            return verdict
        if charged is not None:
            charged(now)
        if reported is None and terms.always_dry and verdict.reason is OK and request.shown_pass is None:
            reported = _ALWAYS_DRY
        return verdict if reported is None else reported

    def toll(self, request: Request, now: float) -> Verdict:
        """The same for what Shield answers itself, which is under no route."""
        return self._usual.toll(request, now)

    def keys(self, request: Request) -> dict[str, Key]:
        """Whose buckets a request is charged to, by level. An API key has one wherever it is, and no others."""
        if self._api_keys.header:
            budget = self._api_keys.of(request)
            if budget is not None:
                return {"client": budget.key}
        client, shown = request.client, request.shown_pass
        key = client.key if shown is None else shown.key
        return {"client": key, "address": client.home, "network": client.network}

    def expire(self, now: float) -> None:
        """Forget the buckets that are full."""
        for one in self.routing.routes:
            if one.brake is not None:
                one.brake.expire(now)

    def _price(self, request: Request, terms: Terms) -> None:
        cost = terms.price(request.cost)
        if cost != request.cost:
            request.route = self._routes.at_cost(request.method, request.path, cost)
            request.cost = cost

    def _brake(
        self, request: Request, terms: Terms, now: float
    ) -> tuple[Verdict | None, Callable[[float], None] | None]:
        """The limit of a route, or its report where that is tried only; and how to charge a request that is let in."""
        keys = self.keys(request)
        record, shown = request.client.entry.record, request.shown_pass
        known = record is not None and record.live
        insist = known or shown is not None or len(keys) == 1
        reported: Verdict | None = None
        passed: list[Brake] = []
        for brake in terms.brakes:
            refusal = brake.refusal(keys, insist, now)
            if refusal is None:
                passed.append(brake)
                continue
            request.braked_by = brake.label
            if brake.dry_run:
                reported = refusal.in_dry_run()
            else:
                request.tier = Tier.T1 if known else Tier.T3
                if shown is not None:
                    request.tier = min(request.tier, tier_of(shown))
                return refusal, None

        def charge(now: float) -> None:
            for brake in passed:
                brake.take(keys, insist, now)

        return reported, charge
