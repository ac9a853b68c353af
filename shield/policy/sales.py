"""Challenges and passes: what a challenge costs a client, what follows from its answer, and who is given a pass."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from shield.model import DEFAULT_SITE, Tier
from shield.policy.bucket import Bucket, Rate
from shield.policy.challenge.challenge import Challenge, Challenger, Redeemed, Redemption
from shield.policy.challenge.settings import ChallengeSettings
from shield.policy.challenged import Challenged
from shield.policy.entries import PassKind
from shield.policy.fingerprint import program_name
from shield.policy.history import History
from shield.policy.identity import Client, Identity
from shield.policy.keys import TAG_BYTES
from shield.policy.limits.limits import Limits
from shield.policy.limits.squeeze import Squeeze
from shield.policy.passes import Passes
from shield.policy.pricing.pricing import Pricing
from shield.policy.pricing.waiting import AGAIN
from shield.policy.pricing.waiting_room import Waiter
from shield.policy.reputation import Reputation
from shield.policy.request import Request

HOUR: Final = 3600.0  # seconds


class Sales:
    """Sells passes for work, through the waiting room where they are scarce, and gives them to those who are known."""

    __slots__ = (
        "_challenger",
        "_grants",
        "_history",
        "_identity",
        "_limits",
        "_passes",
        "_pricing",
        "_reputation",
        "_settings",
        "_squeeze",
        "_where",
        "challenged",
    )

    def __init__(
        self,
        settings: ChallengeSettings,
        challenger: Challenger,
        pricing: Pricing,
        passes: Passes,
        identity: Identity,
        history: History,
        reputation: Reputation,
        limits: Limits,
        squeeze: Squeeze,
    ) -> None:
        self._settings = settings
        self._grants = Rate(settings.earned_per_hour / HOUR, settings.earned_per_hour)  # of one network
        self._challenger = challenger
        self._pricing = pricing
        self._passes = passes
        self._identity = identity
        self._history = history
        self._reputation = reputation
        self._limits = limits
        self._squeeze = squeeze
        self.challenged = Challenged()
        # An answer buys something only at the site where it was asked for: the price is that site's.
        self._where = b"" if passes.site == DEFAULT_SITE else b"\0" + passes.site.encode()

    def mint(self, client: Client, tier: Tier, expected: bool, now: float) -> Challenge:
        """A challenge at the client's price. `expected`: an answer is; of what cannot answer it is not."""
        if expected:
            self.challenged.asked(client, tier, now)
            client.entry.offered_until = now + self._settings.lifetime
        known = self._history.known_since(client.network, now) is not None
        return self._challenger.mint(
            client.key, program_name(client) + self._where, self._price(client, known, now), now
        )

    def _price(self, client: Client, known: bool, now: float) -> int:
        """Hashes that a challenge for a client takes now, where its network is `known` or not."""
        return self._challenger.price(self._pricing.hashes, self._score(client, now), known)

    def _score(self, client: Client, now: float) -> float:
        return max(self._reputation.of_client(client.entry, now), self._reputation.of_source(client.source, now))

    def redeem(self, client: Client, token: str, nonces: Sequence[int], now: float) -> Redemption:
        """What an answer to a challenge buys: a pass, or a place in the waiting room when none is to be had.

        A bad answer is charged, a false one raises the score.
        """
        if not self._hears(client, now):
            return Redemption(Redeemed.BUSY)
        network, room = client.network, self._pricing.room
        attack = self._passes.attack
        here = self._history.known_since(network, now) is not None
        known = attack and here
        scarce = attack and not self._pricing.ready
        worse: Waiter | None = None
        if scarce and room.full(known):
            worse = room.worse(network, known)
            if worse is None:
                return self._reject(client, Redeemed.BUSY, now)
        price, former = self._price(client, here, now), self._identity.former(client)
        # The address may have a bad name from others. Who has one itself pays for it.
        bad = self._reputation.of_client(client.entry, now) > 0.0
        cheapest = None if bad else self._challenger.price(self._pricing.hashes, 0.0, True)
        result, work = self._challenger.verify(
            client.key, program_name(client) + self._where, token, nonces, price, now, former, cheapest
        )
        if result is not Redeemed.ACCEPTED:
            return self._reject(client, result, now)
        client.entry.offered_until = 0.0
        self._squeeze.answered(client)
        client.source.unheeded, client.source.paid_at = 0.0, now  # somebody there listens (drops.py)
        if attack:
            self._pricing.solved(network, known)
            if scarce:
                return self._wait(room.enter(network, known, work, now, worse), now)
            self._pricing.take()
        token = self._sell(client, work, network, False, now)
        if token:
            self.challenged.let_in(client, now)
        return self._accept(token)

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
            if not self._claims_first(found, now):
                return Redemption(Redeemed.WAITING, ticket=ticket, wait=1, retry_after=1)  # just had elsewhere
            token = self._sell(client, found.work, found.line.name, True, now)
            self._pricing.room.claimed(found, token)
            if token:
                self.challenged.let_in(client, now)
        return self._accept(found.pass_token)

    def wait(self, client: Client, ticket: str, pressure: float, now: float) -> Redemption:
        """What somebody gets who waits instead of solving, with the token of a challenge as the ticket: ACCEPTED with a
        pass; WAITING, who has not waited for long enough, or finds no pass; EXPIRED, who has no good ticket and may
        begin with a new one. `wait`: the seconds that are left; 0: waiting buys nothing here."""
        pricing, network = self._pricing, client.network
        waiting = pricing.waiting
        if not waiting.possible:
            return Redemption(Redeemed.EXPIRED)
        live = pricing.room.live(network)
        needed = waiting.seconds(pressure, self._score(client, now), live)
        program = program_name(client) + self._where
        former = self._identity.former(client) if ticket else None
        age = self._challenger.age(client.key, program, ticket, now, former) if ticket else None
        if age is None:
            return Redemption(Redeemed.EXPIRED, wait=math.ceil(needed))
        if age < needed:
            return Redemption(Redeemed.WAITING, wait=math.ceil(needed - age))
        if self._passes.attack and not waiting.take(live):
            return Redemption(Redeemed.WAITING, wait=AGAIN)
        if not self._challenger.spend(client.key, program, ticket, now, former):
            return Redemption(Redeemed.EXPIRED, wait=math.ceil(needed))
        if self._passes.attack:
            pricing.take()
        bought = self._passes.buy(0, network, now, PassKind.WAITED)
        if bought is None:
            return Redemption(Redeemed.WAITING, wait=AGAIN)
        token, waited = bought
        if waited.scarce:
            pricing.room.hold(network, 1)
        client.entry.offered_until = 0.0
        self._squeeze.answered(client)
        self.challenged.let_in(client, now)
        return self._accept(token)

    def _claims_first(self, waiter: Waiter, now: float) -> bool:
        """Whether no other worker sells a pass for this place."""
        if not waiter.here:
            waiter.here = self._challenger.first(waiter.id.ljust(TAG_BYTES, b"\0"), waiter.until, now)
        return waiter.here

    def grant(self, request: Request, now: float) -> str | None:
        """The token of a pass for a client that has just become a known one; None when it gets none."""
        client = request.client
        entry, network = client.entry, client.source.network
        shared = entry.rare.overflow
        if not request.grant or self._passes.attack:
            return None
        if entry.granted_at + self._settings.earned_every > now and (not shared or entry.granted_to == client.key):
            return None
        since = self._history.known_since(network.name, now)
        if shared or since is None or since + self._settings.earned_known > now:
            bucket = Bucket(self._grants)
            bucket.tat = network.grants
            if not bucket.take(1.0, now):
                return None
            network.grants = bucket.tat
        entry.granted_at = now
        if shared:
            entry.granted_to = client.key
        return self._passes.earn(now)

    def stands_in(self, client: Client, now: float) -> bool:
        """Whether the pass that a client bought last pays for a request that came without it; else it is forgotten.

        A browser does not send its cookie along with a form that another site makes it post (a payment's or a login's
        return; SameSite=Lax), and a program may keep none. Both have paid, and it is one budget. Of a browser that
        would have sent its cookie (brings_cookies) the engine does not ask: that is a colleague at the same address.
        """
        bought = client.entry.bought
        if bought is not None and bought.issued + self._settings.stand_in > now:
            return True
        client.entry.bought = None
        return False

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
        """The token of a pass bought by a client in `network`; empty when the table is full.

        `counted`: the network's live passes include it already.
        """
        bought = self._passes.buy(work, network, now)
        if bought is None:
            return ""
        token, stand_in = bought
        if stand_in.scarce is not counted:
            self._pricing.room.hold(network, -1 if counted else 1)
        if not client.entry.overflow:
            client.entry.bought = stand_in
            client.source.spared_until = now + self._settings.stand_in
        return token

    def _accept(self, token: str) -> Redemption:
        """The pass, or BUSY where there was no room for it."""
        if not token:
            return Redemption(Redeemed.BUSY)
        return Redemption(Redeemed.ACCEPTED, token, int(self._settings.pass_lifetime))

    def _wait(self, waiter: Waiter, now: float) -> Redemption:
        """How long it will take, about, and when to ask again."""
        wait = self._pricing.wait(waiter, now)
        pause = self._pricing.pause(wait)
        return Redemption(Redeemed.WAITING, ticket=self._pricing.room.ticket(waiter), wait=wait, retry_after=pause)
