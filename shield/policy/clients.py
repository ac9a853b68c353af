"""What is known of clients, whichever site they ask.

A Shield that serves several sites has an engine for each: its limit, its queue, its pressure, its price. Who asks is
known to all of them, so a ban, a history, a pass or an empty bucket is the same at every site.

Two things could be had cheaply at a site in calm weather and used at one under attack. So

    a history, or the begin of a visit    is made nowhere while newcomers are judged at another site (`alarms`)
    a bought pass                         is worth something only where it was bought, as its price is that site's

An earned pass, which stands for a history, is worth as much at each.
"""

from __future__ import annotations

from collections.abc import Callable

from shield.policy.api_keys import ApiKeys
from shield.policy.board.claims import Claims
from shield.policy.board.seat import Seat
from shield.policy.challenge.challenge import Challenger, CheckWork
from shield.policy.cluster.side import Side
from shield.policy.drops import Drops
from shield.policy.history import History
from shield.policy.identity import Identity
from shield.policy.keys import Keys
from shield.policy.news import MOST_IN_JOURNAL, News
from shield.policy.notes import Notes
from shield.policy.pass_tokens import PassTokens
from shield.policy.passes import Sellers
from shield.policy.reputation import Reputation
from shield.policy.settings import EngineSettings
from shield.policy.signed_bots import SignedBots


class Clients:
    """The tables and keys that the engines of one Shield share. It has more than 15 attributes because each of them is
    one. For the arguments see Engine."""

    def __init__(
        self,
        settings: EngineSettings,
        keys: Keys,
        entropy: Callable[[int], bytes],
        wall_offset: float,
        check_work: CheckWork,
        seat: Seat | None,
        check_hashwx: CheckWork | None = None,
        side: Side | None = None,
    ) -> None:
        limits, tables, challenge = settings.limits, settings.tables, settings.challenge
        self.keys = keys
        self.entropy = entropy
        self.notes = Notes()
        self.side = side
        """What other machines are told, and tell; None where this one is alone."""
        self.news = News(seat is not None or side is not None)
        self.journal = News(False, MOST_IN_JOURNAL)
        self.claims = None if seat is None else Claims(seat)
        self.history = History(settings.history, tables.history)
        self.identity = Identity(settings.identity, tables, limits.of_networks(), keys, self.history)
        self.reputation = Reputation(settings.reputation, self.history, self.notes, self.news, self.journal)
        self.drops = Drops(settings.drops, self.history, self.notes)
        self.api_keys = ApiKeys(settings.identity, limits.pass_)
        self.bots = SignedBots(bool(settings.identity.bot_keys), limits.pass_)
        self.tokens = PassTokens(keys, entropy, wall_offset)
        self.sellers = Sellers(tables.passes, limits.pass_)
        self.challenger = Challenger(
            challenge,
            keys,
            entropy,
            tables.spent,
            wall_offset,
            check_work,
            self.claims,
            self.journal,
            check_hashwx,
            None if side is None else side.answers,
        )
        self.alarms: set[str] = set()
        """The sites at which newcomers are judged, or the queue does not move on."""
        self._own_busy = settings.pressure.own_busy

    def expire(self, own_busy: float, now: float) -> None:
        """Forget what is old, once per window. `own_busy`: of the window, 0 to 1 of Shield's own core."""
        self.identity.expire(now)
        self.history.forget_old(now)
        self.challenger.spent.forget(now)
        self.reputation.bans(now)
        self.drops.close_window(own_busy > self._own_busy, now)

    def alarm(self, site: str, on: bool) -> None:
        """Note whether newcomers are judged at a site."""
        if on:
            self.alarms.add(site)
        else:
            self.alarms.discard(site)

    def calm_but_for(self, site: str) -> bool:
        """Whether newcomers are judged at no other site."""
        return not self.alarms or self.alarms == {site}
