"""How much the upstream takes at once: the limit L, found by its congestion, with a probe that drains.

`x` is the median of upstream time over the route's baseline, `b` its undisturbed value (1 at the start), `e` the share
of 502, 503, 504 and timeouts. *Saturated*: in-flight reached the limit. A round begins with each change of the limit,
and anew when the limit is first reached; its samples are the requests that *began* since then, so that what went before
is not answered twice, and calm does not speak for a flood. In each window (0.5 s) the round is judged, if it has enough
samples of enough clients, taken while in-flight was at least L/2:

    g = tolerance b / x
    g < 1, or e too high    L falls to max(0.7, g) L, or 0.8 L
    g > 1.1                 L rises by sqrt(L) / 2; by half until the first time that it did not
    otherwise, and while it is not reached, or half of the requests found a slot to spare, L keeps

A few noisy samples are no evidence. They act when a confidence interval of the median (sign test, two standard
deviations) says the same; else the round goes on to `ENOUGH` samples, and then the median is believed.

**The probe.** A flood is sustained saturation: a baseline learned from it drifts, and L with it (simulated over 30
minutes by the design: Gradient2 ends at 40 times the ideal). So while saturated, every 20 s, and before L falls far, a
probe runs at L/2 and takes `b` from requests that began inside. If they took less than 0.65 of the time at L, the
service is congested at L/2 too, and the probe goes on at half of that. Probes begin at multiples of 20 s of the
clock, so that the workers of one service drain it together. When the congestion calls for less than L/2, the probe runs
at what it calls for, g L; and if that is as quick as b says, b holds and g L is the limit.

**Haste.** A flood fills the slots of the first guess, and users wait behind it. So a round may end between two windows,
up to twenty times a second while requests wait, when the last `FEW` samples leave no doubt (three standard deviations)
that they took `BLATANT` times too long; and so may the probe that follows. A service of 4 slots gets 5 instead of 20 a
quarter of a second after the first answers (0.4 s after the first request of a flood). The limit never rises so.

**Quiet.** A limit that fell in bad times rises again while the service is hardly asked, to what it took well within
the last minutes: else a limit too low to let anybody in would never be tested. `found` says that the limit has been
reached and held; before, and in calm weather a minute after it was last reached, it is only a lower bound of what the
service can do, and demand beyond it is no overload.

A fixed limit (`adaptive = false`) keeps x, b and e all the same: pressure.py reads them. Without probes, b = min(b,
x), and in calm weather, while the window was not saturated, b moves 2 % of the way to x. (Not under pressure: the
windows in which a flood drains are not saturated, and full of its slowness.)
"""

from __future__ import annotations

import math
from typing import Final

from shield.policy.concurrency.settings import ConcurrencySettings

MOST_SAMPLES: Final = 1024
"""Samples kept per window, and per round: bounds the memory and the sorting (0.1 ms) whatever the rate."""
ENOUGH: Final = 32  # samples of a round or probe whose median is believed; and what a baseline weighs against a probe
ROUND: Final = 30.0  # seconds after which samples are too old
SURE: Final = 1.0  # half the width of a confidence interval, in sqrt(n) ranks: two standard deviations
VERY_SURE: Final = 1.5  # three: b falls with each of thousands of windows, and never by chance
HASTE: Final = 0.05  # seconds between two looks
FEW: Final = 16  # samples that may be in haste, the last: that two or less are below the median is chance, 1 in 478
BLATANT: Final = 1.5  # times beyond the tolerance; less can wait for the window
LATER: Final = 0.99  # a congestion that is not measured anew fades by 1 % a minute
SEARCH: Final = 1.5  # growth until the limit held once: four windows from 20 to 100, and half as much too high at most
FELL: Final = 0.6  # of the limit at the last probe: two steps down, and then it is asked whether b still holds
DEEPER: Final = 1.3  # times what Little's law has the time fall to with fewer slots: there is more congestion below
CONFIRMED: Final = 0.8  # of b, and the tolerance: between them a probe at the goal says that b still holds
PROBE_LONG: Final = 2.0  # seconds after which the least number of samples will do
PROBE_MOST: Final = 20.0  # seconds; then the probe is given up
PROBE_SHARE: Final = 0.2  # of the time, at most, is spent probing a slow service
FULL: Final = 0.5  # of the requests of a round: if fewer met the last slot or none, the limit was not in the way
UNDER_WAY: Final = 3  # ended requests for each that is still under way: else only the quick ones count
FLOOR_ROUNDS: Final = 4  # at the floor and still too slow: then b is asked for, as it must be wrong
USUAL_KEPT: Final = 0.9  # per minute, of the limit that it may rise to while quiet
QUIET: Final = 2.0  # seconds since the limit was last reached, after which it may rise to that
FORGOTTEN: Final = 60.0  # seconds of calm after which a limit is a lower bound again


class Concurrency:
    """Counts the requests at the upstream, reads its congestion, and sets the limit, one window (0.5 s) at a time.

    `ceiling`: requests, 0 for none. `probes`: whether the limit is heeded, so that a probe means something.
    """

    __slots__ = (
        "_at_goal",
        "_before",
        "_began",
        "_calm",
        "_clients",
        "_congested",
        "_deepest",
        "_errors",
        "_excess",
        "_floor_rounds",
        "_fresh",
        "_fresh_clients",
        "_fresh_errors",
        "_least",
        "_looked",
        "_most",
        "_next_probe",
        "_probe_began",
        "_probes",
        "_ratios",
        "_reached",
        "_reached_in_round",
        "_reference",
        "_searching",
        "_settings",
        "_slots_before",
        "_taken",
        "_taken_full",
        "_unreached",
        "_usual",
        "acted",
        "baseline",
        "congestion",
        "epoch",
        "errors_act",
        "excess",
        "found",
        "half",
        "in_flight",
        "limit",
        "low",
        "probing",
        "ratio",
        "saturated",
        "slots",
        "slowness",
    )

    def __init__(self, settings: ConcurrencySettings, ceiling: int = 0, probes: bool = True) -> None:
        self._settings = settings
        if settings.adaptive:
            self._most = min(settings.most, ceiling) if ceiling else settings.most
            self._least = min(settings.least, self._most)
            self.limit = max(self._least, min(settings.start, self._most))
        else:
            self._most = self._least = self.limit = ceiling or settings.start
        self._probes = probes
        self.slots = self.limit  # requests that may be at the upstream now: fewer during a probe
        self.half = self.slots / 2
        self.in_flight = 0
        self.epoch = 1  # of the requests that begin now; another after each change of `slots`
        # of the window that is open
        self._reached = False
        self._ratios: list[float] = []
        self._excess: list[float] = []
        self._errors = 0
        self._clients: set[bytes] = set()  # no more than settings.clients
        # of the window closed last
        self.saturated = False
        self.acted = False  # there was enough to go by
        self.low = 1.0  # the lower confidence bound of x
        self.excess = 0.0  # seconds that the median request took longer than its baseline
        self.errors_act = False  # more 502, 503, 504 and timeouts than `error_share`, beyond chance
        # over windows
        self.ratio = 1.0  # x
        self.baseline = 1.0  # b
        self.congestion = 1.0  # max(1, x / b) where it acts, for what requests cost
        self.slowness = 1.0  # what takes from the capacity: x, or without probes x / max(1, b)
        # of the round: requests that began in this epoch
        self._began = 0.0
        self._taken = 0
        self._taken_full = 0  # of these, those that found or made the slots full
        self._fresh: list[float] = []
        self._fresh_errors = 0
        self._fresh_clients: set[bytes] = set()  # no more than settings.clients
        self._reached_in_round = False
        self._looked = 0.0
        # the probe
        self.probing = False
        self._probe_began = 0.0
        self._next_probe = 0.0
        self._congested = 0.0  # x before it began
        self._before = 0.0  # x before the last step down ...
        self._slots_before = 1  # ... and the slots
        self._at_goal = False  # it runs at what L is to be if b holds
        self._deepest = max(1, self._least // 2)
        self._reference = 0  # the limit at the last probe
        self._floor_rounds = 0
        # what is known of the limit
        self._searching = True
        self._usual = 0.0  # the greatest limit taken well, fading
        self._unreached = 0.0  # seconds since it was reached
        self._calm = 0.0  # of these, those of calm weather
        self.found = not settings.adaptive

    def take(self) -> None:
        """A request goes to the upstream."""
        self.in_flight += 1
        self._taken += 1
        if self.in_flight >= self.slots:
            self._reached = True
            self._taken_full += 1
            if not self._reached_in_round:
                self._begin_at_limit()

    def give(self) -> None:
        """It came back."""
        self.in_flight -= 1

    def sample(self, client: bytes, seconds: float, baseline: float, error: bool, epoch: int) -> None:
        """One response (`seconds` to its head) while in-flight is at least `half`; the caller asks that.

        `epoch` is that in which the request was taken. Of an error only that it was one counts: it may be quick.
        """
        most = self._settings.clients
        if len(self._clients) < most:
            self._clients.add(client)
        ratio = seconds / baseline
        if len(self._ratios) + self._errors < MOST_SAMPLES:
            if error:
                self._errors += 1
            else:
                self._ratios.append(ratio)
                self._excess.append(seconds - baseline)
        if epoch == self.epoch and len(self._fresh) + self._fresh_errors < MOST_SAMPLES:
            if len(self._fresh_clients) < most:
                self._fresh_clients.add(client)
            if error:
                self._fresh_errors += 1
            else:
                self._fresh.append(ratio)

    def close_window(self, seconds: float, calm: bool, now: float) -> None:
        """Read the window that ends `now` after `seconds`, in calm weather or not; set the limit, open the next."""
        self.saturated = self._reached
        self._read_window(seconds, calm)
        self.slowness = self.ratio
        if not (self._settings.adaptive and self._probes):
            self.slowness /= max(1.0, self.baseline)
        if self._settings.adaptive:
            self._usual *= USUAL_KEPT ** (seconds / 60)
            self._began = self._began or now
            self._forget(seconds, calm)
            if self.probing:
                self._probe(now)
            else:
                self._judge(now)
        self._reached = self.in_flight >= self.slots
        self._ratios.clear()
        self._excess.clear()
        self._clients.clear()
        self._errors = 0

    def hurry(self, now: float) -> None:
        """Between two windows, while requests wait: carry out at once what leaves no doubt."""
        n = len(self._fresh)
        if n < FEW or now < self._looked + HASTE or not self._settings.adaptive or not self._reached_in_round:
            return
        self._looked = now
        blatant = BLATANT * self._settings.tolerance * self.baseline
        if not self.probing:
            low = _median(sorted(self._fresh[-FEW:]), VERY_SURE)[0]
            if low > blatant and len(self._fresh_clients) >= self._settings.clients:
                del self._fresh[:-FEW]  # of milder weather
                self._judge(now, late=0)  # those under way are no quicker
        elif n >= ENOUGH and self._enough():
            high = _median(sorted(self._fresh), VERY_SURE, self._under_way())[2]
            if high < self._shallow() or self._congested > blatant:
                self._probe(now)

    def _read_window(self, seconds: float, calm: bool) -> None:
        settings = self._settings
        n = len(self._ratios) + self._errors
        self.acted = n >= settings.samples and len(self._clients) >= settings.clients
        self.errors_act = self.acted and self._too_many(self._errors, n)
        if not (self.acted and self._ratios):
            self.low = self.baseline
            self.excess = 0.0
            self.congestion = 1.0
            self.ratio += (self.baseline - self.ratio) * (1.0 - LATER ** (seconds / 60))
            return
        ratios = sorted(self._ratios)
        self.low, self.ratio, _ = _median(ratios, SURE)
        self.excess = sorted(self._excess)[len(ratios) // 2]
        if not self.probing:
            self.baseline = min(self.baseline, _median(ratios, VERY_SURE)[2])
            if calm and not self.saturated:
                self.baseline += settings.drift * (self.ratio - self.baseline)
        self.congestion = max(1.0, self.ratio / self.baseline)

    def _too_many(self, errors: int, n: int) -> bool:
        share = self._settings.error_share
        return errors > share * n + 2 * math.sqrt(share * (1 - share) * n)

    def _forget(self, seconds: float, calm: bool) -> None:
        if self.saturated:
            self._unreached = self._calm = 0.0
            return
        self._unreached += seconds
        if calm:
            self._calm += seconds
            if self._calm > FORGOTTEN:
                self.found = False

    def _enough(self) -> bool:
        settings = self._settings
        least = max(settings.samples, UNDER_WAY * self._under_way())
        return len(self._fresh) + self._fresh_errors >= least and len(self._fresh_clients) >= settings.clients

    def _under_way(self) -> int:
        """Requests of the round that have not ended."""
        return min(self.in_flight, self._taken - len(self._fresh) - self._fresh_errors)

    def _judge(self, now: float, late: int | None = None) -> None:
        """Let the limit rise, fall, or keep, or begin a probe; or wait for more samples. `late`: see `_median`; None if
        it is to be seen whether there are enough samples.

        One that nobody reached does not fall: it restrains nobody, and a few requests that happen to be slow are enough
        to bring in-flight to half of it (a calm site with noisy times went from 20 to 6 within two minutes).
        """
        settings = self._settings
        if late is None and not (self._reached_in_round and self._enough()):
            if self._unreached > QUIET and self.congestion < settings.tolerance and self.limit < self._usual:
                self._change(min(math.ceil(self._usual), self.limit + self._step()), now)
            elif now - self._began > ROUND:
                self._begin_round(now)
            return
        n = len(self._fresh) + self._fresh_errors
        if late is None:
            late = self._under_way()
        low, x, high = _median(sorted(self._fresh), SURE, late) if self._fresh else (self.baseline,) * 3
        goal = settings.tolerance * self.baseline
        gradient = goal / x
        errors = self._too_many(self._fresh_errors, n)
        sure = n >= ENOUGH
        down = errors or low > goal or (sure and gradient < 1.0)
        in_the_way = self._taken_full >= FULL * self._taken
        grows = not down and in_the_way and self.limit < self._most and gradient > settings.grow_above
        up = grows and (sure or high < goal)
        if down or (sure and in_the_way and not up):
            self.found = True
            self._searching = False
        if errors:
            gradient = min(gradient, settings.error_shrink)
        lower = max(self._least, int(self.limit * max(settings.shrink, gradient)))
        at_floor = down and lower == self.limit
        self._floor_rounds = self._floor_rounds + 1 if at_floor else 0
        in_doubt = self._floor_rounds >= FLOOR_ROUNDS or (down and not errors and lower < FELL * self._reference)
        congested = x > settings.grow_above * self.baseline and (down or in_the_way)
        if congested and self._probes and self.limit > 1 and (in_doubt or now >= self._next_probe):
            self._begin_probe(x, now)
        elif down:
            self._change(lower, now)
        elif sure or up:
            self._usual = max(self._usual, self.limit)
            self._change(min(self._higher(), self._most) if up else self.limit, now)
        elif now - self._began > ROUND:
            self._begin_round(now)

    def _higher(self) -> int:
        return max(self.limit + self._step(), int(self.limit * SEARCH) if self._searching else 0)

    def _step(self) -> int:
        return max(1, int(self._settings.growth * math.sqrt(self.limit)))

    def _begin_probe(self, x: float, now: float) -> None:
        self.probing = True
        self._probe_began = now
        self._before = self._congested = x
        self._slots_before = self.limit
        self._floor_rounds = 0
        goal = int(self.limit * self._settings.tolerance * self.baseline / x)
        self._at_goal = goal < self.limit // 2
        self._set_slots(max(self._deepest, goal) if self._at_goal else self.limit // 2, now)

    def _shallow(self) -> float:
        """x below which the time fell along with the slots (Little's law), so that the probe is not deep enough."""
        return DEEPER * self._before * self.slots / self._slots_before

    def _probe(self, now: float) -> None:
        """Go on probing, or take what the probe says of b and end it."""
        settings = self._settings
        took = now - self._probe_began
        n = len(self._fresh)
        if self._enough() and n >= settings.probe_samples and (n >= ENOUGH or took >= PROBE_LONG):
            low, x, high = _median(sorted(self._fresh), SURE, self._under_way())
            if self._at_goal and CONFIRMED * self.baseline < x < settings.tolerance * self.baseline:
                self.limit = max(self._least, self.slots)
            elif x < self._shallow() and self.slots > self._deepest and took < PROBE_MOST / 2:
                self._before, self._slots_before = x, self.slots
                self._at_goal = False
                self._set_slots(max(self._deepest, self.slots // 2), now)
                return
            else:
                slowest = max(self.baseline, self._congested)  # fewer slots make nothing slower
                low, x, high = min(low, slowest), min(x, slowest), min(high, slowest)
                self.baseline = min(max(self.baseline, low), high)  # what a probe cannot deny, it need not unteach
                self.baseline += n / (n + ENOUGH) * (x - self.baseline)
                gradient = settings.tolerance * self.baseline / self._congested
                if gradient < 1.0 and n >= ENOUGH:  # at once, but not below what the probe ran at
                    self.limit = max(self._least, self.slots, int(self.limit * gradient))
        elif took < PROBE_MOST:
            return
        self.probing = False
        self._reference = self.limit
        every = settings.probe_every
        rest = max(took / PROBE_SHARE - every, 0.0)
        self._next_probe = ((now + rest) // every + 1) * every
        self._set_slots(self.limit, now)

    def _change(self, limit: int, now: float) -> None:
        self.limit = limit
        if limit == self.slots:
            self._begin_round(now)
        else:
            self._set_slots(limit, now)

    def _set_slots(self, slots: int, now: float) -> None:
        self.slots = slots
        self.half = slots / 2
        self.epoch += 1
        self._begin_round(now)

    def _begin_round(self, now: float) -> None:
        self._began = now
        self._clear_round()
        self._reached_in_round = self.in_flight >= self.slots

    def _begin_at_limit(self) -> None:
        """Forget what the round has from before the limit was reached: calm requests would speak for full slots."""
        self.epoch += 1
        self._clear_round()
        self._reached_in_round = True

    def _clear_round(self) -> None:
        self._taken = self._taken_full = 0
        self._fresh.clear()
        self._fresh_clients.clear()
        self._fresh_errors = 0


def _median(ordered: list[float], width: float, late: int = 0) -> tuple[float, float, float]:
    """The bounds of a confidence interval of the median, `width` times sqrt(n) ranks to each side, around it.

    `late`: how many more there are, still under way. Those that one finds under way are longer than most: of evenly
    distributed times half of them will be above the median, of log-normal ones (0.6) 73 %, of exponential ones 85 %.
    Three quarters are taken to be.
    """
    n = len(ordered)
    middle = min((2 * n + late) // 4, n - 1)
    ranks = width * math.sqrt(n)
    return ordered[max(0, int(middle - ranks))], ordered[middle], ordered[min(n - 1, int(middle + ranks))]
