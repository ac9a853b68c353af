"""The weather: what a window made of the pressure, as a value. The other parts go by it until the next window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from shield.policy.pressure.demand import MOST_RATE
from shield.policy.pressure.onset import PEACE, Attack
from shield.policy.pressure.signs import Overload
from shield.policy.pressure.window import IDLE, OwnLoad
from shield.policy.rows import number, text


@dataclass(frozen=True, slots=True)
class Weather:
    """Calm, unless told otherwise. Rates are in units/s.

    It has more than 15 attributes because the status shows nearly all of them, and they are of one moment.
    """

    capacity: float
    shown: float = 0.0  # of the capacity, what the service has shown that it can do
    p: float = 0.0
    target: float = 0.0  # where p is going
    strictness: float = 0.0  # p as far as it may act on people, in [0, 1]
    high: bool = False  # there is pressure: the queue goes by tier
    pressed: bool = False  # and it acts on people: newcomers are challenged
    brownout: bool = False  # there is, but it is the service that is ill
    overload: Overload = Overload()
    demand: float = 0.0
    known_demand: float = 0.0  # of T0 and T1
    served: float = 0.0  # the most that a minute of calm weather completed
    rate: float = 0.0  # requests/s
    cutoff: float = 0.0  # rank of T1 below which it is challenged, too
    merged: bool = False  # T0 goes by rank among T1
    attack: Attack = PEACE
    own: OwnLoad = IDLE


MOST_SIGNS: Final = 8


def row_of(weather: Weather) -> list[Any]:
    """The weather as a plain row, for other workers."""
    attack, own, overload = weather.attack, weather.own, weather.overload
    return [
        [weather.capacity, weather.shown, weather.demand, weather.known_demand, weather.served, weather.rate],
        [weather.p, weather.target, weather.strictness],
        [weather.high, weather.pressed, weather.brownout, weather.merged],
        weather.cutoff,
        [list(overload.signs), overload.lasts, overload.crowded],
        [attack.on, attack.since, attack.until, attack.cause, attack.peak, attack.peak_rate],
        [own.lag, own.busy, own.worst],
    ]


def read(row: list[Any]) -> Weather:
    """The weather that such a row tells. ValueError when it makes no sense."""
    rates, shares, (high, pressed, brownout, merged), cutoff, (signs, lasts, crowded), attack, own = row
    capacity, shown, demand, known, served, rate = (number(each, 0.0, MOST_RATE) for each in rates)
    p, target, strictness = (number(each, 0.0, 1.0) for each in shares)
    on, since, until, cause, peak, peak_rate = attack
    lag, busy, worst = (number(each, 0.0) for each in own)
    return Weather(
        capacity=capacity,
        shown=shown,
        p=p,
        target=target,
        strictness=strictness,
        high=high is True,
        pressed=pressed is True,
        brownout=brownout is True,
        overload=Overload(tuple(text(sign) for sign in signs[:MOST_SIGNS]), lasts is True, crowded is True),
        demand=demand,
        known_demand=known,
        served=served,
        rate=rate,
        cutoff=number(cutoff, 0.0),
        merged=merged is True,
        attack=Attack(on is True, number(since), number(until), text(cause), number(peak), number(peak_rate)),
        own=OwnLoad(lag, busy, worst),
    )
