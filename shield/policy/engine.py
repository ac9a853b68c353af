"""The policy's border: who asks is judged, queued, taught from, forgotten - in a few synchronous verbs.

    decide      a request has come: forward it, queue it, or refuse it, and why
    enter       the body of a held request is here: now it wants a slot
    learn       a forwarded request has ended: settle its cost, history, reputation; its slot is free
    release     its slot is free before its end; cancel: its client has left
    report      something bad of a client that is no response
    mint, redeem, claim, grant, present      challenges, the waiting room, and passes
    tick        time has passed: every 20 ms while requests wait, else every window

The order of the questions is in judge.py.
`now` is monotonic seconds. Verbs that free a slot return the queued requests whose `verdict` they changed, to FORWARD
or SHED; the edge resumes those. A dry run reports the same verdicts as their twins, and forwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from math import inf
from typing import Any, Final

from shield.model import UNIT_SECONDS, Action, Outcome, Reason, Signal, Tier, Verdict
from shield.policy.bucket import Bucket, Rate
from shield.policy.challenge import Challenge, Challenger, CheckWork, Redeemed, Redemption, solved
from shield.policy.concurrency.concurrency import Concurrency
from shield.policy.entries import ClientEntry, Pass, PassKind
from shield.policy.history import History
from shield.policy.identity import (
    ADDRESS_BYTES,
    CLIENT_BYTES,
    HOUR,
    NETWORK_BYTES,
    Client,
    Identity,
)
from shield.policy.judge import QUEUED, Judge
from shield.policy.keys import Keys
from shield.policy.limits import NOT_CHARGED, Limits
from shield.policy.notes import Note, Notes
from shield.policy.pass_tokens import PassTokens
from shield.policy.passes import PASS_BYTES, Passes
from shield.policy.pressure.pressure import Pressure
from shield.policy.pressure.window import IDLE, OwnLoad, Tally
from shield.policy.pricing import Pricing
from shield.policy.queue.queue import Queue
from shield.policy.reputation import POOR_STATUS, Reputation
from shield.policy.request import Request
from shield.policy.routes import Route, Routes, cost_of
from shield.policy.settings import EngineSettings
from shield.policy.standouts import Standouts
from shield.policy.status import OwnLoadStatus, PassesStatus, PolicyStatus, TablesStatus
from shield.policy.waiting_room import Room, Waiter
from shield.policy.windows import Windows

PATH_CHARS: Final = 256
"""Of a path as a key: an attacker could pin 8 KiB with each path otherwise."""

FORWARDED: Final = Action.FORWARD  # looking up a member of an Enum costs 70 ns
UPSTREAM_ERRORS: Final = frozenset({502, 503, 504})


class Engine:
    """The policy of one upstream pool.

    `entropy(n)` returns n random bytes, `wall_offset` is wall clock minus monotonic clock in seconds, `concurrency`
    the requests that the upstream takes at once. `check_work` checks the hashes of an answer: a simulation puts
    something in its place that takes no hashes.
    """

    def __init__(
        self,
        settings: EngineSettings,
        keys: Keys,
        entropy: Callable[[int], bytes],
        wall_offset: float,
        concurrency: int,
        check_work: CheckWork = solved,
    ) -> None:
        limits, tables, challenge = settings.limits, settings.tables, settings.challenge
        self.dry_run = settings.dry_run
        self._wall_offset = wall_offset
        self._notes = Notes()
        self._history = History(settings.history, tables.history)
        self._identity = Identity(
            settings.identity,
            tables,
            limits.of_networks(),
            keys,
            self._history,
        )
        self._reputation = Reputation(settings.reputation, self._history, self._notes)
        self._routes = Routes(settings.routes, tables.paths, tables.routes, limits.costs)
        self._limits = Limits(limits, self._reputation)
        self._standouts = Standouts(settings.standouts, self._notes)
        self._concurrency = Concurrency(settings.concurrency, concurrency, not settings.dry_run)
        self._slots = self._concurrency.slots
        pressure, tally = Pressure(settings.pressure, self._concurrency.limit), Tally()
        self._queue = Queue(settings.queue, self._concurrency.limit)
        self._challenger = Challenger(challenge, keys, entropy, tables.spent, wall_offset, check_work)
        room = Room(settings.pricing, tables.waiting, keys, entropy)
        self._pricing = Pricing(settings.pricing, challenge, settings.pressure.max_pressure, room)
        self._passes = Passes(
            challenge,
            limits.pass_,
            tables.passes,
            PassTokens(keys, entropy, wall_offset),
            self._history,
            self._pricing.room.hold,
            self._notes,
        )
        self._judge = Judge(
            limits=self._limits,
            rates=limits,
            reputation=self._reputation,
            history=self._history,
            tally=tally,
            weather=pressure.weather,
            standouts=self._standouts,
            challenge=challenge,
            queue=settings.queue,
            api_key_header=settings.identity.api_key_header,
            api_keys={
                bytes.fromhex(digest): Pass(bytes.fromhex(digest)[:8], PassKind.API_KEY, limits.pass_, 0.0, inf, None)
                for digest in settings.identity.api_keys
            },
            honeypots=frozenset(limits.honeypots),
            key=keys.current,
            grants=not settings.dry_run,
        )
        self._challenge = challenge
        self._costs = settings.routes
        self._least_cost = settings.routes.least_cost
        self._least_time = self._least_cost * UNIT_SECONDS
        self._settled = settings.routes.settled
        self._grants = Rate(challenge.earned_per_hour / HOUR, challenge.earned_per_hour)  # of one network
        self._tiers = [0] * len(Tier)  # requests so far
        self._windows = Windows(
            settings=settings,
            tally=tally,
            concurrency=self._concurrency,
            pressure=pressure,
            queue=self._queue,
            judge=self._judge,
            passes=self._passes,
            history=self._history,
            pricing=self._pricing,
            standouts=self._standouts,
            notes=self._notes,
        )
        self._completed = 0.0  # units, in the window that is open
        self._shed_in_window = 0  # requests
        self._shed_meanwhile: list[Request] = []  # from the queue, since the last verb that returns requests

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
        """Judge a request; when it is not `held` it also gets a slot (FORWARD) or a place in the queue (QUEUE)."""
        self._prepare(request, now)
        path = request.path
        target = request.method + (path if len(path) <= PATH_CHARS else path[:PATH_CHARS])
        route = self._routes[target]
        if not route.live:
            route = self._routes.again(target)
        route.count += 1
        request.route = route
        request.cost = route.cost
        verdict = self._judge.judge(request, now)
        self._tiers[request.tier] += 1
        if verdict.action is not FORWARDED:
            if not self.dry_run:
                request.verdict = verdict
                return verdict
            verdict = verdict.in_dry_run()
        request.verdict = verdict
        return verdict if request.body_pending else self._enter(request, now)

    def enter(self, request: Request, now: float) -> Verdict:
        """A held request is complete: FORWARD with a slot, QUEUE, or SHED."""
        request.body_pending = False
        return self._enter(request, now)

    def toll(self, request: Request, now: float) -> Verdict:
        """A request that Shield answers itself: bans and rates hold, but it is never challenged and takes no slot."""
        self._prepare(request, now)
        request.cost = self._least_cost
        request.tier = Tier.T3
        verdict = self._judge.toll(request, now)
        if self.dry_run and verdict.action is not FORWARDED:
            verdict = verdict.in_dry_run()
        request.verdict = verdict
        return verdict

    def events(self) -> Sequence[Note]:
        """Decisions of note since the last call, as (name, fields), for the log.

        The turning points: attack_onset, attack_end, brownout. Of clients: ban, pass_revoked, fingerprint_limited. Of
        each of the two kinds the newest 64 are kept.
        """
        return self._notes.take()

    def learn(self, request: Request, outcome: Outcome, now: float) -> Sequence[Request]:
        """A forwarded request has ended. Settles what it cost and what it says of its client; frees its slot."""
        client = request.client
        status = outcome.status
        error = status in UPSTREAM_ERRORS
        if not outcome.stream:
            self._learn_time(request, outcome.rtt, error, now)
        if client.named is None and not error:
            entry = client.entry
            if 100 < status < 400:
                self._reputation.good(entry, now)
                self._history.good(entry, client.home, client.network, request.cost, now)
                token = request.shown_pass
                if token is not None:
                    self._history.good(token, client.home, client.network, request.cost, now)
                    if token.scarce:
                        self._passes.renew(token, now)
            elif status in POOR_STATUS:
                self._reputation.soft(client.source, entry, self._reputation.settings.poor_status, now)
        return self.release(request, now)

    def release(self, request: Request, now: float) -> Sequence[Request]:
        """Give a request's slot back, if it has one."""
        if request.has_slot:
            request.has_slot = False
            self._slots.give()
            if self._queue.waiting or self._shed_meanwhile:
                return self._advance(now)
        return ()

    def cancel(self, request: Request, now: float) -> Sequence[Request]:
        """The client of a queued, held or forwarded request has left."""
        if request.queued_at:
            request.queued_at = 0.0
            self._queue.remove(request)
            request.body_pending = True
        if request.body_pending:
            self._limits.settle(request, self._least_cost, now)  # it did not reach the upstream
        request.charged_factor = NOT_CHARGED
        return self.release(request, now)

    def deserves(self, who: Client | str, token: Pass | None) -> bool:
        """Whether the connection of somebody is to be kept before those of strangers.

        `who` is the address (IPv4 /32 or IPv6 /64, as text) when no request has told more: then it is enough that
        somebody there has a history.
        """
        if isinstance(who, str):
            return self._history.clients_at(who) > 0
        record = who.entry.record
        known = record is not None and record.live
        return known or token is not None or who.named is Reason.ALLOWLISTED

    def report(self, who: Client | str, signal: Signal, now: float) -> None:
        """Something bad that a client did, short of a request.

        `who` is the textual address when the connection ended before it told more: then the address itself is charged,
        as reputation.py says. To charge a client made of nothing but the address would let the real one off.
        """
        settings = self._reputation.settings
        points = settings.malformed if signal is Signal.MALFORMED else settings.slow_abort
        if isinstance(who, str):
            source = self._identity.source(who, now)
            if source.named is None:
                self._reputation.hard_of(source, points, signal.value, now)
        elif who.named is None:
            if not who.live:
                self._identity.renew(who, now)
            self._reputation.hard(who.source, who.entry, points, signal.value, now)

    # Challenges and passes

    def mint(self, request: Request, now: float) -> Challenge:
        """The challenge that goes with a CHALLENGE verdict."""
        client = request.client
        score = max(self._reputation.of_client(client.entry, now), self._reputation.of_place(client.source, now))
        known = self._history.known_since(client.network, now) is not None
        client.entry.offered_until = now + self._challenge.lifetime
        return self._challenger.mint(client.key, self._challenger.price(self._pricing.hashes, score, known), now)

    def redeem(self, client: Client, token: str, nonces: Sequence[int], now: float) -> Redemption:
        """The answer to a challenge. A right one buys a pass, or a place in the waiting room when none is to be had.

        A bad one is charged, a false one raises the score.
        """
        if not self._hears(client, now):
            return Redemption(Redeemed.BUSY)
        network, room = client.network, self._pricing.room
        scarce = self._passes.attack and not self._pricing.ready
        known = scarce and self._history.known_since(network, now) is not None
        worse: Waiter | None = None
        if scarce and room.full(known):
            worse = room.worse(network, known)
            if worse is None:
                return self._reject(client, Redeemed.BUSY, now)
        result, work = self._challenger.verify(client.key, token, nonces, now, self._identity.former(client))
        if result is not Redeemed.ACCEPTED:
            return self._reject(client, result, now)
        client.entry.offered_until = 0.0
        if scarce:
            self._pricing.solved(network, known)
            return self._wait(room.enter(network, known, work, now, worse), now)
        if self._passes.attack:
            self._pricing.solved(network, self._history.known_since(network, now) is not None)
            self._pricing.take()
        text = self._sell(client, work, network, False, now)
        return self._accept(text) if text else Redemption(Redeemed.BUSY)

    def claim(self, client: Client, ticket: str, now: float) -> Redemption:
        """What has become of a place in the waiting room: ACCEPTED (again and again, for a while), WAITING, or lost."""
        if not self._hears(client, now):
            return Redemption(Redeemed.BUSY)
        found = self._pricing.room.find(ticket)
        if isinstance(found, Redeemed):
            return self._reject(client, found, now)
        if not found.won:
            return self._wait(found, now)
        if not found.pass_token:
            found.pass_token = self._sell(client, found.work, found.line.name, True, now)
        return self._accept(found.pass_token) if found.pass_token else Redemption(Redeemed.BUSY)

    def grant(self, request: Request, now: float) -> str | None:
        """A pass for a client that has just become a known one; ask only when a cookie can go to nobody else."""
        client = request.client
        entry, network = client.entry, client.source.network
        shared = entry.rare.overflow
        if not request.grant or self._windows.weather.attack.on:
            return None
        if entry.granted_at + self._challenge.earned_every > now and (not shared or entry.granted_to == client.key):
            return None
        since = self._history.known_since(network.name, now)
        if shared or since is None or since + self._challenge.earned_known > now:
            bucket = Bucket(self._grants)
            bucket.tat = network.grants
            if not bucket.take(1.0, now):
                return None
            network.grants = bucket.tat
        entry.granted_at = now
        if shared:
            entry.granted_to = client.key
        return self._passes.earn(now)

    def _hears(self, client: Client, now: float) -> bool:
        """Whether a client's answers are heard: it is not banned, and can pay for a bad one. Renews the handle."""
        if not client.live:
            self._identity.renew(client, now)
        return client.entry.banned_until <= now and self._limits.can_pay(client.entry, now)

    def _reject(self, client: Client, result: Redeemed, now: float) -> Redemption:
        """An answer, or a ticket, that was no good, or for which there is no room."""
        if result is Redeemed.BUSY:
            return Redemption(result, retry_after=self._pricing.again_after(now))
        self._limits.fine(client.entry, client.source, now)
        if result is Redeemed.FORGED or result is Redeemed.WRONG:
            points = self._reputation.settings.false_work
            self._reputation.hard(client.source, client.entry, points, "false_work", now)
        return Redemption(result)

    def _sell(self, client: Client, work: int, network: str, counted: bool, now: float) -> str:
        """A pass bought by a client in `network`; empty when the table is full. `counted`: as a live one, already."""
        bought = self._passes.buy(work, network, now)
        if bought is None:
            return ""
        text, stand_in = bought
        if stand_in.scarce is not counted:
            self._pricing.room.hold(network, -1 if counted else 1)
        if not client.entry.overflow:
            client.entry.bought = stand_in
        return text

    def _accept(self, text: str) -> Redemption:
        return Redemption(Redeemed.ACCEPTED, text, int(self._challenge.pass_lifetime))

    def _wait(self, waiter: Waiter, now: float) -> Redemption:
        wait = self._pricing.wait(waiter, now)
        pause = self._pricing.pause(wait)
        return Redemption(Redeemed.WAITING, ticket=self._pricing.room.ticket(waiter), wait=wait, retry_after=pause)

    # Time

    def tick(self, now: float, own: OwnLoad = IDLE) -> Sequence[Request]:
        """Drop those who waited too long; every window (0.5 s) read the pressure and forget what is old.

        `own` is what Shield itself has to carry, as measured last.
        """
        for request in self._queue.tick(now):
            self._shed(request, Reason.QUEUE_TIMEOUT, now)
            self._shed_meanwhile.append(request)
        seconds = self._windows.due(now)
        if seconds:
            self._windows.close(now, seconds, sum(self._tiers), self._completed, self._shed_in_window, own)
            self._completed, self._shed_in_window = 0.0, 0
            self._expire(now)
        elif self._queue.waiting:
            self._concurrency.hurry(now)
        return self._advance(now) if self._queue.waiting or self._shed_meanwhile else ()

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._queue)

    @property
    def concurrency_limit(self) -> int:
        """Requests that the upstream takes at once, as far as is known."""
        return self._concurrency.limit

    @property
    def in_flight(self) -> int:
        """Slots taken."""
        return self._slots.in_flight

    @property
    def pressure(self) -> float:
        """p, in [0, 1]."""
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
            in_flight=self._slots.in_flight,
            waiting=len(queue),
            queue=queue.most,
            bought_kept=queue.kept,
            standing_queue=queue.standing,
            median_rtt=queue.median_rtt,
            cutoff=weather.cutoff,
            requests_by_tier={tier.name: count for tier, count in zip(Tier, self._tiers, strict=True)},
            active_bans=self._reputation.bans(now),
            live_passes=PassesStatus(in_use=len(self._passes.table), bought=self._passes.bought),
            bought_passes=self._passes.bought,
            bought_rate=self._judge.bought_factor * self._challenge.bought_rate,
            price=int(self._pricing.hashes),
            market=self._pricing.status(),
            hitters=self._standouts.status(),
            routes=self._routes.top(10),
            tables=TablesStatus(
                addresses=identity.addresses.status(ADDRESS_BYTES),
                clients=identity.clients.status(CLIENT_BYTES),
                networks=identity.networks.status(NETWORK_BYTES),
                passes=self._passes.table.status(PASS_BYTES),
                history=self._history.status(),
                spent=self._challenger.status(),
                waiting=self._pricing.room.status(),
                routes=self._routes.status(),
            ),
        )

    def export_history(self, now: float) -> Iterator[list[Any]]:
        """The history as plain rows, to be kept over a restart. Takes 1 µs a row; may be consumed in slices."""
        return self._history.rows(now, now + self._wall_offset)

    def import_history(self, rows: Iterable[list[Any]], now: float) -> int:
        """Take rows that `export_history` made; how many made sense."""
        return self._history.load(rows, now, now + self._wall_offset)

    # Before and after a verdict

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
        token = request.shown_pass
        if token is None and client.entry.rare.bought is not None:
            token = request.shown_pass = self._stand_in(client.entry, now)
        if token is not None and (token.check_at <= now or token.network != client.network):
            token = request.shown_pass = self._passes.check(token, client.network, now)
        request.charged_pass = token

    def _stand_in(self, entry: ClientEntry, now: float) -> Pass | None:
        """The pass that a client bought a moment ago, for a request that came without it.

        A browser does not send its cookie along with a form that another site makes it post (a payment's or a login's
        return; SameSite=Lax), and who refuses cookies cannot send one at all. Both have paid, and it is one budget.
        """
        bought = entry.bought
        if bought is not None and bought.issued + self._challenge.stand_in > now:
            return bought
        entry.bought = None
        return None

    def _enter(self, request: Request, now: float) -> Verdict:
        slots = self._slots
        if self.dry_run or (slots.in_flight < slots.size and not self._queue.waiting):
            request.has_slot = True
            request.epoch = slots.epoch
            slots.take()
            return request.verdict
        if self._queue.brownout:
            # Nobody attacks, and an order that stays for ten minutes would lock the same ones out so long.
            request.rank = -(request.client.entry.rare.refused_since or now)
        else:
            request.rank = self._judge.rank(request, now)
        request.admitted = request.verdict
        request.verdict = QUEUED
        out = self._queue.push(request, now)
        if out is request:
            self._shed(request, Reason.QUEUE_FULL, now)
        elif out is not None:
            self._shed(out, Reason.OUTRANKED, now)
            self._shed_meanwhile.append(out)
        return request.verdict

    def _advance(self, now: float) -> Sequence[Request]:
        """Fill free slots from the queue; those whose verdict has changed."""
        changed, self._shed_meanwhile = self._shed_meanwhile, []
        slots, queue = self._slots, self._queue
        while queue.waiting and slots.in_flight < slots.size:
            request = queue.pop(now)
            request.queued_at = 0.0
            if queue.brownout:
                request.client.entry.refused_since = 0.0
            request.verdict = request.admitted
            request.has_slot = True
            request.epoch = slots.epoch
            slots.take()
            changed.append(request)
        return changed

    def _shed(self, request: Request, reason: Reason, now: float) -> None:
        """Turn away a request that was charged: it pays for the attempt only."""
        self._shed_in_window += 1
        if self._queue.brownout and not request.client.entry.rare.refused_since:
            request.client.entry.refused_since = request.queued_at
        request.queued_at = 0.0
        request.verdict = self._judge.refusal(reason, request, now)
        self._limits.settle(request, self._least_cost, now)

    # Readings

    def _learn_time(self, request: Request, rtt: float, error: bool, now: float) -> None:
        """Take an upstream time as a sample of congestion and of its route, and settle the request's cost by it."""
        concurrency = self._concurrency
        route = request.route
        typical = self._routes.typical
        loaded = self._slots.in_flight >= self._slots.half
        if rtt < 0.0:
            if error and loaded:
                usual = self._usual(route)
                concurrency.sample(request.client.key, usual, usual, True, request.epoch)
            return
        if loaded:
            seconds = max(rtt, self._least_time)
            concurrency.sample(request.client.key, seconds, self._usual(route), error, request.epoch)
        self._queue.sample(rtt)
        self._completed += request.cost
        seconds = rtt / concurrency.congestion
        if not error:
            # What is not loaded is undisturbed as it is: to divide it as well makes noise a lower baseline, and that
            # more congestion, in a circle.
            undisturbed = seconds if loaded else rtt
            if not loaded or (route.samples < self._settled and self._may_teach(request)):
                route.sample(undisturbed, now)
            if not loaded or typical.samples < self._settled:
                typical.sample(undisturbed, now)
        if not route.fixed:
            units = cost_of(seconds, self._costs)
            if loaded and concurrency.congestion == 1.0:
                units = min(units, request.cost)  # congestion that nobody has measured yet is not the client's
            self._limits.settle(request, units, now)

    def _may_teach(self, request: Request) -> bool:
        """Whether the time of a request under load may be among the first of its route: where nothing else is known, or
        in a probe. A path that a flood is the first to ask for would be taken to be as slow as the flood makes it, and
        the congestion not be seen (a limit of 20 rose to 30 on a service of 4 slots)."""
        return self._routes.typical.samples < self._settled or (
            self._concurrency.probing and request.epoch == self._slots.epoch
        )

    def _usual(self, route: Route) -> float:
        """Seconds that a route takes undisturbed, as far as is known."""
        return route.baseline if route.samples >= self._settled else self._routes.typical.baseline

    def _expire(self, now: float) -> None:
        """Forget what is old."""
        self._identity.expire(now)
        self._passes.expire(now)
        self._history.forget_old(now)
        self._challenger.spent.forget(now)
        self._reputation.bans(now)
