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
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt
from typing_extensions import Doc

from shield.complaints import Complaint
from shield.marks import Unit, Why
from shield.policy.challenge import BUSY_SECONDS, ChallengeSettings
from shield.policy.flash_crowd import FlashCrowd
from shield.policy.pass_use import PassUse
from shield.policy.status import PricingStatus
from shield.policy.waiting_room import Room, Waiter


@dataclass(frozen=True, slots=True)
class PricingSettings:
    """What a bought pass costs, and how many there are."""

    window: Annotated[
        float,
        Gt(0),
        Unit("s"),
        Doc("Time between two prices."),
        Why("Chosen", "enough solves to count, few steps to any price"),
    ] = 5.0
    least_rise: Annotated[
        float,
        Gt(1),
        Unit("times"),
        Doc("Least factor by which the price rises in a window, when it does."),
        Why("Chosen", "or it never gets anywhere"),
    ] = 1.05
    most_rise: Annotated[
        float,
        Gt(1),
        Unit("times"),
        Doc("Greatest factor by which it rises in a window."),
        Why("Chosen", "from the least to the highest price in 25 s"),
    ] = 2.0
    fall: Annotated[
        float,
        Gt(0),
        Lt(1),
        Unit("times"),
        Doc("Factor by which the price falls in a window."),
        Why("Chosen", "slower than it rises, as p"),
    ] = 0.85
    slack: Annotated[
        float,
        Gt(0),
        Lt(1),
        Unit("share"),
        Doc("Part of the passes that can be served; with fewer solves than that the price falls."),
        Why("Chosen", "a gap, or it would swing"),
    ] = 0.7
    bought_share: Annotated[
        float,
        Gt(0),
        Lt(1),
        Unit("share"),
        Doc("Part of the capacity that is left for bought passes whatever T0 and T1 ask for."),
        Why("Chosen", "newcomers get in beside a full house, which costs it a sixth"),
    ] = 0.15
    kept_share: Annotated[
        float,
        Ge(0),
        Lt(1),
        Unit("share"),
        Doc(
            "Part of the capacity for which bought passes go first in the queue where T0 and T1 ask for "
            "more than the rest. 0: T0 and T1 always go first."
        ),
        Why(
            "Simulated",
            "`creeping`: without it newcomers got nothing beside attackers that had behaved for an hour; "
            "with 0.15 users lost more",
        ),
    ] = 0.05
    usable_share: Annotated[
        float,
        Gt(0),
        Le(1),
        Unit("share"),
        Doc("Part of the capacity that is given away in all; beyond it queues grow."),
        Why("Chosen", "as `pressure.used`"),
    ] = 0.9
    first_used: Annotated[
        float,
        Gt(0),
        Le(1),
        Unit("share"),
        Doc("Part of a bought pass's worth that is taken to be used, until it is known."),
        Why("Chosen", "learned within seconds; half would issue too few passes in the first of them"),
    ] = 0.2
    least_used: Annotated[
        float,
        Gt(0),
        Le(1),
        Unit("share"),
        Doc("Least part that is reckoned with."),
        Why("Simulated", "with a fifth at least a flash crowd got 250 answers/s of a service of 1,600, learned 1,570"),
    ] = 0.01
    flash_cap: Annotated[
        float,
        Ge(1),
        Unit("times"),
        Doc("Highest price over the lowest while the solvers are the usual people."),
        Why("Simulated", "the p95 of hashing was 0.5 s in known networks and 1.6 s in others, where 5 s were allowed"),
    ] = 4.0
    flash_share: Annotated[
        float,
        Gt(0),
        Le(1),
        Unit("share"),
        Doc(
            "Part of the usual share of newcomers from known networks that must be found among the "
            "solvers, for them to be the usual people."
        ),
        Why("Simulated", "`flash-crowd`, `crowd-and-attack`"),
    ] = 0.5
    least_usual: Annotated[
        float,
        Gt(0),
        Le(1),
        Unit("share"),
        Doc("Share of newcomers from known networks without which it tells nobody from another."),
        Why("Chosen", "where fewer do, chance makes half of it"),
    ] = 0.1
    most_wait: Annotated[
        float,
        Gt(0),
        Le(600),
        Unit("s"),
        Doc("Longest wait for a pass."),
        Why("Chosen", "people leave a page that takes a minute"),
    ] = 60.0
    asks: Annotated[
        int,
        Ge(1),
        Le(100),
        Unit("times"),
        Doc("How often a waiting page asks in the time that it will take: it may be sooner."),
        Why("Chosen", "a place that is won early lies idle for a quarter of the wait at most"),
    ] = 4
    most_pause: Annotated[
        int,
        Ge(1),
        Le(600),
        Unit("s"),
        Doc("Time after which a waiting page asks in any case: a place that was won must not lie idle."),
        Why("Computed", "a full waiting room asks 1,600 times/s then"),
    ] = 10
    full_rate: Annotated[
        float,
        Gt(0),
        Unit("answers/s"),
        Doc("Answers that are turned away for lack of room and come again, as told by Retry-After."),
        Why("Measured", "4 % of a core"),
    ] = 1000.0
    full_pause: Annotated[
        int,
        Ge(2),
        Le(60),
        Unit("s"),
        Doc("Time after which they come again at most."),
        Why("Chosen", "each answer has some tries before it expires"),
    ] = 30
    use_seconds: Annotated[
        float,
        Gt(0),
        Unit("s"),
        Doc("Time over which what bought passes take is averaged."),
        Why("Chosen", "a page and the next"),
    ] = 10.0
    worth_seconds: Annotated[
        float,
        Gt(0),
        Unit("s"),
        Doc("Time over which the use of passes is compared with their issue."),
        Why("Chosen", "most are left by then"),
    ] = 30.0
    learn_seconds: Annotated[
        float,
        Gt(0),
        Unit("s"),
        Doc("Time over which it is learned that passes are used less than was thought."),
        Why("Chosen", "twice `market.alarm_seconds`: to issue too few is the smaller mistake"),
    ] = 8.0
    alarm_seconds: Annotated[
        float,
        Gt(0),
        Unit("s"),
        Doc("Time over which it is learned that they are used more."),
        Why("Chosen", "idle passes may be put to use all at once"),
    ] = 4.0
    least_issued: Annotated[
        float,
        Gt(0),
        Unit("passes"),
        Doc("Passes issued of late from which their use can be told."),
        Why("Chosen", "as `concurrency.samples`"),
    ] = 8.0
    least_solves: Annotated[
        float,
        Gt(0),
        Unit("solves"),
        Doc("Solves of late from which the share of known networks among them can be told."),
        Why("Chosen", "as `concurrency.samples`"),
    ] = 8.0
    solves_kept: Annotated[
        float,
        Gt(0),
        Lt(1),
        Unit("share per window"),
        Doc("Part of these solves that still counts."),
        Why("Computed", "half a minute's"),
    ] = 0.8
    flash_kept: Annotated[
        float,
        Gt(0),
        Le(1),
        Unit("share"),
        Doc("Part of `flash_share` that suffices while it is a crowd."),
        Why("Chosen", "known networks are let in first, and leave"),
    ] = 0.5
    by_network: Annotated[
        bool,
        Doc(
            "Whether a network's solves count as one, and passes go to known networks and those with the "
            "fewest first. false: each solve counts, and who solved first gets it; then a botnet of a few "
            "networks gets most."
        ),
    ] = True
    strangers: Annotated[
        float,
        Gt(0),
        Lt(1),
        Unit("share"),
        Doc("Part of the passes that goes to networks that are not known, while some of them wait."),
        Why(
            "Chosen",
            "it costs the known as much; without it a crowd of known networks leaves the others none, "
            "however long it lasts",
        ),
    ] = 0.05
    savings: Annotated[
        float,
        Gt(0),
        Unit("s"),
        Doc("Time for which passes that nobody wanted are saved up, so that bursts of visitors need not wait."),
        Why("Chosen", "as `market.window`"),
    ] = 5.0

    def complaints(self) -> Iterator[Complaint]:
        if self.most_rise < self.least_rise:
            yield ("most_rise",), f"at least market.least_rise, which is {self.least_rise}"
        if self.first_used < self.least_used:
            yield ("first_used",), f"at least market.least_used, which is {self.least_used}"


class Pricing:
    """The price, the rate of issue, and the waiting room."""

    __slots__ = (
        "_crowd",
        "_fresh",
        "_least",
        "_most",
        "_next_return",
        "_saved",
        "_seconds",
        "_settings",
        "_use",
        "_worth",
        "hashes",
        "rate",
        "room",
        "solves",
    )

    def __init__(
        self,
        settings: PricingSettings,
        challenge: ChallengeSettings,
        max_pressure: float,
        room: Room,
    ) -> None:
        self._settings = settings
        self._least = float(challenge.least_hashes)
        self._most = self._least * (challenge.most_hashes / self._least) ** max_pressure
        self._worth = challenge.bought_burst + challenge.least_bought_rate * challenge.bought_idle
        self._use = PassUse(settings, self._worth)
        self._crowd = FlashCrowd(settings)
        self.room = room
        self.hashes = self._least  # E
        self.rate = 0.0  # n*
        self.solves = 0.0  # n, of the last window
        self._saved = math.inf  # passes that may be issued
        self._next_return = 0.0  # when the next answer may come again to a full room
        # of the window of the price that is open
        self._seconds = 0.0
        self._fresh = 0  # solves that count

    @property
    def flash(self) -> bool:
        """Whether those who solve are a flash crowd."""
        return self._crowd.on

    @property
    def used(self) -> float:
        """u."""
        return self._use.share

    @property
    def used_rate(self) -> float:
        """Units/s that bought passes take, smoothed."""
        return self._use.rate

    def left(self, capacity: float, known_demand: float) -> float:
        """B, the units/s left for bought passes."""
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
        return self._saved >= 1.0

    def take(self) -> None:
        """Issue one pass."""
        self._saved -= 1.0
        self._use.issue()

    def read(self, left: float, units: float, seconds: float, usual: float | None, now: float) -> None:
        """Take a reading of `seconds` under attack: set n*, issue what is due, and now and then the price.

        `left` is B, `units` what bought passes took meanwhile, `usual` the share of newcomers that come from known
        networks in calm weather (None: not known).
        """
        self._use.read(units, seconds)
        self.rate = left / (self._worth * self._use.share) * min(1.0, left / max(self._use.rate, left))
        self._saved = min(self._saved + self.rate * seconds, max(1.0, self.rate * self._settings.savings))
        room = self.room
        room.expire(now)
        while self._saved >= 1.0 and room.waiting:
            self.take()
            room.issue(now)
        self._count(seconds, usual)

    def rest(self, seconds: float, now: float) -> None:
        """Take a reading in calm weather: whoever waits is let in, and the price falls."""
        self.rate = 0.0
        self._saved = math.inf  # until the next reading
        self.room.expire(now)
        while self.room.waiting:
            self.room.issue(now)
        self._count(seconds, None)

    def wait(self, waiter: Waiter, now: float) -> int:
        """Whole seconds, about, until it is a waiter's turn, or the place is lost; at least 1."""
        turns = self.room.turns(waiter)
        return max(1, int(min(turns / self.rate, waiter.until - now)))

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
        self._fresh = 0
