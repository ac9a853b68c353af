"""From readings to p, onset and end."""

from __future__ import annotations

import random
from typing import Any

import pytest

from shield.model import Action
from shield.policy.concurrency.concurrency import Concurrency
from shield.policy.concurrency.settings import ConcurrencySettings
from shield.policy.pressure.pressure import OwnLoad, Pressure
from shield.policy.pressure.settings import PressureSettings

START = 777_777.7


class Weather:
    """Windows of half a second, made by hand."""

    def __init__(self, limit: int = 100, **settings: Any) -> None:
        self.concurrency = Concurrency(ConcurrencySettings(adaptive=False), limit)
        self.pressure = Pressure(PressureSettings(**settings), limit)
        self.now = START

    def window(
        self, requests: float = 0.0, units: float = 0.0, *, completed: float = 0.0, ratio: float = 0.0, errors: int = 0
    ) -> float:
        """One window, at so many requests and units a second; p after it."""
        self.now += 0.5
        pressure = self.pressure
        pressure.requests += int(requests / 2)
        pressure.units += units / 2
        pressure.completed += completed / 2
        for i in range(40 if ratio else 0):
            self.concurrency.sample(bytes([i]), 0.1 * ratio, 0.1, i < errors, 1)
        self.concurrency.close_window(0.5, not pressure.attack, self.now)
        pressure.close_window(self.concurrency, self.now, 0.5)
        return pressure.p


def test_the_capacity_is_what_the_slots_can_do() -> None:
    weather = Weather(limit=7)
    weather.window()
    assert weather.pressure.capacity == 700


def test_congestion_lowers_the_capacity() -> None:
    weather = Weather()
    for _ in range(4):
        weather.concurrency._reached = True
        weather.window(100, 500, ratio=10.0)
    assert weather.pressure.capacity == pytest.approx(1000)


def test_what_was_completed_while_saturated_is_capacity_and_fades_by_one_percent_a_minute() -> None:
    weather = Weather(limit=1)
    for _ in range(60):
        weather.concurrency._reached = True
        weather.window(completed=500.0)
    assert weather.pressure.capacity == pytest.approx(500, rel=0.01)
    before = weather.pressure.capacity
    for _ in range(120):
        weather.window()
    assert weather.pressure.capacity == pytest.approx(before * 0.99, rel=0.001)


def test_a_service_that_is_faster_than_what_its_routes_count_for_can_do_more() -> None:
    """Both demand and capacity are in the routes' units: where those are too high, they are so in both."""
    weather = Weather()
    weather.window(100, 500, ratio=0.8)
    assert weather.pressure.capacity == pytest.approx(12_500)


def test_what_was_completed_at_leisure_is_no_capacity() -> None:
    weather = Weather(limit=1)
    for _ in range(60):
        weather.window(completed=500.0)
    assert weather.pressure.capacity == 100


def test_pressure_rises_in_seconds_and_falls_in_minutes() -> None:
    weather = Weather()
    while weather.pressure.demand < 15_000:
        weather.window(2000, 30_000)
    for _ in range(4):
        weather.window(2000, 30_000)
    assert weather.pressure.p > 0.6
    weather.pressure.demand = 0.0
    high = weather.pressure.p
    for _ in range(20):
        weather.window()
    assert weather.pressure.p == pytest.approx(high * 0.82, rel=0.01)


def test_demand_below_the_capacity_is_no_pressure() -> None:
    weather = Weather()
    for _ in range(600):
        assert weather.window(500, 8900) == 0.0


def test_slow_answers_are_pressure_when_they_last_and_hurt() -> None:
    weather = Weather()
    assert weather.window(50, 500, ratio=3.0) == 0.0  # once may be a page of many parts
    assert weather.window(50, 500, ratio=3.0) > 0.05
    for _ in range(20):
        weather.window(50, 500, ratio=3.0)
    assert weather.pressure.p == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("ratio", [1.4, 1.9])
def test_slowness_that_nobody_feels_is_none(ratio: float) -> None:
    """1.4 times the baseline is none; 1.9 times is 90 ms more, which people do not notice."""
    weather = Weather()
    for _ in range(20):
        assert weather.window(50, 500, ratio=ratio) == 0.0


def test_errors_are_pressure() -> None:
    weather = Weather()
    for _ in range(8):
        weather.window(50, 5000, ratio=1.0, errors=10)
    assert weather.pressure.p > 0.05
    assert weather.pressure.overload == ("errors",)


def test_errors_of_a_service_that_is_hardly_asked_are_no_overload() -> None:
    """Five requests a second that always fail, while others' come in bursts, were a twentieth of them twice running."""
    weather = Weather()
    for _ in range(20):
        assert weather.window(50, 3000, ratio=1.0, errors=10) == 0.0


def test_who_is_turned_away_by_the_queue_is_pressure_when_it_lasts() -> None:
    weather = Weather()
    for shed in (1, 0, 1, 0):
        weather.pressure.shed = shed
        assert weather.window(50, 500) == 0.0
    for _ in range(2):
        weather.pressure.shed = 1
        weather.window(50, 500)
    assert weather.pressure.p > 0.05
    assert weather.pressure.overload == ("shedding",)


@pytest.mark.parametrize(("wait", "seconds"), [(0.3, None), (0.5, 40.0), (0.9, 8.0), (2.0, 2.5)])
def test_a_queue_that_does_not_move_on_is_pressure_the_sooner_the_longer_it_takes(
    wait: float, seconds: float | None
) -> None:
    weather = Weather()
    began = weather.now
    while weather.pressure.p == 0.0 and weather.now < began + 60:
        weather.pressure.oldest_wait = wait
        weather.window(50, 500)
        assert weather.pressure.crowded
    assert weather.pressure.overload == (("waiting",) if seconds else ())
    if seconds:
        assert weather.now - began == pytest.approx(seconds + 1.0, abs=0.6)
    weather.pressure.oldest_wait = 0.0
    weather.window(50, 500)
    assert not weather.pressure.crowded
    assert weather.pressure.overload == ()


@pytest.mark.untraced
@pytest.mark.parametrize(("rate", "concurrency"), [(0.5, 4), (5, 4), (0.5, 100), (5, 100), (50, 100)])
def test_a_calm_site_with_noisy_times_never_shows_pressure(make: Any, rate: float, concurrency: int) -> None:
    """Lognormal times, one in twenty ten times as slow, a handful of visitors, for a quarter of an hour or more."""
    world = make(concurrency, seed=int(rate * 10))
    rng = world.random
    visitors = [world.client(f"192.0.{i // 250}.{i % 250}") for i in range(10 + int(10 * rate))]
    busy: list[tuple[float, Any, float]] = []
    end = world.now + max(900, 500 / rate)
    tick = world.now
    while world.now < end:
        world.now += rng.expovariate(rate)
        for done in sorted(item for item in busy if item[0] <= world.now):
            busy.remove(done)
            world.end(done[1], rtt=done[2])
        while tick < world.now:
            tick += 0.5
            world.engine.tick(tick)
            assert world.engine.pressure == 0.0
        request = world.ask(rng.choice(visitors), f"/page/{rng.randrange(50)}")
        if request.verdict.action is Action.QUEUE:
            world.engine.cancel(request, world.now)
            continue
        assert request.verdict.action is Action.FORWARD
        rtt = 0.030 * rng.lognormvariate(0, 0.6) * (10 if rng.random() < 0.05 else 1)
        busy.append((world.now + rtt, request, rtt))
    assert not world.engine.attack


def test_an_attack_begins_with_pressure_and_ends_ten_minutes_after_it() -> None:
    weather = Weather()
    while not weather.pressure.attack:
        weather.window(2000, 40_000)
    assert weather.pressure.p > 0.05
    assert weather.pressure.attack_since == weather.now
    weather.pressure.demand = 0.0
    while weather.pressure.p >= 0.05:
        weather.window()
    since = weather.now
    while weather.pressure.attack:
        weather.window()
    assert weather.now - since == pytest.approx(600, abs=1)


def test_an_onset_says_what_caused_it() -> None:
    def onset(**window: Any) -> str:
        weather = Weather()
        for _ in range(200):
            if weather.pressure.attack:
                break
            weather.pressure.shed = window.get("shed", 0)
            weather.pressure.oldest_wait = window.get("wait", 0.0)
            weather.window(
                window.get("requests", 20),
                window.get("units", 40),
                ratio=window.get("ratio", 0.0),
                errors=window.get("errors", 0),
            )
        assert weather.pressure.attack
        return str(weather.pressure.cause)

    assert onset(units=40_000) == "demand"
    assert onset(ratio=5.0) == "latency"
    assert onset(units=5000, ratio=1.0, errors=20) == "errors"
    assert onset(shed=3) == "shedding"
    assert onset(wait=1.0) == "waiting"
    assert onset(ratio=5.0, units=40_000) == "demand"  # the stronger of the two
    calm = Weather()
    for _ in range(200):
        calm.window(20, 40)
    while not calm.pressure.attack:
        calm.window(600, 900)
    assert calm.pressure.cause == "rate"
    assert calm.pressure.target == 0.0


def test_an_attack_keeps_its_peak() -> None:
    weather = Weather()
    while not weather.pressure.attack:
        weather.window(2000, 40_000)
    for _ in range(6):
        weather.window(2000, 40_000)
    high, rate = weather.pressure.p, weather.pressure.rate
    weather.pressure.demand = 0.0
    for _ in range(100):
        weather.window()
    assert weather.pressure.p < high
    assert weather.pressure.peak == high
    assert weather.pressure.peak_rate == rate


def test_a_relapse_starts_the_ten_minutes_anew() -> None:
    weather = Weather()
    while not weather.pressure.attack:
        weather.window(2000, 40_000)
    for _ in range(5):
        weather.pressure.p = weather.pressure.demand = 0.0
        for _ in range(1100):
            weather.window()
        weather.pressure.p = 0.2
        weather.window()
        assert weather.pressure.attack


def test_a_sudden_rate_is_an_onset_that_limits_nobody() -> None:
    weather = Weather()
    for _ in range(200):
        weather.window(20, 40)
    for _ in range(20):
        weather.window(600, 900)
    assert weather.pressure.attack
    assert weather.pressure.p == 0.0


@pytest.mark.parametrize(
    ("rate", "units", "why"),
    [(18, 900, "below twice the floor"), (600, 100, "of no weight"), (30, 900, "not twice the baseline")],
)
def test_what_is_no_onset(rate: float, units: float, why: str) -> None:
    weather = Weather()
    for _ in range(400):
        weather.window(rate * 0.8, 40)
    for _ in range(400):
        weather.window(rate, units)
    assert not weather.pressure.attack, why


def test_the_first_minute_is_for_learning_what_is_usual() -> None:
    weather = Weather()
    for _ in range(100):
        weather.window()  # nobody yet: the minute has not begun
    for _ in range(119):
        weather.window(600, 900)
    assert not weather.pressure.attack
    for _ in range(400):
        weather.window(600, 900)
    assert not weather.pressure.attack


def test_a_rate_that_grows_with_the_day_is_no_onset() -> None:
    weather = Weather()
    for i in range(4 * 3600):  # from 20 to 320 requests/s in two hours
        rate = 20 * 2 ** (i / 3600)
        weather.window(rate, 2 * rate)
    assert not weather.pressure.attack


def test_after_an_early_alarm_the_new_rate_is_the_usual_one() -> None:
    weather = Weather()
    for _ in range(200):
        weather.window(20, 40)
    while not weather.pressure.attack:
        weather.window(600, 900)
    while weather.pressure.attack:
        weather.window(600, 900)
    for _ in range(1000):
        weather.window(600, 900)
    assert not weather.pressure.attack


def test_below_the_cutoff_is_who_was_served_least() -> None:
    weather = Weather(limit=1)  # 100 units/s
    for _ in range(100):
        pressure = weather.pressure
        pressure.ranks[8] += 25  # 50 units/s each
        pressure.ranks[3] += 25
        pressure.top += 10
        weather.window()
    assert 3.4 < weather.pressure.cutoff < 3.7  # 90 - 20 - 50 = 20 of the 50 are served
    for _ in range(100):
        weather.pressure.top += 60
        weather.pressure.ranks[8] += 25
        weather.window()
    assert weather.pressure.cutoff == 9.0  # nothing is left
    for _ in range(100):
        weather.window()
    assert weather.pressure.cutoff == 0.0


def test_where_passes_alone_ask_for_all_there_is_they_are_cut_off_by_rank_too() -> None:
    weather = Weather(limit=1)  # 100 units/s
    for _ in range(100):
        pressure = weather.pressure
        weather.concurrency._reached = True
        pressure.ranks[8] += 60  # 120 units/s, of T0
        pressure.ranks[3] += 25
        pressure.top += 60
        weather.window(300, 400)
    assert weather.pressure.merged
    assert weather.pressure.cutoff == pytest.approx(9 - 90 / 120, abs=0.01)
    for _ in range(30):
        weather.pressure.top += 25
        weather.window(300, 400)
    assert not weather.pressure.merged


def test_a_flash_of_noise_in_the_count_is_smoothed() -> None:
    rng = random.Random(1)
    weather = Weather()
    for _ in range(2000):
        weather.window(rng.choice([0, 0, 0, 160]), 200)
    assert not weather.pressure.attack


def test_where_pressure_begins_and_what_overload_is_worth_are_settings() -> None:
    demand = Weather(used=0.5, span=1.0)
    for _ in range(100):
        demand.window(500, 10_000)
    assert demand.pressure.p == pytest.approx(0.5, abs=0.01)
    slow = Weather(overload=0.2, slow_ratio=1.2, slow_excess=0.01)
    for _ in range(100):
        slow.window(50, 500, ratio=1.4)
    assert slow.pressure.p == pytest.approx(0.2, abs=0.01)


def test_an_operator_bounds_how_strict_shield_may_become() -> None:
    def stormy(**settings: Any) -> Pressure:
        weather = Weather(**settings)
        for _ in range(40):
            weather.window(2000, 40_000)
        return weather.pressure

    bounded = stormy(max_pressure=0.3)
    assert bounded.p > 0.9
    assert bounded.strictness == 0.3
    assert bounded.pressed
    never = stormy(max_pressure=0.05)
    assert not never.pressed
    assert never.attack  # the history is frozen all the same
    free = stormy()
    assert free.strictness == free.p


@pytest.mark.parametrize("demand", [9600, 10_500, 40_000])
def test_a_flood_that_pulses_does_not_make_the_defence_flap(demand: float) -> None:
    """30 s on, 30 s off, twenty minutes long, from just above what is pressure at all to four times the capacity."""
    weather = Weather()
    for _ in range(120):
        weather.window(50, 500)
    turns = 0
    for _ in range(20):
        for asked in (demand, 500):
            for _ in range(60):
                pressed = weather.pressure.pressed
                weather.window(1000, asked, completed=min(asked, 10_000))
                turns += weather.pressure.pressed != pressed
    assert turns == 1
    assert not weather.pressure.brownout


def test_shields_own_load_is_pressure_when_it_is_late_and_busy() -> None:
    def overload(lag: float, busy: float) -> tuple[tuple[str, ...], str]:
        weather = Weather()
        for _ in range(4):
            weather.pressure.own = OwnLoad(lag, busy)
            weather.window(50, 500)
        assert weather.pressure.attack is bool(weather.pressure.overload)
        return weather.pressure.overload, weather.pressure.cause

    assert overload(0.2, 1.0) == (("self",), "self")
    assert overload(0.2, 0.5) == ((), "")  # something else held it up
    assert overload(0.02, 1.0) == ((), "")  # busy, and in time


def brownout(weather: Weather, units: float) -> float:
    """Seconds until newcomers are let in again while answers are ten times as slow, a minute at most three."""
    began = weather.now
    while not (weather.pressure.attack and not weather.pressure.pressed):
        weather.window(50, units, completed=units / 2, ratio=10.0)
        if weather.now - began > 200:
            break
    return weather.now - began


def test_a_service_that_becomes_slow_by_itself_locks_nobody_out_for_more_than_a_minute() -> None:
    weather = Weather()
    for _ in range(1200):
        weather.window(50, 2000, completed=2000)
    assert weather.pressure.served == pytest.approx(2000, rel=0.01)
    assert brownout(weather, 2000) == pytest.approx(46, abs=1.5)
    assert weather.pressure.brownout
    assert weather.pressure.strictness == 0.0
    assert weather.pressure.p > 0.3
    for _ in range(1200):  # ten more minutes of it
        weather.window(50, 2000, completed=1000, ratio=10.0)
        assert not weather.pressure.pressed
    for _ in range(1200):  # people who were refused ask again
        weather.window(50, 2700, completed=1000, ratio=10.0)
        assert not weather.pressure.pressed
        assert weather.pressure.high
    for _ in range(16):  # and a flood comes
        weather.window(500, 20_000, completed=1000, ratio=10.0)
    assert weather.pressure.pressed
    assert not weather.pressure.brownout


def test_a_window_in_which_an_ill_service_looks_well_does_not_hide_its_illness() -> None:
    """Each began the search anew: of a service that was twice as slow nothing was found in ten minutes."""
    weather = Weather()
    for _ in range(1200):
        weather.window(50, 2000, completed=2000)
    for i in range(120):
        weather.window(50, 2700, completed=1000, ratio=1.0 if i % 8 == 0 else 10.0)
    assert weather.pressure.brownout


def test_people_who_ask_again_do_not_hide_that_the_service_is_ill() -> None:
    weather = Weather()
    for _ in range(1200):
        weather.window(50, 2000, completed=2000)
    for _ in range(180):
        weather.window(50, 4500, completed=1000, ratio=10.0)
    assert weather.pressure.brownout


def test_errors_with_most_of_the_capacity_to_spare_are_an_illness() -> None:
    weather = Weather()
    for _ in range(1200):
        weather.window(50, 2000, completed=2000)
    for _ in range(200):
        weather.pressure.shed = 1
        weather.window(50, 3200, completed=3200)
    assert weather.pressure.p > 0.3
    assert weather.pressure.brownout


def test_a_probe_that_finds_an_ill_service_slow_undisturbed_does_not_hide_its_illness() -> None:
    weather = Weather()
    for _ in range(1200):
        weather.window(50, 2000, completed=2000)
    for _ in range(180):
        weather.pressure.shed = 1
        weather.concurrency.baseline = 10.0  # as the probe found it
        weather.window(50, 4500, completed=1000, ratio=10.0)
    assert weather.pressure.brownout


def test_errors_of_a_service_that_could_do_what_is_asked_are_an_illness() -> None:
    """Also when they have brought its limit down, and when they do not show in every window."""
    weather = Weather()
    for _ in range(1200):
        weather.window(50, 2000, completed=2000)
    for i in range(200):
        weather.pressure.shed = 1
        weather.window(50, 4500, completed=1500, ratio=1.0 if i % 4 == 0 else 0.0, errors=20)
    assert weather.pressure.brownout


def test_a_brownout_does_not_end_in_a_burst_of_tries_when_the_service_is_well_again() -> None:
    weather = Weather()
    for _ in range(1200):
        weather.window(50, 2000, completed=2000)
    brownout(weather, 2000)
    for _ in range(240):
        weather.window(50, 4000, completed=1000, ratio=10.0)
    weather.window(50, 4000, completed=2000, ratio=1.0)
    for _ in range(12):
        weather.window(200, 7000, completed=7000)
        assert weather.pressure.high
        assert not weather.pressure.pressed
    assert weather.pressure.demand > 3 * weather.pressure.served


@pytest.mark.parametrize(("units", "completed", "ratio"), [(6500, 1000, 10.0), (9500, 9500, 1.0)])
def test_more_demand_than_the_service_has_served_is_no_brownout(units: float, completed: float, ratio: float) -> None:
    """Neither when it is slow, if people's tries do not explain so much, nor when it does more than before."""
    weather = Weather()
    for _ in range(1200):
        weather.window(50, 2000, completed=2000)
    for _ in range(400):
        weather.window(500, units, completed=completed, ratio=ratio)
    assert weather.pressure.pressed
    assert not weather.pressure.brownout


def test_a_service_that_does_all_it_ever_did_is_not_ill() -> None:
    """An attack that grew slowly was served for hours, and then taken for a brownout: nobody was challenged."""
    weather = Weather(limit=4)
    for _ in range(1200):
        weather.window(150, 330, completed=330)
    for _ in range(400):
        weather.pressure.shed = 1
        weather.window(160, 360, completed=290)
    assert weather.pressure.pressed
    assert not weather.pressure.brownout


def test_what_a_service_has_served_is_forgotten_in_days() -> None:
    weather = Weather()
    for _ in range(1200):
        weather.window(50, 2000, completed=2000)
    for _ in range(2 * 3600):
        weather.window(50, 10, completed=10)
    assert weather.pressure.served == pytest.approx(2000 * 0.9995**60, rel=0.01)


def test_the_time_between_two_readings_is_a_setting(make: Any) -> None:
    world = make(pressure=PressureSettings(window=2.0))
    pressure, readings = world.engine._pressure, 0
    for _ in range(16):
        pressure.requests = 1
        world.pass_time(0.5)
        readings += pressure.requests == 0
    assert readings == 4
