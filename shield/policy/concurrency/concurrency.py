"""How much the service takes at once: finds the limit L by the congestion, with a probe that drains.

When a window closes, the round is judged (round.py), and the limit rises, falls, stays, or is probed. A limit that
nobody reached does not fall. It restrains nobody, and a few requests that happen to be slow are enough to bring
in-flight to half of it: a calm site with noisy times went from 20 to 6 within two minutes.

**Haste.** A flood fills the slots of the first guess, and users wait behind it. So while requests wait, a round may end
between two windows when its last FEW samples leave no doubt that they took BLATANT times too long; and so may the probe
that follows. A service of 4 slots gets 5 instead of 20 a quarter of a second after its first answers. The limit never
rises in haste.

**Few clients.** A program that asks alone, or a load balancer in front, is to get what the service takes, and must not
say what it takes for others: cheap requests would have the limit rise, and dear ones fall. So there are two limits. One
is found with enough clients, the other with fewer. Enough clients in a round or a window, and the limit is the one that
enough of them have found. A limit of few clients is never `found`, b is not learned from them, and no probe is made.

A fixed limit (`adaptive = false`) keeps x and b all the same: the pressure reads them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from shield.policy.board.seat import Seat
from shield.policy.concurrency.congestion import Congestion
from shield.policy.concurrency.evidence import VERY_SURE, median
from shield.policy.concurrency.headroom import Headroom
from shield.policy.concurrency.limit import Limit
from shield.policy.concurrency.probe import Deeper, Probe
from shield.policy.concurrency.reading import Reading
from shield.policy.concurrency.round import read
from shield.policy.concurrency.samples import Samples
from shield.policy.concurrency.settings import ConcurrencySettings
from shield.policy.concurrency.shared_slots import SharedSlots
from shield.policy.concurrency.slots import Slots
from shield.policy.rows import count, number

ROUND: Final = 30.0  # seconds after which the samples of a round are too old
HASTE: Final = 0.05  # seconds between two looks: requests that wait call for one every 20 ms
FEW: Final = 16  # samples that may be in haste, the last: that two or less are below the median is chance, 1 in 478
LEAST_BASELINE, MOST_BASELINE = 0.1, 10.0  # of a b that a file holds
MOST_AWAY: Final = 64
"""Samples that are kept for the worker that leads, which gets them every 20 ms: of one worker, half as many again in a
window as are kept of all (MOST_SAMPLES), and four times those that may be in haste (FEW). More would cost the leader's
core and tell it nothing."""
BLATANT: Final = 1.5  # times beyond the tolerance; less can wait for the window

Sample = tuple[bytes, float, float, bool, int, bool]
"""What `Concurrency.sample` takes."""


class Concurrency:
    """Reads the congestion and sets the number of slots, one window at a time. The engine takes the slots themselves.

    `ceiling`: requests, 0 for none. `probes`: whether the limit is heeded, so that a probe means something.
    """

    __slots__ = (
        "_congestion",
        "_drains",
        "_few",
        "_limit",
        "_looked",
        "_many",
        "_probe",
        "_probes_elsewhere",
        "_settings",
        "_window",
        "away",
        "congestion",
        "headroom",
        "slots",
    )

    def __init__(
        self, settings: ConcurrencySettings, ceiling: int = 0, probes: bool = True, seat: Seat | None = None
    ) -> None:
        self._settings = settings
        self._limit = self._many = Limit(settings, ceiling)
        self._few = Limit(settings, ceiling)  # what fewer clients than `clients` have found; _limit is one of the two
        # Fewer than the limit in a probe.
        start = self._limit.value
        self.slots = Slots(settings, start) if seat is None else SharedSlots(settings, start, seat)
        self.headroom = Headroom(settings, self.slots)
        self.away: list[Sample] | None = None  # for the worker that leads; None: this one does
        self._window = Samples(settings.clients)
        self._congestion = Congestion(settings)
        self._probe = Probe(settings, self._limit.least, probes)
        self._drains = settings.adaptive and probes
        self._probes_elsewhere = False
        self._looked = 0.0
        self.congestion = 1.0  # of the window closed last

    def heed(self, heeded: bool) -> None:
        """Whether the limit is heeded from now on."""
        self._drains = self._settings.adaptive and heeded
        self._probe.allow(heeded)

    def share(self, part: Callable[[int], int], now: float) -> None:
        """Have `part` of the places that the operator has set be this machine's from now on. Of a limit that is found,
        each machine finds its own."""
        before = self._limit.value
        for limit in (self._many, self._few):
            limit.bound(part)
        if self._limit.value != before and self.away is None:
            self.slots.resize(self._limit.value, now)

    @property
    def limit(self) -> int:
        """Requests that the service takes at once, as far as is known."""
        return self._limit.value

    @property
    def found(self) -> bool:
        """Whether the limit was reached and held, with enough clients."""
        return self._limit is self._many and self._limit.found

    @property
    def probing(self) -> bool:
        """Whether a probe runs."""
        return self._probe.running or self._probes_elsewhere

    @property
    def usual_ratio(self) -> float:
        """b: how many times the baseline of its route a request takes, with nobody in its way."""
        return self._congestion.baseline

    def sample(
        self, client: bytes, seconds: float, baseline: float, error: bool, epoch: int, vague: bool = False
    ) -> None:
        """One response (`seconds` to its head) while in-flight is at least half of the slots; the caller asks that.

        `epoch` is that in which the request took its slot. Of an error only that it was one counts: it may be quick.
        `vague`: the time is what is usual, and may have been much longer.
        """
        slots = self.slots
        if slots.guarded and baseline and not vague:
            self.headroom.sample(seconds / baseline, self._congestion.baseline, error)
        if self.away is not None:
            if len(self.away) < MOST_AWAY:
                self.away.append((client, seconds, baseline, error, epoch, vague))
            return
        ratio, excess = seconds / baseline, seconds - baseline
        self._window.add(client, ratio, excess, error)
        if epoch == slots.epoch and not slots.fresh.full:
            slots.fresh.add(client, ratio, excess, error)
            slots.fresh.vague += vague

    def close_window(self, seconds: float, calm: bool, now: float) -> Reading:
        """Read the window that ends `now` after `seconds`, in calm weather or not; set the limit, open the next."""
        slots, congestion = self.slots, self._congestion
        saturated = slots.saturated
        if self._window.clients >= self._settings.clients:
            self._meet(now)
        times = congestion.read(self._window, seconds, drifts=calm and not saturated, probing=self._probe.running)
        self._window.clear()
        self.congestion = times.congestion
        slowness = times.ratio if self._drains else times.ratio / max(1.0, congestion.baseline)
        if self._settings.adaptive:
            slots.start(now)
            self._limit.close_window(seconds, saturated, calm)
            if self._probe.running:
                self._go_on_probing(now)
            else:
                self._judge(now)
        slots.open_window()
        return Reading(self._limit.value, self.found, saturated, congestion.baseline, slowness, times)

    def hurry(self, now: float) -> None:
        """Between two windows, while requests wait: carry out at once what leaves no doubt."""
        fresh = self.slots.fresh
        if len(fresh.ratios) < FEW or now < self._looked + HASTE:
            return
        if not self._settings.adaptive or not self.slots.reached or self.slots.many_long:
            return
        if self._limit is self._few:
            if fresh.clients >= self._settings.clients:
                self._meet(now)
            return
        self._looked = now
        blatant = BLATANT * self._settings.tolerance * self._congestion.baseline
        if self._probe.running:
            if self._probe.plain(self.slots, blatant):
                self._go_on_probing(now)
            return
        low = median(sorted(fresh.ratios[-FEW:]), VERY_SURE)[0]
        if low > blatant and fresh.clients >= self._settings.clients:
            fresh.keep_last(FEW)  # the others are of milder weather
            self._carry_out(0, now)  # those under way are no quicker

    def row(self) -> list[Any]:
        """What the service was found to take, as a plain row."""
        return [*self._many.row(), self._congestion.baseline]

    def restore(self, row: list[Any], now: float) -> bool:
        """Take such a row from before a restart. ValueError when it makes no sense."""
        value, found, usual, searching, baseline = row
        self._limit.restore(count(value), found is True, number(usual, 0.0), searching is not False)
        self._congestion.learn(number(baseline, LEAST_BASELINE, MOST_BASELINE))
        self.slots.resize(self._limit.value, now)
        return True

    def orders(self, reading: Reading) -> list[Any]:
        """What a window said, and the limit, as a plain row for workers that follow."""
        found = [self._limit.value, self.found, reading.saturated, reading.slowness]
        return [found, self.row(), [self._congestion.ratio, self.congestion, self.probing]]

    def follow(self, row: list[Any]) -> Reading:
        """Go by such a row. ValueError when it makes no sense."""
        (limit, found, saturated, slowness), (value, held, usual, searching, baseline), (ratio, congestion, probing) = (
            row
        )
        self._limit = self._many
        self._many.restore(count(value), held is True, number(usual, 0.0), searching is not False)
        if self._settings.adaptive:
            self._many.value = max(count(limit), 1)
        self._congestion.learn(number(baseline, LEAST_BASELINE, MOST_BASELINE))
        self._congestion.ratio = number(ratio, 0.0)
        self.congestion = number(congestion, 1.0)
        self._probes_elsewhere = probing is True
        self.slots.open_window()
        self._window.clear()
        return Reading(
            self._limit.value, found is True, saturated is True, self._congestion.baseline, number(slowness, 0.0)
        )

    def lead(self, now: float) -> None:
        """Judge for all workers from now on. A probe of the one before is given up."""
        self.away = None
        self._probes_elsewhere = False
        self._window.clear()
        self.slots.resize(self._limit.value, now)

    def _judge(self, now: float) -> None:
        """Let the limit rise, fall or keep, or begin a probe; or wait for more samples."""
        if self.slots.reached and self.slots.enough():
            self._carry_out(self.slots.under_way(), now)
            return
        if self.slots.reached and self.slots.full():
            self._part()
            self._carry_out(self.slots.under_way(), now)
            return
        back = self._limit.back()
        if back > self._limit.value and self.congestion < self._settings.tolerance:
            self._change(back, now)
        else:
            self._give_up_if_old(now)

    def _carry_out(self, late: int, now: float) -> None:
        """Do what the round says. `late`: see `median`."""
        limit = self._limit
        baseline = self._congestion.baseline
        finding = read(self.slots, baseline, late, limit.value < limit.most, self._settings)
        in_doubt = limit.heed(finding)
        probes = finding.congested and limit is self._many and not self.slots.many_long
        if probes and self._probe.due(limit.value, in_doubt, now):
            limit.begin_probe()
            self.slots.resize(self._probe.begin(finding.x, limit.value, baseline, now), now)
        elif finding.down:
            self._change(limit.lower(finding), now)
        elif finding.up and self.slots.many_strange:
            # They may hold a thread each. A limit that rises because others are quick would let in more of them.
            self._change(limit.value, now)
        elif finding.sure or finding.up:
            limit.taken_well()
            self._change(limit.higher() if finding.up else limit.value, now)
        else:
            self._give_up_if_old(now)

    def _go_on_probing(self, now: float) -> None:
        step = self._probe.read(self.slots, self._limit.value, self._congestion.baseline, now)
        if step is None:
            return
        if isinstance(step, Deeper):
            self.slots.resize(step.slots, now)
            return
        self._congestion.learn(step.baseline)
        self._limit.end_probe(step.limit)
        self.slots.resize(step.limit, now)

    def _change(self, limit: int, now: float) -> None:
        self._limit.move(limit)
        if limit == self.slots.size:
            self.slots.begin(now)
        else:
            self.slots.resize(limit, now)

    def _part(self) -> None:
        """Fewer clients are left than speak for others. They begin at what they had found, if that is more."""
        if self._limit is self._many:
            self._few.move(max(self._few.value, self._many.value))
            self._limit = self._few

    def _meet(self, now: float) -> None:
        """There are enough clients again: the limit is what enough of them have found."""
        if self._limit is self._few:
            self._limit = self._many
            self._change(self._many.value, now)

    def _give_up_if_old(self, now: float) -> None:
        if now - self.slots.began > ROUND:
            self.slots.begin(now)
