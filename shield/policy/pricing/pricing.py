"""The price of a bought pass and how many are issued: set by what the service can do.

    B    units/s left for bought passes: `usable_share` of the capacity less what T0 and T1 ask for, or `bought_share`
         of the capacity where that is more
    Q    units that a bought pass is worth: its burst and its least rate over its life
    u    share of Q that is used (pass_use.py)
    n*   passes/s that can be served: B / (Q u), less when those that are live already take more than B
    n    solves/s, counted once for each network: only those of networks of which nobody waits or holds a live pass
    E    expected hashes of a challenge for somebody without a bad score, within [E0, cap]

**Price.** At the end of each `window`: when n is above n*, and beyond chance, E rises by sqrt(n/n*), at least by
`least_rise` and at most by `most_rise`; when n is below `slack` n*, E falls by `fall`. So the price follows those who
pay it, and not the pressure: an attack without solvers leaves it at E0. Neither wrong, forged and stale answers nor a
second solve from one network can raise it, since they do not count. The operator's `pressure.max_pressure` m bounds it
to E0 (cap/E0)^m. What a single client pays is in challenge.py. In a flash crowd (flash_crowd.py) the cap is `flash_cap`
E0.

**Issue.** n* passes a second, saved up for `savings` seconds at most. Whoever has to wait does so in waiting_room.py.
This holds under attack only: in calm weather (challenge.mode = "always") whoever solves gets a pass at once.

**Turned away.** A client that has solved, and finds the room full, no time to verify or no memory of spent challenges,
is told a time of its own to send the answer again: the next free moment at `full_rate` a second, at most `full_pause`
from now. So the answers come back evenly, however many they are and however they came. Sent again every 2 s for the two
minutes that a challenge lives, the answers of a crowd came to 22,000 a second, which is all that one core can read.
"""

from __future__ import annotations

import math
from typing import Any

from shield.policy.challenge.challenge import BUSY_SECONDS
from shield.policy.challenge.settings import ChallengeSettings
from shield.policy.pricing.flash_crowd import FlashCrowd
from shield.policy.pricing.pass_use import PassUse
from shield.policy.pricing.purse import Purse, SharedPurse
from shield.policy.pricing.settings import PricingSettings
from shield.policy.pricing.solves import Solves
from shield.policy.pricing.waiting import Waiting
from shield.policy.pricing.waiting_room import Room, Waiter
from shield.policy.rows import number
from shield.policy.status import PricingStatus


class Pricing:
    """The price, the rate of issue, and the waiting room.

    It has more than 15 attributes because each of these three has some.
    """

    __slots__ = (
        "_crowd",
        "_fresh",
        "_least",
        "_most",
        "_next_return",
        "_purse",
        "_seconds",
        "_settings",
        "_use",
        "_worth",
        "hashes",
        "machines",
        "rate",
        "room",
        "solves",
        "waiting",
    )

    def __init__(
        self,
        settings: PricingSettings,
        challenge: ChallengeSettings,
        max_pressure: float,
        room: Room,
        purse: Purse | None = None,
    ) -> None:
        self._settings = settings
        self._least = float(challenge.least_hashes)
        self._most = self._least * (challenge.most_hashes / self._least) ** max_pressure
        self._worth = challenge.bought_burst + challenge.least_bought_rate * challenge.bought_idle
        self._use = PassUse(settings, self._worth)
        self._crowd = FlashCrowd(settings)
        self.waiting = Waiting(settings, challenge)
        self.room = room
        self.hashes = self._least  # E
        self.rate = 0.0  # n*
        self.solves = 0.0  # n, of the last window
        self._purse = purse or Purse()  # passes that may be issued
        self.machines = 1
        """How many issue the passes between them, each its part."""
        self._next_return = 0.0  # when the next answer may come again to a full room
        # of the window of the price that is open
        self._seconds = 0.0
        self._fresh = 0.0  # solves that count

    @property
    def flash(self) -> bool:
        """Whether those who solve are a flash crowd."""
        return self._crowd.on

    @property
    def used(self) -> float:
        """The share of a bought pass's budget that its holder uses, as learned so far (u)."""
        return self._use.share

    @property
    def used_rate(self) -> float:
        """Units/s that bought passes take, smoothed."""
        return self._use.rate

    def for_bought(self, capacity: float, known_demand: float) -> float:
        """The units/s that bought passes may take (B) when known clients ask for `known_demand`."""
        settings = self._settings
        return max(settings.bought_share * capacity, settings.usable_share * capacity - known_demand)

    def kept(self, capacity: float, known_demand: float) -> float:
        """Units/s that bought passes get before T0 and T1, which would take them: 0 while those leave as much."""
        share = self._settings.kept_share * capacity
        return share if known_demand > capacity - share else 0.0

    def solved(self, network: str, known: bool) -> None:
        """Count a right answer from a network, before it has a place or a pass."""
        self._fresh += self.room.fresh(network)
        self._crowd.solved(network, known)

    @property
    def ready(self) -> bool:
        """Whether a pass may be issued at once; then nobody waits for one."""
        return self._purse.saved >= 1.0

    def take(self) -> None:
        """Issue one pass."""
        self._purse.take()
        self._use.issue()

    def read(
        self, left: float, units: float, seconds: float, usual: float | None, now: float, behind: bool = False
    ) -> None:
        """Take a reading of `seconds` under attack: set n*, issue what is due, and now and then the price.

        `left` is B, `units` what bought passes took meanwhile, `usual` the share of newcomers that come from known
        networks in calm weather (None: not known). `behind`: those who have begun wait for what they asked for, so
        nothing is issued until the next reading.
        """
        self._use.read(units, seconds)
        self.rate = left / (self._worth * self._use.share) * min(1.0, left / max(self._use.rate, left))
        mine = self.rate / self.machines
        purse, most = self._purse, max(1.0, mine * self._settings.savings)
        purse.saved = 0.0 if behind else min(purse.saved + mine * seconds, most)
        if not behind:
            self.waiting.read(mine, seconds, purse.part)
        room = self.room
        room.expire(now)
        while purse.saved >= 1.0 and room.waiting:
            self.take()
            room.issue(now)
        self._count(seconds, usual)

    def rest(self, seconds: float, now: float) -> None:
        """Take a reading in calm weather: whoever waits is let in, and the price falls."""
        self.rate = 0.0
        self._purse.saved = math.inf  # until the next reading
        self.waiting.rest()
        self.room.expire(now)
        while self.room.waiting:
            self.room.issue(now)
        self._count(seconds, None)

    def wait(self, waiter: Waiter, now: float) -> int:
        """Whole seconds, about, until it is a waiter's turn, or the place is lost; at least 1."""
        turns = self.room.turns(waiter)
        return max(1, int(min(turns * self.machines / self.rate, waiter.until - now)))

    def pause(self, wait: int) -> int:
        """Whole seconds after which a client whose turn is in `wait` seconds is to ask again."""
        return min(max(wait // self._settings.asks, 1), self._settings.most_pause)

    def again_after(self, now: float) -> int:
        """Whole seconds after which an answer for which there is no room is to come again."""
        settings = self._settings
        at = max(self._next_return, now + BUSY_SECONDS) + 1.0 / settings.full_rate
        self._next_return = min(at, now + settings.full_pause)
        return round(self._next_return - now)

    def status(self) -> PricingStatus:
        """What a pass costs, and how many are wanted and issued."""
        return PricingStatus(
            price=int(self.hashes),
            solves_per_second=self.solves,
            passes_per_second=self.rate,
            used_share=self.used,
            bought_demand=self.used_rate,
            flash_crowd=self.flash,
            waiting=self.room.waiting,
        )

    def row(self) -> list[Any]:
        """Price and use of a pass, as a plain row."""
        return [self.hashes, self.used]

    def restore(self, row: list[Any]) -> bool:
        """Take such a row from before a restart. ValueError when it makes no sense."""
        hashes, used = row
        hashes, used = number(hashes, self._least, self._most), number(used)
        self.hashes = max(self.hashes, hashes)
        self._use.restore(used)
        return True

    def solves_here(self) -> Solves:
        """Who solved here since the last call, and how many passes were issued: for the worker that leads."""
        fresh, self._fresh = self._fresh, 0.0
        return Solves(fresh, *self._crowd.take(), self._use.take())

    def solved_elsewhere(self, solves: Solves) -> None:
        """Add those who solved at other workers."""
        self._fresh += solves.fresh
        self._crowd.solved_elsewhere(solves.networks, solves.known)
        self._use.issue(solves.issued)

    def orders(self) -> list[Any]:
        """The price and the issue as a plain row, for workers that follow."""
        assert isinstance(self._purse, SharedPurse)  # noqa: S101 - of one of several workers
        granted = self._purse.granted
        finite = granted if math.isfinite(granted) else None
        return [self.hashes, self.rate, self.solves, self.flash, finite, self.used, self.used_rate]

    def follow(self, row: list[Any], seconds: float, now: float) -> None:
        """Go by such a row for the `seconds` until the next. ValueError when it makes no sense."""
        hashes, rate, solves, flash, granted, used, used_rate = row
        self.hashes = number(hashes, self._least, self._most)
        self.rate, self.solves = number(rate, 0.0), number(solves, 0.0)
        self._crowd.on = flash is True
        assert isinstance(self._purse, SharedPurse)  # noqa: S101
        self._purse.adopt(math.inf if granted is None else number(granted))
        if granted is None:
            self.waiting.rest()
        else:
            self.waiting.read(self.rate / self.machines, seconds, self._purse.part)
        self._use.adopt(number(used), number(used_rate, 0.0))
        self.room.expire(now)
        self._seconds += seconds
        if self._seconds > self._settings.window:
            self._seconds = 0.0
            self._crowd.forget()

    def _count(self, seconds: float, usual: float | None) -> None:
        """Add a reading to the window of the price; close the window when it is long enough."""
        self._seconds += seconds
        if self._seconds > self._settings.window - seconds / 2:
            self._set_price(usual)

    def _set_price(self, usual: float | None) -> None:
        """Close a window of the price."""
        expected = self.rate * self._seconds
        self.solves = self._fresh / self._seconds
        self._crowd.close_window(usual)
        settings = self._settings
        if self._fresh > expected + math.sqrt(expected) and self.rate:
            self.hashes *= min(max(math.sqrt(self._fresh / expected), settings.least_rise), settings.most_rise)
        elif self._fresh <= settings.slack * expected:
            self.hashes *= settings.fall
        cap = min(self._most, settings.flash_cap * self._least) if self.flash else self._most
        self.hashes = min(max(self.hashes, self._least), cap)
        self._seconds = 0.0
        self._fresh = 0.0
