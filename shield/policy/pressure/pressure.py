"""How badly the service is overloaded: one number p in [0, 1], from what is asked and what it can do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from shield.policy.pressure.brownout import Brownout
from shield.policy.pressure.by_rates import UsualDemand
from shield.policy.pressure.capacity import Capacity
from shield.policy.pressure.cutoff import Cutoff
from shield.policy.pressure.demand import MOST_RATE, Demand
from shield.policy.pressure.level import Level
from shield.policy.pressure.onset import Onset
from shield.policy.pressure.settings import PressureSettings
from shield.policy.pressure.signs import Signs
from shield.policy.pressure.weather import Weather
from shield.policy.pressure.window import Window
from shield.policy.rows import number


class Pressure:
    """Lets each part read the window, in this order, and puts their answers together.

    `limit`: the concurrency limit at the start. `by_rates`: nothing but the demand is known (by_rates.py).
    """

    __slots__ = (
        "_brownout",
        "_capacity",
        "_cutoff",
        "_demand",
        "_level",
        "_onset",
        "_settings",
        "_signs",
        "_usual_demand",
        "weather",
    )

    def __init__(self, settings: PressureSettings, limit: int, by_rates: bool = False) -> None:
        self._settings = settings
        self._usual_demand = UsualDemand(settings) if by_rates else None
        self._demand = Demand(settings)
        self._capacity = Capacity(settings, limit)
        self._signs = Signs(settings)
        self._level = Level(settings)
        self._brownout = Brownout(settings)
        self._cutoff = Cutoff(settings)
        self._onset = Onset(settings)
        self.weather = Weather(self._capacity.units)  # of the window closed last

    def row(self, shift: float) -> list[Any]:
        """What was read last, as a plain row. `shift`: from our clock to that of the row."""
        read = [self._level.p, self._level.high, self._capacity.most_completed, self._brownout.served]
        return [*read, self._onset.row(shift), self._demand.row(), self._brownout.usual.row()]

    def restore(self, row: list[Any], shift: float, now: float) -> None:
        """Take such a row from before a restart, and go by it until the first window. ValueError when it makes no
        sense."""
        p, high, completed, served, onset, demand, usual = row
        p, high = number(p, 0.0, 1.0), high is True
        completed, served = number(completed, 0.0, MOST_RATE), number(served, 0.0, MOST_RATE)
        self._demand.restore(demand)
        self._onset.restore(onset, shift, now)
        self._brownout.usual.restore(usual)
        self._level.restore(p, high)
        self._capacity.restore(completed)
        self._brownout.served = served
        most = self._settings.max_pressure
        self.weather = replace(
            self.weather,
            capacity=self._capacity.units,
            p=p,
            strictness=min(p, most),
            high=high,
            pressed=high and most > self._settings.threshold,
            demand=self._demand.units,
            known_demand=self._demand.known,
            served=served,
            rate=self._demand.rate,
            attack=self._onset.attack,
        )

    def hold(self, p: float | None) -> None:
        """Have the level be p from the next window on, whatever is measured; None: as it is measured."""
        self._level.held = p

    def adopt(self, weather: Weather, row: list[Any], now: float) -> None:
        """Go by the weather that another worker has found, and be ready to go on from its `row` of the same clock.
        ValueError when that makes no sense."""
        self.restore(row, 0.0, now)
        self._capacity.adopt(weather.capacity, weather.shown)
        self._brownout.on = weather.brownout
        self._onset.adopt(weather.attack)
        self.weather = weather

    def close_window(self, window: Window) -> Weather:
        """The weather after a window."""
        settings, demand, level, seconds = self._settings, self._demand, self._level, window.seconds
        demand.add(window)
        self._signs.heed(window.own)
        capacity = self._read_capacity(window)
        overload = self._signs.read(window, demand.units, capacity)
        known = window.service.found or settings.capacity > 0.0 or self._usual_demand is not None
        p = level.read(demand.units / capacity if known else 0.0, overload, seconds)
        brownout = self._brownout.read(window, demand, capacity, "errors" in overload.signs, level.high)
        pressed = level.high and not brownout and settings.max_pressure > settings.threshold
        self._cutoff.read(window, demand.top, capacity, pressed)
        weighs = demand.units > settings.cusum_share * capacity
        self.weather = Weather(
            capacity=capacity,
            shown=self._capacity.shown,
            p=p,
            target=level.target,
            strictness=0.0 if brownout else min(p, settings.max_pressure),
            high=level.high,
            pressed=pressed,
            brownout=brownout,
            overload=overload,
            demand=demand.units,
            known_demand=demand.known,
            served=self._brownout.served,
            rate=demand.rate,
            cutoff=self._cutoff.rank,
            merged=self._cutoff.merged,
            attack=self._onset.read(p, level.reason, demand.rate, weighs, window.now, seconds),
            own=window.own,
        )
        return self.weather

    def _read_capacity(self, window: Window) -> float:
        """Units/s that the service can do, after a window: as the operator has set it, as the usual demand says, or as
        the service shows."""
        capacity, demand, seconds = self._capacity, self._demand, window.seconds
        told = self._settings.capacity
        if self._usual_demand is not None:
            calm = not (self._level.high or self._onset.attack.on)
            usual = self._usual_demand.read(demand.units, calm, seconds)
            told = told or usual
        if told:
            capacity.adopt(told, told)
            return told
        return capacity.read(window.service, demand.completed, seconds, self._signs.stalled)
