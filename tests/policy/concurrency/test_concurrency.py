"""The limit that comes of windows, rounds and probes: against a service, by hand, and in haste."""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from shield.policy.concurrency.concurrency import FEW, HASTE, ROUND, Concurrency
from shield.policy.concurrency.limit import FORGOTTEN
from shield.policy.concurrency.settings import ConcurrencySettings
from tests.policy.concurrency.by_hand import START, WINDOW, fill, steady

TICK = 0.02


# A service, and more asked of it than it can do


@dataclass
class Service:
    """Works on `slots` requests at once, for `seconds` each; others wait there, first come, first served.

    With `thrash` it takes them all, and beyond `slots` all become slower, by more than their number.
    """

    slots: int
    seconds: float
    time: Callable[[random.Random], float]
    thrash: float | None = None
    busy: int = 0
    waiting: deque[tuple[float, int]] = field(default_factory=deque)


EVEN = lambda rng: rng.uniform(0.9, 1.1)  # noqa: E731
NOISY = lambda rng: rng.lognormvariate(-0.18, 0.6)  # noqa: E731 - mean 1
EXPONENTIAL = lambda rng: rng.expovariate(1.0)  # noqa: E731
MIXED = lambda rng: rng.uniform(0.9, 1.1) * (0.3 if rng.random() < 0.7 else 2.63)  # noqa: E731


class Overload:
    """Whoever is behind the limit asks without end; `asked` (requests/s) makes it a calm stream instead."""

    def __init__(self, service: Service, concurrency: Concurrency, seed: int, asked: float = 0.0) -> None:
        self.service = service
        self.concurrency = concurrency
        self.asked = asked
        self.now = START
        self.limits: list[int] = []  # after each window
        self.times: list[float] = []
        self.ends: list[float] = []
        self.failing = 0.0  # share of requests
        self._random = random.Random(seed)
        self._events: list[tuple[float, int, str, tuple[float, int]]] = []
        self._n = 0
        self._backlog = 0
        self._at(START + WINDOW, "window")
        self._at(START + TICK, "tick")
        self._arrive()

    def _at(self, when: float, what: str, of: tuple[float, int] = (0.0, 0)) -> None:
        self._n += 1
        heapq.heappush(self._events, (when, self._n, what, of))

    def _arrive(self) -> None:
        if self.asked:
            self._backlog += 1
            self._at(self.now + self._random.expovariate(self.asked), "ask")
        self._fill()

    def _fill(self) -> None:
        concurrency, service = self.concurrency, self.service
        while concurrency.slots.in_flight < concurrency.slots.size and (self._backlog or not self.asked):
            self._backlog -= bool(self.asked)
            concurrency.slots.take()
            service.waiting.append((self.now, concurrency.slots.epoch))
        while service.waiting and (service.thrash is not None or service.busy < service.slots):
            service.busy += 1
            seconds = service.seconds * service.time(self._random)
            if service.thrash is not None:
                seconds *= max(1.0, service.busy / service.slots) ** (1.0 + service.thrash)
            self._at(self.now + seconds, "end", service.waiting.popleft())

    def run(self, seconds: float, calm: bool = False) -> None:
        end = self.now + seconds
        while self._events[0][0] <= end:
            self.now, _, what, (since, epoch) = heapq.heappop(self._events)
            concurrency = self.concurrency
            if what == "ask":
                self._arrive()
                continue
            if what == "tick":
                if self._backlog or not self.asked:
                    concurrency.hurry(self.now)
                self._at(self.now + TICK, "tick")
            elif what == "window":
                concurrency.close_window(WINDOW, calm, self.now)
                self.limits.append(concurrency.limit)
                self._at(self.now + WINDOW, "window")
            else:
                if concurrency.slots.in_flight >= concurrency.slots.half:
                    client = bytes([self._random.randrange(256)])
                    fails = self._random.random() < self.failing
                    concurrency.sample(client, self.now - since, self.service.seconds, fails, epoch)
                self.times.append(self.now - since)
                self.ends.append(self.now)
                concurrency.slots.give()
                self.service.busy -= 1
            self._fill()
        self.now = end

    def within(self, seconds: float, low: float = 0.7, high: float = 1.6) -> float:
        """The share of the last seconds in which the limit was as good as ideal."""
        slots = self.service.slots
        last = self.limits[-int(seconds / WINDOW) :]
        return sum(low * slots <= limit <= high * slots for limit in last) / len(last)

    def goodput(self, seconds: float) -> float:
        """Of the last seconds, as a share of what the service can do."""
        done = sum(end > self.now - seconds for end in self.ends)
        return done / seconds * self.service.seconds / self.service.slots


def overload(service: Service, seed: int = 1, **settings: float) -> Overload:
    return Overload(service, Concurrency(ConcurrencySettings(**settings)), seed)  # type: ignore[arg-type]


@pytest.mark.untraced
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("time", [EVEN, NOISY, EXPONENTIAL, MIXED], ids=["even", "noisy", "exponential", "mixed"])
@pytest.mark.parametrize(("slots", "seconds"), [(4, 0.02), (16, 0.05), (60, 0.1), (24, 0.25)])
def test_the_limit_finds_what_a_service_takes(
    slots: int, seconds: float, time: Callable[[random.Random], float], seed: int
) -> None:
    """In a minute, whether it begins too high or too low."""
    site = overload(Service(slots, seconds, time), seed)
    site.run(110.0)
    assert site.within(50.0) > 0.85
    assert site.goodput(50.0) > 0.9
    assert site.concurrency.found
    late = sorted(site.times[len(site.times) // 2 :])
    assert late[int(0.99 * len(late))] < 5.2 * seconds


@pytest.mark.untraced
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("change", ["halved", "doubled", "slower"])
@pytest.mark.parametrize(
    ("slots", "seconds", "time"), [(24, 0.05, EXPONENTIAL), (16, 0.02, NOISY), (40, 0.05, EVEN)], ids=["a", "b", "c"]
)
def test_a_service_that_changes_under_load_is_met_again(
    slots: int, seconds: float, time: Callable[[random.Random], float], change: str, seed: int
) -> None:
    service = Service(slots, seconds, time)
    site = overload(service, seed)
    site.run(45.0)
    if change == "slower":
        service.seconds *= 3
    else:
        service.slots = slots // 2 if change == "halved" else slots * 2
    site.run(60.0)
    site.run(30.0)
    assert site.within(30.0) > 0.85
    assert site.goodput(30.0) > 0.9


@pytest.mark.untraced
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("thrash", [0.25, 0.5, 1.0])
def test_a_service_that_thrashes_is_kept_below_that(thrash: float, seed: int) -> None:
    site = overload(Service(24, 0.05, NOISY, thrash), seed)
    site.run(120.0)
    assert site.goodput(90.0) > 0.8
    assert site.within(90.0) > 0.95


@pytest.mark.untraced
def test_the_limit_does_not_drift_in_half_an_hour_of_overload() -> None:
    site = overload(Service(16, 0.1, EXPONENTIAL))
    site.run(1800.0)
    assert site.within(1740.0) > 0.95
    assert site.goodput(1740.0) > 0.95


def test_nobody_is_probed_for_while_there_is_no_congestion() -> None:
    site = Overload(Service(100, 0.05, EXPONENTIAL), Concurrency(ConcurrencySettings()), 1, asked=100.0)
    for _ in range(240):
        site.run(WINDOW, calm=True)
        assert not site.concurrency.probing
    assert site.concurrency.limit == 20
    assert not site.concurrency.found


def test_a_limit_that_was_not_reached_for_a_minute_of_calm_is_only_a_lower_bound() -> None:
    site = overload(Service(16, 0.05, EVEN))
    site.run(10.0)
    assert site.concurrency.found
    site.asked = 20.0
    site._arrive()
    site.run(FORGOTTEN - 1, calm=True)
    assert site.concurrency.found
    site.run(70.0)
    assert site.concurrency.found  # an attack that the defence holds is no calm
    site.run(2.0, calm=True)
    assert not site.concurrency.found


def test_a_limit_that_fell_in_bad_times_rises_again_when_they_are_over() -> None:
    """Though nobody reaches it: those who would are kept out because it is low."""
    service = Service(40, 0.02, EVEN)
    site = overload(service)
    site.run(30.0)
    good = site.concurrency.limit
    service.slots = 4
    site.run(30.0)
    assert site.concurrency.limit < 10
    service.slots = 40
    site.asked = 20.0
    site.run(30.0)
    assert good * 0.8 < site.concurrency.limit <= good + 1


@pytest.mark.untraced
def test_errors_lower_the_limit() -> None:
    site = overload(Service(40, 0.02, EVEN))
    site.run(30.0)
    before = site.concurrency.limit
    site.failing = 0.3
    site.run(2.0)
    assert site.concurrency.limit < 0.7 * before
    site.failing = 0.0
    site.run(30.0)
    assert site.concurrency.limit > 0.8 * before


def test_a_service_that_only_fails_gets_the_least() -> None:
    site = overload(Service(40, 0.02, EVEN))
    site.failing = 1.0
    site.run(30.0)
    assert site.concurrency.limit == 4
    assert site.concurrency._congestion.baseline == 1.0


@pytest.mark.untraced
def test_the_ceiling_holds() -> None:
    site = Overload(Service(100, 0.02, EVEN), Concurrency(ConcurrencySettings(), 30), 1)
    site.run(20.0)
    assert set(site.limits[10:]) == {30}
    assert site.concurrency.found


def test_a_service_of_one_slot_is_left_at_the_least() -> None:
    """The floor does for it; the probe that asks whether b is wrong goes down to one request."""
    site = overload(Service(1, 0.02, NOISY), least=2)
    site.run(60.0)
    assert site.within(30.0, 2, 2) > 0.7


def test_without_a_limit_that_is_heeded_there_is_no_probe() -> None:
    """As in a dry run."""
    concurrency = Concurrency(ConcurrencySettings(), probes=False)
    site = Overload(Service(16, 0.05, EVEN), concurrency, 1)
    for _ in range(60):
        site.run(WINDOW)
        assert not concurrency.probing


@pytest.mark.untraced
def test_workers_probe_at_the_same_time() -> None:
    """At multiples of the clock, or one worker's probe would measure the congestion that the others make."""
    began = []
    for seed, slots in ((1, 16), (2, 40)):
        site = overload(Service(slots, 0.05, EVEN), seed)
        site.run(20.0)
        probing = False
        for _ in range(80):
            site.run(WINDOW)
            if site.concurrency.probing and not probing:
                began.append(site.now)
            probing = site.concurrency.probing
    assert len(began) == 4
    assert max(when % 20 for when in began) <= WINDOW


# Rounds by hand


def test_what_began_before_the_limit_changed_is_no_answer_to_the_change() -> None:
    concurrency = Concurrency(ConcurrencySettings(), probes=False)
    steady(concurrency, 1.0, START)
    assert concurrency.limit == 30
    for i in range(100):
        concurrency.sample(bytes([i]), 1.0, 0.1, False, concurrency.slots.epoch - 1)
    reading = concurrency.close_window(WINDOW, False, START + 0.5)
    assert reading.limit == 30
    assert reading.times.ratio == pytest.approx(10.0)


def test_few_noisy_samples_wait_for_more() -> None:
    concurrency = Concurrency(ConcurrencySettings(start=8), probes=False)
    for late in (0.0, ROUND + 1.0):
        for _ in range(8):
            concurrency.slots.take()
        for i, ratio in enumerate([0.5, 0.6, 0.7, 1.6, 1.7, 2.0, 2.1, 2.2]):
            concurrency.sample(bytes([i]), ratio, 1.0, False, concurrency.slots.epoch)
            concurrency.slots.give()
        concurrency.close_window(WINDOW, False, START + late)
        assert concurrency.limit == 8
        assert len(concurrency.slots.fresh.ratios) == (0 if late else 8)  # dropped when they are too old


def test_one_client_gets_what_the_service_takes() -> None:
    """A load generator with 400 connections was held at 20 for ever, and 61 % of its requests were refused."""
    concurrency = Concurrency(ConcurrencySettings())
    for number in range(8):
        steady(concurrency, 1.0, START + WINDOW * number, clients=1)
    assert concurrency.limit > 300
    assert not concurrency.found
    assert concurrency.row()[0] == 20  # what is remembered over a restart


@pytest.mark.parametrize(("ratio", "alone"), [(1.0, (200, 1000)), (9.0, (4, 10))])
def test_what_one_client_found_is_no_limit_for_others(ratio: float, alone: tuple[int, int]) -> None:
    concurrency = Concurrency(ConcurrencySettings())
    now = START
    for _ in range(2):
        steady(concurrency, 1.1, now)
        now += WINDOW
    before = concurrency.limit
    for _ in range(6):
        steady(concurrency, ratio, now, clients=1)
        now += WINDOW
    assert alone[0] <= concurrency.limit <= alone[1]
    assert not concurrency.probing
    steady(concurrency, 1.3, now, clients=4)
    assert concurrency.limit == concurrency.slots.size == before


def test_others_who_wait_need_not_wait_for_the_window(  # in which one client's limit would hold for them
) -> None:
    concurrency = Concurrency(ConcurrencySettings())
    for number in range(6):
        steady(concurrency, 1.0, START + WINDOW * number, clients=1)
    alone = concurrency.limit
    assert alone > 100
    now = START + WINDOW * 6
    for clients, limit in ((1, alone), (8, 20)):
        while concurrency.slots.in_flight < concurrency.slots.size:
            concurrency.slots.take()
        for i in range(FEW):
            concurrency.sample(bytes([i % clients]), 0.1, 0.1, False, concurrency.slots.epoch)
        now += HASTE
        concurrency.hurry(now)
        assert concurrency.limit == limit


def test_what_a_client_found_alone_holds_when_it_is_alone_again() -> None:
    concurrency = Concurrency(ConcurrencySettings())
    now = START
    for clients in (1, 1, 1, 1, 8, 1):
        limit = concurrency.limit
        steady(concurrency, 1.3 if clients == 8 else 1.0, now, clients=clients)
        now += WINDOW
    assert limit == 20
    assert concurrency.limit > 100


def test_what_calm_weather_said_does_not_speak_for_a_flood() -> None:
    """Bursts that reached half of the limit were in the round when the flood came; a probe at 10 then looked no
    quicker, 2.5 was taken for undisturbed, and the limit stayed at 20 on a service of 4 slots."""
    concurrency = Concurrency(ConcurrencySettings())
    for _ in range(12):
        concurrency.slots.take()
    epoch = concurrency.slots.epoch
    for i in range(130):
        concurrency.sample(bytes([i % 8]), 0.1, 0.1, False, epoch)
    fill(concurrency, 5.5, 20)
    concurrency.hurry(START)
    assert concurrency.probing
    assert concurrency.slots.size == int(20 * 1.4 / 5.5)


@pytest.mark.parametrize("ratio", [1.0, 1.3])
def test_a_limit_that_is_hardly_in_the_way_does_not_rise_and_is_not_probed(ratio: float) -> None:
    concurrency = Concurrency(ConcurrencySettings())
    for _ in range(30):  # bursts of 24; the limit is 20
        for _ in range(24):
            concurrency.slots.take()
            concurrency.sample(b"%d" % concurrency.slots.in_flight, 0.1 * ratio, 0.1, False, concurrency.slots.epoch)
        while concurrency.slots.in_flight:
            concurrency.slots.give()
    concurrency.close_window(WINDOW, False, START)
    assert concurrency.limit == concurrency.slots.size == 20
    steady(concurrency, 1.0, START + WINDOW)
    assert concurrency.limit == 30


# Between two windows


def test_a_limit_that_is_blatantly_too_high_is_found_out_between_two_windows() -> None:
    concurrency = Concurrency(ConcurrencySettings())
    slots = []
    for i, ratio in enumerate([5.0, 1.2]):
        fill(concurrency, ratio)
        concurrency.hurry(START + i * HASTE)
        slots.append(concurrency.slots.size)
    assert slots == [5, 5]
    assert not concurrency.probing
    assert concurrency.limit == 5


@pytest.mark.parametrize(("ratio", "count"), [(2.0, 80), (5.0, FEW - 1), (1.0, 80)])
def test_what_leaves_doubt_waits_for_the_window(ratio: float, count: int) -> None:
    concurrency = Concurrency(ConcurrencySettings())
    fill(concurrency, ratio, count)
    concurrency.hurry(START)
    assert concurrency.slots.size == 20


@pytest.mark.parametrize(("quick", "slots"), [(2, 5), (3, 20)])
def test_some_quick_requests_among_few_are_doubt(quick: int, slots: int) -> None:
    concurrency = Concurrency(ConcurrencySettings())
    fill(concurrency, 5.0, FEW - quick)
    fill(concurrency, 1.0, quick)
    concurrency.hurry(START)
    assert concurrency.slots.size == slots


def test_the_last_requests_are_what_the_haste_is_about() -> None:
    """The limit was reached and taken well; then the flood came."""
    concurrency = Concurrency(ConcurrencySettings())
    fill(concurrency, 1.0, 300)
    fill(concurrency, 5.0, FEW)
    concurrency.hurry(START)
    assert concurrency.probing
    assert concurrency.slots.size == int(20 * 1.4 / 5)


def test_few_clients_are_no_reason_for_haste() -> None:
    concurrency = Concurrency(ConcurrencySettings())
    for _ in range(20):
        concurrency.slots.take()
    for i in range(80):
        concurrency.sample(bytes([i % 3]), 0.5, 0.1, False, concurrency.slots.epoch)
    concurrency.hurry(START)
    assert concurrency.slots.size == 20


def test_it_is_looked_at_twenty_times_a_second_and_only_a_limit_that_is_reached() -> None:
    concurrency = Concurrency(ConcurrencySettings())
    for i in range(80):
        concurrency.slots.take()
        concurrency.sample(bytes([i % 8]), 1.0, 0.1, False, concurrency.slots.epoch)
        concurrency.slots.give()
    concurrency.hurry(START)
    assert concurrency.slots.size == 20
    fill(concurrency, 2.0)
    concurrency.hurry(START)
    fill(concurrency, 10.0, 200)
    concurrency.hurry(START + HASTE / 2)
    assert concurrency.slots.size == 20
    concurrency.hurry(START + HASTE)
    assert concurrency.slots.size == 2


def test_a_limit_that_is_told_does_not_hurry() -> None:
    concurrency = Concurrency(ConcurrencySettings(adaptive=False), 20)
    fill(concurrency, 10.0)
    concurrency.hurry(START)
    assert concurrency.slots.size == 20
