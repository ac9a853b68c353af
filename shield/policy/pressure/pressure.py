"""How badly the service is overloaded: one number p in [0, 1], from what is asked and what it can do.

    C   capacity, units/s: the larger of the most completed units/s while saturated (smoothed; falls 1 % a minute, and
        in a minute to what is completed while saturated) and 100 L/x (Little's law: L slots of 100 units/s each, slowed
        by x; where the limit is fixed by x / max(1, b): without probes b above 1 is how noisy times look undisturbed).
        Completed requests count at their route's baseline, like demand, so that slowness does not look like capacity,
        and baselines that are off are off in both. Until the limit was reached and held it is only a lower bound.
    D   demand, units/s: what each subject's nominal buckets and bans would admit *before* any measure that depends on
        p, so that neither a banned address holds p up nor success at shedding lifts the defence. EWMA over 3 s.
    t   = clip((D/C - 0.9) / 0.6, 0, 1) once D/C - 0.9, summed over seconds, exceeds 1 (25 browsers that load a page
        before four slots of 20 ms ask for all of them for 10 s); at least 0.5 while times, errors, the queue or Shield
        itself show overload
    p   rises by 0.5 (t - p) a second and falls by 0.02 (t - p): a flood is met in a second, and not trusted to be
        over for a minute. Whoever is *pressed* (p above 0.05) stays so until p is half of that: a flood that pulses
        every 30 s, however weak, does not make the defence flap.

**Strictness** is p as far as it may act: at most `max_pressure`, the operator's word, and nothing in a **brownout**,
when the service became worse by itself: for 60 s nobody has asked for more than it served in calm weather (demand over
a minute, times 0.9, against the most that a minute of calm weather completed; half of that is forgotten in a day), and
it is worse: slow, failing, under pressure with a third of what it could do, or able to do less than it has served.
Else it does what it can, and an attack that grew slowly asks for a little more. A brownout
lasts until p has fallen or demand is 1.5 times as much as was served. Where the service shows that it is ill, since it
is slow and completes less than it did, or failed within a minute though it could do what is asked, 45 s suffice. There,
and where it could do three times what is asked, demand may be three times as much from the beginning: people who are
refused ask again. *Slow* is against the b of calm weather here: a probe of an ill service finds that it is slow
undisturbed, and takes that for its b. Challenging people then helps the service little and locks them out for as long
as it is ill. The queue, where the tiers take turns then, and the concurrency limit go on protecting it.

What shows overload, in two windows running:

    latency    x > 1.5 b, and the median request takes 0.1 s longer than its baseline: people do not notice less
               (Nielsen 1993), and a dozen browsers that load a page at once fill every slot for a second without
               being a flood
    errors     more than 5 % of 502, 503, 504 and timeouts, beyond chance (concurrency.py), while at least a third of
               the capacity is asked for: with less, it is not for the load that the service fails
    shedding   somebody was turned away by the queue
    waiting    the queue has not moved on for long: what its oldest waits beyond 0.4 s, summed over time without a
               break, reached 4 s times seconds (a second's wait for 6.7 s, half a second's for 40)
    self       Shield's own event loop is 0.1 s late on average, and runs or waits for a core for 0.9 of the time. Not
               one without the other: a busy loop that is in time has room, and a late one that is idle was held up
               by something else

`shedding` and `waiting` are there for clients that ask again when they were answered: each of them counts once in
D, however long it was made to wait, so D cannot exceed C by much, and the origin behind its slots is never slow.
`waiting` has to last because 25 browsers with a page of eighty parts do the same for as long as it takes to
load (before four slots of 20 ms: 0.7 s of waiting for 10 s).

**Onset** is the first of p > 0.05 and an alarm of a CUSUM (Page 1954) on log2(rate / baseline rate): steps of more
than k = 0.5 accumulate until h = 4. The alarm limits nobody: it only freezes history early. It needs a minute of
warm-up, a rate of 10 requests/s, and demand of at least 2 % of the capacity. **End**: p below 0.05 for ten minutes.

Under pressure the demand of T1 is also counted by rank: when T0 and T1 alone ask for more than 0.9 C, `cutoff` is the
rank below which T1 has to be challenged too. When T0 alone does, the two are *merged*: they go by rank, T0
unchallenged.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from shield.model import UNIT_SECONDS
from shield.policy.concurrency.concurrency import Concurrency
from shield.policy.pressure.settings import PressureSettings

UNITS_PER_SLOT: Final = 1.0 / UNIT_SECONDS  # what one slot can do in a second
RANKS: Final = 33  # log2 of units served, 0 to 32


@dataclass(frozen=True, slots=True)
class OwnLoad:
    """What Shield itself has to carry, as its edge measures it: over half a second or so."""

    lag: float = 0.0  # seconds that the event loop is late, on average
    busy: float = 0.0  # share of the time in which it runs or waits for a core


IDLE: Final = OwnLoad()


class Pressure:
    """Adds up the requests of a window, and turns windows into p, onset and end."""

    __slots__ = (
        "_alarm",
        "_asked",
        "_baseline_rate",
        "_below_since",
        "_calm_baseline",
        "_completed",
        "_errors_ago",
        "_modest_for",
        "_most_completed",
        "_overloaded",
        "_ratio",
        "_reason",
        "_settings",
        "_started",
        "_steady_completed",
        "_steady_demand",
        "_waited",
        "attack",
        "attack_since",
        "brownout",
        "capacity",
        "cause",
        "completed",
        "crowded",
        "cutoff",
        "demand",
        "high",
        "known",
        "known_demand",
        "merged",
        "oldest_wait",
        "overload",
        "own",
        "p",
        "peak",
        "peak_rate",
        "pressed",
        "rank_demand",
        "ranks",
        "rate",
        "requests",
        "served",
        "shed",
        "target",
        "top",
        "top_demand",
        "units",
    )

    def __init__(self, settings: PressureSettings, limit: int) -> None:
        self._settings = settings
        # of the window that is open; the engine adds to these
        self.requests = 0
        self.units = 0.0  # demand of everybody
        self.top = 0.0  # demand of T0
        self.known = 0.0  # demand of T0 and T1
        self.completed = 0.0
        self.shed = 0  # requests that the queue turned away
        self.oldest_wait = 0.0  # seconds; of those in the queue as the window closes
        self.own = IDLE
        self.ranks = [0.0] * RANKS  # demand of T1 by rank, under pressure
        # smoothed, per second
        self.rate = 0.0
        self.demand = 0.0
        self.top_demand = 0.0
        self.known_demand = 0.0
        self.rank_demand = [0.0] * RANKS
        self._completed = 0.0
        self._most_completed = 0.0
        self._steady_completed = 0.0
        self._steady_demand = 0.0
        self.served = 0.0  # the most that was completed in calm weather
        self._ratio = 1.0  # x over seconds: of one window it is noise
        self._calm_baseline = 1.0  # b in calm weather
        self._errors_ago = math.inf  # seconds since errors showed overload
        # readings
        self.capacity = UNITS_PER_SLOT * limit
        self.p = 0.0
        self.target = 0.0  # t: where p is going
        self.high = False  # there is pressure: the queue goes by tier
        self.pressed = False  # and it acts on people
        self.brownout = False
        self._modest_for = 0.0  # seconds under pressure, without more demand than the service has served before
        self.cutoff = 0.0
        self.merged = False  # T0 alone asks for more than there is: then it goes by rank among T1
        self.crowded = False  # the oldest in the queue waits for longer than people do not notice
        self.overload: tuple[str, ...] = ()  # what showed it in the last window
        self._overloaded = 0  # windows running
        self._waited = 0.0
        self._asked = 0.0  # beyond `used`, times seconds
        self._reason = ""  # of the target
        # onset and end
        self._started: float | None = None
        self._baseline_rate = 0.0
        self._alarm = 0.0
        self.attack = False
        self.attack_since = 0.0
        self.cause = ""  # of the onset: demand, one of the signs of overload, or rate
        self.peak = 0.0  # p, and requests/s, since the onset
        self.peak_rate = 0.0
        self._below_since = 0.0

    @property
    def strictness(self) -> float:
        """p as far as it may act on people, in [0, 1]."""
        return 0.0 if self.brownout else min(self.p, self._settings.max_pressure)

    def close_window(self, concurrency: Concurrency, now: float, seconds: float) -> None:
        """Read the window of `seconds` that ends at `now`."""
        share = 1.0 - math.exp(-seconds / self._settings.smoothing)
        self.rate += share * (self.requests / seconds - self.rate)
        self.demand += share * (self.units / seconds - self.demand)
        self.top_demand += share * (self.top / seconds - self.top_demand)
        self.known_demand += share * (self.known / seconds - self.known_demand)
        self._completed += share * (self.completed / seconds - self._completed)
        self._read_capacity(concurrency, seconds)
        self._read_pressure(concurrency, seconds)
        self._find_brownout(concurrency, seconds)
        self._find_cutoff(share, seconds)
        if self._started is None and self.requests:
            self._started = now
        self._find_onset(now, seconds)
        self.requests = self.shed = 0
        self.units = self.top = self.known = self.completed = 0.0

    def _read_capacity(self, concurrency: Concurrency, seconds: float) -> None:
        self._most_completed *= self._settings.capacity_kept ** (seconds / 60)
        if concurrency.saturated:
            less = (self._completed - self._most_completed) * (1.0 - math.exp(-seconds / self._settings.steady))
            self._most_completed = max(self._most_completed + less, self._completed)
        self.capacity = max(self._most_completed, UNITS_PER_SLOT * concurrency.limit / concurrency.slowness)

    def _read_pressure(self, concurrency: Concurrency, seconds: float) -> None:
        settings = self._settings
        slow = (
            concurrency.low > settings.slow_ratio * concurrency.baseline and concurrency.excess > settings.slow_excess
        )
        self.crowded = self.oldest_wait > settings.slow_excess
        waited = self._waited + (self.oldest_wait - settings.long_wait) * seconds
        self._waited = max(0.0, waited) if self.crowded else 0.0
        signs = (
            ("latency", concurrency.acted and slow),
            ("errors", concurrency.acted and concurrency.errors_act and self.demand > settings.light * self.capacity),
            ("shedding", self.shed > 0),
            ("waiting", self._waited > settings.most_waited),
            ("self", self.own.lag > settings.own_lag and self.own.busy > settings.own_busy),
        )
        self.overload = tuple(name for name, shown in signs if shown)
        self._overloaded = self._overloaded + 1 if self.overload else 0
        beyond = self.demand / self.capacity - settings.used if concurrency.found else 0.0
        self._asked = self._asked + beyond * seconds if beyond > 0.0 else 0.0
        counts = self.high or self._asked > settings.most_asked
        target = min(max(beyond / settings.span, 0.0), 1.0) if counts else 0.0
        self._reason = "demand"
        if self._overloaded >= settings.overload_windows and target < settings.overload:
            target = settings.overload
            self._reason = self.overload[0]
        self.target = target
        speed = settings.rise if target > self.p else settings.fall
        self.p += (1.0 - math.exp(-speed * seconds)) * (target - self.p)

    def _find_brownout(self, concurrency: Concurrency, seconds: float) -> None:
        """Tell a service that became worse by itself from one of which too much is asked; whether p acts at all."""
        settings = self._settings
        share = 1.0 - math.exp(-seconds / settings.steady)
        self._steady_demand += share * (self.units / seconds - self._steady_demand)
        self._steady_completed += share * (self.completed / seconds - self._steady_completed)
        self.high = self.p > (settings.release * settings.threshold if self.high else settings.threshold)
        self.served *= settings.served_kept ** (seconds / 60)
        if not self.high:
            self.served = max(self.served, self._steady_completed)
            self._calm_baseline += share * (concurrency.baseline - self._calm_baseline)
        self._errors_ago = 0.0 if "errors" in self.overload else self._errors_ago + seconds
        more = settings.brownout_demand if self.brownout else 1.0 / settings.used
        self._ratio += (1.0 - math.exp(-seconds / settings.slow_memory)) * (concurrency.ratio - self._ratio)
        slow = self._ratio > settings.slow_ratio * self._calm_baseline
        less = slow and self._steady_completed <= settings.used * self.served
        failing = self._errors_ago < settings.steady
        light = settings.used if self.brownout or failing else settings.light
        could = self._steady_demand <= light * self.capacity
        if less or could:
            more = max(more, settings.brownout_tries)
        # at once; demand over a minute would take seconds
        flood = self.demand > max(settings.brownout_tries * self.served, settings.used * self.capacity)
        # else it does what it ever did, and a little more is asked
        worse = slow or could or failing or self.capacity <= settings.used * self.served
        modest = self.high and self._steady_demand <= self.served * more and not flood and (self.brownout or worse)
        self._modest_for = self._modest_for + seconds if modest else 0.0
        after = settings.brownout_ill if less or (could and failing) else settings.brownout_after
        self.brownout = modest and (self.brownout or self._modest_for >= after)
        self.pressed = self.high and not self.brownout and settings.max_pressure > settings.threshold

    def _find_cutoff(self, share: float, seconds: float) -> None:
        """The rank (log2 of units served, and a fraction) below which T1 exceeds what there is for it; with T0 among it
        where that alone exceeds it."""
        self.cutoff = 0.0
        usable = self._settings.used * self.capacity
        self.merged = self.pressed and self.top_demand > usable
        left = usable if self.merged else usable - self.top_demand
        for rank in range(RANKS - 1, -1, -1):
            units = self.rank_demand[rank] = (1.0 - share) * self.rank_demand[rank] + share * self.ranks[rank] / seconds
            self.ranks[rank] = 0.0
            if units > 0.0 and units > left and not self.cutoff:
                self.cutoff = rank + 1.0 - max(left, 0.0) / units
            left -= units

    def _find_onset(self, now: float, seconds: float) -> None:
        settings = self._settings
        if self.p >= settings.threshold:
            self._below_since = now
        if self.attack:
            self.peak = max(self.peak, self.p)
            self.peak_rate = max(self.peak_rate, self.rate)
            if now - self._below_since >= settings.calm_after:
                self.attack = False
                self._alarm = 0.0
                self._baseline_rate = self.rate  # what is usual now
            return
        if self.p > settings.threshold or self._accumulate(now, seconds):
            self.attack = True
            self.attack_since = self._below_since = now
            self.cause = self._reason if self.p > settings.threshold else "rate"
            self.peak, self.peak_rate = self.p, self.rate

    def _accumulate(self, now: float, seconds: float) -> bool:
        """Step the CUSUM; whether it alarms."""
        if self._started is None:
            return False
        settings = self._settings
        if now - self._started < settings.warm_up:
            self._baseline_rate = max(self._baseline_rate, self.rate)
            return False
        floor = settings.cusum_floor
        step = math.log2(max(self.rate, floor) / max(self._baseline_rate, floor))
        self._alarm = max(0.0, self._alarm + step - settings.cusum_step)
        if self._alarm:
            self._baseline_rate *= settings.cusum_growth ** (seconds / 60)
        else:
            share = 1.0 - math.exp(-seconds / settings.cusum_memory)
            self._baseline_rate += share * (self.rate - self._baseline_rate)
        return self._alarm > settings.cusum_alarm and self.demand > settings.cusum_share * self.capacity
