"""The policy's border: requests are judged, queued and learned from, in a few synchronous verbs.

    decide      a request has come: forward it, queue it, or refuse it, and why
    enter       the body of a request is here: now it wants a slot
    learn       a forwarded request has ended: settle its cost, its history, its reputation; its slot is free
    make_way    requests that take long go on without their slots
    release     its slot is free before its end; cancel: its client has left
    shut_out    whatever an address asks would be refused: its requests need not be read
    report      a client has done something bad that is no response
    mint, redeem, claim, wait, grant, present, upkeep      challenges, the waiting room, and passes
    follow      the operator has changed something; pardon: what Shield did by itself is lifted
    tick        time has passed: every 20 ms while requests wait, else every window

Where to find what a verb does: judge.py (the order of the questions), admission.py (slots and the queue),
upstream_times.py (what is learned of costs), sales.py (challenges and passes), windows.py (pressure).

`now` is monotonic seconds. Verbs that free a slot return the queued requests whose `verdict` they changed, to FORWARD
or SHED; the caller resumes those. A dry run reports the twins of the verdicts that refuse, and forwards.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, NamedTuple

from shield.model import DEFAULT_SITE, Action, Outcome, Reason, Signal, Tier, Verdict
from shield.policy.admission import Admission
from shield.policy.bans import Ban, in_force
from shield.policy.board.crew import Crew
from shield.policy.board.paid import Paid
from shield.policy.board.seat import Seat
from shield.policy.bucket import Rate
from shield.policy.challenge.challenge import Challenge, CheckWork, Redemption, solved
from shield.policy.challenge.settings import ChallengeMode
from shield.policy.clients import Clients
from shield.policy.cluster.counting import Counting
from shield.policy.cluster.side import SHARED, Side
from shield.policy.concurrency.concurrency import Concurrency
from shield.policy.entries import Pass, PassKind
from shield.policy.explain.explainer import Explainer
from shield.policy.identity import ADDRESS_BYTES, CLIENT_BYTES, NETWORK_BYTES, Client
from shield.policy.judge import Judge
from shield.policy.judges import WORDS, Judges
from shield.policy.keys import Keys
from shield.policy.limits.charges import Charges
from shield.policy.limits.limits import NOT_CHARGED, Left, Limits
from shield.policy.limits.squeeze import Squeeze
from shield.policy.limits.sums import NetworkSums
from shield.policy.limits.together import Together
from shield.policy.long_requests import LEAST_LONG, TIMES, LongRequests
from shield.policy.news import News
from shield.policy.notes import Note, Notes
from shield.policy.passes import PASS_BYTES, Passes
from shield.policy.per_route.judge import RouteJudge
from shield.policy.per_route.selecting import Routing
from shield.policy.pressure.pressure import Pressure
from shield.policy.pressure.window import IDLE, OwnLoad, Tally
from shield.policy.pricing.pricing import Pricing
from shield.policy.pricing.purse import SharedPurse
from shield.policy.pricing.waiting_room import Room
from shield.policy.provoked import brings_cookies, by_another_site, could_answer
from shield.policy.queue.queue import Queue
from shield.policy.ranks import Ranks
from shield.policy.refusals import TimedRefusals, banned
from shield.policy.remembered import Remembered
from shield.policy.reputation import POOR_STATUS
from shield.policy.request import Request
from shield.policy.routes import TARGET_CHARS, Routes
from shield.policy.rules.effects import Effects
from shield.policy.rules.overruled import Overruled
from shield.policy.rules.rule import Rule
from shield.policy.rules.trial import Trial
from shield.policy.sales import Sales
from shield.policy.settings import EngineSettings
from shield.policy.several import Several
from shield.policy.standing import Standing
from shield.policy.standouts import Standouts
from shield.policy.status import BoardStatus, OwnLoadStatus, PassesStatus, PolicyStatus, TablesStatus, WouldStatus
from shield.policy.tiers import Tiers
from shield.policy.tried import Tried
from shield.policy.upkeep import Upkeep, upkeep
from shield.policy.upstream_times import UpstreamTimes
from shield.policy.visits import AGAIN
from shield.policy.windows import Windows

FORWARDED: Final = Action.FORWARD  # looking up a member of an Enum costs 70 ns
REFUSING: Final = frozenset({Action.CHALLENGE, Action.LIMIT, Action.SHED, Action.BAN})
ADDRESS_BANNED: Final = Reason.ADDRESS_BANNED
CLIENT_BANNED: Final = Reason.CLIENT_BANNED
UPSTREAM_ERRORS: Final = frozenset({502, 503, 504})


def _decide_spread(
    decide: Callable[[Request, float], Verdict], note: Callable[[Request], None], request: Request, now: float
) -> Verdict:
    """As Engine.decide, where other workers or machines serve the same client."""
    verdict = decide(request, now)
    if request.charged_factor != NOT_CHARGED:
        note(request)
    return verdict


class OperatorSide(NamedTuple):
    """What the operator changes and asks at run time. One attribute of the engine: from 30 on, those of an object are
    kept in a table of its own, and each takes longer to read."""

    effects: Effects
    explainer: Explainer
    routing: Routing | None
    counting: Counting | None
    """And what other machines count: nothing is decided by it here."""


class Engine:
    """The policy of one upstream pool: of the service, or of one of its sites. What is known of clients is the same at
    all of them (clients.py).

    It has more than 15 attributes because each part of the policy that one of its verbs asks is one.

    `entropy(n)` returns n random bytes, `wall_offset` is wall clock minus monotonic clock in seconds, `concurrency`
    the requests that the upstream takes at once. `check_work` checks the hashes of an answer: a simulation puts
    something in its place that takes no hashes. `check_hashwx`: the same in HashWX, where that is asked for. `seat`: of
    one of several workers (board/); None where there is one. `beside`: the first engine of those that share what is
    known of clients. `side`: of one of several machines.
    """

    def __init__(
        self,
        settings: EngineSettings,
        keys: Keys,
        entropy: Callable[[int], bytes],
        wall_offset: float,
        concurrency: int,
        check_work: CheckWork = solved,
        seat: Seat | None = None,
        site: str = DEFAULT_SITE,
        beside: Engine | None = None,
        check_hashwx: CheckWork | None = None,
        side: Side | None = None,
    ) -> None:
        limits, tables, challenge, part = settings.limits, settings.tables, settings.challenge, settings.part
        self.site = site
        self.clients: Clients = (
            Clients(settings, keys, entropy, wall_offset, check_work, seat, check_hashwx, side)
            if beside is None
            else beside.clients
        )
        clients = self.clients
        self._notes = Notes()
        news = clients.news if beside is None else News(seat is not None)
        self._history = clients.history
        self._identity = clients.identity
        self._reputation = clients.reputation
        self.drops = clients.drops
        self._routes = Routes(settings.routes, part(tables.paths), part(tables.routes), limits.costs)
        self._limits = Limits(limits, self._reputation)
        self._standouts = Standouts(settings.standouts, self._notes, settings.challenges)
        tried = Tried(settings.tried)
        queues = not (settings.dry_run or settings.queue.dry_run)
        self._concurrency = Concurrency(settings.concurrency, concurrency, queues, seat)
        pressure, tally = Pressure(settings.pressure, self._concurrency.limit, settings.by_rates), Tally()
        self._queue = Queue(settings.queue, self._concurrency.limit)
        room = Room(settings.pricing, part(tables.waiting), keys, entropy, news)
        purse = None if seat is None else SharedPurse(seat)
        self._pricing = Pricing(settings.pricing, challenge, settings.pressure.max_pressure, room, purse)
        self._passes = Passes(
            challenge,
            limits.pass_,
            tables.passes,
            clients.tokens,
            self._history,
            self._pricing.room.hold,
            clients.notes,
            clients.news,
            clients.journal,
            site,
            clients.sellers,
        )
        refusals = TimedRefusals(settings.queue)
        ranks = Ranks(keys.current, settings.queue.order_seconds, settings.challenge.bought_burst)
        charges = Charges(self._limits, self._reputation, self._history, tally)
        sums = None if seat is None or not seat.spread else NetworkSums()
        squeeze = Squeeze(limits, settings.pressure.calm_after, self._reputation, tally, sums)
        together = Together(self._concurrency.slots, settings.routes.settled)
        api_keys = clients.api_keys

        def judges(mode: ChallengeMode) -> tuple[Tiers, Judge]:
            by_mode = replace(settings, challenge=replace(challenge, mode=mode))
            tiers = Tiers(
                by_mode,
                pressure.weather,
                charges,
                squeeze,
                ranks,
                refusals,
                self._reputation,
                self._standouts,
                together,
            )
            return tiers, Judge(by_mode, charges, squeeze, tiers, self._reputation, api_keys, clients.bots)

        by_mode = {mode: judges(mode) for mode in WORDS.values()}
        tiers, every = by_mode[challenge.mode][0], Judges(by_mode, challenge.mode)
        judge: Judge | RouteJudge = every.usual
        routing = None
        if settings.route:
            routing = Routing(settings.route, settings.sites, self._identity.where)
            judge = RouteJudge(routing, every, self._routes, api_keys)
        self._judge = judge
        slots, headroom = self._concurrency.slots, self._concurrency.headroom
        long = LongRequests(slots, headroom, self._routes.typical, settings.routes.settled)
        self._admission = Admission(settings, slots, long, self._queue, ranks, refusals, self._limits, tried)
        self._times = UpstreamTimes(settings.routes, self._routes, self._concurrency, long, self._queue, self._limits)
        self._sales = Sales(
            challenge,
            clients.challenger,
            self._pricing,
            self._passes,
            self._identity,
            self._history,
            self._reputation,
            self._limits,
            squeeze,
        )
        self._challenge = challenge
        self.api_key_header = settings.identity.api_key_header
        self._least_cost = settings.routes.least_cost
        self._tiers = [0] * len(Tier)  # requests so far
        paid = None if sums is None else Paid(limits, self._identity, self._passes, sums)
        leases = None if clients.side is None else clients.side.leases
        for note in [noting.note for noting in (paid, leases) if noting is not None]:  # the others ask nothing
            self.decide = partial(_decide_spread, self.decide, note)  # type: ignore[method-assign]
        self._windows = Windows(
            settings=settings,
            tally=tally,
            concurrency=self._concurrency,
            pressure=pressure,
            queue=self._queue,
            judges=every,
            passes=self._passes,
            history=self._history,
            pricing=self._pricing,
            standouts=self._standouts,
            notes=self._notes,
            clients=clients,
            site=site,
        )
        effects = Effects(
            settings,
            judge=self._judge,
            judges=every,
            charges=charges,
            limits=self._limits,
            squeeze=squeeze,
            windows=self._windows,
            admission=self._admission,
            concurrency=self._concurrency,
            drops=self.drops,
            identity=self._identity,
            reputation=self._reputation,
            api_keys=api_keys,
            tried=tried,
            wall_offset=wall_offset,
            site=site,
            beside=None if beside is None else beside._operator.effects,
        )
        machines = None if side is None else Counting()
        explainer = Explainer(
            settings,
            identity=self._identity,
            reputation=self._reputation,
            passes=self._passes,
            drops=self.drops,
            tiers=tiers,
            windows=self._windows,
            effects=effects,
            routes=judge if isinstance(judge, RouteJudge) else None,
        )
        self._operator: OperatorSide = OperatorSide(effects, explainer, routing, machines)
        self._asked: Judge | RouteJudge | Overruled | Trial = self._judge
        self.dry_run = settings.dry_run

        self._remembered = Remembered(
            identity=self._identity,
            drops=self.drops,
            reputation=self._reputation,
            passes=self._passes,
            challenger=clients.challenger,
            pricing=self._pricing,
            routes=self._routes,
            concurrency=self._concurrency,
            windows=self._windows,
            wall_offset=wall_offset,
            journal=clients.journal,
            paid=paid,
            of_clients=beside is None,
        )
        self._several: Several | None = None
        if seat is not None and clients.claims is not None:
            self._several = Several(
                crew=Crew(seat, self._concurrency),
                claims=clients.claims,
                news=news,
                paid=paid,
                challenger=clients.challenger,
                concurrency=self._concurrency,
                queue=self._queue,
                remembered=self._remembered,
                routes=self._routes,
                settled=settings.routes.settled,
                times=self._times,
                window=settings.pressure.window,
                windows=self._windows,
                side=None if beside is not None else clients.side,
                counting=machines,
            )

    # Who asks

    def identify(self, address: str, user_agent: str, language: str, ja4: str, now: float) -> Client:
        """The handle on a client; `address` is textual (ValueError when it is none). Keep it for the connection."""
        return self._identity.identify(address, user_agent, language, ja4, now)

    def present(self, token: str, now: float) -> Pass | None:
        """The pass that a cookie or header stands for; None when it is forged, has ended or was revoked."""
        return self._passes.present(token, now)

    def vouch(self, address: str, ok: bool, now: float) -> None:
        """Keep what forward-confirmed reverse DNS says of an address whose client is `unverified`."""
        self._identity.vouch(address, ok, now)

    # Requests

    def decide(self, request: Request, now: float) -> Verdict:
        """Judge a request. Unless its body is pending it gets a slot, too (FORWARD), or is queued (QUEUE)."""
        self._prepare(request, now)
        path = request.path
        target = request.method + (path if len(path) <= TARGET_CHARS else path[:TARGET_CHARS])
        route = self._routes[target]
        if not route.live:
            route = self._routes.again(target)
        route.count += 1
        request.route = route
        request.cost = route.cost
        verdict = self._asked.judge(request, now)
        self._tiers[request.tier] += 1
        if verdict.action is not FORWARDED:
            tried = self._operator.effects.tried
            if self.dry_run or verdict.reason in tried.reasons:
                verdict = verdict.in_dry_run()
            elif verdict.action in REFUSING:  # not where a single route is tried
                request.verdict = verdict
                self.drops.refused(request, now)
                return verdict
            tried.note(request, verdict.action)
        request.verdict = verdict
        return verdict if request.body_pending else self._admission.enter(request, now)

    def enter(self, request: Request, now: float) -> Verdict:
        """The body of a request that was let in is here: FORWARD with a slot, QUEUE, or SHED.

        A request whose slot was released may ask again. If it ends while it is queued then, withdraw() takes it out."""
        request.body_pending = False
        return self._admission.enter(request, now)

    def enter_again(self, request: Request, now: float) -> Verdict:
        """As enter(), for a request that was let in once and then shed."""
        return self._admission.enter_again(request, now)

    def withdraw(self, request: Request) -> None:
        """A request that is at the service, and waits for its slot again, ends without."""
        self._admission.remove(request)

    def long_after(self, now: float) -> float:
        """Seconds of silence at the service after which a request has taken long. Infinity: it need not be asked, as
        nobody needs its slot."""
        return self._admission.long_after(self._concurrency.usual_ratio, now)

    def work_takes(self, request: Request) -> float:
        """Seconds after which the service, which has not answered a request, is hardly at work on it, but waits for
        more of it: TIMES what it takes as things are now, LEAST_LONG at most."""
        return min(TIMES * self._times.usual(request.route), LEAST_LONG)

    def make_way(self, silent: Sequence[Request], now: float) -> Sequence[Request]:
        """Have requests that have taken long go on without their slots, for those who wait. `silent` are those whose
        response has not begun after `long_after()`, or hardly."""
        return self._admission.make_way(silent, self._concurrency.usual_ratio, now)

    def occupied(self, request: Request, seconds: float, now: float) -> None:
        """Charge what the service was kept with besides its response: it has read the body for so long."""
        self._times.occupied(request, seconds, now)

    def toll(self, request: Request, now: float) -> Verdict:
        """Judge a request that Shield answers itself: bans and rates hold, it is never challenged and takes no slot."""
        self._prepare(request, now)
        request.cost = self._least_cost
        request.tier = Tier.T3
        verdict = self._asked.toll(request, now)
        if verdict.action is not FORWARDED:
            if self.dry_run or verdict.reason in self._operator.effects.tried.reasons:
                verdict = verdict.in_dry_run()
            else:
                self.drops.refused(request, now)
        request.verdict = verdict
        return verdict

    def shut_out(self, address: str, now: float) -> Verdict | None:
        """The ban of a textual address, where it holds for every request from there that shows neither a pass nor an
        API key. None when a request must be read to be judged, as it must where somebody has a history, while the
        address may pay its way out, and in a dry run. To be asked before anything is read; it charges nothing."""
        if self.dry_run:
            return None
        matching = self._operator.effects.matching
        if matching is not None and address:
            rule = matching.of_address(address).access
            if matching.spares_somebody() or (rule is not None and rule.kind == "allow"):
                return None
            if rule is not None:
                return self._operator.effects.overruled.refusal(rule, now)
        if not self._reputation.bans_addresses() or ADDRESS_BANNED in self._operator.effects.tried.reasons:
            return None
        source = self._identity.met(address)
        if source is None:
            return None
        rare = source.rare
        until = rare.banned_until
        if until <= now or rare.spared_until > now or rare.named is not None or rare.vouched:
            return None
        if self._history.clients_at(source.name):
            return None
        if self._challenge.mode != "off" and self._limits.address_can_pay(source, now):
            return None  # newcomers there may pay their way out
        return banned(ADDRESS_BANNED, int(until - now) + 1)

    def allows(self, address: str) -> bool:
        """Whether a textual address is one that the operator wants never limited."""
        matching = self._operator.effects.matching
        if matching is not None:
            rule = matching.of_address(address).access
            if rule is not None:
                return rule.kind == "allow"
        return self._identity.allows(address)

    def refused_unread(self, address: str, now: float) -> None:
        """Count a request from a textual address that was refused by `shut_out`."""
        source = self._identity.met(address)
        if source is not None:
            self.drops.refused_unread(source, now)
        self._tiers[Tier.T0] += 1  # as those that are read before they are refused for a ban

    def events(self) -> Sequence[Note]:
        """Decisions of note since the last call, as (name, fields), for the log.

        The turning points: attack_onset, attack_end, brownout. Of clients: ban, pass_revoked, fingerprint_limited. Of
        each of the two kinds the newest 64 are kept.
        """
        return [*self._notes.take(), *self.clients.notes.take()] if self._remembered.of_clients else self._notes.take()

    def learn(self, request: Request, outcome: Outcome, now: float) -> Sequence[Request]:
        """Settle what a request that has ended cost and what it says of its client; free its slot."""
        client = request.client
        status = outcome.status
        error = status in UPSTREAM_ERRORS
        if not outcome.stream:
            self._times.learn(request, outcome.rtt, error, now, outcome.unsure)
        if client.named is None and not error:
            entry = client.entry
            if 100 < status < 400:
                if entry.begun + AGAIN <= now and self.clients.calm_but_for(self.site):
                    entry.begun = now
                entry.answered = now
                self._reputation.good(entry, now)
                self._history.good(entry, client.home, client.network, request.cost, now)
                shown = request.shown_pass
                if shown is not None:
                    self._history.good(shown, client.home, client.network, request.cost, now)
                    if client.source.rare.unheeded:
                        client.source.paid_at = now
                    if shown.scarce:
                        self._passes.renew(shown, now)
            elif status in POOR_STATUS and not by_another_site(request):
                self._reputation.soft(client.source, entry, self._reputation.settings.poor_status, now)
        return self._admission.release(request, now)

    def release(self, request: Request, now: float) -> Sequence[Request]:
        """Give a request's slot back, if it has one."""
        return self._admission.release(request, now)

    def cancel(self, request: Request, now: float, at_work: bool = False) -> Sequence[Request]:
        """Let go of a request whose client has left, wherever it is: not entered yet, queued, or forwarded. `at_work`:
        the service has it, and has not begun to answer."""
        if self._admission.remove(request) or request.body_pending:
            self._limits.settle(request, self._least_cost, now)  # it did not reach the upstream
        request.charged_factor = NOT_CHARGED
        if at_work:
            return self._admission.leave(request, self._times.usual(request.route), now)
        return self._admission.release(request, now)

    def end(self) -> None:
        """Nobody is served any more: count nothing as being at the service that other workers would wait for."""
        self._admission.free_left(math.inf)

    def deserves(self, who: Client | str, shown: Pass | None) -> bool:
        """Whether the connection of somebody is to be kept before those of strangers.

        `who` is the address (IPv4 /32 or IPv6 /64, as text) when no request has told more: then it is enough that
        somebody there has a history.
        """
        if isinstance(who, str):
            return self._history.clients_at(who) > 0
        record = who.entry.record
        known = record is not None and record.live
        return known or shown is not None or who.named is Reason.ALLOWLISTED or self._operator.effects.lets_in(who)

    def report(self, who: Client | str, signal: Signal, now: float) -> None:
        """Take note of something bad that a client did, short of a request.

        `who` is the textual address when the connection ended before it told more: then the address itself is charged,
        as reputation.py says. To charge a client made of nothing but the address would let the real one off.
        """
        reputation, hard = self._reputation, signal is Signal.MALFORMED
        points = reputation.settings.malformed if hard else reputation.settings.slow_abort
        if isinstance(who, str):
            source = self._identity.source(who, now)
            if source.named is not None:
                return
            if hard:
                reputation.hard_of(source, points, signal.value, now)
            else:
                reputation.soft_of(source, points, now)
        elif who.named is None:
            if not who.live:
                self._identity.renew(who, now)
            if hard:
                tried = self.dry_run or CLIENT_BANNED in self._operator.effects.tried.reasons
                if who.entry.rare.banned_until > now and not tried:
                    self.drops.broken(who, now)
                reputation.hard(who.source, who.entry, points, signal.value, now)
            else:
                reputation.soft(who.source, who.entry, points, now)

    # Challenges and passes

    def mint(self, request: Request, now: float) -> Challenge:
        """The challenge that goes with a CHALLENGE verdict."""
        return self._sales.mint(request.client, request.tier, could_answer(request), now)

    def redeem(self, client: Client, token: str, nonces: Sequence[int], now: float) -> Redemption:
        """What an answer to a challenge buys: a pass, or a place in the waiting room when none is to be had.

        A bad answer is charged, a false one raises the score.
        """
        return self._sales.redeem(client, token, nonces, now)

    def claim(self, client: Client, ticket: str, now: float) -> Redemption:
        """What has become of a place in the waiting room: ACCEPTED (again and again, for a while), WAITING, or lost."""
        return self._sales.claim(client, ticket, now)

    def wait(self, request: Request, ticket: str, now: float) -> Redemption:
        """What the sender of a request that is challenged gets for having waited since `ticket`, the token of an
        earlier challenge, was minted: ACCEPTED; WAITING; or EXPIRED, and may begin now. With `wait` 0 it cannot."""
        return self._sales.wait(request.client, ticket, self._windows.weather.p, now)

    def left(self, request: Request, now: float) -> Left | None:
        """What is left of the budget of the API key that a request shows; None without one."""
        budget = request.charged_pass
        return None if budget is None or budget.kind is not PassKind.API_KEY else self._limits.left(budget, now)

    def grant(self, request: Request, now: float) -> str | None:
        """The token of a pass for a client that has just become a known one; None when it gets none.

        To be asked only when a cookie can go to nobody else.
        """
        return self._sales.grant(request, now)

    def upkeep(self, request: Request, now: float) -> Upkeep:
        """What a page that stays open should do about its pass, which this counts as a use of. `request` is its
        question, which has been let through by toll()."""
        client, shown, mode = request.client, request.shown_pass, self._challenge.mode
        if shown is not None and shown.scarce:
            self._passes.renew(shown, now)
        routes = () if self.routing is None else self.routing.routes
        always = mode == "always" or any(one.settings.challenge == "always" for one in routes)
        record = client.entry.record
        known = record is not None and record.live and not always
        safe = client.named is not None or known or not (self.challenges or always)
        return upkeep(self._challenge, shown, always or self.pressed, safe, now)

    # The operator

    @property
    def routing(self) -> Routing | None:
        """What was set for single routes; None where nothing was."""
        return self._operator.routing

    @property
    def explainer(self) -> Explainer:
        """Why requests are judged as they are."""
        return self._operator.explainer

    def follow(self, rules: Sequence[Rule], now: float) -> None:
        """Go by these rules of the operator's from now on, and by no others, until each has ended."""
        self._operator.effects.follow(rules, now)
        self._go_by_effects()

    def know(self, standing: Standing, now: float) -> None:
        """Go by what the config and its files say of addresses from now on."""
        self._operator.effects.know(standing, now)
        self._go_by_effects()

    def rules_tried(self) -> Mapping[int, WouldStatus]:
        """Whom each rule that is tried would have refused, at all sites, by the rule's number."""
        return self._operator.effects.trial.counted()

    def bans(self, now: float) -> Iterator[Ban | None]:
        """The bans that are in force; to be consumed in slices, as None stands for each entry that has none."""
        return in_force(self._identity, self._reputation, now)

    def pardon(self, subject: str, now: float) -> Iterator[int]:
        """Lift the bans, the scores and the drops that Shield has made by itself of a network, an AS, a country, or of
        a client by its key: how many bans, entry by entry; to be consumed in slices."""
        return self._operator.effects.pardon(subject, now)

    def _go_by_effects(self) -> None:
        self._asked = self._operator.effects.asked
        self.dry_run = self._operator.effects.dry_run

    # Time

    def tick(self, now: float, own: OwnLoad = IDLE) -> Sequence[Request]:
        """Turn away those that waited too long; every window read the pressure and forget what is old.

        `own` is what Shield itself has to carry, as measured last.
        """
        admission, several = self._admission, self._several
        admission.shed_late(now)
        if several is None or several.sync(now):
            seconds = self._windows.due(now, 0.0 if several is None else several.report_seconds)
            if seconds:
                self._close_window(seconds, own, now)
            elif self._queue.waiting if several is None else several.hurries:
                self._concurrency.hurry(now)
        self._times.calm = not self._windows.weather.high
        return admission.advance(now) if admission.unfinished else ()

    def _close_window(self, seconds: float, own: OwnLoad, now: float) -> None:
        windows, several = self._windows, self._several
        self._operator.effects.tried.close_window(windows.weather.attack.on, now)
        completed, shed = self._times.close_window(), self._admission.close_window()
        counted = windows.count(now, sum(self._tiers), completed, shed, own)
        counting = self._operator.counting
        if several is None and counting is not None:
            there = counting.meet(windows.retell(counted), self._concurrency.limit, now)
            windows.close(now, seconds, counted, *there)
        elif several is None:
            windows.close(now, seconds, counted)
        elif not several.close_window(counted, seconds, now):
            return
        self._expire(own, now)

    @property
    def shared(self) -> bool:
        """Whether this is one of several workers, so that tick() is to be called every 20 ms."""
        return self._several is not None

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._queue)

    @property
    def full(self) -> bool:
        """Whether one more request would have to wait for a slot."""
        return self._admission.full

    def awaits(self, unread: int) -> None:
        """Be told that so many connections, which may have sent a request, are not read while it is `full`. That holds
        until the next call."""
        self._concurrency.slots.awaited = unread

    @property
    def next_waiting(self) -> Request | None:
        """The request that goes next in the order of the queue."""
        return self._queue.waiting[-1].request if self._queue.waiting else None

    @property
    def concurrency_limit(self) -> int:
        """Requests that the upstream takes at once, as far as is known: this worker's part."""
        return math.ceil(self._concurrency.limit * self._concurrency.slots.part)

    @property
    def in_flight(self) -> int:
        """Slots taken, by this worker."""
        return self._concurrency.slots.held

    @property
    def pressure(self) -> float:
        """The pressure (p), from 0 to 1."""
        return self._windows.weather.p

    @property
    def pressed(self) -> bool:
        """Whether p is above the threshold: newcomers are challenged."""
        return self._windows.weather.pressed

    @property
    def attack(self) -> bool:
        """Between onset and end."""
        return self._windows.weather.attack.on

    def status(self, now: float) -> PolicyStatus:
        """What the policy sees and holds, for /api/status and metrics."""
        weather, concurrency, queue, identity = self._windows.weather, self._concurrency, self._queue, self._identity
        attack = weather.attack
        return PolicyStatus(
            pressure=weather.p,
            pressure_target=weather.target,
            strictness=weather.strictness,
            overload=list(weather.overload.signs),
            own=OwnLoadStatus(weather.own.lag, weather.own.busy),
            brownout=weather.brownout,
            attack=attack.on,
            attack_seconds=now - attack.since if attack.on else 0.0,
            attack_cause=attack.cause if attack.on else "",
            attack_peak=attack.peak if attack.on else 0.0,
            demand=weather.demand,
            known_demand=weather.known_demand,
            capacity=weather.capacity,
            served=weather.served,
            requests_per_second=weather.rate,
            congestion=concurrency.congestion,
            concurrency=concurrency.limit,
            concurrency_found=concurrency.found,
            probing=concurrency.probing,
            in_flight=concurrency.slots.held,
            long=concurrency.slots.mine,
            waiting=len(queue),
            queue=queue.length.most,
            bought_kept=queue.kept,
            standing_queue=queue.standing,
            median_rtt=queue.length.median_rtt,
            cutoff=weather.cutoff,
            requests_by_tier={tier.name: count for tier, count in zip(Tier, self._tiers, strict=True)},
            active_bans=self._reputation.bans(now),
            dropped=len(self.drops.active),
            tried=sorted(self._operator.effects.tried.measures),
            would=self._operator.effects.tried.status(),
            would_seconds=self._operator.effects.tried.seconds(now),
            live_passes=PassesStatus(in_use=len(self._passes.table), bought=self._passes.bought),
            bought_passes=self._passes.bought,
            bought_rate=self._passes.factor * self._challenge.bought_rate,
            price=int(self._pricing.hashes),
            market=self._pricing.status(),
            challenged=self._sales.challenged.status(now),
            hitters=self._standouts.status(),
            strangers=self._standouts.asked,
            networks=self._standouts.networks(),
            routes=self._routes.top(10),
            board=BoardStatus() if self._several is None else self._several.status(),
            tables=TablesStatus(
                addresses=identity.addresses.status(ADDRESS_BYTES),
                clients=identity.clients.status(CLIENT_BYTES),
                networks=identity.networks.status(NETWORK_BYTES),
                passes=self._passes.table.status(PASS_BYTES),
                history=self._history.status(),
                spent=self.clients.challenger.status(),
                waiting=self._pricing.room.status(),
                routes=self._routes.status(),
            ),
        )

    def let_go(self, most: int) -> bool:
        """Let go of up to so many entries of each large table, once nobody asks this engine any more; whether any are
        left. Its parts refer to each other, so nothing else would free them soon."""
        identity = self._identity
        tables = identity.clients, identity.addresses, identity.networks, self._passes.table, self._history
        left = [table.let_go(most) for table in tables]  # of all of them
        return any(left)

    def export_history(self, now: float) -> Iterator[list[Any]]:
        """The history as plain rows, to be kept over a restart. Takes 1 µs a row; may be consumed in slices."""
        return self._history.rows(now, now + self._remembered.wall_offset)

    def import_history(self, rows: Iterable[list[Any]], now: float, homes: dict[str, str] | None = None) -> int:
        """Take rows that `export_history` made; how many made sense. For parts of them see `History.load`."""
        return self._history.load(rows, now, now + self._remembered.wall_offset, homes)

    @property
    def lets_banned_in(self) -> bool:
        """Whether bans are only reported."""
        return self.dry_run or ADDRESS_BANNED in self._operator.effects.tried.reasons

    @property
    def challenges(self) -> bool:
        """Whether anybody may be challenged."""
        return self._challenge.mode != "off"

    @property
    def bans_made(self) -> int:
        """Bans so far."""
        return self._reputation.bans_made

    def export_learned(self, now: float, heir: bool = False) -> Iterator[list[Any] | None]:
        """All else that is to outlive a restart, as plain rows (remembered.py); to be consumed in slices. `heir`: they
        go to who comes in the place of this very engine."""
        return self._remembered.rows(now, heir)

    def import_learned(self, rows: Iterable[Any], now: float, same_service: bool = True) -> int:
        """Take rows that `export_learned` made; how many were of use. `same_service`: they were learned before the
        service that is here now."""
        return self._remembered.load(rows, now, same_service)

    @property
    def journal(self) -> News:
        """Collects, while it is `on`, what must outlive a crash: bans, pardons, revoked passes, spent challenges."""
        return self._remembered.journal

    def export_journal(self) -> Iterator[list[Any]]:
        """What the journal has collected since the last call, as rows like those of `export_learned`."""
        return self._remembered.noted()

    # Other machines

    @property
    def counting(self) -> Counting | None:
        """What all machines count together; None where this one is alone."""
        return self._operator.counting

    def share(
        self,
        rates: float,
        bursts: float,
        slots: Callable[[int], int],
        now: float,
        machines: int = 1,
        lost: bool = False,
    ) -> None:
        """Have these parts of the limits be this machine's, and `slots` of what the service takes at once; the others
        are other machines'. `machines`: that stand before the same service; `lost`: they are not heard of."""
        side, effects = self.clients.side, self._operator.effects
        if side is not None and side.leases is not None:
            side.leases.go_by(*effects.limits)
        effects.share(rates, bursts)
        self._pricing.machines = machines
        if self._operator.counting is not None:
            self._operator.counting.machines, self._operator.counting.lost = machines, lost
        self._concurrency.share(slots, now)

    @property
    def nominal_limits(self) -> list[Rate]:
        """The buckets of clients and addresses, over all machines."""
        return list(self._operator.effects.limits)

    @property
    def speaks(self) -> bool:
        """Whether it is this one that speaks for its machine."""
        return self._several is None or self._several.leads

    def tell_machines(self) -> None:
        """Lay out what other machines are to hear. Where there are several workers, the one that leads does it as it
        hears of it."""
        side, news = self.clients.side, self.clients.news
        if side is not None and self._several is None:
            for kind, thing in news.take():
                if kind in SHARED:
                    side.tell(self._remembered.row(kind, thing))

    def hear_machines(self, rows: Sequence[list[Any]], now: float) -> int:
        """Take rows that another machine has told; how many were of use."""
        news, several = self.clients.news, self._several
        news.on = False  # what was heard is no news
        taken = self._remembered.load(rows, now)
        news.on = True
        if several is not None:
            several.pass_on(rows)
        return taken

    # Before a verdict, and now and then

    def _prepare(self, request: Request, now: float) -> None:
        """Bring a request's client and pass up to date."""
        client = request.client
        source = client.source
        if not (client.entry.live and source.live and source.network.live):
            self._identity.renew(client, now)
        request.has_slot = False
        request.grant = False
        request.queued_at = 0.0
        request.charged_factor = NOT_CHARGED
        shown = request.shown_pass
        if shown is None:
            bought = client.entry.rare.bought
            if bought is not None and self._sales.stands_in(client, now) and not brings_cookies(request):
                shown = request.shown_pass = bought
        if shown is not None and (shown.check_at <= now or shown.network != client.network):
            shown = request.shown_pass = self._passes.check(shown, client.network, now)
        if shown is not None and shown.sold_at is not None:
            shown = request.shown_pass = self._passes.good_here(shown)
        request.charged_pass = shown

    def _expire(self, own: OwnLoad, now: float) -> None:
        """Forget what is old."""
        if self._remembered.of_clients:
            self.clients.expire(own.busy, now)
        self._passes.expire(now)
        if isinstance(self._judge, RouteJudge):
            self._judge.expire(now)
        if self._operator.effects.end <= now:
            self._operator.effects.expire(now)
            self._go_by_effects()
